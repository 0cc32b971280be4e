//! The decision point: answers XACML JSON requests by the policy of the resource.
//!
//! A running test adds rules of its own, each like a policy that only permits: where the policy does not permit and a rule fits, it
//! is permitted with that rule's levels as obligations. A resource that had a policy or a rule once stays known.
//!
//! It fails as the real one does (contract §3.8): what throws in one part ([`crate::fault`]) takes the results of all parts, and one
//! indeterminate result stands for them. Results stand in the order of references.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Json,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use policy::Decision;
use serde_json::{Value, json};

use crate::{
    Shared,
    access_lists::AccessLists,
    answer::{Status, bare, obligation, told},
    data::{Data, Party, Roles, Rule},
    fault::Fault,
    mode::{Mode, Switch},
    policies::Policies,
    question::{Question, World, is_app, questions},
};

/// Requests that are remembered for tests to look at.
const REMEMBERED: usize = 1_000;
const RESOURCE_START: &str = "urn:altinn:resource:";

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
    /// Names, in small letters, of resources that had a rule or a policy.
    known: BTreeSet<String>,
    /// Questions about these throw.
    broken: BTreeSet<String>,
    /// Every question throws.
    is_broken: bool,
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

    /// Puts an organisation on an access list (`{owner}:{name}`), which is made when there is none. What the list gives is in
    /// policies, and what it restricts is told by [`Self::restrict`].
    pub fn approve(&self, list: &str, org_number: &str) {
        self.0.rights().access_lists.approve(list, org_number);
    }

    /// Takes an organisation off an access list; false when it was not on it.
    pub fn withdraw(&self, list: &str, org_number: &str) -> bool {
        self.0.rights().access_lists.withdraw(list, org_number)
    }

    /// Connects a list to a resource of the registry (its name without `urn:altinn:resource:`) for these actions, or for all when
    /// there are none: from now on permits stand only for parties that are on one of the resource's lists.
    pub fn restrict(&self, resource: &str, list: &str, actions: &[&str]) {
        self.0.rights().access_lists.restrict(resource, list, actions);
    }

    /// Whether the registry tells who is on a list.
    pub fn silence_access_lists(&self, is_silent: bool) {
        self.0.rights().access_lists.is_silent = is_silent;
    }

    /// From now on a question about this resource (its name without `urn:altinn:resource:`) throws.
    pub fn break_resource(&self, resource: &str) {
        self.0.rights().broken.insert(resource.to_ascii_lowercase());
    }

    /// Whether every question throws from now on.
    pub fn break_all(&self, is_broken: bool) {
        self.0.rights().is_broken = is_broken;
    }

    /// The resource's questions are answered again.
    pub fn mend_resource(&self, resource: &str) {
        self.0.rights().broken.remove(&resource.to_ascii_lowercase());
    }

    /// Takes all policies and all rules away; access lists alone give nothing.
    pub fn revoke_all(&self) {
        let mut rights = self.0.rights();
        let names = std::mem::take(&mut rights.policies).into_names();
        rights.known.extend(names);
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
        let name = rule.resource.strip_prefix(RESOURCE_START).unwrap_or(&rule.resource);
        self.known.insert(name.to_ascii_lowercase());
        self.rules.push((id, rule));
        id
    }

    fn throws_for(&self, resource: Option<&str>) -> Option<Fault> {
        let name = resource.map(str::to_ascii_lowercase);
        if self.is_broken || name.as_ref().is_some_and(|name| self.broken.contains(name)) {
            return Some(Fault::Told);
        }
        let is_known =
            name.is_some_and(|name| self.policies.get(&name).is_some() || self.known.contains(&name));
        (!is_known).then_some(Fault::UnknownResource)
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

    /// The results in the order of the questions, which are evaluated one after the other.
    fn answers(&self, questions: &[Question<'_>]) -> Result<Value, Fault> {
        let results: Result<Vec<_>, _> = questions.iter().map(|question| self.answer(question)).collect();
        Ok(json!({ "response": results? }))
    }

    fn answer(&self, question: &Question<'_>) -> Result<Value, Fault> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        let rights = self.rights();
        let name = question.resource_name();
        let fault = question.fault(&self.parties).or_else(|| rights.throws_for(name.as_deref()));
        if let Some(fault) = fault {
            return Err(fault);
        }
        let result = self.evaluate(question, &rights);
        let restricted = name.filter(|name| !is_app(name) && rights.access_lists.is_restricted(name));
        match restricted.filter(|_| result.get("decision").is_some_and(|decision| decision == "Permit")) {
            Some(name) => self
                .on_a_list(question, &rights, &name)
                .map(|is_on| if is_on { result } else { bare("Deny", &Status::OK) }),
            None => Ok(result),
        }
    }

    /// Whether the party of the resource is on a list that is connected to it.
    fn on_a_list(&self, question: &Question<'_>, rights: &Rights, resource: &str) -> Result<bool, Fault> {
        let id = question.party(&self.parties).ok_or(Fault::ListWithoutParty)?;
        let party = self.parties.iter().find(|party| party.party_id == id);
        let org_number = party.and_then(|party| party.org_number.as_deref());
        Ok(rights.access_lists.admits(resource, question.action(), org_number))
    }

    fn evaluate(&self, question: &Question<'_>, rights: &Rights) -> Value {
        let world = World { parties: &self.parties, roles: &self.roles, access_lists: &rights.access_lists };
        let name = question.resource_name();
        let policy = name.as_deref().and_then(|name| rights.policies.get(name));
        let outcome = policy.map(|policy| policy.evaluate(&question.request(&world)));
        let permits = outcome.as_ref().is_some_and(|outcome| outcome.decision == Decision::Permit);
        let rule = rights.rules.iter().find(|(_, rule)| !permits && self.fits(rule, question));
        match (rule, outcome) {
            (Some((_, rule)), _) => told("Permit", &Status::OK, levels(rule), question.asked_back()),
            (None, Some(outcome)) => by_policy(question, &outcome),
            (None, None) => told("NotApplicable", &Status::OK, Vec::new(), question.asked_back()),
        }
    }

    fn fits(&self, rule: &Rule, question: &Question<'_>) -> bool {
        let is_subject = rule
            .subject
            .iter()
            .all(|(id, value)| question.subject.iter().any(|found| found.id == *id && found.value == *value));
        let is_resource =
            |name: String| format!("{RESOURCE_START}{name}").eq_ignore_ascii_case(&rule.resource);
        is_subject
            && rule.actions.iter().any(|action| question.action() == *action)
            && question.resource_name().is_some_and(is_resource)
            && rule.party.is_none_or(|party| question.party(&self.parties) == Some(party))
    }
}

/// What a policy came to, in the JSON profile. What is indeterminate tells nothing but its status.
fn by_policy(question: &Question<'_>, outcome: &policy::Outcome) -> Value {
    let decision = outcome.decision.name();
    match &outcome.failure {
        Some(failure) => bare(decision, &Status { code: failure.status(), message: &failure.to_string() }),
        None => {
            let obligations = outcome.obligations.iter().map(obligation).collect();
            told(decision, &Status::OK, obligations, question.asked_back())
        }
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

/// `POST /authorization/api/v1/decision`: 200 whatever the body is.
pub(crate) async fn decision(State(state): State<Shared>, body: Bytes) -> Response {
    let pdp = &state.pdp;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    pdp.remember(&body);
    if let Err(status) = pdp.switch.pass().await {
        return status.into_response();
    }
    let answer = questions(&body).and_then(|questions| pdp.answers(&questions));
    Json(answer.unwrap_or_else(Fault::answer)).into_response()
}
