//! Parks records that can never be stored in `events.rejected`, with origin and reason. Parked counts only when acknowledged.

use event::topics;
use kafka_loop::{HandlerError, Outgoing, Producer, Record};

use crate::{decode::Reason, metrics::Metrics};

/// Longest reason text in a header, in bytes.
const DETAIL_MAX: usize = 1_000;

/// Parks one record.
///
/// # Errors
/// [`HandlerError::Transient`] when the log does not acknowledge: the batch is tried again, nothing is passed over.
pub async fn park(
    producer: &Producer,
    metrics: &Metrics,
    record: &Record,
    reason: Reason,
    detail: &str,
) -> Result<(), HandlerError> {
    let (partition, offset) = (record.partition.to_string(), record.offset.to_string());
    let mut end = detail.len().min(DETAIL_MAX);
    while !detail.is_char_boundary(end) {
        end -= 1;
    }
    let headers: [(&str, &[u8]); 5] = [
        ("reason", reason.name().as_bytes()),
        ("detail", detail.get(..end).unwrap_or_default().as_bytes()),
        ("origin-topic", record.topic.as_bytes()),
        ("origin-partition", partition.as_bytes()),
        ("origin-offset", offset.as_bytes()),
    ];
    let out = Outgoing {
        topic: topics::REJECTED,
        partition: None,
        key: &record.key,
        value: record.value.as_deref().unwrap_or_default(),
        headers: &headers,
    };
    producer.send(out).await.map_err(|error| HandlerError::Transient(error.into()))?;
    metrics.rejected.with_label_values(&[reason.name()]).inc();
    tracing::error!(
        kafka.partition = record.partition,
        kafka.offset = record.offset,
        reason = reason.name(),
        "a record of events was parked in events.rejected"
    );
    Ok(())
}
