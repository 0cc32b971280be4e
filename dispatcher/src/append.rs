//! Appends records until the log has acknowledged every one. Failed appends are repeated, never dropped; a record that the log can
//! never take is parked without what makes it too large.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use event::topics;
use kafka_loop::{Ack, AppendError, Outgoing, Position, Producer};

use crate::metrics::Metrics;

/// A record that can be appended again.
#[derive(Clone, Debug)]
pub(crate) struct OwnedRecord {
    /// The topic's short name.
    pub(crate) topic: &'static str,
    /// The key.
    pub(crate) key: Bytes,
    /// The value.
    pub(crate) value: Bytes,
    /// The headers, in order.
    pub(crate) headers: Vec<Header>,
}

/// A header of an owned record.
pub(crate) type Header = (Cow<'static, str>, Vec<u8>);

/// Headers from texts.
pub(crate) fn headers(pairs: Vec<(&'static str, String)>) -> Vec<Header> {
    pairs.into_iter().map(|(name, value)| (Cow::Borrowed(name), value.into_bytes())).collect()
}

/// Why a record stands among the dead letters, or the rejected ones, without its value.
const TOO_LARGE: &str = "too large for the log; its value was left out";
/// What stands for a value that was left out.
const NO_VALUE: &[u8] = b"null";
/// Longest key and longest header that a record without its value keeps.
const KEPT_MAX: usize = 4_096;
/// Most headers that it keeps.
const KEPT_HEADERS: usize = 32;

impl OwnedRecord {
    /// What is parked in the place of a record that the log can never take: its headers, the reason, no value. It always fits.
    fn without_value(&self) -> Self {
        let is_rejected = self.topic == topics::REJECTED;
        let topic = if is_rejected { topics::REJECTED } else { topics::DEAD };
        let told = if is_rejected { "detail" } else { "reason" };
        let fits = |(name, value): &&Header| name.len() + value.len() <= KEPT_MAX && name != told;
        let mut headers: Vec<Header> = self.headers.iter().filter(fits).take(KEPT_HEADERS).cloned().collect();
        headers.push((Cow::Borrowed(told), TOO_LARGE.as_bytes().to_vec()));
        let key = if self.key.len() <= KEPT_MAX { self.key.clone() } else { Bytes::new() };
        Self { topic, key, value: Bytes::from_static(NO_VALUE), headers }
    }

    /// Hands the record to the producer.
    ///
    /// # Errors
    /// As [`Producer::enqueue`].
    pub(crate) fn enqueue(&self, producer: &Producer) -> Result<Ack, AppendError> {
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|(name, value)| (&**name, value.as_slice())).collect();
        producer.enqueue(Outgoing {
            topic: self.topic,
            partition: None,
            key: &self.key,
            value: &self.value,
            headers: &headers,
        })
    }
}

/// The waits between repeated appends: doubling, with an upper bound.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);

    /// Starts with the shortest wait.
    pub(crate) fn new() -> Self {
        Self(Self::FIRST)
    }

    /// Waits, longer each time.
    pub(crate) async fn wait(&mut self) {
        let wait = self.0;
        self.0 = (wait * 2).min(Self::LONGEST);
        tokio::time::sleep(wait).await;
    }
}

/// Appends one record, as [`append_all`] does, and tells where it stands; nowhere when it was parked without its value.
pub(crate) async fn append_one(
    producer: &Producer,
    record: &OwnedRecord,
    metrics: &Metrics,
) -> Option<Position> {
    let mut backoff = Backoff::new();
    loop {
        let outcome = match record.enqueue(producer) {
            Ok(ack) => ack.await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(at) => return Some(at),
            Err(error) if error.is_retryable() => {
                tracing::debug!(topic = record.topic, %error, "an append is repeated");
                metrics.append_retries.inc();
                backoff.wait().await;
            }
            Err(_) => {
                append_all(producer, std::slice::from_ref(record), metrics).await;
                return None;
            }
        }
    }
}

/// Appends all records, all in flight together and handed over in their order, and returns when all are acknowledged.
///
/// Waits as long as the log does not answer; a caller that must end drops the future. A record that the log can never take comes
/// from an event beyond our limits that someone wrote past us: it is logged, counted, and parked without its value.
pub(crate) async fn append_all(producer: &Producer, records: &[OwnedRecord], metrics: &Metrics) {
    let mut open: Vec<Cow<'_, OwnedRecord>> = records.iter().map(Cow::Borrowed).collect();
    let mut backoff = Backoff::new();
    loop {
        open = append_once(producer, open, metrics).await;
        if open.is_empty() {
            return;
        }
        metrics.append_retries.inc_by(open.len() as u64);
        backoff.wait().await;
    }
}

/// Returns what has to be appended again, in its order.
async fn append_once<'a>(
    producer: &Producer,
    records: Vec<Cow<'a, OwnedRecord>>,
    metrics: &Metrics,
) -> Vec<Cow<'a, OwnedRecord>> {
    let mut in_flight = Vec::with_capacity(records.len());
    let mut refused = None;
    for record in records {
        // After a full queue nothing overtakes what did not get in.
        let ack = match &refused {
            None => record.enqueue(producer),
            Some(error) => Err(AppendError::clone(error)),
        };
        if let Err(error @ AppendError::QueueFull) = &ack {
            refused = Some(error.clone());
        }
        in_flight.push((record, ack));
    }
    let mut again = Vec::new();
    for (record, ack) in in_flight {
        let outcome = match ack {
            Ok(ack) => ack.await.map(|_| ()),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {}
            Err(error) if error.is_retryable() => {
                tracing::debug!(topic = record.topic, %error, "an append is repeated");
                again.push(record);
            }
            Err(error) => {
                metrics.too_large.inc();
                tracing::error!(topic = record.topic, %error, "a record can never be appended and is parked without its value");
                again.push(Cow::Owned(record.without_value()));
            }
        }
    }
    again
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parked_without_its_value_always_fits() {
        let mut headers: Vec<Header> =
            (0..10_000).map(|n| (Cow::Owned(format!("h{n}")), vec![b'x'; 100])).collect();
        headers.insert(0, (Cow::Borrowed("delivery"), b"00".to_vec()));
        headers.insert(1, (Cow::Borrowed("reason"), vec![b'x'; 1 << 20]));
        let huge = Bytes::from(vec![b'x'; 1 << 20]);
        let record = OwnedRecord { topic: topics::DUE, key: huge.clone(), value: huge, headers };
        let parked = record.without_value();
        assert_eq!((parked.topic, &parked.value[..], parked.key.len()), (topics::DEAD, NO_VALUE, 0));
        assert!(parked.headers.contains(&(Cow::Borrowed("delivery"), b"00".to_vec())));
        assert_eq!(parked.headers.last().map(|(_, value)| &value[..]), Some(TOO_LARGE.as_bytes()));
        let size: usize = parked.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(size < 200_000 && parked.headers.len() <= KEPT_HEADERS + 1);
        let rejected = OwnedRecord { topic: topics::REJECTED, ..record };
        assert_eq!(rejected.without_value().topic, topics::REJECTED);
    }
}
