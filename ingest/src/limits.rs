//! How much may be in hand at once: bytes of bodies over all publishers, bytes and requests of each publisher. At the limit we say so;
//! nothing queues. A request gets its place when it is known whose it is, and before its body is read.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, header};
use service::{encoding::Encoding, prometheus::IntGauge};

use crate::{Config, error::Refusal};

/// What a request weighs at least, so that the bytes bound the number of requests too.
const WEIGHT_MIN: usize = 4 * 1024;

/// What is in hand.
pub(crate) struct Limits {
    bytes: usize,
    bytes_per_publisher: usize,
    requests_per_publisher: usize,
    taken: Arc<Taken>,
}

struct Taken {
    places: Mutex<Places>,
    gauge: IntGauge,
}

#[derive(Default)]
struct Places {
    bytes: usize,
    by_publisher: HashMap<String, Place>,
}

#[derive(Clone, Copy, Default)]
struct Place {
    requests: usize,
    bytes: usize,
}

/// A request's place; dropping it, also when the client went away, gives it back.
pub(crate) struct Seat {
    taken: Arc<Taken>,
    name: String,
    weight: usize,
}

impl Limits {
    pub(crate) fn new(config: &Config, gauge: IntGauge) -> Self {
        Self {
            bytes: config.in_flight_bytes,
            bytes_per_publisher: config.in_flight_bytes_per_publisher,
            requests_per_publisher: config.in_flight_per_publisher,
            taken: Arc::new(Taken { places: Mutex::default(), gauge }),
        }
    }

    /// A place for one more request of this publisher, of so many bytes.
    pub(crate) fn seat(&self, name: String, weight: usize) -> Result<Seat, Refusal> {
        let mut places = self.taken.lock();
        let own = places.by_publisher.get(&name).copied().unwrap_or_default();
        if own.requests >= self.requests_per_publisher || own.bytes + weight > self.bytes_per_publisher {
            return Err(Refusal::PublisherBusy);
        }
        if places.bytes + weight > self.bytes {
            return Err(Refusal::Busy);
        }
        places.bytes += weight;
        let own = places.by_publisher.entry(name.clone()).or_default();
        *own = Place { requests: own.requests + 1, bytes: own.bytes + weight };
        self.taken.tell(&places);
        Ok(Seat { taken: Arc::clone(&self.taken), name, weight })
    }
}

impl Taken {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, places: &Places) {
        self.gauge.set(i64::try_from(places.bytes).unwrap_or(i64::MAX));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut places = self.taken.lock();
        places.bytes -= self.weight;
        if let Some(own) = places.by_publisher.get_mut(&self.name) {
            *own = Place { requests: own.requests - 1, bytes: own.bytes - self.weight };
            if own.requests == 0 {
                places.by_publisher.remove(&self.name);
            }
        }
        self.taken.tell(&places);
    }
}

/// The bytes that a body can reach, of `max` that it may have: what it says, or all it may have, as one that is compressed can.
pub(crate) fn weight(headers: &HeaderMap, max: usize) -> usize {
    if Encoding::of(headers) != Ok(Encoding::Identity) {
        return max;
    }
    let told =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    told.unwrap_or(max).clamp(WEIGHT_MIN, max)
}

#[cfg(test)]
mod tests {
    use service::env::Env;

    use super::*;
    use crate::body::{BATCH_MAX, EVENT_MAX};

    fn limits(bytes: usize, bytes_per_publisher: usize, requests_per_publisher: usize) -> Limits {
        let config = Config {
            in_flight_bytes: bytes,
            in_flight_bytes_per_publisher: bytes_per_publisher,
            in_flight_per_publisher: requests_per_publisher,
            ..Config::from_env(&Env::from_pairs([]))
        };
        Limits::new(&config, IntGauge::new("bytes", "bytes").unwrap())
    }

    #[test]
    fn a_publisher_has_its_places_and_gets_them_back() {
        let limits = limits(100, 100, 2);
        let seats = [limits.seat("a".into(), 1).unwrap(), limits.seat("a".into(), 1).unwrap()];
        assert!(matches!(limits.seat("a".into(), 1), Err(Refusal::PublisherBusy)));
        assert!(limits.seat("b".into(), 1).is_ok());
        drop(seats);
        assert!(limits.seat("a".into(), 1).is_ok());
        assert!(limits.taken.lock().by_publisher.is_empty(), "publishers without requests are forgotten");
    }

    #[test]
    fn a_publisher_has_its_bytes_and_all_have_theirs() {
        let limits = limits(10, 6, 9);
        let (first, second) = (limits.seat("a".into(), 4).unwrap(), limits.seat("a".into(), 2).unwrap());
        assert!(matches!(limits.seat("a".into(), 1), Err(Refusal::PublisherBusy)));
        let other = limits.seat("b".into(), 4).unwrap();
        assert!(matches!(limits.seat("c".into(), 1), Err(Refusal::Busy)));
        assert_eq!(limits.taken.gauge.get(), 10);
        drop(first);
        assert!(limits.seat("a".into(), 4).is_ok());
        drop((second, other));
        assert_eq!(limits.taken.gauge.get(), 0);
    }

    #[test]
    fn a_body_weighs_what_it_says_or_the_most_it_may_have() {
        let mut headers = HeaderMap::new();
        assert_eq!(weight(&headers, BATCH_MAX), BATCH_MAX);
        assert_eq!(weight(&headers, EVENT_MAX), EVENT_MAX, "a single event is no batch");
        for (told, weighs) in
            [("10", WEIGHT_MIN), ("50000", 50_000), ("999999999", BATCH_MAX), ("x", BATCH_MAX)]
        {
            headers.insert(header::CONTENT_LENGTH, told.parse().unwrap());
            assert_eq!(weight(&headers, BATCH_MAX), weighs, "{told}");
        }
        headers.insert(header::CONTENT_LENGTH, "10".parse().unwrap());
        headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(weight(&headers, EVENT_MAX), EVENT_MAX);
    }
}
