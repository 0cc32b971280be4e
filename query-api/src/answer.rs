//! A page as it goes out: the array, `next`, `feed-cursor`.

use axum::response::{IntoResponse, Response};
use event::{Event, subject};
use http::{HeaderName, HeaderValue, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use store::FeedFilter;

use crate::{config::Config, cursor, feed::Page, query::Query};

/// What is not encoded in a link.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'/');

/// How a reader says which page comes next.
pub struct Link<'a> {
    /// The settings, for the address that clients use.
    pub config: &'a Config,
    /// The path as it was asked for.
    pub uri: &'a Uri,
    /// The parameters as they were sent.
    pub query: &'a Query,
    /// The filter that was read with.
    pub filter: &'a FeedFilter,
}

/// The answer for a page. `next` is there when the page has events or the scan stopped at its bound; `feed-cursor` always.
pub fn page(page: &Page, link: &Link<'_>) -> Response {
    let bodies: Vec<&str> = page.events.iter().map(Event::json).collect();
    let body = format!("[{}]", bodies.join(", "));
    let mut response =
        ([(header::CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")], body).into_response();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&cursor::encode(page.position, link.filter)) {
        headers.insert(HeaderName::from_static("feed-cursor"), value);
    }
    if !page.events.is_empty() || page.more {
        // A link that does not fit a header is left out; the cursor says the same.
        if let Ok(value) = HeaderValue::from_str(&next(page, link)) {
            headers.insert(HeaderName::from_static("next"), value);
        }
    }
    response
}

fn next(page: &Page, link: &Link<'_>) -> String {
    let mut filter = link.filter.clone();
    // A header cannot be in a link: the subject of the first event stands for the alternative one (contract §1.7).
    let first = page.events.first().and_then(Event::canonical_subject);
    let subject = match (&filter.alternative_subject, &filter.subject, first) {
        (Some(_), None, Some(subject)) if !subject::is_person_number(&subject) => Some(subject),
        (_, _, _) => None,
    };
    if subject.is_some() {
        filter.alternative_subject = None;
        filter.subject.clone_from(&subject);
    }
    let encode = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
    let mut text = format!(
        "{}{}?after={}",
        link.config.base_uri,
        link.uri.path(),
        encode(&cursor::encode(page.position, &filter))
    );
    let rest = link.query.without("after").chain(subject.as_deref().map(|subject| ("subject", subject)));
    for (name, value) in rest {
        text.push('&');
        text.push_str(&encode(name));
        text.push('=');
        text.push_str(&encode(value));
    }
    text
}

#[cfg(test)]
mod tests {
    use event::Sequence;
    use service::env::Env;

    use super::*;

    #[test]
    fn a_link_keeps_every_parameter_and_encodes_it() {
        let config = Config::from_env(&Env::from_pairs([("BASE_URI", "https://x.no/")]));
        let query = Query::read(Some("after=0&from=2026-01-01T00:00:00%2B01:00&unknown=a%26b&type=x&type=y"));
        let filter = FeedFilter { resource: Some("r".into()), ..FeedFilter::default() };
        let uri = Uri::from_static("/events/api/v1/app/ttd/apps-test?after=0");
        let link = Link { config: &config, uri: &uri, query: &query, filter: &filter };
        let page = Page { events: Vec::new(), position: Sequence(9), more: true };
        let cursor = cursor::encode(Sequence(9), &filter);
        assert_eq!(
            next(&page, &link),
            format!(
                "https://x.no/events/api/v1/app/ttd/apps-test?after={cursor}&from=2026-01-01T00:00:00%2B01:00&unknown=a%26b&type=x&type=y"
            )
        );
    }
}
