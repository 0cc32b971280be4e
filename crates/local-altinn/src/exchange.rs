//! Tokens of Maskinporten and ID-porten, their exchange for ours, and the renewal of ours (contract §2.7).
//!
//! The generator gives the foreign tokens, too. They are signed with a key that is not in our key set: before the exchange they
//! count nowhere.

use axum::{
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
};
use serde_json::{Value, json};

use crate::{
    Shared,
    generator::{Answer, Parameters, bad},
    tokens::{Holder, TokenRequest, authority, now_s},
};

/// Header of a way to log in that was given up.
const RETIRED: &str = "X-Altinn-EnterpriseUser-Authentication";
const SERVICE_OWNER: &str = "altinn:serviceowner";
const SYSTEM_USER: &str = "urn:altinn:systemuser";

/// A token of Maskinporten: `orgNo`, `supplierOrgNo`, `scopes`, `systemUserId`, `ttl`.
pub(crate) async fn maskinporten_token(
    State(state): State<Shared>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let parameters = Parameters::new(query);
    let number = parameters.text("orgno").ok_or_else(|| bad("orgNo is missing; example: orgNo=991825827"))?;
    let mut claims = json!({
        "iss": format!("{}/maskinporten/", state.base_url), "consumer": authority(number), "scope": parameters.scopes().join(" "),
    });
    let mut add = |name: &str, value: Value| {
        if let Some(claims) = claims.as_object_mut() {
            claims.insert(name.to_owned(), value);
        }
    };
    if let Some(supplier) = parameters.text("supplierorgno") {
        add("supplier", authority(supplier));
    }
    if let Some(id) = parameters.text("systemuserid") {
        let details =
            json!([{"type": SYSTEM_USER, "systemuser_id": [id], "systemuser_org": authority(number)}]);
        add("authorization_details", details);
    }
    parameters.sign_foreign(&state, claims)
}

/// A token of ID-porten: `pid`, `scopes`, `acr`, `ttl`.
pub(crate) async fn idporten_token(
    State(state): State<Shared>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let parameters = Parameters::new(query);
    let pid = parameters.text("pid").ok_or_else(|| bad("pid is missing; example: pid=02857010054"))?;
    let claims = json!({
        "iss": format!("{}/idporten/", state.base_url), "pid": pid, "scope": parameters.scopes().join(" "),
        "acr": parameters.text("acr").unwrap_or("idporten-loa-high"),
    });
    parameters.sign_foreign(&state, claims)
}

impl Parameters {
    fn sign_foreign(&self, state: &Shared, mut claims: Value) -> Answer {
        let lifetime = self.number("ttl")?.unwrap_or(120);
        renew(&mut claims, lifetime);
        Ok(state.keys.sign_platform(&claims))
    }
}

/// Times and id of a token that lives so many seconds from now.
fn renew(claims: &mut Value, lifetime: i64) {
    let now = now_s();
    if let Some(claims) = claims.as_object_mut() {
        claims.insert("iat".to_owned(), json!(now));
        claims.insert("nbf".to_owned(), json!(now.min(now.saturating_add(lifetime)).saturating_sub(5)));
        claims.insert("exp".to_owned(), json!(now.saturating_add(lifetime)));
        claims.insert("jti".to_owned(), json!(uuid::Uuid::new_v4().to_string()));
    }
}

fn refused(status: StatusCode, text: &str) -> (StatusCode, String) {
    (status, text.to_owned())
}

fn bearer(headers: &HeaderMap) -> Result<&str, (StatusCode, String)> {
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = sent.and_then(|value| value.strip_prefix("Bearer "));
    token.map(str::trim).ok_or_else(|| refused(StatusCode::UNAUTHORIZED, "a bearer token is missing"))
}

/// A foreign token for one of ours, as plain text.
pub(crate) async fn exchange(
    State(state): State<Shared>,
    Path(provider): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Answer {
    if headers.contains_key(RETIRED) {
        return Err(refused(StatusCode::GONE, "enterprise users are no more"));
    }
    let is_test = Parameters::new(query).text("test") == Some("true");
    let read = || {
        let claims = state.keys.verify_foreign(bearer(&headers)?);
        claims.ok_or_else(|| refused(StatusCode::UNAUTHORIZED, "the token does not count"))
    };
    let request = match provider.as_str() {
        "maskinporten" => of_maskinporten(&state, &read()?, is_test)?,
        "id-porten" => of_idporten(&state, &read()?)?,
        _other => return Err(bad("the provider is neither maskinporten nor id-porten")),
    };
    Ok(request.mint(&state.keys, &state.base_url))
}

/// A token of ours with a new lifetime, as long as the old one.
pub(crate) async fn refresh(State(state): State<Shared>, headers: HeaderMap) -> Answer {
    let claims = state.keys.verify_bearer(bearer(&headers)?);
    let mut claims = claims.ok_or_else(|| refused(StatusCode::UNAUTHORIZED, "the token does not count"))?;
    let time = |name: &str| claims.get(name).and_then(Value::as_i64).unwrap_or_default();
    let lifetime = time("exp") - time("iat");
    renew(&mut claims, lifetime);
    Ok(state.keys.sign_bearer(&claims, None))
}

fn scopes(claims: &Value) -> Vec<&str> {
    claims.get("scope").and_then(Value::as_str).unwrap_or_default().split_whitespace().collect()
}

/// The number in `{"ID": "0192:991825827"}`.
fn number(claims: &Value, name: &str) -> Option<String> {
    let id = claims.get(name)?.get("ID")?.as_str()?;
    id.split_once(':').map(|(_, number)| number.to_owned())
}

fn of_maskinporten(
    state: &Shared,
    claims: &Value,
    is_test: bool,
) -> Result<TokenRequest, (StatusCode, String)> {
    let consumer = number(claims, "consumer")
        .ok_or_else(|| refused(StatusCode::UNAUTHORIZED, "the token names no consumer"))?;
    let scopes = scopes(claims);
    let system_user = claims.pointer("/authorization_details/0/systemuser_id/0").and_then(Value::as_str);
    let mut request = match system_user {
        Some(id) => TokenRequest::system_user(id, &consumer, &scopes),
        None => {
            let org = state.register.org_of_number(&consumer).filter(|_| scopes.contains(&SERVICE_OWNER));
            let org = org.map(|org| if is_test && org == "digdir" { "ttd".to_owned() } else { org });
            TokenRequest::enterprise(org.as_deref(), &consumer, &scopes)
        }
    };
    request.supplier = number(claims, "supplier");
    Ok(request)
}

fn of_idporten(state: &Shared, claims: &Value) -> Result<TokenRequest, (StatusCode, String)> {
    let scopes = scopes(claims);
    if !scopes.iter().any(|scope| scope.starts_with("altinn:")) {
        return Err(refused(StatusCode::FORBIDDEN, "the token has no scope of altinn"));
    }
    let pid = claims.get("pid").and_then(Value::as_str).unwrap_or_default();
    let unknown = || refused(StatusCode::UNAUTHORIZED, "Register does not know the person");
    let party = state.register.party_of_person(pid).ok_or_else(unknown)?;
    let user_id = party.user_id.ok_or_else(unknown)?;
    let level = match claims.get("acr").and_then(Value::as_str) {
        Some("idporten-loa-high") => 4,
        Some("idporten-loa-substantial") => 3,
        Some(_) | None => 0,
    };
    let mut request = TokenRequest::personal(user_id, party.party_id, &scopes).level(level);
    request.holder = Holder::Person { user_id, party_id: party.party_id, pid: Some(pid.to_owned()) };
    Ok(request)
}
