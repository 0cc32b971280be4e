//! The claims of tokens (contract §2.1): what all of them have, and what those of each holder have.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    State,
    data::Party,
    openid::{self, Provider},
    tokens::{Holder, TokenRequest},
};

pub(crate) type Claims = Map<String, Value>;

/// Levels of assurance at ID-porten, the high ones; every other is level 0.
const HIGH: &str = "idporten-loa-high";
const SUBSTANTIAL: &str = "idporten-loa-substantial";
const LOW: &str = "idporten-loa-low";

/// What a new token of this kind says.
pub(crate) fn of_request(request: &TokenRequest, state: &State) -> Claims {
    let mut claims = of_holder(request, state);
    claims.entry("iss").or_insert_with(|| json!(openid::issuer(&state.base_url)));
    set_lifetime(&mut claims, request.ttl_s);
    if !request.scopes.is_empty() {
        claims.insert("scope".into(), json!(request.scopes.join(" ")));
    }
    if let Some(supplier) = &request.supplier {
        claims.insert("supplier".into(), authority(supplier));
    }
    claims
}

/// Says when a token begins and ends, and gives it an id.
pub(crate) fn set_lifetime(claims: &mut Claims, ttl_s: i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let end = now.saturating_add(ttl_s);
    claims.insert("iat".into(), json!(now));
    claims.insert("nbf".into(), json!(now.min(end).saturating_sub(5)));
    claims.insert("exp".into(), json!(end));
    claims.insert("jti".into(), json!(Uuid::new_v4().to_string()));
}

/// What Altinn adds for an organisation; `org` for a service owner.
pub(crate) fn organisation(org: Option<&str>, org_number: &str, level: u8) -> Claims {
    object(json!({
        "urn:altinn:org": org,
        "urn:altinn:orgNumber": org_number,
        "urn:altinn:authenticatemethod": "maskinporten",
        "urn:altinn:authlevel": level.to_string(),
    }))
}

/// What Altinn adds for a person.
pub(crate) fn person(user_id: i64, party_id: i64, party: Option<&Party>, level: u8) -> Claims {
    object(json!({
        "nameid": user_id.to_string(),
        "urn:altinn:userid": user_id.to_string(),
        "urn:altinn:partyid": party_id,
        "urn:altinn:party:uuid": party.map(|party| &party.party_uuid),
        "urn:altinn:authenticatemethod": "BankID",
        "urn:altinn:authlevel": level.to_string(),
    }))
}

/// The authentication level that a level of assurance comes to.
pub(crate) fn level_of(acr: &str) -> u8 {
    match acr {
        HIGH => 4,
        SUBSTANTIAL => 3,
        _other => 0,
    }
}

fn acr_of(level: u8) -> &'static str {
    match level {
        4.. => HIGH,
        3 => SUBSTANTIAL,
        0..=2 => LOW,
    }
}

fn of_holder(request: &TokenRequest, state: &State) -> Claims {
    let level = |default: u8| request.auth_level.unwrap_or(default);
    match &request.holder {
        Holder::Enterprise { org, org_number } => {
            let mut claims = of_client(json!({"consumer": authority(org_number)}));
            claims.extend(organisation(org.as_deref(), org_number, level(3)));
            claims
        }
        Holder::Person { user_id, party_id, pid } => {
            let mut claims = of_client(json!({"pid": pid, "acr": acr_of(level(4))}));
            claims.extend(person(*user_id, *party_id, state.register.party(*party_id), level(4)));
            claims
        }
        Holder::SystemUser { id, org_number } => of_client(json!({
            "consumer": authority(org_number),
            "urn:altinn:authlevel": level(3).to_string(),
            "authorization_details": system_user(id, org_number),
        })),
        Holder::Platform { issuer, app } => {
            object(json!({"iss": issuer, "aud": "platform.altinn.no", "urn:altinn:app": app}))
        }
        Holder::Maskinporten { org_number, system_user: id } => of_client(json!({
            "iss": Provider::Maskinporten.issuer(&state.base_url),
            "consumer": authority(org_number),
            "authorization_details": id.as_ref().map(|id| system_user(id, org_number)),
        })),
        Holder::Idporten { pid, acr } => of_client(json!({
            "iss": Provider::Idporten.issuer(&state.base_url),
            "sub": Uuid::new_v4().to_string(),
            "pid": pid,
            "acr": acr.as_deref().unwrap_or(acr_of(level(4))),
            "amr": ["BankID"],
        })),
    }
}

/// Of a token that somebody's client asked for.
fn of_client(claims: Value) -> Claims {
    let mut claims = object(claims);
    claims.insert("token_type".into(), json!("Bearer"));
    claims.insert("client_id".into(), json!(Uuid::new_v4().to_string()));
    claims
}

/// The members that are there.
fn object(claims: Value) -> Claims {
    let Value::Object(claims) = claims else { return Claims::new() };
    claims.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

fn system_user(id: &str, org_number: &str) -> Value {
    json!([{
        "type": "urn:altinn:systemuser",
        "systemuser_id": [id],
        "systemuser_org": authority(org_number),
        "system_id": format!("{org_number}_local_system"),
    }])
}

fn authority(org_number: &str) -> Value {
    json!({"authority": "iso6523-actorid-upis", "ID": format!("0192:{org_number}")})
}
