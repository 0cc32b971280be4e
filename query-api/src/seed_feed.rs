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

use crate::{
    QueryApi,
    answer::{self, Link},
    error::Refusal,
    feed::{Reading, Rights},
    query::Query,
    router::Asked,
};

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
    let filter = FeedFilter { resource: Some(resource::app(&org, &app)), ..FeedFilter::default() };
    api.seed_page(&caller, filter, &asked).await.unwrap_or_else(Refusal::into_response)
}

impl QueryApi {
    async fn seed_page(
        &self,
        caller: &Caller,
        mut filter: FeedFilter,
        asked: &Asked,
    ) -> Result<Response, Refusal> {
        let query = Query::read(asked.uri.query());
        if query.get("after").is_none() && query.get("from").is_none() {
            return Err(Refusal::wrong("from", "or after must be given"));
        }
        filter.registered_from = query.time("from")?;
        filter.types_any_case = query.all("eventType");
        let (size, wait) = (query.app_size()?, query.wait()?);
        let after = self.position(&query, &filter).await?;
        let reading = Reading { caller, rights: Rights::Scope, filter: filter.clone(), after, size, wait };
        let page = self.read(reading).await?;
        let link = Link { config: &self.inner.config, uri: &asked.uri, query: &query, filter: &filter };
        Ok(answer::page(&page, &link))
    }
}
