//! `GET /events/api/v1/events` (contract §1.6).

use access::{Caller, GenericReader, Turn};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use event::{Event, Sequence, resource, subject};
use http::{HeaderMap, header::CONTENT_TYPE};
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

/// The alternative subject of the header, or of the link that says it in its place.
fn stated(by_link: Option<&str>, by_header: Option<String>, checks: &mut Checks) -> Option<String> {
    if by_link.is_some_and(subject::is_person_number) {
        checks.wrong(ALTERNATIVE, format!("must not hold a person's number; send the header {HEADER}"));
    }
    let by_link = by_link.map(subject::alternative);
    if by_header.is_some() && by_link.is_some() && by_header != by_link {
        checks.wrong(ALTERNATIVE, format!("and the header {HEADER} must name the same"));
    }
    by_header.or(by_link)
}

impl QueryApi {
    /// The alternative subject of the event at a place, where this caller may read that event now.
    async fn alternative_at(
        &self,
        caller: &Caller,
        turn: &mut Turn,
        place: Sequence,
        resource: &str,
    ) -> Result<Option<String>, Refusal> {
        let found = self.inner.store.alternative_subject_at(place, resource).await?;
        let Some((alternative, json)) = found else { return Ok(None) };
        let Ok(event) = Event::stored(json.as_bytes()) else { return Ok(None) };
        Ok(self.may_read(caller, Rights::Generic, turn, &event).await?.then_some(alternative))
    }

    /// The alternative subject that is asked for: by the header, or by what our links say in its place. About a place there is one
    /// answer to whoever may not know whom its event is about, also where the header guesses.
    async fn alternative(
        &self,
        caller: &Caller,
        turn: &mut Turn,
        (query, headers): (&Query, &HeaderMap),
        checks: &mut Checks,
    ) -> Result<Option<String>, Refusal> {
        let by_header = checks.of(header(headers, HEADER))?.map(subject::alternative);
        let place = checks.of(query.number(ALTERNATIVE_OF))?;
        let (None, Some(place)) = (query.get(ALTERNATIVE), place) else {
            return Ok(stated(query.get(ALTERNATIVE), by_header, checks));
        };
        let resource = stored(query.get("resource").unwrap_or_default());
        let found = self.alternative_at(caller, turn, Sequence(place), &resource).await?;
        let found = found.filter(|found| by_header.as_ref().is_none_or(|header| header == found));
        if found.is_none() {
            let text = format!("is no event of this feed any more; send the header {HEADER}");
            checks.wrong(ALTERNATIVE_OF, text);
        }
        Ok(found)
    }

    async fn generic_page(&self, caller: &Caller, asked: &Asked) -> Result<Response, Refusal> {
        let mut turn = self.turn(caller).await?;
        let query = Query::read(asked.uri.query())?;
        let mut checks = Checks::default();
        let alternative = self.alternative(caller, &mut turn, (&query, &asked.headers), &mut checks).await?;
        let mut filter = filter_of(&query, alternative, &mut checks)?;
        let size = checks.of(query.generic_size())?;
        checks.of(query.wait())?;
        checks.done()?;
        if let Some(subject) = query.get("subject") {
            filter.subjects = match self.canonical_subject(subject).await {
                // Nothing is about a person whom nobody knows (contract §1.6).
                Err(Refusal::Unknown(_)) => return Ok(nothing()),
                found => vec![found?],
            };
        }
        self.answer(Wanted { caller, turn, rights: Rights::Generic, filter, size }, &query, &asked.uri).await
    }
}

/// No events, and no position that another request could go on from.
fn nothing() -> Response {
    ([(CONTENT_TYPE, EVENTS)], "[]").into_response()
}
