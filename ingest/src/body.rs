//! Reads a body within its limits of size and time. What is over a limit is dropped while it arrives, never kept.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, header};
use service::encoding::{DecodeError, Encoding};

use crate::error::Refusal;

/// Largest event, in bytes.
pub(crate) const EVENT_MAX: usize = event::limits::EVENT_MAX;
/// Largest batch, in bytes.
pub(crate) const BATCH_MAX: usize = 1024 * 1024;
/// Most events of a batch.
pub(crate) const BATCH_EVENTS_MAX: usize = 1_000;

/// The whole body, decompressed; `max` holds before and after.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    wait: Duration,
) -> Result<Bytes, Refusal> {
    let told =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|told| told > max) {
        return Err(Refusal::TooLarge(max));
    }
    let encoding = Encoding::of(headers).map_err(Refusal::UnsupportedEncoding)?;
    let whole = tokio::time::timeout(wait, collect(body, max)).await.unwrap_or(Err(Refusal::BodyTooSlow))?;
    encoding.decode(whole, max).map_err(|error| match error {
        DecodeError::TooLarge => Refusal::TooLarge(max),
        DecodeError::Broken => Refusal::NotAsEncoded,
    })
}

async fn collect(body: Body, max: usize) -> Result<Bytes, Refusal> {
    let mut chunks = body.into_data_stream();
    let mut whole = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refusal::BodyBroken)?;
        if whole.len() + chunk.len() > max {
            return Err(Refusal::TooLarge(max));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_with_and_without_a_length() {
        let mut headers = HeaderMap::new();
        let body =
            || Body::from_stream(futures::stream::iter([Ok::<_, std::io::Error>("12345"), Ok("67890")]));
        assert_eq!(read(&headers, body(), 10, WAIT).await.unwrap(), "1234567890");
        assert!(matches!(read(&headers, body(), 9, WAIT).await, Err(Refusal::TooLarge(9))));
        headers.insert(header::CONTENT_LENGTH, "11".parse().unwrap());
        assert!(matches!(read(&headers, Body::empty(), 10, WAIT).await, Err(Refusal::TooLarge(10))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let body = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        assert!(matches!(read(&HeaderMap::new(), body, 10, WAIT).await, Err(Refusal::BodyTooSlow)));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_told_apart() {
        let body = Body::from_stream(futures::stream::iter([Ok("1"), Err(std::io::Error::other("gone"))]));
        assert!(matches!(read(&HeaderMap::new(), body, 10, WAIT).await, Err(Refusal::BodyBroken)));
    }
}
