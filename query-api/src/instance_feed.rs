//! `POST /events/instanceeventsforinstance/{party}/{guid}` of the seed document: the events of one instance.
//!
//! Whoever holds the id of an instance may read its events without a login, where the policy of its app permits `read` to the
//! anonymous subject. Everything else is 401, and so is an instance that does not exist. Who sends a token reads with the rights
//! of that token. An address may come so often a minute; nobody waits here.

use access::{Caller, Visitor};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use store::FeedFilter;

use crate::{
    QueryApi,
    answer::Wanted,
    checks::Checks,
    error::Refusal,
    feed::Rights,
    query::Query,
    router::{Asked, PathParts},
};

/// The id in its two parts.
pub async fn feed(
    asked: Asked,
    State(api): State<QueryApi>,
    Visitor(caller): Visitor,
    PathParts((party, guid)): PathParts<(String, String)>,
) -> Response {
    api.instance_page(&caller, &party, &guid, &asked).await.unwrap_or_else(Refusal::into_response)
}

/// The id as one part of the path, its slash encoded.
pub async fn encoded_feed(
    asked: Asked,
    State(api): State<QueryApi>,
    Visitor(caller): Visitor,
    PathParts(instance): PathParts<String>,
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
        let turn = self.turn(caller).await?;
        let query = Query::read(asked.uri.query())?;
        let mut checks = Checks::default();
        let known = party.parse::<i64>().ok().filter(|party| *party > 0 && !guid.is_empty());
        let party = known.unwrap_or_default();
        if known.is_none() {
            checks.wrong("instanceId", "must be {party}/{guid}");
        }
        let size = checks.of(query.app_size())?;
        checks.of(query.wait())?;
        checks.done()?;
        let filter = FeedFilter {
            subjects: vec![format!("/party/{party}")],
            instance: Some(format!("{party}/{guid}")),
            ..FeedFilter::default()
        };
        self.answer(Wanted { caller, turn, rights: Rights::App, filter, size }, &query, &asked.uri).await
    }
}
