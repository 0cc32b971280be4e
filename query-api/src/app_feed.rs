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
    answer::{self, Link},
    error::Refusal,
    feed::{Reading, Rights},
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
    let filter = FeedFilter { resource: Some(resource::app(&org, &app)), ..FeedFilter::default() };
    api.app_page(&caller, filter, &asked).await.unwrap_or_else(refused)
}

/// The events about one party, of all apps.
pub async fn party_feed(
    asked: Asked,
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
) -> Response {
    api.app_page(&caller, FeedFilter::default(), &asked).await.unwrap_or_else(refused)
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

/// The checks of the contract, in its order.
fn checked(query: &Query, headers: &HeaderMap, is_party_feed: bool) -> Result<(About, i64), Refusal> {
    if query.get("after").is_none() && query.get("from").is_none() {
        return Err(Refusal::wrong("from", "or after must be given"));
    }
    query.time("from")?;
    query.time("to")?;
    let size = query.app_size()?;
    let party = query.number("party")?.filter(|party| *party > 0);
    let (person, unit) = (header(headers, "person"), query.get("unit"));
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
        (None, None, None) if is_party_feed => {
            return Err(Refusal::wrong("party", "or unit or the header person must be given"));
        }
        (None, None, None) => About::Nobody,
    };
    Ok((about, size))
}

impl QueryApi {
    async fn app_page(
        &self,
        caller: &Caller,
        mut filter: FeedFilter,
        asked: &Asked,
    ) -> Result<Response, Refusal> {
        let query = Query::read(asked.uri.query());
        let is_party_feed = filter.resource.is_none();
        let (about, size) = checked(&query, &asked.headers, is_party_feed)?;
        filter.subject = self.subject_of(about).await?;
        filter.types_any_case = query.all("type");
        filter.sources_any_case = if is_party_feed { query.all("source") } else { Vec::new() };
        (filter.from, filter.to) = (query.time("from")?, query.time("to")?);
        let after = self.position(&query, &filter).await?;
        let wait = query.wait()?;
        // A party's feed holds events of apps and of other resources: each is asked for by its own rules.
        let rights = if is_party_feed { Rights::ByResource } else { Rights::App };
        let reading = Reading { caller, rights, filter: filter.clone(), after, size, wait };
        let page = self.read(reading).await?;
        let link = Link { config: &self.inner.config, uri: &asked.uri, query: &query, filter: &filter };
        Ok(answer::page(&page, &link))
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
