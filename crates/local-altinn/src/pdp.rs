//! The decision point: answers XACML JSON requests from a table of rules.
//!
//! A question is permitted when one rule fits it, with that rule's levels as obligations; else it is not applicable. A question that
//! names a person by number is refused as indeterminate, as the real one does (contract §3.5).

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    Shared,
    data::{Party, Rule},
    mode::{Mode, Switch},
    register::party_of_urn,
};

const SUBJECT: &str = "urn:oasis:names:tc:xacml:1.0:subject-category:access-subject";
const RESOURCE: &str = "urn:oasis:names:tc:xacml:3.0:attribute-category:resource";
/// Requests that are remembered for tests to look at.
const REMEMBERED: usize = 1_000;

pub(crate) struct Pdp {
    parties: Arc<Vec<Party>>,
    rules: Mutex<Rules>,
    switch: Switch,
    questions: AtomicU64,
    asked: Mutex<VecDeque<Value>>,
}

#[derive(Default)]
struct Rules {
    rows: Vec<(RuleId, Rule)>,
    next: u64,
}

/// Tells rules apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(u64);

/// The decision point of a running stand-in.
#[derive(Clone, Copy)]
pub struct PdpHandle<'a>(pub(crate) &'a Pdp);

impl PdpHandle<'_> {
    /// Adds a rule; it holds from the next question on.
    pub fn permit(&self, rule: Rule) -> RuleId {
        self.0.rules().add(rule)
    }

    /// Takes a rule away; false when it was gone already.
    pub fn revoke(&self, id: RuleId) -> bool {
        let mut rules = self.0.rules();
        let before = rules.rows.len();
        rules.rows.retain(|(known, _)| *known != id);
        rules.rows.len() < before
    }

    /// Takes all rules away.
    pub fn revoke_all(&self) {
        self.0.rules().rows.clear();
    }

    /// How it answers from now on.
    pub fn set(&self, mode: Mode) {
        self.0.switch.set(mode);
    }

    /// How many requests came.
    pub fn requests(&self) -> u64 {
        self.0.switch.count()
    }

    /// How many questions came in them.
    pub fn questions(&self) -> u64 {
        self.0.questions.load(Ordering::Relaxed)
    }

    /// The bodies of the latest requests, oldest first.
    pub fn asked(&self) -> Vec<Value> {
        self.0.asked().iter().cloned().collect()
    }
}

impl Rules {
    fn add(&mut self, rule: Rule) -> RuleId {
        let id = RuleId(self.next);
        self.next += 1;
        self.rows.push((id, rule));
        id
    }
}

impl Pdp {
    pub(crate) fn new(rules: Vec<Rule>, parties: Arc<Vec<Party>>) -> Self {
        let mut table = Rules::default();
        for rule in rules {
            table.add(rule);
        }
        Self {
            parties,
            rules: Mutex::new(table),
            switch: Switch::default(),
            questions: AtomicU64::new(0),
            asked: Mutex::default(),
        }
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, VecDeque<Value>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, request: &Value) {
        let mut asked = self.asked();
        if asked.len() == REMEMBERED {
            asked.pop_front();
        }
        asked.push_back(request.clone());
    }

    fn answer(&self, question: &Question<'_>) -> Value {
        self.questions.fetch_add(1, Ordering::Relaxed);
        if question.resource.iter().any(|found| found.id == "urn:altinn:person:identifier-no") {
            let message = "a person is named by number";
            return question.result("Indeterminate", "processing-error", message, &[]);
        }
        let rules = self.rules();
        match rules.rows.iter().find(|(_, rule)| self.fits(rule, question)) {
            Some((_, rule)) => question.result("Permit", "ok", "", &obligations(rule)),
            None => question.result("NotApplicable", "ok", "", &[]),
        }
    }

    fn fits(&self, rule: &Rule, question: &Question<'_>) -> bool {
        let is_subject = rule
            .subject
            .iter()
            .all(|(id, value)| question.subject.iter().any(|found| found.id == *id && found.value == *value));
        is_subject
            && rule.actions.iter().any(|action| question.action == *action)
            && question.resource_name().is_some_and(|name| name.eq_ignore_ascii_case(&rule.resource))
            && rule.party.is_none_or(|party| self.party_of(question) == Some(party))
    }

    /// The party that the resource is about: told by its number, or by the number of the organisation, or by its id.
    fn party_of(&self, question: &Question<'_>) -> Option<i64> {
        if let Some(party) = question.resource.iter().find(|found| found.id == "urn:altinn:partyid") {
            return party.value.parse().ok();
        }
        question
            .resource
            .iter()
            .find_map(|found| party_of_urn(&self.parties, &format!("{}:{}", found.id, found.value)))
            .map(|party| party.party_id)
    }
}

fn obligations(rule: &Rule) -> Vec<Value> {
    let levels = [
        ("urn:altinn:minimum-authenticationlevel", rule.minimum_authentication_level),
        ("urn:altinn:minimum-authenticationlevel-org", rule.minimum_authentication_level_org),
    ];
    let obligation = |(category, level): (&str, Option<u8>)| {
        level.map(|level| {
            json!({
                "id": "urn:altinn:obligation:authenticationLevel",
                "attributeAssignment": [{
                    "attributeId": "urn:altinn:obligation-assignment:1",
                    "value": level.to_string(),
                    "category": category,
                    "dataType": "http://www.w3.org/2001/XMLSchema#integer",
                    "issuer": null,
                }],
            })
        })
    };
    levels.into_iter().filter_map(obligation).collect()
}

/// One question of a request.
struct Question<'a> {
    subject: Vec<Attribute<'a>>,
    action: &'a str,
    resource: Vec<Attribute<'a>>,
}

struct Attribute<'a> {
    id: &'a str,
    value: String,
    json: &'a Value,
}

impl Question<'_> {
    /// The resource as rules name it; an app is told by its org and name.
    fn resource_name(&self) -> Option<String> {
        let value =
            |id: &str| self.resource.iter().find(|found| found.id == id).map(|found| found.value.as_str());
        match (value("urn:altinn:org"), value("urn:altinn:app")) {
            (Some(org), Some(app)) => Some(format!("urn:altinn:resource:app_{org}_{app}")),
            (_, _) => value("urn:altinn:resource").map(|name| format!("urn:altinn:resource:{name}")),
        }
    }

    fn result(&self, decision: &str, code: &str, message: &str, obligations: &[Value]) -> Value {
        let code = format!("urn:oasis:names:tc:xacml:1.0:status:{code}");
        let mut result = json!({
            "decision": decision,
            "status": {"statusMessage": message, "statusCode": {"value": code}},
            "obligations": obligations,
        });
        let categories: Vec<_> = [(SUBJECT, &self.subject), (RESOURCE, &self.resource)]
            .into_iter()
            .filter_map(|(id, attributes)| {
                let back: Vec<_> =
                    attributes.iter().filter(|found| found.is_asked_back()).map(|found| found.json).collect();
                (!back.is_empty()).then(|| json!({"categoryId": id, "attribute": back}))
            })
            .collect();
        if let Some(result) = result.as_object_mut().filter(|_| !categories.is_empty()) {
            result.insert("category".to_owned(), Value::Array(categories));
        }
        result
    }
}

impl Attribute<'_> {
    fn is_asked_back(&self) -> bool {
        self.json.get("includeInResult").and_then(Value::as_bool) == Some(true)
    }
}

/// `POST /authorization/api/v1/decision`.
pub(crate) async fn decision(State(state): State<Shared>, Json(body): Json<Value>) -> Response {
    let pdp = &state.pdp;
    pdp.remember(&body);
    if let Err(status) = pdp.switch.pass().await {
        return status.into_response();
    }
    match questions(&body) {
        Some(questions) => {
            let results: Vec<_> = questions.iter().map(|question| pdp.answer(question)).collect();
            Json(json!({ "response": results })).into_response()
        }
        None => (StatusCode::BAD_REQUEST, "the request is not of the XACML JSON profile").into_response(),
    }
}

/// The questions of a request; fewer than two references make it a single one.
fn questions(body: &Value) -> Option<Vec<Question<'_>>> {
    let request = body.get("request")?;
    let references = request.pointer("/multiRequests/requestReference").and_then(Value::as_array);
    let Some(references) = references.filter(|references| references.len() > 1) else {
        let first = |name: &str| request.get(name)?.as_array()?.first();
        return Some(vec![question(first("accessSubject")?, first("action")?, first("resource")?)?]);
    };
    let named = |category: &str, ids: &Vec<Value>| {
        request
            .get(category)?
            .as_array()?
            .iter()
            .find(|found| found.get("id").is_some_and(|id| ids.contains(id)))
    };
    references
        .iter()
        .map(|reference| {
            let ids = reference.get("referenceId")?.as_array()?;
            question(named("accessSubject", ids)?, named("action", ids)?, named("resource", ids)?)
        })
        .collect()
}

fn question<'a>(subject: &'a Value, action: &'a Value, resource: &'a Value) -> Option<Question<'a>> {
    let action = action.pointer("/attribute/0/value")?.as_str()?;
    Some(Question { subject: attributes(subject)?, action, resource: attributes(resource)? })
}

fn attributes(category: &Value) -> Option<Vec<Attribute<'_>>> {
    category.get("attribute")?.as_array()?.iter().map(attribute).collect()
}

fn attribute(json: &Value) -> Option<Attribute<'_>> {
    let value = json.get("value")?;
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Some(Attribute { id: json.get("attributeId")?.as_str()?, value, json })
}
