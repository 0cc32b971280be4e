//! The decision point: answers XACML JSON requests by the policy of the resource.
//!
//! A running test adds rules of its own, each like a policy that only permits: where the policy does not permit and a rule fits, it
//! is permitted with that rule's levels as obligations. A question about a resource that has neither is not applicable. A question
//! that names a person by number is refused as indeterminate, as the real one does (contract §3.5).

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
use policy::{Decision, Outcome, Request, SUBJECT};
use serde_json::{Value, json};

use crate::{
    Shared,
    access_lists::AccessLists,
    data::{Data, Party, Roles, Rule},
    mode::{Mode, Switch},
    policies::Policies,
    question::{Question, Status, obligation, questions},
};

/// Requests that are remembered for tests to look at.
const REMEMBERED: usize = 1_000;
/// What a policy sees of a subject that is on the access list of the resource.
const ACCESS_LIST: &str = "urn:altinn:accesslist";

pub(crate) struct Pdp {
    parties: Arc<Vec<Party>>,
    roles: Vec<Roles>,
    rights: Mutex<Rights>,
    switch: Switch,
    questions: AtomicU64,
    asked: Mutex<VecDeque<Value>>,
}

/// Who may do what.
#[derive(Default)]
struct Rights {
    policies: Policies,
    access_lists: AccessLists,
    rules: Vec<(RuleId, Rule)>,
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
        self.0.rights().add(rule)
    }

    /// Takes a rule away; false when it was gone already.
    pub fn revoke(&self, id: RuleId) -> bool {
        let mut rights = self.0.rights();
        let before = rights.rules.len();
        rights.rules.retain(|(known, _)| *known != id);
        rights.rules.len() < before
    }

    /// Puts an organisation on the access list of a resource (its name without `urn:altinn:resource:`). A resource without a list
    /// gets one, for `subscribe`. What the list gives is in the resource's policy.
    pub fn approve(&self, resource: &str, org_number: &str) {
        self.0.rights().access_lists.approve(resource, org_number);
    }

    /// Takes an organisation off the access list of a resource; false when it was not on it.
    pub fn withdraw(&self, resource: &str, org_number: &str) -> bool {
        self.0.rights().access_lists.withdraw(resource, org_number)
    }

    /// Takes all policies and all rules away; access lists alone give nothing.
    pub fn revoke_all(&self) {
        let mut rights = self.0.rights();
        rights.policies = Policies::default();
        rights.rules.clear();
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

impl Rights {
    fn add(&mut self, rule: Rule) -> RuleId {
        let id = RuleId(self.next);
        self.next += 1;
        self.rules.push((id, rule));
        id
    }
}

impl Pdp {
    pub(crate) fn new(data: Data) -> Self {
        let Data { parties, roles, access_lists, policies } = data;
        Self {
            parties,
            roles,
            rights: Mutex::new(Rights { policies, access_lists, ..Rights::default() }),
            switch: Switch::default(),
            questions: AtomicU64::new(0),
            asked: Mutex::default(),
        }
    }

    fn rights(&self) -> MutexGuard<'_, Rights> {
        self.rights.lock().unwrap_or_else(PoisonError::into_inner)
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
        if question.names_a_person_by_number() {
            let message = "a person is named by number";
            let status = Status { code: "urn:oasis:names:tc:xacml:1.0:status:processing-error", message };
            return question.result("Indeterminate", &status, &[]);
        }
        let rights = self.rights();
        let name = question.resource_name();
        let policy = name.as_deref().and_then(|name| rights.policies.get(name));
        let outcome = policy.map(|policy| policy.evaluate(&self.request(question, &rights)));
        match outcome {
            Some(outcome) if outcome.decision == Decision::Permit => told(question, &outcome),
            other => match rights.rules.iter().find(|(_, rule)| self.fits(rule, question)) {
                Some((_, rule)) => question.result("Permit", &Status::OK, &levels(rule)),
                None => other.map_or_else(
                    || question.result("NotApplicable", &Status::OK, &[]),
                    |outcome| told(question, &outcome),
                ),
            },
        }
    }

    fn request(&self, question: &Question<'_>, rights: &Rights) -> Request {
        let mut request = question.request(&self.parties, &self.roles);
        let org_numbers = question.organisations(&self.parties);
        if let Some(name) = question.resource_name()
            && let Some(list) = rights.access_lists.approved(&name, question.action(), &org_numbers)
        {
            request.add(SUBJECT, ACCESS_LIST, policy::Value::string(list));
        }
        request
    }

    fn fits(&self, rule: &Rule, question: &Question<'_>) -> bool {
        let is_subject = rule
            .subject
            .iter()
            .all(|(id, value)| question.subject.iter().any(|found| found.id == *id && found.value == *value));
        let is_resource =
            |name: String| format!("urn:altinn:resource:{name}").eq_ignore_ascii_case(&rule.resource);
        is_subject
            && rule.actions.iter().any(|action| question.action() == *action)
            && question.resource_name().is_some_and(is_resource)
            && rule.party.is_none_or(|party| question.party(&self.parties) == Some(party))
    }
}

/// What a policy came to, in the JSON profile.
fn told(question: &Question<'_>, outcome: &Outcome) -> Value {
    let obligations: Vec<_> = outcome.obligations.iter().map(obligation).collect();
    let decision = outcome.decision.name();
    match &outcome.failure {
        Some(failure) => {
            let status = Status { code: failure.status(), message: &failure.to_string() };
            question.result(decision, &status, &obligations)
        }
        None => question.result(decision, &Status::OK, &obligations),
    }
}

fn levels(rule: &Rule) -> Vec<Value> {
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
