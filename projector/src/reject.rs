//! Parks records that can never be stored in `events.rejected`, with origin and reason. Parked counts only when acknowledged.

use event::topics;
use kafka_loop::{Ack, AppendError, HandlerError, Outgoing, Producer, Record};

use crate::{decode::Reject, metrics::Metrics};

/// Longest text of what was found, in bytes; with [`LEFT_OUT`] below the 1,000 of `schemas/records.md`.
const DETAIL_MAX: usize = 900;
/// Stands before the reason of a record whose value was left out.
const LEFT_OUT: &str = "the value is too large to stand beside its reason and was left where it came from";

/// Where records are parked.
#[derive(Clone)]
pub struct Park {
    producer: Producer,
    metrics: Metrics,
}

impl Park {
    /// Parks through this producer.
    pub const fn new(producer: Producer, metrics: Metrics) -> Self {
        Self { producer, metrics }
    }

    /// Parks records, all of them in flight together, and waits for the acknowledgements; `parked` is told of each.
    ///
    /// # Errors
    /// [`HandlerError::Transient`] when the log does not acknowledge: the batch is tried again, nothing is passed over.
    pub async fn all(
        &self,
        rejected: &[(&Record, Reject)],
        mut parked: impl FnMut(&Record),
    ) -> Result<(), HandlerError> {
        let transient = |error: AppendError| HandlerError::Transient(error.into());
        let mut acks = Vec::with_capacity(rejected.len());
        for (record, reject) in rejected {
            acks.push(self.append(record, reject).map_err(transient)?);
        }
        for (ack, (record, reject)) in acks.into_iter().zip(rejected) {
            match ack.await {
                // The broker, not the client, may be the one that finds it too large.
                Err(AppendError::TooLarge) => {
                    self.enqueue(record, reject, None).map_err(transient)?.await.map_err(transient)?
                }
                answer => answer.map_err(transient)?,
            };
            parked(record);
            let reason = reject.reason.name();
            self.metrics.rejected.with_label_values(&[&*record.topic, reason]).inc();
            tracing::error!(
                kafka.topic = &*record.topic,
                kafka.partition = record.partition,
                kafka.offset = record.offset,
                reason,
                "a record was parked in events.rejected"
            );
        }
        Ok(())
    }

    /// A record that was as large as may be has no room for our headers: then it is parked without its value, which stays where
    /// it came from as long as that topic keeps it.
    fn append(&self, record: &Record, reject: &Reject) -> Result<Ack, AppendError> {
        match self.enqueue(record, reject, record.value.as_deref()) {
            Err(AppendError::TooLarge) => self.enqueue(record, reject, None),
            answer => answer,
        }
    }

    fn enqueue(&self, record: &Record, reject: &Reject, value: Option<&[u8]>) -> Result<Ack, AppendError> {
        let (partition, offset) = (record.partition.to_string(), record.offset.to_string());
        let found = &reject.detail;
        let mut detail = found.get(..found.floor_char_boundary(DETAIL_MAX)).unwrap_or_default().to_owned();
        if value.is_none() && record.value.is_some() {
            detail = format!("{LEFT_OUT}; {detail}");
        }
        let headers: [(&str, &[u8]); 5] = [
            ("reason", reject.reason.name().as_bytes()),
            ("detail", detail.as_bytes()),
            ("origin-topic", record.topic.as_bytes()),
            ("origin-partition", partition.as_bytes()),
            ("origin-offset", offset.as_bytes()),
        ];
        self.producer.enqueue(Outgoing {
            topic: topics::REJECTED,
            partition: None,
            key: &record.key,
            value: value.unwrap_or_default(),
            headers: &headers,
        })
    }
}
