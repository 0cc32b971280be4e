//! How much may be in hand at once: bytes over all publishers, requests of each publisher. At the limit we say so; nothing queues.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};
use service::{encoding::Encoding, prometheus::IntGauge};
use tokio::sync::Semaphore;

use crate::{Ingest, body::BATCH_MAX, error::Refusal};

/// What a request weighs at least, so that the bytes bound the number of requests too.
const WEIGHT_MIN: usize = 4 * 1024;

/// What is in hand.
pub(crate) struct Limits {
    bytes: Semaphore,
    per_publisher: usize,
    publishers: Arc<Mutex<HashMap<String, usize>>>,
}

/// A publisher's place; dropping it gives it back.
pub(crate) struct Seat {
    publishers: Arc<Mutex<HashMap<String, usize>>>,
    name: String,
}

impl Limits {
    pub(crate) fn new(bytes: usize, per_publisher: usize) -> Self {
        Self { bytes: Semaphore::new(bytes), per_publisher, publishers: Arc::default() }
    }

    /// A place for one more request of this publisher.
    pub(crate) fn seat(&self, name: String) -> Result<Seat, Refusal> {
        let mut publishers = lock(&self.publishers);
        let taken = publishers.entry(name.clone()).or_default();
        if *taken >= self.per_publisher {
            return Err(Refusal::PublisherBusy);
        }
        *taken += 1;
        Ok(Seat { publishers: Arc::clone(&self.publishers), name })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut publishers = lock(&self.publishers);
        if let Some(taken) = publishers.get_mut(&self.name) {
            *taken -= 1;
            if *taken == 0 {
                publishers.remove(&self.name);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets a request in when its body fits into what may be in hand.
pub(crate) async fn admit(State(ingest): State<Ingest>, request: Request, next: Next) -> Response {
    let weight = u32::try_from(weight(request.headers())).unwrap_or(u32::MAX);
    let Ok(permit) = ingest.inner.limits.bytes.try_acquire_many(weight) else {
        return Refusal::Busy.into_response();
    };
    let in_hand = InHand::new(&ingest.inner.metrics.in_flight_bytes, weight);
    let response = next.run(request).await;
    drop((permit, in_hand));
    response
}

/// Tells the metric; dropping it, also when the client went away, tells it again.
struct InHand<'a>(&'a IntGauge, i64);

impl<'a> InHand<'a> {
    fn new(gauge: &'a IntGauge, weight: u32) -> Self {
        gauge.add(i64::from(weight));
        Self(gauge, i64::from(weight))
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.sub(self.1);
    }
}

/// The bytes a body can reach: what it says, or the most it may have, as one that is compressed can.
fn weight(headers: &HeaderMap) -> usize {
    if Encoding::of(headers) != Ok(Encoding::Identity) {
        return BATCH_MAX;
    }
    let told =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    told.unwrap_or(BATCH_MAX).clamp(WEIGHT_MIN, BATCH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_has_its_places_and_gets_them_back() {
        let limits = Limits::new(1, 2);
        let seats = [limits.seat("a".into()).unwrap(), limits.seat("a".into()).unwrap()];
        assert!(matches!(limits.seat("a".into()), Err(Refusal::PublisherBusy)));
        assert!(limits.seat("b".into()).is_ok());
        drop(seats);
        assert!(limits.seat("a".into()).is_ok());
        assert!(lock(&limits.publishers).is_empty(), "publishers without requests are forgotten");
    }

    #[test]
    fn a_body_weighs_what_it_says_or_the_most_it_may_have() {
        let mut headers = HeaderMap::new();
        assert_eq!(weight(&headers), BATCH_MAX);
        for (told, weighs) in
            [("10", WEIGHT_MIN), ("50000", 50_000), ("999999999", BATCH_MAX), ("x", BATCH_MAX)]
        {
            headers.insert(header::CONTENT_LENGTH, told.parse().unwrap());
            assert_eq!(weight(&headers), weighs, "{told}");
        }
        headers.insert(header::CONTENT_LENGTH, "10".parse().unwrap());
        headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(weight(&headers), BATCH_MAX);
    }
}
