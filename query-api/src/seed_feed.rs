//! `GET /events/instanceevents/{org}/{app}?from=&eventType=`: the app feed of the seed document.
//!
//! The scope `altinn:events/{org}/{app}` gives the whole feed, also to a supplier to whom the org delegated it. `from` compares
//! the registration, so that a reader who asks for what has come since its last look misses no event that came late.

use access::{Authenticated, Caller};
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use event::resource;
use http::StatusCode;
use store::FeedFilter;

use crate::{QueryApi, answer::Wanted, error::Refusal, feed::Rights, query::Query, router::Asked};

/// The events of one app.
pub async fn feed(
    asked: Asked,
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Path((org, app)): Path<(String, String)>,
) -> Response {
    if !caller.has_scope(&format!("altinn:events/{org}/{app}")) {
        return StatusCode::FORBIDDEN.into_response();
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

impl QueryApi {
    async fn seed_page(&self, caller: &Caller, resource: String, asked: &Asked) -> Result<Response, Refusal> {
        let query = Query::read(asked.uri.query())?;
        if query.get("after").is_none() && query.get("from").is_none() {
            return Err(Refusal::wrong("from", "or after must be given"));
        }
        let filter = FeedFilter {
            resource: Some(resource),
            registered_from: query.time("from")?,
            types_any_case: query.patterns("eventType")?,
            ..FeedFilter::default()
        };
        let size = query.app_size()?;
        self.answer(Wanted { caller, rights: Rights::Scope, filter, size }, &query, &asked.uri).await
    }
}
