//! A batch of `events` becomes one transaction: rows and positions.
//!
//! A batch that the database refuses because of its data is halved until the culprit is alone; that one is parked. Halves are
//! written in order, each with its own step of the positions, so the order of the feed is kept.

use event::topics;
use kafka_loop::{BatchHandler, HandlerError, Producer, Record};
use store::{NewEvent, Store, StoreError};

use crate::{
    decode::{Reason, decode},
    metrics::Metrics,
    positions::{Positions, handler_error},
    reject::park,
};

/// Stores batches of `events`.
pub struct Events {
    store: Store,
    producer: Producer,
    metrics: Metrics,
    positions: Positions,
}

/// A record beside what it was decoded to; nothing when it was parked.
struct Item {
    record: Record,
    event: Option<NewEvent>,
}

impl Events {
    /// A handler that has no positions yet.
    pub fn new(store: Store, producer: Producer, metrics: Metrics) -> Self {
        Self { store, producer, metrics, positions: Positions::default() }
    }

    async fn decoded(&self, batch: Vec<Record>) -> Result<Vec<Item>, HandlerError> {
        let mut items = Vec::with_capacity(batch.len());
        for record in batch {
            let event = match decode(&record) {
                Ok(event) => Some(event),
                Err((reason, detail)) => {
                    park(&self.producer, &self.metrics, &record, reason, &detail).await?;
                    None
                }
            };
            items.push(Item { record, event });
        }
        Ok(items)
    }

    async fn write(&mut self, items: &[Item]) -> Result<(), StoreError> {
        let events: Vec<NewEvent> = items.iter().filter_map(|item| item.event.clone()).collect();
        let steps = self.positions.steps(items.iter().map(|item| &item.record));
        let timer = self.metrics.batch_seconds.start_timer();
        let outcome = self.store.write_batch(topics::EVENTS, &events, &steps).await?;
        timer.observe_duration();
        self.positions.moved(&steps);
        self.metrics.batch_records.observe(f64::from(u32::try_from(items.len()).unwrap_or(u32::MAX)));
        self.metrics.stored.inc_by(outcome.stored);
        self.metrics.repeated.inc_by(outcome.repeated);
        self.metrics.conflicting.inc_by(outcome.conflicting);
        self.metrics.head.set(outcome.head);
        if outcome.leapt {
            tracing::warn!(
                head = outcome.head,
                "the database has a new timeline; readers may see events again"
            );
        }
        Ok(())
    }

    /// Writes a stretch; halves it when its data is refused. A stack instead of recursion keeps the order and the depth plain.
    async fn write_in_halves(&mut self, mut items: Vec<Item>) -> Result<(), HandlerError> {
        let mut stretches = vec![items.len()];
        while let Some(length) = stretches.pop() {
            let rest = items.split_off(length.min(items.len()));
            match self.write(&items).await {
                Ok(()) => items = rest,
                Err(StoreError::Data(error)) if length == 1 => {
                    tracing::info!(%error, "a single event was refused by the database");
                    if let Some(item) = items.first_mut()
                        && item.event.take().is_some()
                    {
                        let detail = "the database cannot hold it";
                        park(&self.producer, &self.metrics, &item.record, Reason::Unstorable, detail).await?;
                    }
                    // Once more without the event: only the position moves.
                    stretches.push(1);
                    items.extend(rest);
                }
                Err(StoreError::Data(_)) => {
                    let half = length / 2;
                    stretches.extend([length - half, half]);
                    items.extend(rest);
                }
                Err(error) => return Err(handler_error(error)),
            }
        }
        Ok(())
    }
}

impl BatchHandler for Events {
    async fn positions(&mut self, committed: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        self.positions.load(&self.store, topics::EVENTS, &committed).await
    }

    async fn handle(&mut self, batch: Vec<Record>) -> Result<(), HandlerError> {
        let items = self.decoded(batch).await?;
        self.write_in_halves(items).await
    }
}
