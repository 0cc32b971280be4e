//! `GET /events/api/v1/app/{org}/{app}` and `GET /events/api/v1/app/party` (contract §1.4).

use access::{Authenticated, Caller};
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use event::resource;
use http::{HeaderMap, StatusCode};
use store::FeedFilter;

use crate::{
    QueryApi,
    answer::Wanted,
    error::Refusal,
    feed::Rights,
    query::{Query, header},
    router::Asked,
};

const PROBLEM: &str = "application/json; charset=utf-8";

/// The events of one app, for its owner.
pub async fn org_feed(
    asked: Asked,
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Path((org, app)): Path<(String, String)>,
) -> Response {
    if caller.org.is_none() {
        let text = "Only an organisation that owns services may call this.".to_owned();
        return Refusal::Text(StatusCode::UNAUTHORIZED, text).into_response();
    }
    api.app_page(&caller, Some(resource::app(&org, &app)), &asked).await.unwrap_or_else(refused)
}

/// The events about one party, of all apps.
pub async fn party_feed(
    asked: Asked,
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
) -> Response {
    api.app_page(&caller, None, &asked).await.unwrap_or_else(refused)
}

fn refused(refusal: Refusal) -> Response {
    refusal.with_type_if_wrong(PROBLEM)
}

/// Whom the request asks about.
enum About {
    Nobody,
    Party(i64),
    Unit(String),
    Person(String),
}

/// The checks of the contract, in its order; the filter but for its subject, which Register may have to tell.
fn checked(
    query: &Query,
    headers: &HeaderMap,
    resource: Option<String>,
) -> Result<(About, FeedFilter), Refusal> {
    if query.get("after").is_none() && query.get("from").is_none() {
        return Err(Refusal::wrong("from", "or after must be given"));
    }
    let (from, to) = (query.time("from")?, query.time("to")?);
    query.app_size()?;
    let party = query.number("party")?.filter(|party| *party > 0);
    let (person, unit) = (header(headers, "person")?, query.get("unit"));
    if person.is_some() && party.is_some() {
        return Err(Refusal::wrong("person", "and party must not be given together"));
    }
    if unit.is_some() && party.is_some() {
        return Err(Refusal::wrong("unit", "and party must not be given together"));
    }
    if unit.is_some_and(|unit| unit.len() != 9 || !unit.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(Refusal::wrong("unit", "must be an organisation number of nine digits"));
    }
    let about = match (party, unit, person) {
        (Some(party), _, _) => About::Party(party),
        (None, Some(unit), _) => About::Unit(unit.to_owned()),
        (None, None, Some(person)) => About::Person(person.to_owned()),
        (None, None, None) if resource.is_none() => {
            return Err(Refusal::wrong("party", "or unit or the header person must be given"));
        }
        (None, None, None) => About::Nobody,
    };
    let types_any_case = query.patterns("type")?;
    let sources_any_case = if resource.is_none() { query.patterns("source")? } else { Vec::new() };
    Ok((about, FeedFilter { resource, types_any_case, sources_any_case, from, to, ..FeedFilter::default() }))
}

impl QueryApi {
    /// The feed of a resource, or of a party when there is none.
    async fn app_page(
        &self,
        caller: &Caller,
        resource: Option<String>,
        asked: &Asked,
    ) -> Result<Response, Refusal> {
        let query = Query::read(asked.uri.query())?;
        // A party's feed holds events of apps and of other resources: each is asked for by its own rules.
        let rights = if resource.is_none() { Rights::ByResource } else { Rights::App };
        let (about, mut filter) = checked(&query, &asked.headers, resource)?;
        filter.subject = self.subject_of(about).await?;
        let size = query.app_size()?;
        self.answer(Wanted { caller, rights, filter, size }, &query, &asked.uri).await
    }

    async fn subject_of(&self, about: About) -> Result<Option<String>, Refusal> {
        let found = match about {
            About::Nobody => return Ok(None),
            About::Party(party) => return Ok(Some(format!("/party/{party}"))),
            About::Unit(unit) => self.inner.access.party_of_organisation(&unit).await,
            About::Person(person) => self.inner.access.party_of_person(&person).await,
        };
        match found {
            Ok(Some(party)) => Ok(Some(format!("/party/{party}"))),
            Ok(None) => Err(Refusal::Unknown("unit or person")),
            Err(_) => Err(Refusal::Neighbour("Register")),
        }
    }
}
