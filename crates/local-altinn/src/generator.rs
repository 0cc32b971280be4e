//! The token generator, with the paths and parameters of Altinn's public test tool, and two paths more for tokens to exchange.
//!
//! The answer is the token as plain text. Any `Authorization` header is let through unread, and so are `env` and `bulkCount`. Names
//! of parameters are read without regard to case.

use std::collections::HashMap;

use axum::{
    extract::{self, Query},
    http::StatusCode,
};

use serde_json::Value;

use crate::{
    Shared, State, claims,
    tokens::{Holder, TokenRequest},
};

type Answer = Result<String, (StatusCode, String)>;

/// The person that examples use.
const USER: i64 = 1337;

pub(crate) async fn enterprise(
    extract::State(state): extract::State<Shared>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let parameters = Parameters::new(query);
    let number = parameters.organisation(&state)?;
    parameters.mint(&state, TokenRequest::enterprise(parameters.text("org"), &number, &[]))
}

pub(crate) async fn personal(
    extract::State(state): extract::State<Shared>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let parameters = Parameters::new(query);
    let (pid, party_id) = (parameters.text("pid"), parameters.number("partyid")?);
    let told = pid.map(|pid| state.register.person(pid)).or(party_id.map(|id| state.register.party(id)));
    let user_id = match (parameters.number("userid")?, told) {
        (Some(user_id), _) => Some(user_id),
        (None, Some(person)) => person.and_then(|person| person.user_id),
        (None, None) => Some(USER),
    };
    let user_id = user_id.ok_or_else(|| {
        bad("userId is missing, and pid or partyId is not a known person's; example: userId=1337&partyId=50001337")
    })?;
    let known = state.register.party_of_user(user_id);
    let party_id = party_id.or(known.map(|party| party.party_id)).ok_or_else(|| {
        bad("partyId is missing, and the user is not among the known ones; example: userId=1337&partyId=50001337")
    })?;
    let pid = pid.or(known.and_then(|party| party.person_number.as_deref())).map(str::to_owned);
    let mut request = TokenRequest::personal(user_id, party_id, &[]);
    request.holder = Holder::Person { user_id, party_id, pid };
    parameters.mint(&state, request)
}

pub(crate) async fn system_user(
    extract::State(state): extract::State<Shared>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let parameters = Parameters::new(query);
    let example = "systemUserId is missing; \
                   example: systemUserId=a1b2c3d4-0000-4000-8000-000000000001&orgNo=991825827";
    let id = parameters.text("systemuserid").ok_or_else(|| bad(example))?;
    let number = parameters.organisation(&state)?;
    parameters.mint(&state, TokenRequest::system_user(id, &number, &[]))
}

pub(crate) async fn maskinporten(
    extract::State(state): extract::State<Shared>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let parameters = Parameters::new(query);
    let org_number = parameters.organisation(&state)?;
    let mut request = TokenRequest::maskinporten(&org_number, &[]);
    let system_user = parameters.text("systemuserid").map(str::to_owned);
    request.holder = Holder::Maskinporten { org_number, system_user };
    parameters.mint(&state, request)
}

pub(crate) async fn idporten(
    extract::State(state): extract::State<Shared>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let parameters = Parameters::new(query);
    let pid = parameters.text("pid").ok_or_else(|| bad("pid is missing; example: pid=02857010054"))?;
    let mut request = TokenRequest::idporten(pid, &[]);
    let acr = parameters.text("acr").map(str::to_owned);
    request.holder = Holder::Idporten { pid: pid.to_owned(), acr };
    parameters.mint(&state, request)
}

pub(crate) async fn platform(
    extract::State(state): extract::State<Shared>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let parameters = Parameters::new(query);
    let app = parameters.text("app").ok_or_else(|| bad("app is missing; example: org=ttd&app=apps-test"))?;
    let issuer = parameters.text("org").unwrap_or("platform");
    parameters.mint(&state, TokenRequest::platform(issuer, app))
}

/// Query parameters by lower-case name; of a name that occurs twice the last one.
struct Parameters(HashMap<String, String>);

impl Parameters {
    fn new(query: Vec<(String, String)>) -> Self {
        Self(query.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn number(&self, name: &str) -> Result<Option<i64>, (StatusCode, String)> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| bad(&format!("{name} is not a whole number")))
    }

    /// The number of the token's organisation: told, or that of the service owner or party that is told.
    fn organisation(&self, state: &Shared) -> Result<String, (StatusCode, String)> {
        let of_org = || self.text("org").and_then(|org| state.register.number_of_org(org));
        let party = self.number("partyid")?.and_then(|id| state.register.party(id));
        let told = self.text("orgno").map(str::to_owned).or_else(of_org);
        told.or(party.and_then(|party| party.org_number.clone())).ok_or_else(|| {
            bad("orgNo is missing: the organisation number of the token's owner; example: org=ttd&orgNo=991825827")
        })
    }

    /// Adds what every kind of token has, then signs.
    fn mint(&self, state: &Shared, mut request: TokenRequest) -> Answer {
        let scopes = self.text("scopes").unwrap_or_default();
        let scopes = scopes.split([',', ' ']).filter(|scope| !scope.is_empty());
        request.scopes = scopes.map(str::to_owned).collect();
        if let Some(ttl_s) = self.number("ttl")? {
            request.ttl_s = ttl_s;
        }
        if let Some(level) = self.number("authlvl")? {
            let level = u8::try_from(level).ok().filter(|level| *level <= 4);
            request.auth_level = Some(level.ok_or_else(|| bad("authLvl is not a number from 0 to 4"))?);
        }
        request.supplier = self.text("supplierorgno").map(str::to_owned);
        Ok(signed(&request, state))
    }
}

/// The token that is asked for.
pub(crate) fn signed(request: &TokenRequest, state: &State) -> String {
    let claims = Value::Object(claims::of_request(request, state));
    match &request.holder {
        Holder::Platform { .. } | Holder::Maskinporten { .. } | Holder::Idporten { .. } => {
            state.keys.sign_platform(&claims)
        }
        Holder::Enterprise { .. } | Holder::Person { .. } | Holder::SystemUser { .. } => {
            state.keys.sign_bearer(&claims, None)
        }
    }
}

fn bad(text: &str) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, text.to_owned())
}
