//! Register: parties by number, and the main unit of a sub-unit (contract §3.7).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    Shared,
    data::Party,
    mode::{Mode, Switch},
};

const PERSON_URN: &str = "urn:altinn:person:identifier-no:";
const ORGANISATION_URN: &str = "urn:altinn:organization:identifier-no:";
const PARTY_UUID_URN: &str = "urn:altinn:party:uuid:";
const PARTY_ID_URN: &str = "urn:altinn:party:id:";

pub(crate) struct Register {
    parties: Arc<Vec<Party>>,
    switch: Switch,
    /// URNs that fail a whole query.
    refused: Mutex<Vec<String>>,
}

/// Register of a running stand-in.
#[derive(Clone, Copy)]
pub struct RegisterHandle<'a>(pub(crate) &'a Register);

impl RegisterHandle<'_> {
    /// How it answers from now on.
    pub fn set(&self, mode: Mode) {
        self.0.switch.set(mode);
    }

    /// From now on a query that holds this URN is refused as a whole (400).
    pub fn refuse(&self, urn: &str) {
        self.0.refused().push(urn.to_owned());
    }

    /// How often it was asked.
    pub fn requests(&self) -> u64 {
        self.0.switch.count()
    }

    /// Everybody it knows.
    pub fn parties(&self) -> Vec<Party> {
        self.0.parties.to_vec()
    }
}

impl Register {
    pub(crate) fn new(parties: Arc<Vec<Party>>) -> Self {
        Self { parties, switch: Switch::default(), refused: Mutex::default() }
    }

    fn refused(&self) -> MutexGuard<'_, Vec<String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a query with this URN is refused as a whole.
    fn refuses(&self, urn: &str) -> bool {
        urn.strip_prefix(PERSON_URN).is_some_and(|number| !has_check_figures(number))
            || self.refused().iter().any(|refused| refused == urn)
    }

    pub(crate) fn number_of_org(&self, org: &str) -> Option<String> {
        self.find(|party| party.org.as_deref() == Some(org))?.org_number.clone()
    }

    pub(crate) fn org_of_number(&self, org_number: &str) -> Option<&str> {
        self.find(|party| party.org_number.as_deref() == Some(org_number))?.org.as_deref()
    }

    pub(crate) fn party(&self, party_id: i64) -> Option<&Party> {
        self.find(|party| party.party_id == party_id)
    }

    pub(crate) fn party_of_user(&self, user_id: i64) -> Option<&Party> {
        self.find(|party| party.user_id == Some(user_id))
    }

    pub(crate) fn person(&self, number: &str) -> Option<&Party> {
        self.find(|party| party.person_number.as_deref() == Some(number))
    }

    /// Whether this name signs platform access tokens.
    pub(crate) fn signs(&self, issuer: &str) -> bool {
        issuer == "platform" || self.find(|party| party.org.as_deref() == Some(issuer)).is_some()
    }

    fn find(&self, matches: impl Fn(&Party) -> bool) -> Option<&Party> {
        self.parties.iter().find(|party| matches(party))
    }
}

/// The party that a URN names, among these.
pub(crate) fn party_of_urn<'a>(parties: &'a [Party], urn: &str) -> Option<&'a Party> {
    parties.iter().find(|party| {
        urn.strip_prefix(PERSON_URN).is_some_and(|number| party.person_number.as_deref() == Some(number))
            || urn
                .strip_prefix(ORGANISATION_URN)
                .is_some_and(|number| party.org_number.as_deref() == Some(number))
            || urn.strip_prefix(PARTY_UUID_URN) == Some(party.party_uuid.as_str())
            || urn.strip_prefix(PARTY_ID_URN).is_some_and(|id| id.parse() == Ok(party.party_id))
    })
}

/// Whether a person's number has eleven figures of which the last two check the others; with another Register refuses the whole
/// request.
fn has_check_figures(number: &str) -> bool {
    let figures: Vec<u32> = number.chars().filter_map(|figure| figure.to_digit(10)).collect();
    let checks = |weights: &[u32]| {
        figures.iter().zip(weights).map(|(figure, weight)| figure * weight).sum::<u32>() % 11 == 0
    };
    figures.len() == 11
        && number.len() == 11
        && checks(&[3, 7, 6, 1, 8, 9, 4, 5, 2, 1])
        && checks(&[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1])
}

/// `{Ssn}` or `{OrgNo}` → the party, or 404.
pub(crate) async fn lookup(State(state): State<Shared>, Json(body): Json<Value>) -> Response {
    let register = &state.register;
    if let Err(status) = register.switch.pass().await {
        return status.into_response();
    }
    let (person, organisation) = (member(&body, "Ssn"), member(&body, "OrgNo"));
    if person.is_some() == organisation.is_some() {
        return (StatusCode::BAD_REQUEST, "exactly one of Ssn and OrgNo is needed").into_response();
    }
    if person.is_some_and(|number| !has_check_figures(number)) {
        return (StatusCode::BAD_REQUEST, "Ssn is not a person's number").into_response();
    }
    let found = register.find(|party| {
        (person.is_some() && party.person_number.as_deref() == person)
            || (organisation.is_some() && party.org_number.as_deref() == organisation)
    });
    match found {
        Some(party) => Json(json!({
            "partyId": party.party_id,
            "partyUuid": party.party_uuid,
            "partyTypeName": if party.person_number.is_some() { 1 } else { 2 },
            "orgNumber": party.org_number,
            "ssn": party.person_number,
            "name": party.name,
        }))
        .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// `{Data: [urn…]}` → those of them that are known.
pub(crate) async fn query(State(state): State<Shared>, Json(body): Json<Value>) -> Response {
    if let Err(status) = state.register.switch.pass().await {
        return status.into_response();
    }
    let urns = any_case(&body, "Data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if urns.len() > 100 {
        return (StatusCode::BAD_REQUEST, "at most 100 URNs").into_response();
    }
    if urns.iter().filter_map(Value::as_str).any(|urn| state.register.refuses(urn)) {
        return (StatusCode::BAD_REQUEST, "a URN is not one of a party").into_response();
    }
    let found =
        urns.iter().filter_map(Value::as_str).filter_map(|urn| party_of_urn(&state.register.parties, urn));
    let data: Vec<_> = found.map(identifiers).collect();
    Json(json!({ "data": data })).into_response()
}

/// `{data: urn}` → the main unit of that organisation, if it has one.
pub(crate) async fn main_units(State(state): State<Shared>, Json(body): Json<Value>) -> Response {
    let register = &state.register;
    if let Err(status) = register.switch.pass().await {
        return status.into_response();
    }
    let unit = member(&body, "data").and_then(|urn| party_of_urn(&register.parties, urn));
    let main = unit.and_then(|unit| unit.main_unit.as_deref());
    let main = main.and_then(|number| register.find(|party| party.org_number.as_deref() == Some(number)));
    let data: Vec<_> = main
        .map(|party| {
            let urn = party.org_number.as_ref().map(|number| format!("{ORGANISATION_URN}{number}"));
            json!({"organizationIdentifier": party.org_number, "externalUrn": urn, "partyId": party.party_id})
        })
        .into_iter()
        .collect();
    Json(json!({ "data": data })).into_response()
}

fn identifiers(party: &Party) -> Value {
    json!({
        "partyType": party.kind(),
        "partyUuid": party.party_uuid,
        "partyId": party.party_id,
        "personIdentifier": party.person_number,
        "organizationIdentifier": party.org_number,
    })
}

fn member<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    any_case(body, name)?.as_str().filter(|text| !text.is_empty())
}

fn any_case<'a>(body: &'a Value, name: &str) -> Option<&'a Value> {
    body.as_object()?.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
