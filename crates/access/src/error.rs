//! Why a caller is turned away: one enum, one table to statuses.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use service::problem::Problem;

/// Why a caller is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No token was sent where one is needed.
    #[error("no token was sent")]
    Missing,
    /// A token was sent and does not count: malformed, wrongly signed, expired, of an unknown key.
    #[error("the token does not count")]
    Invalid,
    /// Who calls is known, and may not do this.
    #[error("the caller may not do this")]
    Forbidden,
    /// Nobody is known, and the address has asked too often; later is fine.
    #[error("the address has asked too often without a token")]
    TooMany,
    /// The keys or certificates that would tell cannot be had now; repeating is safe.
    #[error("the keys that verify tokens cannot be had")]
    Unavailable,
}

impl AuthError {
    /// The status it answers with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Missing | Self::Invalid => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// 401 and 403 have an empty body (contract §1.2); what a client may want to know stands in headers.
impl IntoResponse for AuthError {
    fn into_response(self) -> Response {
        match self {
            Self::Missing => Problem::new(self.status(), "token-missing").detail("A token is needed.").empty(),
            Self::Invalid => Problem::new(self.status(), "token-invalid")
                .detail("The token does not count: it is malformed, expired, or signed by a key that is not known.")
                .empty(),
            Self::Forbidden => {
                Problem::new(self.status(), "forbidden").detail("The caller may not do this.").empty()
            }
            Self::TooMany => Problem::new(self.status(), "too-many-anonymous")
                .retry_after(60)
                .detail("Too many requests without a token came from this address; repeat in a minute, or send a token.")
                .into_response(),
            Self::Unavailable => Problem::unavailable("keys-unavailable", 2)
                .detail("The keys that verify tokens cannot be had now; nothing was done, repeat later.")
                .into_response(),
        }
    }
}

/// A neighbour gave no usable answer; repeating is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} gave no answer")]
pub struct Unavailable(pub &'static str);

/// Access could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The HTTP client could not be built.
    #[error("the HTTP client for keys, decisions and parties could not be built")]
    Client(#[source] reqwest::Error),
    /// The key of our platform access token is none.
    #[error("the key of our platform access token is not an RSA private key as PEM")]
    PlatformKey(#[source] jsonwebtoken::errors::Error),
    /// An address does not join.
    #[error("an address of a neighbour is not usable")]
    Address(#[source] url::ParseError),
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[tokio::test]
    async fn every_refusal_has_the_status_and_body_of_the_contract() {
        for (error, status, bearer) in [
            (AuthError::Missing, 401, true),
            (AuthError::Invalid, 401, true),
            (AuthError::Forbidden, 403, false),
            (AuthError::TooMany, 429, false),
            (AuthError::Unavailable, 503, false),
        ] {
            let response = error.into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().get(header::WWW_AUTHENTICATE).is_some(), bearer);
            assert_eq!(response.headers().get(header::RETRY_AFTER).is_some(), status == 503 || status == 429);
            let body = axum::body::to_bytes(response.into_body(), 4_096).await.unwrap();
            assert_eq!(body.is_empty(), status < 429);
        }
    }
}
