//! `GET /events/api/v1/app/{org}/{app}` and `GET /events/api/v1/app/party` (contract §1.4).
//!
//! Who acts for many reads the events of many parties at once: `party` may be a list, and a list that is too long for an address
//! comes as the body of a POST to the same path. Rights are asked for each event; what they refuse is left out.

use access::{Authenticated, Caller};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use event::{
    resource,
    subject::{self, PartyNumber},
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use service::json;
use store::FeedFilter;

use crate::{
    QueryApi,
    answer::Wanted,
    body::Whole,
    checks::Checks,
    config::{PARTIES_MAX, WAITING_PARTIES_MAX},
    error::Refusal,
    feed::Rights,
    query::{Query, from_json, header},
    router::{Asked, PathParts, SaysJson},
};

/// The events of one app, for its owner.
pub async fn org_feed(
    asked: Asked,
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    PathParts((org, app)): PathParts<(String, String)>,
) -> Response {
    if caller.org.is_none() {
        let text = "Only an organisation that owns services may call this.".to_owned();
        return Refusal::Text(StatusCode::UNAUTHORIZED, text).into_response();
    }
    let resource = Some(resource::app(&org, &app));
    api.app_page(&caller, resource, &asked, Vec::new()).await.unwrap_or_else(refused)
}

/// The events about one party or several, of all apps.
pub async fn party_feed(
    asked: Asked,
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
) -> Response {
    api.app_page(&caller, None, &asked, Vec::new()).await.unwrap_or_else(refused)
}

/// The body of [`parties_feed`].
#[derive(Deserialize)]
struct Listed {
    parties: Vec<i64>,
}

/// The same for parties that stand in the body: `{"parties": [50001337, 51000001]}`.
pub async fn parties_feed(
    asked: Asked,
    _: SaysJson,
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    body: Result<Whole, Refusal>,
) -> Response {
    let page = async {
        let listed: Listed = from_json(&body?.0)?;
        api.app_page(&caller, None, &asked, listed.parties).await
    };
    page.await.unwrap_or_else(refused)
}

fn refused(refusal: Refusal) -> Response {
    refusal.with_type_if_wrong(json::CONTENT_TYPE)
}

/// Whom the request asks about.
#[derive(Default)]
pub(crate) enum About {
    /// Anybody.
    #[default]
    Nobody,
    /// These parties.
    Parties(Vec<i64>),
    /// An organisation, by its number.
    Unit(String),
    /// A person, by the number that is never logged.
    Person(String),
}

/// Whom the parameters name.
fn about(
    query: &Query,
    headers: &HeaderMap,
    parties: Vec<i64>,
    checks: &mut Checks,
) -> Result<About, Refusal> {
    let (person, unit) = (checks.of(header(headers, "person"))?, query.get("unit"));
    if person.is_some() && !parties.is_empty() {
        checks.wrong("person", "and party must not be given together");
    }
    if unit.is_some() && !parties.is_empty() {
        checks.wrong("unit", "and party must not be given together");
    }
    if unit.is_some_and(|unit| unit.len() != 9 || !unit.bytes().all(|byte| byte.is_ascii_digit())) {
        checks.wrong("unit", "must be an organisation number of nine digits");
    }
    if parties.len() > PARTIES_MAX {
        checks.wrong("party", format!("may name {PARTIES_MAX} parties"));
    }
    let wait = checks.of(query.wait())?;
    if parties.len() > WAITING_PARTIES_MAX && !wait.is_zero() {
        checks.wrong("wait", format!("may be asked for with {WAITING_PARTIES_MAX} parties at most"));
    }
    Ok(match (unit, person) {
        (Some(unit), _) => About::Unit(unit.to_owned()),
        (None, Some(person)) => About::Person(person.to_owned()),
        (None, None) if parties.is_empty() => About::Nobody,
        (None, None) => About::Parties(parties),
    })
}

/// The filter but for its subjects, which Register may have to tell.
fn filter_of(query: &Query, resource: Option<String>, checks: &mut Checks) -> Result<FeedFilter, Refusal> {
    if query.get("after").is_none() && query.get("from").is_none() {
        checks.wrong("from", "or after must be given");
    }
    let (from, to) = (checks.of(query.time("from"))?, checks.of(query.time("to"))?);
    let types_any_case = checks.of(query.patterns("type"))?;
    let sources_any_case = if resource.is_none() { checks.of(query.patterns("source"))? } else { Vec::new() };
    Ok(FeedFilter { resource, types_any_case, sources_any_case, from, to, ..FeedFilter::default() })
}

impl QueryApi {
    /// The feed of a resource, or of parties when there is none: those of the parameters and those `listed` in the body.
    async fn app_page(
        &self,
        caller: &Caller,
        resource: Option<String>,
        asked: &Asked,
        listed: Vec<i64>,
    ) -> Result<Response, Refusal> {
        let turn = self.turn(caller).await?;
        let query = Query::read(asked.uri.query())?;
        // A party's feed holds events of apps and of other resources: each is asked for by its own rules.
        let rights = if resource.is_none() { Rights::ByResource } else { Rights::App };
        // In the order of the contract (§1.4), all at once.
        let mut checks = Checks::default();
        let mut filter = filter_of(&query, resource, &mut checks)?;
        let size = checks.of(query.app_size())?;
        let mut parties = checks.of(query.parties())?;
        parties.extend(listed);
        let about = about(&query, &asked.headers, parties, &mut checks)?;
        if matches!(about, About::Nobody) && filter.resource.is_none() {
            checks.wrong("party", "or unit or the header person must be given");
        }
        checks.done()?;
        filter.subjects = self.subjects_of(about).await?;
        self.answer(Wanted { caller, turn, rights, filter, size }, &query, &asked.uri).await
    }

    /// A subject as the feed knows it: a number becomes its party. An organisation that nobody knows is itself.
    ///
    /// # Errors
    /// A person whom Register does not know, or no answer from it.
    pub(crate) async fn canonical_subject(&self, text: &str) -> Result<String, Refusal> {
        let about = match subject::party_number(text) {
            None => return Ok(subject::canonical(text)),
            Some(PartyNumber::Organisation(number)) => About::Unit(number.to_owned()),
            Some(PartyNumber::Person(number)) => About::Person(number.to_owned()),
        };
        let is_person = matches!(about, About::Person(_));
        match self.subjects_of(about).await {
            Err(Refusal::Unknown(_)) if !is_person => Ok(text.to_owned()),
            found => found.map(|mut subjects| subjects.pop().unwrap_or_default()),
        }
    }

    /// The canonical subjects of whom a request asks about.
    ///
    /// # Errors
    /// Register does not know the unit or person, or gives no answer.
    pub(crate) async fn subjects_of(&self, about: About) -> Result<Vec<String>, Refusal> {
        let of_party = |party: i64| format!("/party/{party}");
        let found = match about {
            About::Nobody => return Ok(Vec::new()),
            About::Parties(mut parties) => {
                parties.sort_unstable();
                parties.dedup();
                return Ok(parties.into_iter().map(of_party).collect());
            }
            About::Unit(unit) => self.inner.access.party_of_organisation(&unit).await,
            About::Person(person) => self.inner.access.party_of_person(&person).await,
        };
        match found {
            Ok(Some(party)) => Ok(vec![of_party(party)]),
            Ok(None) => Err(Refusal::Unknown("unit or person")),
            Err(_) => Err(Refusal::Neighbour("Register")),
        }
    }
}
