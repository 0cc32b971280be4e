//! A batch of a topic becomes one transaction: rows and positions.
//!
//! The same for every topic; what differs is a [`Kind`]. Three rules:
//!
//! * What can never be a row is parked first, acknowledged, and remembered until its offset is passed: a batch that is tried
//!   again parks nothing twice.
//! * A batch that the database refuses because of its data is halved until the culprit is alone; that one is parked. Halves are
//!   written in order, each with its own step of the positions, so the order of the feed is kept.
//! * Positions only move with their rows. A batch that was written in part goes on where it stopped.

use std::{
    collections::BTreeSet,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
};

use kafka_loop::{BatchHandler, HandlerError, Producer, Record};
use store::{Advance, Store, StoreError};

use crate::{
    decode::Reject,
    metrics::Metrics,
    positions::{Positions, handler_error},
    reject::Park,
};

/// What the records of one topic become.
pub trait Kind: Send + 'static {
    /// The topic.
    const TOPIC: &'static str;
    /// What a record becomes.
    type Row: Clone + Send + Sync + 'static;

    /// Reads a record; `None` when it becomes nothing and need not be parked either.
    ///
    /// # Errors
    /// Why it can never become a row.
    fn row(record: &Record) -> Result<Option<Self::Row>, Reject>;

    /// Writes rows and moves positions in one transaction.
    fn write(
        store: &Store,
        metrics: &Metrics,
        rows: &[Self::Row],
        steps: &[Advance],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Stores the batches of one topic.
pub struct Projection<K: Kind> {
    store: Store,
    metrics: Metrics,
    park: Park,
    positions: Positions,
    /// Parked, and not yet passed.
    parked: BTreeSet<(i32, i64)>,
    kind: std::marker::PhantomData<K>,
}

/// A record beside its row; none when it becomes nothing or was parked.
struct Item<R> {
    record: Record,
    row: Option<R>,
}

/// The row of a record. A panic on one record is that record's: it would come again after every start.
fn row_of<K: Kind>(record: &Record) -> Result<Option<K::Row>, Reject> {
    let panicked = |_| Err(Reject::undecodable("a fault of the projector's own: it panicked"));
    catch_unwind(AssertUnwindSafe(|| K::row(record))).unwrap_or_else(panicked)
}

impl<K: Kind> Projection<K> {
    /// A projection that has no positions yet.
    pub fn new(store: Store, producer: Producer, metrics: Metrics) -> Self {
        Self {
            store,
            park: Park::new(producer, metrics.clone()),
            metrics,
            positions: Positions::default(),
            parked: BTreeSet::new(),
            kind: std::marker::PhantomData,
        }
    }

    /// Reads the records that are not stored yet, and parks what cannot be read.
    async fn read(&mut self, batch: Vec<Record>) -> Result<Vec<Item<K::Row>>, HandlerError> {
        let mut items = Vec::with_capacity(batch.len());
        let mut rejects = Vec::new();
        for record in batch.into_iter().filter(|record| !self.positions.has_passed(record)) {
            let row = row_of::<K>(&record).unwrap_or_else(|reject| {
                rejects.push((items.len(), reject));
                None
            });
            items.push(Item { record, row });
        }
        let rejected: Vec<(&Record, Reject)> = rejects
            .into_iter()
            .filter_map(|(index, reject)| Some((&items.get(index)?.record, reject)))
            .filter(|(record, _)| !self.parked.contains(&(record.partition, record.offset)))
            .collect();
        let parked = &mut self.parked;
        let note = |record: &Record| {
            parked.insert((record.partition, record.offset));
        };
        self.park.all(&rejected, note).await?;
        Ok(items)
    }

    async fn write(&mut self, items: &[Item<K::Row>]) -> Result<(), StoreError> {
        let rows: Vec<K::Row> = items.iter().filter_map(|item| item.row.clone()).collect();
        let steps = self.positions.steps(items.iter().map(|item| &item.record));
        let timer = self.metrics.batch_seconds.start_timer();
        K::write(&self.store, &self.metrics, &rows, &steps).await?;
        timer.observe_duration();
        self.metrics.batch_records.observe(f64::from(u32::try_from(items.len()).unwrap_or(u32::MAX)));
        self.positions.moved(&steps);
        Ok(())
    }

    /// Writes a stretch; halves it when its data is refused. A stack instead of recursion keeps order and depth plain.
    async fn write_in_halves(&mut self, mut items: Vec<Item<K::Row>>) -> Result<(), HandlerError> {
        let mut stretches = vec![items.len()];
        while let Some(length) = stretches.pop() {
            let rest = items.split_off(length.min(items.len()));
            match self.write(&items).await {
                Ok(()) => items = rest,
                Err(StoreError::Data(error)) if length > 1 => {
                    tracing::debug!(%error, length, "the database refused a stretch; it is halved");
                    let half = length / 2;
                    stretches.extend([length - half, half]);
                    items.extend(rest);
                }
                Err(StoreError::Data(error)) => {
                    self.park_culprit(&mut items, error).await?;
                    // Once more without its row: only the position moves.
                    stretches.push(1);
                    items.extend(rest);
                }
                Err(error) => return Err(handler_error(error)),
            }
        }
        Ok(())
    }

    async fn park_culprit(
        &mut self,
        items: &mut [Item<K::Row>],
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> Result<(), HandlerError> {
        let Some(item) = items.first_mut().filter(|item| item.row.is_some()) else {
            return Err(HandlerError::Fatal(
                anyhow::Error::new(error).context("a position alone cannot be stored"),
            ));
        };
        let place = (item.record.partition, item.record.offset);
        if !self.parked.contains(&place) {
            self.park.all(&[(&item.record, Reject::unstorable())], |_| ()).await?;
            self.parked.insert(place);
        }
        item.row = None;
        Ok(())
    }
}

impl<K: Kind> BatchHandler for Projection<K> {
    async fn positions(&mut self, oldest: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        self.parked.clear();
        self.positions.load(&self.store, K::TOPIC, &oldest).await
    }

    async fn handle(&mut self, batch: Vec<Record>) -> Result<(), HandlerError> {
        let items = self.read(batch).await?;
        if !items.is_empty() {
            self.write_in_halves(items).await?;
        }
        self.parked.clear();
        Ok(())
    }
}
