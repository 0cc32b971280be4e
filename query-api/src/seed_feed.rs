//! The feeds of the seed document.
//!
//! `GET /events/instanceevents/{org}/{app}?from=&eventType=`, of an app: the scope `altinn:events/{org}/{app}` gives the whole feed, also to a supplier to whom the org delegated it. `from` compares
//! the registration, so that a reader who asks for what has come since its last look misses no event that came late.
//!
//! `POST /events/instanceeventsforparty/`, of one party: its number stands in the body, never in an address. Rights are asked for
//! each event. A reader goes on with `after`, which `next` holds; the body is sent again.

use access::{AuthError, Authenticated, Caller, scope};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use event::resource;
use serde::Deserialize;
use store::FeedFilter;

use crate::{
    QueryApi,
    answer::Wanted,
    app_feed::About,
    body::Whole,
    checks::Checks,
    error::Refusal,
    feed::Rights,
    query::{self, Query, check_text},
    router::{Asked, PathParts, SaysJson},
};

/// The events of one app.
pub async fn feed(
    asked: Asked,
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    PathParts((org, app)): PathParts<(String, String)>,
) -> Response {
    if !caller.has_scope(&scope::of_app(&org, &app)) {
        return AuthError::Forbidden.into_response();
    }
    if caller.is_by_delegation() {
        tracing::info!(
            consumer = caller.consumer_number,
            supplier = caller.supplier,
            org,
            app,
            "a feed is read by delegation"
        );
    }
    let resource = resource::app(&org, &app);
    api.seed_page(&caller, resource, &asked).await.unwrap_or_else(Refusal::into_response)
}

/// The body of [`party_feed`].
#[derive(Deserialize)]
struct Asking {
    /// `{org}/{app}`; absent for all apps.
    #[serde(rename = "appId")]
    app_id: Option<String>,
    party: Numbers,
    /// The oldest registration.
    fromtime: Option<String>,
    /// A type, or a pattern for types.
    r#type: Option<String>,
}

/// Whose events; one of the two.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Numbers {
    person_number: Option<String>,
    organisation_number: Option<String>,
}

/// The events about one party.
pub async fn party_feed(
    asked: Asked,
    _: SaysJson,
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    body: Result<Whole, Refusal>,
) -> Response {
    let page = async {
        let asking: Asking = query::from_json(&body?.0)?;
        api.seed_party_page(&caller, asking, &asked).await
    };
    page.await.unwrap_or_else(Refusal::into_response)
}

impl Asking {
    fn about(&self) -> Result<About, Refusal> {
        let given = |number: &Option<String>| number.clone().filter(|number| !number.is_empty());
        match (given(&self.party.person_number), given(&self.party.organisation_number)) {
            (Some(person), None) => Ok(About::Person(person)),
            (None, Some(organisation)) => Ok(About::Unit(organisation)),
            (Some(_), Some(_)) | (None, None) => {
                Err(Refusal::wrong("party", "must have either personNumber or organisationNumber"))
            }
        }
    }

    fn resource(&self) -> Result<Option<String>, Refusal> {
        let Some(id) = self.app_id.as_deref().filter(|id| !id.is_empty()) else { return Ok(None) };
        check_text("appId", id)?;
        match id.split_once('/') {
            Some((org, app)) if !org.is_empty() && !app.is_empty() => Ok(Some(resource::app(org, app))),
            Some(_) | None => Err(Refusal::wrong("appId", "must be {org}/{app}")),
        }
    }
}

impl QueryApi {
    async fn seed_party_page(
        &self,
        caller: &Caller,
        asking: Asking,
        asked: &Asked,
    ) -> Result<Response, Refusal> {
        let turn = self.turn(caller).await?;
        let query = Query::read(asked.uri.query())?;
        let mut checks = Checks::default();
        if query.get("after").is_none() && asking.fromtime.is_none() {
            checks.wrong("fromtime", "or the parameter after must be given");
        }
        let from = asking.fromtime.as_deref().map(|text| query::time("fromtime", text)).transpose();
        let mut filter = FeedFilter {
            resource: checks.of(asking.resource())?,
            registered_from: checks.of(from)?,
            types_any_case: checks
                .of(query::checked_patterns("type", asking.r#type.iter().cloned().collect()))?,
            ..FeedFilter::default()
        };
        let about = checks.of(asking.about())?;
        let size = checks.of(query.app_size())?;
        checks.of(query.wait())?;
        checks.done()?;
        filter.subjects = self.subjects_of(about).await?;
        self.answer(Wanted { caller, turn, rights: Rights::ByResource, filter, size }, &query, &asked.uri)
            .await
    }

    async fn seed_page(&self, caller: &Caller, resource: String, asked: &Asked) -> Result<Response, Refusal> {
        let turn = self.turn(caller).await?;
        let query = Query::read(asked.uri.query())?;
        let mut checks = Checks::default();
        if query.get("after").is_none() && query.get("from").is_none() {
            checks.wrong("from", "or after must be given");
        }
        let filter = FeedFilter {
            resource: Some(resource),
            registered_from: checks.of(query.time("from"))?,
            types_any_case: checks.of(query.patterns("eventType"))?,
            ..FeedFilter::default()
        };
        let size = checks.of(query.app_size())?;
        checks.of(query.wait())?;
        checks.done()?;
        self.answer(Wanted { caller, turn, rights: Rights::Scope, filter, size }, &query, &asked.uri).await
    }
}
