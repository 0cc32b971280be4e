//! What every feed does once its parameters are read; a page as it goes out: the array, `next`, `feed-cursor`.

use std::time::Duration;

use access::{AuthError, Caller, Turn};
use axum::response::{IntoResponse, Response};
use event::{Event, Sequence, subject};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use store::FeedFilter;

use crate::{
    QueryApi,
    config::{Config, SIZE_MAX},
    cursor,
    error::Refusal,
    feed::{Page, Reading, Rights},
    query::{Query, check_text},
};

/// The content type of a page.
pub(crate) const EVENTS: &str = "application/cloudevents+json; charset=utf-8";

/// What is not encoded in a link.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'/');

/// The parameter of our links that stands for the header `Altinn-AlternativeSubject`.
pub const ALTERNATIVE: &str = "alternativesubject";
/// The same, by the place of an event that has it: no number of a person stands in a link.
pub const ALTERNATIVE_OF: &str = "alternativesubjectof";
/// Stretches that are looked through for an event that anybody may see.
const STRETCHES_MAX: usize = 20;

/// What a reader wants to see.
pub struct Wanted<'a> {
    /// Who reads.
    pub caller: &'a Caller,
    /// The caller's turn.
    pub turn: Turn,
    /// With which rights.
    pub rights: Rights,
    /// Which feed.
    pub filter: FeedFilter,
    /// Most events.
    pub size: i64,
}

impl QueryApi {
    /// Finds the position, reads the page, writes the answer.
    ///
    /// # Errors
    /// Those of [`QueryApi::position`] and [`QueryApi::read`].
    pub async fn answer(&self, wanted: Wanted<'_>, query: &Query, uri: &Uri) -> Result<Response, Refusal> {
        let Wanted { caller, mut turn, rights, filter, size } = wanted;
        // The path may hold anything, too.
        check_text("resource", filter.resource.as_deref().unwrap_or_default())?;
        if caller.is_anonymous() && !self.shows_anything(caller, &mut turn, rights, &filter).await? {
            return Err(Refusal::Caller(AuthError::Missing));
        }
        let wait = if caller.is_anonymous() { Duration::ZERO } else { query.wait()? };
        let mut reading = Reading { caller, rights, filter, after: Sequence(0), size, wait };
        reading.after = self.position(query, &reading, &mut turn).await?;
        let read = self.read(&reading, &mut turn).await?;
        let config = &self.inner.config;
        Ok(page(read, turn, &Link { config, uri, query, filter: &reading.filter }))
    }

    /// Whether the feed has an event that this caller may see. Where it has none, nothing about it is told: whether there is nothing, or
    /// nothing for everybody, looks the same from the start and from any position.
    async fn shows_anything(
        &self,
        caller: &Caller,
        turn: &mut Turn,
        rights: Rights,
        filter: &FeedFilter,
    ) -> Result<bool, Refusal> {
        let (filter, mut after) = (filter.clone(), Sequence(0));
        let reading = Reading { caller, rights, filter, after, size: 1, wait: Duration::ZERO };
        for _ in 0..STRETCHES_MAX {
            let page = self.scan(&reading, turn, after).await?;
            if !page.events.is_empty() || !page.more {
                return Ok(!page.events.is_empty());
            }
            after = page.position;
        }
        Ok(false)
    }
}

/// How a reader says which page comes next.
struct Link<'a> {
    /// The settings, for the address that clients use.
    config: &'a Config,
    /// The path as it was asked for.
    uri: &'a Uri,
    /// The parameters as they were sent.
    query: &'a Query,
    /// The filter that was read with.
    filter: &'a FeedFilter,
}

/// The answer for a page. `next` is there when the page has events or the scan stopped at its bound; `feed-cursor` always. The turn is
/// over when the last byte is written: who does not read its answers has no more of them than of turns.
fn page(page: Page, turn: Turn, link: &Link<'_>) -> Response {
    let bodies: Vec<&str> = page.events.iter().map(Event::json).collect();
    let body = format!("[{}]", bodies.join(", "));
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENTS));
    if let Ok(value) = HeaderValue::from_str(&cursor::encode(page.position, link.filter)) {
        headers.insert(HeaderName::from_static("feed-cursor"), value);
    }
    // Who asks for more than a page holds is told; `next` goes on.
    if link.query.number("size").is_ok_and(|size| size.is_some_and(|size| size > SIZE_MAX)) {
        headers.insert(HeaderName::from_static("feed-size-max"), HeaderValue::from(SIZE_MAX));
    }
    if !page.events.is_empty() || page.more {
        // A link that does not fit a header is left out; the cursor says the same.
        if let Some(Ok(value)) = next(&page, link).map(|link| HeaderValue::from_str(&link)) {
            headers.insert(HeaderName::from_static("next"), value);
        }
    }
    (headers, page.held.with(body, turn)).into_response()
}

/// No link where it would have to name a subject that may be a person's number.
fn next(page: &Page, link: &Link<'_>) -> Option<String> {
    let encode = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
    let cursor = cursor::encode(page.position, link.filter);
    let mut text = format!("{}{}?after={}", link.config.base_uri, link.uri.path(), encode(&cursor));
    let added = instead_of_header(page, link);
    let added = added.iter().map(|(name, value)| (*name, value.as_str()));
    for (name, value) in link.query.without("after").chain(added) {
        // A person's number is not written into a link: its party is the same subject.
        let value = match link.filter.subjects.first() {
            Some(subject) if name == "subject" && subject::is_person_number(value) => subject,
            Some(_) | None => value,
        };
        if name == "subject" && subject::is_person_number(value) {
            return None;
        }
        text.push('&');
        text.push_str(&encode(name));
        text.push('=');
        text.push_str(&encode(value));
    }
    Some(text)
}

/// A link says itself what the header said, whether its reader sends the header again or not: the alternative subject, or where that is
/// a person's number, an event that has it. Parameters that said so already are in the link as they are.
fn instead_of_header(page: &Page, link: &Link<'_>) -> Option<(&'static str, String)> {
    let alternative = link.filter.alternative_subject.as_deref()?;
    let is_said = [ALTERNATIVE, ALTERNATIVE_OF].iter().any(|name| link.query.get(name).is_some());
    match page.first {
        _ if is_said => None,
        first if subject::is_person_number(alternative) => {
            first.map(|sequence| (ALTERNATIVE_OF, sequence.to_string()))
        }
        _ => Some((ALTERNATIVE, alternative.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use service::env::Env;

    use super::*;

    #[test]
    fn a_link_keeps_every_parameter_and_encodes_it() {
        let config = Config::from_env(&Env::from_pairs([("BASE_URI", "https://x.no/")]));
        let query = "after=0&from=2026-01-01T00:00:00%2B01:00&unknown=a%26b&type=x&type=y";
        let query = Query::read(Some(query)).unwrap();
        let filter = FeedFilter { resource: Some("r".into()), ..FeedFilter::default() };
        let uri = Uri::from_static("/events/api/v1/app/ttd/apps-test?after=0");
        let link = Link { config: &config, uri: &uri, query: &query, filter: &filter };
        let page = Page::at(Sequence(9));
        let cursor = cursor::encode(Sequence(9), &filter);
        assert_eq!(
            next(&page, &link),
            Some(format!(
                "https://x.no/events/api/v1/app/ttd/apps-test?after={cursor}&from=2026-01-01T00:00:00%2B01:00&unknown=a%26b&type=x&type=y"
            ))
        );
    }
}
