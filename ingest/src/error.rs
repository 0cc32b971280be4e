//! Why a request is turned away: each refusal's status, code, text and whether repeating is safe. One table for all three paths.

use axum::response::{IntoResponse, Response};
use event::{Violation, Violations};
use http::{HeaderValue, StatusCode, header};
use kafka_loop::AppendError;
use service::{
    encoding::{self, DecodeError, UnknownEncoding},
    json,
    problem::Problem,
};

use crate::body::{BATCH_EVENTS_MAX, EVENT_MAX};

/// Seconds after which repeating makes sense when we are busy.
const BUSY_S: u32 = 1;
/// Seconds after which repeating makes sense when a neighbour or the log does not answer.
const NEIGHBOUR_S: u32 = 2;
/// Violations that are told at most; the rest is counted.
const TOLD_MAX: usize = 200;
/// Longest sum of violations in words, in bytes.
const SUMMED_MAX: usize = 2_000;

/// What is wrong with one event of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Its index in the batch; none for a single event.
    pub(crate) index: Option<usize>,
    pub(crate) violations: Violations,
}

/// Why a request is turned away. Nothing of it is on the log, except after [`Refusal::Log`], where some of it may be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the content type is not one that is read here, such as {0}")]
    UnsupportedType(&'static str),
    #[error("{0}")]
    UnsupportedEncoding(UnknownEncoding),
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the batch has more than {BATCH_EVENTS_MAX} events")]
    TooManyEvents,
    #[error("events of the batch are larger than {EVENT_MAX} bytes")]
    EventsTooLarge(Vec<usize>),
    #[error("the body did not arrive in time")]
    BodyTooSlow,
    #[error("the body broke off")]
    BodyBroken,
    #[error("{}", DecodeError::Broken)]
    NotAsEncoded,
    #[error("not acceptable: {}", summed(.0))]
    Invalid(Vec<Wrong>),
    #[error("{0} may not create events for that source")]
    NotYourSource(String),
    #[error("the publisher may not publish this event")]
    Forbidden,
    #[error("the publisher may not publish all events of the batch")]
    ForbiddenItems(Vec<usize>),
    #[error("too many requests are in hand")]
    Busy,
    #[error("too many requests of this publisher, or too large ones, are in hand")]
    PublisherBusy,
    #[error("nobody can tell now whether the publisher may publish this")]
    RightsUnknown,
    #[error("nobody can tell now which party the subject is")]
    PartiesUnknown,
    #[error("the log did not take the events")]
    Log(#[source] AppendError),
}

/// A refusal on the app path, where every answer is `application/json` (contract §1.2).
#[derive(Debug)]
pub(crate) struct AppRefusal(pub(crate) Refusal);

/// The code of a refusal, kept with its answer for the metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Code(pub(crate) &'static str);

impl Refusal {
    /// A single event that is wrong.
    pub(crate) fn invalid(violations: Violations) -> Self {
        Self::Invalid(vec![Wrong { index: None, violations }])
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::UnsupportedType(_) | Self::UnsupportedEncoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_)
            | Self::TooManyEvents
            | Self::EventsTooLarge(_)
            | Self::Log(AppendError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken | Self::NotAsEncoded | Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::NotYourSource(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::ForbiddenItems(_) => StatusCode::FORBIDDEN,
            Self::PublisherBusy => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy
            | Self::RightsUnknown
            | Self::PartiesUnknown
            | Self::Log(AppendError::QueueFull | AppendError::Timeout | AppendError::Broker(_)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// A stable name, for clients and metrics.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::UnsupportedType(_) => "unsupported-content-type",
            Self::UnsupportedEncoding(_) => "unsupported-content-encoding",
            Self::TooLarge(_) | Self::Log(AppendError::TooLarge) => "body-too-large",
            Self::TooManyEvents => "batch-too-long",
            Self::EventsTooLarge(_) => "event-too-large",
            Self::BodyTooSlow => "body-too-slow",
            Self::BodyBroken | Self::NotAsEncoded => "body-broken",
            Self::Invalid(_) => "event-invalid",
            Self::NotYourSource(_) => "source-not-yours",
            Self::Forbidden | Self::ForbiddenItems(_) => "publish-forbidden",
            Self::Busy => "busy",
            Self::PublisherBusy => "publisher-busy",
            Self::RightsUnknown => "rights-unknown",
            Self::PartiesUnknown => "party-unknown",
            Self::Log(AppendError::QueueFull) => "log-busy",
            Self::Log(AppendError::Timeout | AppendError::Broker(_)) => "log-unavailable",
        }
    }

    fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Busy | Self::PublisherBusy | Self::Log(AppendError::QueueFull) => Some(BUSY_S),
            Self::RightsUnknown
            | Self::PartiesUnknown
            | Self::Log(AppendError::Timeout | AppendError::Broker(_)) => Some(NEIGHBOUR_S),
            Self::UnsupportedType(_)
            | Self::UnsupportedEncoding(_)
            | Self::TooLarge(_)
            | Self::TooManyEvents
            | Self::EventsTooLarge(_)
            | Self::BodyTooSlow
            | Self::BodyBroken
            | Self::NotAsEncoded
            | Self::Invalid(_)
            | Self::NotYourSource(_)
            | Self::Forbidden
            | Self::ForbiddenItems(_)
            | Self::Log(AppendError::TooLarge) => None,
        }
    }

    fn errors(&self) -> Vec<(String, String)> {
        match self {
            Self::Invalid(wrong) => told(wrong),
            Self::EventsTooLarge(at) => at
                .iter()
                .map(|index| (item(Some(*index)), format!("is larger than {EVENT_MAX} bytes")))
                .collect(),
            Self::ForbiddenItems(at) => at
                .iter()
                .map(|index| (item(Some(*index)), "may not be published by this publisher".to_owned()))
                .collect(),
            Self::UnsupportedType(_)
            | Self::UnsupportedEncoding(_)
            | Self::TooLarge(_)
            | Self::TooManyEvents
            | Self::BodyTooSlow
            | Self::BodyBroken
            | Self::NotAsEncoded
            | Self::NotYourSource(_)
            | Self::Forbidden
            | Self::Busy
            | Self::PublisherBusy
            | Self::RightsUnknown
            | Self::PartiesUnknown
            | Self::Log(_) => Vec::new(),
        }
    }

    fn problem(&self) -> Problem {
        let problem =
            Problem::new(self.status(), self.code()).detail(self.detail()).violations(self.errors());
        match self.retry_after_s() {
            Some(seconds) => problem.retry_after(seconds),
            None => problem,
        }
    }

    fn detail(&self) -> String {
        let text = self.to_string();
        if matches!(self, Self::NotYourSource(_)) {
            // The contract's own text.
            return text;
        }
        let mut chars = text.chars();
        let sentence: String = chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect();
        let next = match self {
            Self::Log(AppendError::Timeout | AppendError::Broker(_)) => {
                " in time; some of them may be there. Repeat the request: an event that is published again is the same event."
            }
            Self::Log(AppendError::QueueFull) | Self::Busy | Self::PublisherBusy => {
                "; repeat the request a little later."
            }
            Self::RightsUnknown | Self::PartiesUnknown => "; nothing was published, repeat the request.",
            Self::UnsupportedType(_)
            | Self::UnsupportedEncoding(_)
            | Self::TooLarge(_)
            | Self::TooManyEvents
            | Self::EventsTooLarge(_)
            | Self::BodyTooSlow
            | Self::BodyBroken
            | Self::NotAsEncoded
            | Self::Invalid(_)
            | Self::NotYourSource(_)
            | Self::Forbidden
            | Self::ForbiddenItems(_)
            | Self::Log(AppendError::TooLarge) => ".",
        };
        sentence + next
    }

    fn answer(&self, content_type: Option<&'static str>) -> Response {
        let mut response = match (self, content_type) {
            // The contract's own shapes: nothing (§1.5), and a quoted text (§1.3).
            (Self::Forbidden, _) => self.problem().empty(),
            (Self::NotYourSource(_), _) => self.problem().bare_text(),
            (_, Some(content_type)) => self.problem().content_type(content_type).into_response(),
            (_, None) => self.problem().into_response(),
        };
        if matches!(self, Self::UnsupportedEncoding(_)) {
            response
                .headers_mut()
                .insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding::ACCEPTED));
        }
        response.extensions_mut().insert(Code(self.code()));
        response
    }
}

/// All that is wrong in one sentence, as the contract's `detail`; beyond [`SUMMED_MAX`] bytes it is cut, `errors` has the rest.
fn summed(wrong: &[Wrong]) -> String {
    let told = told(wrong);
    let mut text = String::new();
    for (at, message) in &told {
        let place = if at == "RequestBody" { String::new() } else { format!("{at} ") };
        if text.len() + place.len() + message.len() > SUMMED_MAX {
            text.push_str("; errors tells the rest");
            break;
        }
        text = format!("{text}{}{place}{message}", if text.is_empty() { "" } else { "; " });
    }
    text
}

/// What is wrong, under the key of the existing service (contract §1.5); with the item's index in a batch.
fn told(wrong: &[Wrong]) -> Vec<(String, String)> {
    let all = wrong.iter().flat_map(|wrong| {
        wrong.violations.0.iter().map(|violation| (item(wrong.index), sentence(violation)))
    });
    let mut told: Vec<_> = all.take(TOLD_MAX).collect();
    let count: usize = wrong.iter().map(|wrong| wrong.violations.0.len()).sum();
    if count > TOLD_MAX {
        told.push((item(None), format!("{} further violations are not listed", count - TOLD_MAX)));
    }
    told
}

fn item(index: Option<usize>) -> String {
    index.map_or_else(|| "RequestBody".to_owned(), |index| format!("RequestBody[{index}]"))
}

fn sentence(violation: &Violation) -> String {
    if violation.attribute == "RequestBody" { violation.message.clone() } else { violation.to_string() }
}

impl From<Refusal> for AppRefusal {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.answer(None)
    }
}

impl IntoResponse for AppRefusal {
    fn into_response(self) -> Response {
        self.0.answer(Some(json::CONTENT_TYPE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = include_str!("../../schemas/README.md");

    async fn read(response: Response) -> (u16, String, String) {
        let status = response.status().as_u16();
        let content_type =
            response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
        let body = axum::body::to_bytes(response.into_body(), 1_000_000).await.unwrap();
        (status, content_type.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_refusal_has_its_status_and_says_when_to_repeat() {
        for (refusal, status, retry_after) in [
            (Refusal::UnsupportedType("x"), 415, None),
            (Refusal::UnsupportedEncoding(UnknownEncoding::of("br")), 415, None),
            (Refusal::NotAsEncoded, 400, None),
            (Refusal::TooLarge(1), 413, None),
            (Refusal::TooManyEvents, 413, None),
            (Refusal::EventsTooLarge(vec![3]), 413, None),
            (Refusal::BodyTooSlow, 408, None),
            (Refusal::BodyBroken, 400, None),
            (Refusal::invalid(Violations::one("id", "is missing")), 400, None),
            (Refusal::NotYourSource("ttd/app".into()), 401, None),
            (Refusal::Forbidden, 403, None),
            (Refusal::ForbiddenItems(vec![0]), 403, None),
            (Refusal::Busy, 503, Some("1")),
            (Refusal::PublisherBusy, 429, Some("1")),
            (Refusal::RightsUnknown, 503, Some("2")),
            (Refusal::PartiesUnknown, 503, Some("2")),
            (Refusal::Log(AppendError::QueueFull), 503, Some("1")),
            (Refusal::Log(AppendError::Timeout), 503, Some("2")),
            (Refusal::Log(AppendError::Broker("x".into())), 503, Some("2")),
            (Refusal::Log(AppendError::TooLarge), 413, None),
        ] {
            let code = refusal.code();
            let response = refusal.into_response();
            let after =
                response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!((response.status().as_u16(), after.as_deref()), (status, retry_after), "{code}");
            // The one whose answer is the contract's plain text has no code that a client reads.
            let told = code == "source-not-yours" || README.contains(&format!("`{code}`"));
            assert!(told, "{code} is not in schemas/README.md");
        }
    }

    #[tokio::test]
    async fn violations_stand_under_the_contracts_key_with_the_items_index() {
        let wrong = |index| Wrong { index, violations: Violations::one("id", "is missing") };
        let (status, content_type, body) = read(Refusal::Invalid(vec![wrong(Some(3))]).into_response()).await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, content_type.as_str()), (400, "application/problem+json; charset=utf-8"));
        assert_eq!(body["errors"], serde_json::json!({"RequestBody[3]": ["id is missing"]}));
        assert_eq!(body["retry"], "after-change");
        let (_, content_type, body) =
            read(AppRefusal(Refusal::Invalid(vec![wrong(None)])).into_response()).await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(content_type, "application/json; charset=utf-8");
        assert_eq!(body["errors"], serde_json::json!({"RequestBody": ["id is missing"]}));
    }

    #[tokio::test]
    async fn some_refusals_have_the_contracts_own_bodies() {
        assert_eq!(read(Refusal::Forbidden.into_response()).await, (403, String::new(), String::new()));
        assert_eq!(
            read(AppRefusal(Refusal::NotYourSource("ttd/app".into())).into_response()).await,
            (
                401,
                json::CONTENT_TYPE.to_owned(),
                "\"ttd/app may not create events for that source\"".to_owned()
            )
        );
    }

    #[test]
    fn a_long_list_of_violations_is_cut_and_counted() {
        let wrong: Vec<Wrong> = (0..500)
            .map(|index| Wrong { index: Some(index), violations: Violations::one("id", "is missing") })
            .collect();
        let told = told(&wrong);
        assert_eq!(told.len(), TOLD_MAX + 1);
        assert_eq!(told.last().map(|(_, text)| text.as_str()), Some("300 further violations are not listed"));
    }
}
