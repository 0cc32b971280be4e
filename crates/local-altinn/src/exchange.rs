//! The exchange of tokens of Maskinporten, ID-porten and Altinn Studio for Altinn's own, and their renewal (contract §2.7).
//!
//! The stand-in signs the tokens of all of them with one key, which no bearer token is signed with; their issuers tell them apart.

use std::collections::HashMap;

use axum::{
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
};
use serde_json::{Value, json};

use crate::{
    Shared,
    claims::{self, Claims},
    openid::{self, Provider},
    tokens::TTL_S,
};

type Refusal = (StatusCode, &'static str);

/// The header of the enterprise users that Altinn had.
const ENTERPRISE_USER: &str = "x-altinn-enterpriseuser-authentication";
/// The authentication level of organisations.
const ORGANISATION_LEVEL: u8 = 3;

const NO_TOKEN: Refusal = (StatusCode::UNAUTHORIZED, "a valid token of that provider is needed as bearer");
const UNKNOWN_PROVIDER: Refusal =
    (StatusCode::BAD_REQUEST, "the provider is not one of maskinporten, id-porten, altinnstudio");
const ENTERPRISE_USER_IS_GONE: Refusal = (StatusCode::GONE, "enterprise users are no more");
const NO_ORGANISATION: Refusal =
    (StatusCode::UNAUTHORIZED, "the token names no organisation as its consumer");
const NO_SCOPE: Refusal = (StatusCode::FORBIDDEN, "the token has no scope that begins with altinn:");
const UNKNOWN_PERSON: Refusal = (StatusCode::UNAUTHORIZED, "the person is not in Register");

/// `GET /authentication/api/v1/exchange/{provider}?test={bool}`.
pub(crate) async fn exchange(
    State(state): State<Shared>,
    Path(provider): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<String, Refusal> {
    let provider = Provider::parse(&provider).ok_or(UNKNOWN_PROVIDER)?;
    if headers.contains_key(ENTERPRISE_USER) {
        return Err(ENTERPRISE_USER_IS_GONE);
    }
    let foreign = bearer(&headers).and_then(|token| state.keys.verify_foreign(token));
    let foreign = of_issuer(foreign, &provider.issuer(&state.base_url)).ok_or(NO_TOKEN)?;
    let test = query.get("test").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let added = match provider {
        Provider::Maskinporten => of_organisation(&state, &foreign, test)?,
        Provider::Idporten => of_person(&state, &foreign)?,
        Provider::Studio => Claims::new(),
    };
    let mut claims = foreign;
    if provider != Provider::Studio {
        claims.retain(|name, _| !name.starts_with("urn:altinn:"));
    }
    claims.remove("aud");
    claims.extend(added);
    claims.insert("iss".into(), json!(openid::issuer(&state.base_url)));
    Ok(sign(&state, claims))
}

/// `GET /authentication/api/v1/refresh`: the same claims with a new lifetime.
pub(crate) async fn refresh(State(state): State<Shared>, headers: HeaderMap) -> Result<String, Refusal> {
    let claims = bearer(&headers).and_then(|token| state.keys.verify_bearer(token));
    of_issuer(claims, &openid::issuer(&state.base_url))
        .map(|claims| sign(&state, claims))
        .ok_or((StatusCode::UNAUTHORIZED, "a valid token is needed as bearer"))
}

fn sign(state: &Shared, mut claims: Claims) -> String {
    claims::set_lifetime(&mut claims, TTL_S);
    state.keys.sign_bearer(&Value::Object(claims), None)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn of_issuer(claims: Option<Claims>, issuer: &str) -> Option<Claims> {
    claims.filter(|claims| text(claims, "iss") == Some(issuer))
}

fn of_organisation(state: &Shared, foreign: &Claims, test: bool) -> Result<Claims, Refusal> {
    let id = foreign.get("consumer").and_then(|consumer| consumer.get("ID")).and_then(Value::as_str);
    let number = id.and_then(|id| id.strip_prefix("0192:")).ok_or(NO_ORGANISATION)?;
    let is_service_owner = text(foreign, "scope").is_some_and(|scope| scope.contains("altinn:serviceowner"));
    let org = state.register.org_of_number(number).filter(|_| is_service_owner);
    let org = org.map(|org| if test && org == "digdir" { "ttd" } else { org });
    Ok(claims::organisation(org, number, ORGANISATION_LEVEL))
}

fn of_person(state: &Shared, foreign: &Claims) -> Result<Claims, Refusal> {
    let mut scopes = text(foreign, "scope").unwrap_or_default().split_ascii_whitespace();
    if !scopes.any(|scope| scope.starts_with("altinn:")) {
        return Err(NO_SCOPE);
    }
    let party = text(foreign, "pid").and_then(|pid| state.register.person(pid)).ok_or(UNKNOWN_PERSON)?;
    let user_id = party.user_id.ok_or(UNKNOWN_PERSON)?;
    let level = claims::level_of(text(foreign, "acr").unwrap_or_default());
    Ok(claims::person(user_id, party.party_id, Some(party), level))
}

fn text<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}
