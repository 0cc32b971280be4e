//! Which form of CloudEvents a request has, by its content type; any other is 415, as is an encoding that we do not read, before anybody asks who calls (contract §1.1).

use axum::extract::FromRequestParts;
use event::media::{BATCH, EVENT, JSON, MediaType};
use http::{HeaderMap, header, request::Parts};
use service::encoding::Encoding;

use crate::{
    binary,
    body::{BATCH_MAX, EVENT_MAX},
    error::Refusal,
};

/// The form of what is published on the generic path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One event, JSON format.
    Structured,
    /// A list of events, JSON format.
    Batch,
    /// Attributes in headers, data in the body.
    Binary,
}

/// As [`Mode`], for the seed path, where plain `application/json` is an event too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeedMode(pub(crate) Mode);

/// The request carries the JSON of an app event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AppJson;

impl Mode {
    /// The most bytes a body of this form may have.
    pub(crate) const fn body_max(self) -> usize {
        match self {
            Self::Structured | Self::Binary => EVENT_MAX,
            Self::Batch => BATCH_MAX,
        }
    }
}

/// The media type of the content.
fn media(headers: &HeaderMap) -> Option<MediaType> {
    MediaType::parse(headers.get(header::CONTENT_TYPE)?.to_str().ok()?)
}

/// The form, or why it is none that is read: its encoding, or else its content type.
fn told<T>(headers: &HeaderMap, form: Option<T>, example: &'static str) -> Result<T, Refusal> {
    Encoding::of(headers).map_err(Refusal::UnsupportedEncoding)?;
    form.ok_or(Refusal::UnsupportedType(example))
}

fn generic(headers: &HeaderMap) -> Option<Mode> {
    let media = media(headers);
    match media.as_ref().map(MediaType::essence) {
        Some(EVENT) => Some(Mode::Structured),
        Some(BATCH) => Some(Mode::Batch),
        // A form of CloudEvents that we do not read, such as XML.
        Some(other) if other.starts_with("application/cloudevents") => None,
        // A content type that does not parse is no data either.
        None if headers.contains_key(header::CONTENT_TYPE) => None,
        Some(_) | None => headers.contains_key(binary::VERSION_HEADER).then_some(Mode::Binary),
    }
}

fn seed(headers: &HeaderMap) -> Option<Mode> {
    let plain = || media(headers).is_some_and(|media| media.essence() == JSON);
    generic(headers).or_else(|| plain().then_some(Mode::Structured))
}

fn app(headers: &HeaderMap) -> Option<AppJson> {
    let media = media(headers).filter(|media| media.is_json() && media.essence() != BATCH)?;
    media.essence().starts_with("application/").then_some(AppJson)
}

impl<S: Send + Sync> FromRequestParts<S> for Mode {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        told(&parts.headers, generic(&parts.headers), EVENT)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SeedMode {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        told(&parts.headers, seed(&parts.headers), JSON).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AppJson {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        told(&parts.headers, app(&parts.headers), JSON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &str, others: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        }
        for (name, value) in others {
            headers.insert(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_content_type_tells_the_form() {
        let binary = [("ce-specversion", "1.0")];
        for (content_type, others, generic_mode, seed_mode) in [
            ("application/cloudevents+json", &[][..], Some(Mode::Structured), Some(Mode::Structured)),
            (
                "Application/CloudEvents+JSON; charset=utf-8",
                &binary,
                Some(Mode::Structured),
                Some(Mode::Structured),
            ),
            ("application/cloudevents-batch+json", &[], Some(Mode::Batch), Some(Mode::Batch)),
            ("application/json", &[], None, Some(Mode::Structured)),
            ("application/json", &binary, Some(Mode::Binary), Some(Mode::Binary)),
            ("", &binary, Some(Mode::Binary), Some(Mode::Binary)),
            ("", &[], None, None),
            ("text/plain", &[], None, None),
            ("application/cloudevents+xml", &binary, None, None),
            ("application/cloudevents+jsonx", &[], None, None),
            ("nonsense", &binary, None, None),
        ] {
            let headers = headers(content_type, others);
            assert_eq!(
                (generic(&headers), seed(&headers)),
                (generic_mode, seed_mode),
                "{content_type} {others:?}"
            );
        }
    }

    #[test]
    fn an_app_event_is_json_of_any_kind_but_a_batch() {
        for (content_type, taken) in [
            ("application/json; charset=utf-8", true),
            ("application/cloudevents+json", true),
            ("application/vnd.x+json", true),
            ("application/cloudevents-batch+json", false),
            ("text/json", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(app(&headers(content_type, &[])).is_some(), taken, "{content_type}");
        }
    }
}
