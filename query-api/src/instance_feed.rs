//! `POST /events/instanceeventsforinstance/{party}/{guid}` of the seed document: the events of one instance.
//!
//! Whoever holds the id of an instance may read its events without a login, where the policy of its app permits `read` to the
//! anonymous subject. Everything else is 401, and so is an instance that does not exist. Who sends a token reads with the rights
//! of that token. An address may come so often a minute; nobody waits here.

use access::{Caller, Visitor};
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use store::FeedFilter;

use crate::{QueryApi, answer::Wanted, error::Refusal, feed::Rights, query::Query, router::Asked};

/// The id in its two parts.
pub async fn feed(
    asked: Asked,
    State(api): State<QueryApi>,
    Visitor(caller): Visitor,
    Path((party, guid)): Path<(String, String)>,
) -> Response {
    api.instance_page(&caller, &party, &guid, &asked).await.unwrap_or_else(Refusal::into_response)
}

/// The id as one part of the path, its slash encoded.
pub async fn encoded_feed(
    asked: Asked,
    State(api): State<QueryApi>,
    Visitor(caller): Visitor,
    Path(instance): Path<String>,
) -> Response {
    let (party, guid) = instance.split_once('/').unwrap_or_default();
    api.instance_page(&caller, party, guid, &asked).await.unwrap_or_else(Refusal::into_response)
}

impl QueryApi {
    async fn instance_page(
        &self,
        caller: &Caller,
        party: &str,
        guid: &str,
        asked: &Asked,
    ) -> Result<Response, Refusal> {
        let query = Query::read(asked.uri.query())?;
        let Some(party) = party.parse::<i64>().ok().filter(|party| *party > 0 && !guid.is_empty()) else {
            return Err(Refusal::wrong("instanceId", "must be {party}/{guid}"));
        };
        let filter = FeedFilter {
            subjects: vec![format!("/party/{party}")],
            instance: Some(format!("{party}/{guid}")),
            ..FeedFilter::default()
        };
        let size = query.app_size()?;
        self.answer(Wanted { caller, rights: Rights::App, filter, size }, &query, &asked.uri).await
    }
}
