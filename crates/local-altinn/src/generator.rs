//! The token generator, with the paths and parameters of Altinn's public test tool. The answer is the token as plain text. Any
//! `Authorization` header is let through unread, and so is `env`. Names of parameters are read without regard to case.

use std::collections::HashMap;

use axum::{
    extract::{Query, State},
    http::StatusCode,
};

use crate::{
    Shared,
    tokens::{Holder, TokenRequest},
};

/// A token as plain text, or why there is none.
pub(crate) type Answer = Result<String, (StatusCode, String)>;

/// The person that examples use.
const USER: i64 = 1337;

pub(crate) async fn enterprise(
    State(state): State<Shared>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let parameters = Parameters::new(query);
    let org = parameters.text("org");
    let known = org.and_then(|org| state.register.number_of_org(org));
    let number = parameters.text("orgno").map(str::to_owned).or(known).ok_or_else(|| {
        bad("orgNo is missing: the organisation number of the token's owner; example: org=ttd&orgNo=991825827")
    })?;
    parameters.mint(&state, TokenRequest::enterprise(org, &number, &[]))
}

pub(crate) async fn personal(
    State(state): State<Shared>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let parameters = Parameters::new(query);
    let pid = parameters.text("pid");
    let by_pid = pid.and_then(|pid| state.register.user_of_person(pid));
    let user_id = parameters.number("userid")?.or(by_pid).unwrap_or(USER);
    let known = state.register.party_of_user(user_id);
    let party_id = parameters.number("partyid")?.or(known.as_ref().map(|party| party.party_id)).ok_or_else(|| {
        bad("partyId is missing, and the user is not among the known ones; example: userId=1337&partyId=50001337")
    })?;
    let pid = pid.map(str::to_owned).or(known.and_then(|party| party.person_number));
    let mut request = TokenRequest::personal(user_id, party_id, &[]);
    request.holder = Holder::Person { user_id, party_id, pid };
    parameters.mint(&state, request)
}

pub(crate) async fn system_user(
    State(state): State<Shared>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let parameters = Parameters::new(query);
    let example = "example: systemUserId=a1b2c3d4-0000-4000-8000-000000000001&orgNo=991825827";
    let id =
        parameters.text("systemuserid").ok_or_else(|| bad(&format!("systemUserId is missing; {example}")))?;
    let number = parameters.text("orgno").ok_or_else(|| bad(&format!("orgNo is missing; {example}")))?;
    parameters.mint(&state, TokenRequest::system_user(id, number, &[]))
}

pub(crate) async fn platform(
    State(state): State<Shared>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let parameters = Parameters::new(query);
    let app = parameters.text("app").ok_or_else(|| bad("app is missing; example: org=ttd&app=apps-test"))?;
    let issuer = parameters.text("org").unwrap_or("platform");
    parameters.mint(&state, TokenRequest::platform(issuer, app))
}

/// Query parameters by lower-case name; of a name that occurs twice the last one.
pub(crate) struct Parameters(HashMap<String, String>);

impl Parameters {
    pub(crate) fn new(query: Vec<(String, String)>) -> Self {
        Self(query.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect())
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, (StatusCode, String)> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| bad(&format!("{name} is not a whole number")))
    }

    /// Separated by commas or blanks.
    pub(crate) fn scopes(&self) -> Vec<String> {
        let scopes = self.text("scopes").unwrap_or_default();
        scopes.split([',', ' ']).filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
    }

    /// Adds what every kind of token has, then signs.
    fn mint(&self, state: &Shared, mut request: TokenRequest) -> Answer {
        request.scopes = self.scopes();
        if let Some(ttl_s) = self.number("ttl")? {
            request.ttl_s = ttl_s;
        }
        if let Some(level) = self.number("authlvl")? {
            let level = u8::try_from(level).ok().filter(|level| *level <= 4);
            request.auth_level = Some(level.ok_or_else(|| bad("authLvl is not a number from 0 to 4"))?);
        }
        request.supplier = self.text("supplierorgno").map(str::to_owned);
        Ok(request.mint(&state.keys, &state.base_url))
    }
}

pub(crate) fn bad(text: &str) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, text.to_owned())
}
