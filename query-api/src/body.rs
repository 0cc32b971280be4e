//! The body of a request, whole and decompressed, within its limit.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use service::encoding::{DecodeError, Encoding};

use crate::error::Refusal;

/// Largest body, in bytes, before and after decompression.
pub const BODY_MAX: usize = 64 * 1024;

/// A body.
pub struct Whole(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let encoding = Encoding::of(request.headers())?;
        let bytes = Bytes::from_request(request, state).await?;
        encoding.decode(bytes, BODY_MAX).map(Self).map_err(|error| match error {
            DecodeError::TooLarge => Refusal::TooLarge(BODY_MAX),
            DecodeError::Broken => Refusal::NotAsEncoded,
        })
    }
}
