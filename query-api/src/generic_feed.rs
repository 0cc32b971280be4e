//! `GET /events/api/v1/events` (contract §1.6).

use access::{Caller, GenericReader};
use axum::{extract::State, response::Response};
use event::{resource, subject};
use http::HeaderMap;
use store::FeedFilter;

use crate::{
    QueryApi,
    answer::Wanted,
    checks::Checks,
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

fn filter_of(query: &Query, headers: &HeaderMap, checks: &mut Checks) -> Result<FeedFilter, Refusal> {
    let resource = query.get("resource").unwrap_or_default();
    if resource.is_empty() {
        checks.wrong("resource", "must be given");
    } else if !resource.starts_with(RESOURCE_PREFIX) {
        checks.wrong("resource", format!("must begin with {RESOURCE_PREFIX}"));
    }
    if query.get("after").is_none() {
        checks.wrong("after", "must be given; 0 starts with the oldest event");
    }
    let alternative = checks.of(header(headers, "Altinn-AlternativeSubject"))?;
    if alternative.is_some() && query.get("subject").is_some() {
        checks.wrong("subject", "and the header Altinn-AlternativeSubject must not be given together");
    }
    Ok(FeedFilter {
        resource: Some(resource::of_legacy(resource).unwrap_or_else(|| resource.to_owned())),
        alternative_subject: alternative.map(subject::alternative),
        types: checks.of(query.patterns("type"))?,
        ..FeedFilter::default()
    })
}

impl QueryApi {
    async fn generic_page(&self, caller: &Caller, asked: &Asked) -> Result<Response, Refusal> {
        let turn = self.turn(caller).await?;
        let query = Query::read(asked.uri.query())?;
        let mut checks = Checks::default();
        let mut filter = filter_of(&query, &asked.headers, &mut checks)?;
        let size = checks.of(query.generic_size())?;
        checks.of(query.wait())?;
        checks.done()?;
        if let Some(subject) = query.get("subject") {
            filter.subjects = vec![self.canonical_subject(subject).await?];
        }
        self.answer(Wanted { caller, turn, rights: Rights::Generic, filter, size }, &query, &asked.uri).await
    }
}
