//! Each refusal of a read: status, code, text, whether repeating is safe.

use access::{AuthError, CallerBusy};
use axum::{
    extract::rejection::BytesRejection,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use service::{
    encoding::{self, UnknownEncoding},
    problem::Problem,
    telemetry::chain,
};
use store::StoreError;

use crate::body::BODY_MAX;

/// Why a feed or a subscription is not answered.
#[derive(Debug)]
pub enum Refusal {
    /// The request is wrong; each violation with its parameter. 400.
    Wrong(Vec<(String, String)>),
    /// Known and not allowed, with the contract's plain text. 401 or 403.
    Text(StatusCode, String),
    /// A subscription that may not be asked for, with the contract's plain texts, all of them. 400.
    Texts(Vec<String>),
    /// Turned away for who calls, with an empty body. 401 or 403.
    Caller(AuthError),
    /// There is nothing of that name, or the register does not know the unit or person. 404.
    Unknown(&'static str),
    /// `after` is not in the feed any more, or never was: the oldest and the newest cursor. 410.
    Gone(String, String),
    /// The PDP or Register gave no answer. 503.
    Neighbour(&'static str),
    /// The database does not answer. 503.
    Store(StoreError),
    /// There is no room for another page now. 503.
    TooManyPages,
    /// Too many readers wait. 503.
    TooManyWaiters,
    /// The caller has as much in hand as it may have, or comes too often. 429.
    CallerBusy,
    /// The consumer has as many subscriptions as it may have. 409.
    TooMany(i64),
    /// The request states a body type that is not JSON. 415.
    MediaType,
    /// The body has an encoding that is not read. 415.
    Encoding(UnknownEncoding),
    /// The body is larger than this many bytes. 413.
    TooLarge(usize),
    /// The body did not arrive in time. 408.
    BodyTooSlow,
    /// The body broke off. 400.
    BodyBroken,
    /// The body is not what its encoding says. 400.
    NotAsEncoded,
}

impl From<UnknownEncoding> for Refusal {
    fn from(unknown: UnknownEncoding) -> Self {
        Self::Encoding(unknown)
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Self::TooLarge(BODY_MAX)
        } else {
            Self::BodyBroken
        }
    }
}

impl From<CallerBusy> for Refusal {
    fn from(_: CallerBusy) -> Self {
        Self::CallerBusy
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Refusal {
    /// One wrong parameter.
    pub fn wrong(name: &str, message: impl Into<String>) -> Self {
        Self::Wrong(vec![(name.to_owned(), message.into())])
    }

    fn problem(self) -> Problem {
        match self {
            Self::Wrong(violations) => {
                let detail: Vec<String> = violations.iter().map(|(name, text)| format!("{name} {text}")).collect();
                Problem::new(StatusCode::BAD_REQUEST, "invalid-request").detail(detail.join("; ")).violations(violations)
            }
            Self::Text(status, text) => Problem::new(status, "refused").detail(text),
            Self::Texts(texts) => Problem::new(StatusCode::BAD_REQUEST, "subscription-invalid").detail(texts.join("; ")),
            Self::Caller(error) => Problem::new(error.status(), "refused"),
            Self::Unknown(what) => Problem::new(StatusCode::NOT_FOUND, "not-found").detail(format!("There is no such {what}.")),
            Self::Gone(oldest, newest) => Problem::new(StatusCode::GONE, "position-gone").detail(format!(
                "`after` is not a position of this feed any more, or not yet. Go on with after={oldest} (the oldest kept event) or after={newest} (the newest)."
            )),
            Self::Neighbour(who) => {
                Problem::unavailable("no-answer", 2).detail(format!("{who} gave no answer; nothing was shown unchecked. Repeat later."))
            }
            Self::Store(error) if error.is_retryable() => {
                Problem::unavailable("database-unavailable", 2).detail("The database does not answer. Repeat later.")
            }
            Self::Store(error) => {
                tracing::error!(error = chain(&error), "a request failed in the store");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal").detail("The request failed on our side.")
            }
            Self::TooManyPages => {
                Problem::unavailable("too-many-pages", 1).detail("Too many pages are read at once. Repeat later.")
            }
            Self::TooManyWaiters => {
                Problem::unavailable("too-many-waiters", 5).detail("Too many readers wait at once. Repeat without `wait`, or later.")
            }
            Self::CallerBusy => Problem::new(StatusCode::TOO_MANY_REQUESTS, "caller-busy")
                .retry_after(1)
                .detail("This caller has as many requests in hand as it may have, or sends them too fast. Repeat later."),
            Self::TooMany(most) => Problem::new(StatusCode::CONFLICT, "too-many-subscriptions")
                .detail(format!("A consumer like this may have {most} subscriptions. Delete some first.")),
            Self::MediaType => Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type")
                .detail("State a JSON type as Content-Type: application/json. A GET needs none."),
            Self::Encoding(unknown) => {
                Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding").detail(unknown.to_string())
            }
            Self::TooLarge(most) => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large")
                .detail(format!("The body may have {most} bytes.")),
            Self::BodyTooSlow => Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow")
                .detail("The body did not arrive in time."),
            Self::BodyBroken => {
                Problem::new(StatusCode::BAD_REQUEST, "body-broken").detail("The body did not arrive whole.")
            }
            Self::NotAsEncoded => {
                Problem::new(StatusCode::BAD_REQUEST, "body-broken").detail("The body is not what its content encoding says.")
            }
        }
    }

    /// The refusal; a wrong request is told with the content type that the contract has for these paths (§1.2).
    pub fn with_type_if_wrong(self, content_type: &'static str) -> Response {
        if matches!(self, Self::Wrong(_)) {
            self.problem().content_type(content_type).into_response()
        } else {
            self.into_response()
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if matches!(self, Self::Text(..) | Self::Texts(_)) {
            return self.problem().bare_text();
        }
        if let Self::Caller(error) = self {
            return error.into_response();
        }
        let cursors = if let Self::Gone(oldest, newest) = &self {
            Some((oldest.clone(), newest.clone()))
        } else {
            None
        };
        let is_encoded = matches!(self, Self::Encoding(_));
        let mut response = self.problem().into_response();
        if is_encoded {
            response
                .headers_mut()
                .insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding::ACCEPTED));
        }
        if let Some((oldest, newest)) = cursors {
            for (name, cursor) in [("feed-cursor-oldest", oldest), ("feed-cursor-newest", newest)] {
                if let Ok(value) = HeaderValue::from_str(&cursor) {
                    response.headers_mut().insert(name, value);
                }
            }
        }
        response
    }
}
