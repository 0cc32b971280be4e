//! Appends records until the log has acknowledged every one. Failed appends are repeated, never dropped.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use kafka_loop::{Ack, AppendError, Outgoing, Producer};

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

impl OwnedRecord {
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

/// Appends all records, all in flight together and handed over in their order, and returns when all are acknowledged.
///
/// Waits as long as the log does not answer; a caller that must end drops the future. A record that the log can never take is
/// logged and counted: it comes from an event beyond our limits that someone wrote past us.
pub(crate) async fn append_all(producer: &Producer, records: &[OwnedRecord], metrics: &Metrics) {
    let mut open: Vec<&OwnedRecord> = records.iter().collect();
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
    records: Vec<&'a OwnedRecord>,
    metrics: &Metrics,
) -> Vec<&'a OwnedRecord> {
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
                tracing::error!(topic = record.topic, %error, "a record can never be appended and is given up");
            }
        }
    }
    again
}
