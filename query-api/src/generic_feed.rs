//! `GET /events/api/v1/events` (contract §1.6).

use access::{Caller, GenericReader};
use axum::{extract::State, response::Response};
use event::subject;
use http::HeaderMap;
use store::FeedFilter;

use crate::{
    QueryApi,
    answer::Wanted,
    error::Refusal,
    feed::Rights,
    query::{Query, header},
    router::Asked,
};

const PROBLEM: &str = "application/cloudevents+json; charset=utf-8";
const RESOURCE_PREFIX: &str = "urn:altinn:resource:";

/// The events of one resource.
pub async fn feed(
    asked: Asked,
    State(api): State<QueryApi>,
    GenericReader(caller): GenericReader,
) -> Response {
    api.generic_page(&caller, &asked).await.unwrap_or_else(|refusal| refusal.with_type_if_wrong(PROBLEM))
}

fn filter_of(query: &Query, headers: &HeaderMap) -> Result<FeedFilter, Refusal> {
    let Some(resource) = query.get("resource") else {
        return Err(Refusal::wrong("resource", "must be given"));
    };
    if !resource.starts_with(RESOURCE_PREFIX) {
        return Err(Refusal::wrong("resource", format!("must begin with {RESOURCE_PREFIX}")));
    }
    if query.get("after").is_none() {
        return Err(Refusal::wrong("after", "must be given; 0 starts with the oldest event"));
    }
    let alternative = header(headers, "Altinn-AlternativeSubject")?;
    if alternative.is_some() && query.get("subject").is_some() {
        return Err(Refusal::wrong(
            "subject",
            "and the header Altinn-AlternativeSubject must not be given together",
        ));
    }
    Ok(FeedFilter {
        resource: Some(resource.to_owned()),
        alternative_subject: alternative.map(subject::alternative),
        types: query.patterns("type")?,
        ..FeedFilter::default()
    })
}

impl QueryApi {
    async fn generic_page(&self, caller: &Caller, asked: &Asked) -> Result<Response, Refusal> {
        let query = Query::read(asked.uri.query())?;
        let mut filter = filter_of(&query, &asked.headers)?;
        if let Some(subject) = query.get("subject") {
            filter.subjects = vec![self.canonical_subject(subject).await?];
        }
        let size = query.generic_size()?;
        self.answer(Wanted { caller, rights: Rights::Generic, filter, size }, &query, &asked.uri).await
    }
}
