//! Attempts and dead letters become rows; the outcome of a validation becomes the subscription's state.

use event::{AttemptOutcome, AttemptRecord, DeliveryHeaders, DeliveryKind, Micros, SubscriptionId, topics};
use kafka_loop::{BatchHandler, HandlerError, Record};
use store::{AttemptRow, DeadRow, Store};

use crate::{
    metrics::Metrics,
    positions::{Positions, handler_error},
};

/// Stores batches of `delivery-attempts`.
pub struct Attempts {
    store: Store,
    metrics: Metrics,
    positions: Positions,
}

impl Attempts {
    /// A handler that has no positions yet.
    pub fn new(store: Store, metrics: Metrics) -> Self {
        Self { store, metrics, positions: Positions::default() }
    }

    fn row(&self, record: &Record) -> Option<(AttemptRow, AttemptRecord)> {
        let read = record.value.as_deref().and_then(|value| {
            let text = std::str::from_utf8(value).ok()?;
            Some((serde_json::from_str::<AttemptRecord>(text).ok()?, text.to_owned()))
        });
        let Some((attempt, text)) = read else {
            self.metrics.history_skipped.inc();
            tracing::error!(
                kafka.partition = record.partition,
                kafka.offset = record.offset,
                "an attempt could not be read"
            );
            return None;
        };
        let row = AttemptRow {
            at: Micros::parse_rfc3339(&attempt.at).unwrap_or(Micros::from_millis(record.timestamp_ms)),
            subscription: SubscriptionId(attempt.subscription),
            kafka_partition: record.partition,
            kafka_offset: record.offset,
            record: text,
        };
        Some((row, attempt))
    }
}

impl BatchHandler for Attempts {
    async fn positions(&mut self, committed: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        self.positions.load(&self.store, topics::ATTEMPTS, &committed).await
    }

    async fn handle(&mut self, batch: Vec<Record>) -> Result<(), HandlerError> {
        let (rows, attempts): (Vec<_>, Vec<_>) = batch.iter().filter_map(|record| self.row(record)).unzip();
        // Before the position moves: validating twice changes nothing, missing it would.
        for attempt in attempts.iter().filter(|attempt| is_validated(attempt)) {
            self.store.set_validated(SubscriptionId(attempt.subscription)).await.map_err(handler_error)?;
        }
        let steps = self.positions.steps(&batch);
        self.store.write_attempts(topics::ATTEMPTS, &rows, &steps).await.map_err(handler_error)?;
        self.positions.moved(&steps);
        Ok(())
    }
}

fn is_validated(attempt: &AttemptRecord) -> bool {
    attempt.kind == DeliveryKind::Validation && attempt.outcome == AttemptOutcome::Delivered
}

/// Stores batches of `deliveries.dead`.
pub struct Dead {
    store: Store,
    metrics: Metrics,
    positions: Positions,
}

impl Dead {
    /// A handler that has no positions yet.
    pub fn new(store: Store, metrics: Metrics) -> Self {
        Self { store, metrics, positions: Positions::default() }
    }

    fn row(&self, record: &Record) -> Option<DeadRow> {
        let headers = DeliveryHeaders::from_pairs(record.header_pairs());
        let event = record.value.clone().and_then(|value| String::from_utf8(value).ok());
        let (Ok(headers), Some(event)) = (headers, event) else {
            self.metrics.history_skipped.inc();
            tracing::error!(
                kafka.partition = record.partition,
                kafka.offset = record.offset,
                "a dead letter could not be read"
            );
            return None;
        };
        Some(DeadRow {
            at: Micros::from_millis(record.timestamp_ms),
            subscription: headers.subscription,
            delivery: headers.delivery,
            reason: headers.reason.unwrap_or_default(),
            attempts: i32::from(headers.attempt),
            kafka_partition: record.partition,
            kafka_offset: record.offset,
            event,
        })
    }
}

impl BatchHandler for Dead {
    async fn positions(&mut self, committed: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        self.positions.load(&self.store, topics::DEAD, &committed).await
    }

    async fn handle(&mut self, batch: Vec<Record>) -> Result<(), HandlerError> {
        let rows: Vec<DeadRow> = batch.iter().filter_map(|record| self.row(record)).collect();
        let steps = self.positions.steps(&batch);
        self.store.write_dead(topics::DEAD, &rows, &steps).await.map_err(handler_error)?;
        self.positions.moved(&steps);
        Ok(())
    }
}
