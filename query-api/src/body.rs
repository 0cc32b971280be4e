//! The body of a request, whole and decompressed, within its limits of size and time.

use axum::{
    body::Bytes,
    extract::{FromRef, FromRequest, Request},
};
use service::encoding::{DecodeError, Encoding};

use crate::{QueryApi, error::Refusal};

/// Largest body, in bytes, before and after decompression.
pub const BODY_MAX: usize = 64 * 1024;

/// A body.
pub struct Whole(pub Bytes);

impl<S> FromRequest<S> for Whole
where
    S: Send + Sync,
    QueryApi: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let encoding = Encoding::of(request.headers())?;
        let wait = QueryApi::from_ref(state).inner.config.body_timeout;
        let read = tokio::time::timeout(wait, Bytes::from_request(request, state)).await;
        let bytes = read.map_err(|_| Refusal::BodyTooSlow)??;
        encoding.decode(bytes, BODY_MAX).map(Self).map_err(|error| match error {
            DecodeError::TooLarge => Refusal::TooLarge(BODY_MAX),
            DecodeError::Broken => Refusal::NotAsEncoded,
        })
    }
}
