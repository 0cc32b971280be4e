//! `GET /events/api/v1/events` (contract §1.6).

use access::{Caller, GenericReader};
use axum::{extract::State, response::Response};
use event::{Sequence, resource, subject};
use http::HeaderMap;
use store::FeedFilter;

use crate::{
    QueryApi,
    answer::{ALTERNATIVE, ALTERNATIVE_OF, EVENTS, Wanted},
    checks::Checks,
    error::Refusal,
    feed::Rights,
    query::{Query, header},
    router::Asked,
};

const HEADER: &str = "Altinn-AlternativeSubject";
const RESOURCE_PREFIX: &str = "urn:altinn:resource:";

/// The events of one resource.
pub async fn feed(
    asked: Asked,
    State(api): State<QueryApi>,
    GenericReader(caller): GenericReader,
) -> Response {
    api.generic_page(&caller, &asked).await.unwrap_or_else(|refusal| refusal.with_type_if_wrong(EVENTS))
}

fn filter_of(query: &Query, alternative: Option<String>, checks: &mut Checks) -> Result<FeedFilter, Refusal> {
    let resource = query.get("resource").unwrap_or_default();
    if resource.is_empty() {
        checks.wrong("resource", "must be given");
    } else if !resource.starts_with(RESOURCE_PREFIX) {
        checks.wrong("resource", format!("must begin with {RESOURCE_PREFIX}"));
    }
    if query.get("after").is_none() {
        checks.wrong("after", "must be given; 0 starts with the oldest event");
    }
    if alternative.is_some() && query.get("subject").is_some() {
        checks.wrong("subject", format!("and the header {HEADER} must not be given together"));
    }
    Ok(FeedFilter {
        resource: Some(stored(resource)),
        alternative_subject: alternative,
        types: checks.of(query.patterns("type"))?,
        ..FeedFilter::default()
    })
}

/// The resource as it is stored.
fn stored(resource: &str) -> String {
    resource::of_legacy(resource).unwrap_or_else(|| resource.to_owned())
}

impl QueryApi {
    /// The alternative subject that is asked for: by the header, or by what our links say in its place.
    async fn alternative(
        &self,
        query: &Query,
        headers: &HeaderMap,
        checks: &mut Checks,
    ) -> Result<Option<String>, Refusal> {
        let by_header = checks.of(header(headers, HEADER))?.map(subject::alternative);
        let by_link = match (query.get(ALTERNATIVE), checks.of(query.number(ALTERNATIVE_OF))?) {
            (Some(text), _) if subject::is_person_number(text) => {
                checks
                    .wrong(ALTERNATIVE, format!("must not hold a person's number; send the header {HEADER}"));
                None
            }
            (Some(text), _) => Some(subject::alternative(text)),
            (None, Some(place)) => {
                let resource = stored(query.get("resource").unwrap_or_default());
                let found = self.inner.store.alternative_subject_at(Sequence(place), &resource).await?;
                if found.is_none() {
                    checks.wrong(
                        ALTERNATIVE_OF,
                        format!("is no event of this feed any more; send the header {HEADER}"),
                    );
                }
                found
            }
            (None, None) => None,
        };
        if by_header.is_some() && by_link.is_some() && by_header != by_link {
            checks.wrong(ALTERNATIVE, format!("and the header {HEADER} must name the same"));
        }
        Ok(by_header.or(by_link))
    }

    async fn generic_page(&self, caller: &Caller, asked: &Asked) -> Result<Response, Refusal> {
        let turn = self.turn(caller).await?;
        let query = Query::read(asked.uri.query())?;
        let mut checks = Checks::default();
        let alternative = self.alternative(&query, &asked.headers, &mut checks).await?;
        let mut filter = filter_of(&query, alternative, &mut checks)?;
        let size = checks.of(query.generic_size())?;
        checks.of(query.wait())?;
        checks.done()?;
        if let Some(subject) = query.get("subject") {
            filter.subjects = vec![self.canonical_subject(subject).await?];
        }
        self.answer(Wanted { caller, turn, rights: Rights::Generic, filter, size }, &query, &asked.uri).await
    }
}
