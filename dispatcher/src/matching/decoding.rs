//! The match loop's first stage: records of `events` are decoded and looked up among the stored events, a batch at a time and in
//! their order.

use std::sync::Arc;

use bytes::Bytes;
use event::{Event, EventIdentity, topics};
use kafka_loop::{Position, Producer, Settle, Work};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    append::{OwnedRecord, append_all},
    caught::{Panicked, caught},
    matching::{
        reject::{Origin, rejected},
        repeats::LookUp,
    },
    metrics::Metrics,
};

/// An event in hand.
pub(crate) struct Decoded {
    /// Its key on `events`.
    pub(crate) key: Bytes,
    pub(crate) event: Event,
    /// In its canonical form.
    pub(crate) subject: Option<String>,
    pub(crate) identity: EventIdentity,
    pub(crate) body: Bytes,
    pub(crate) traceparent: Option<String>,
    pub(crate) at: Position,
    pub(crate) stored_elsewhere: bool,
    pub(crate) settle: Settle,
}

/// The loop's first stage.
pub(crate) struct Decoding {
    look_up: LookUp,
    producer: Producer,
    /// Events whose decoding panicked, to be parked.
    faults: Vec<(OwnedRecord, Settle)>,
    metrics: Arc<Metrics>,
    batch: usize,
}

impl Decoding {
    /// Nothing is in hand yet. `batch`: events that are handed on together at most.
    pub(crate) const fn new(
        look_up: LookUp,
        producer: Producer,
        metrics: Arc<Metrics>,
        batch: usize,
    ) -> Self {
        Self { look_up, producer, faults: Vec::new(), metrics, batch }
    }

    /// Runs until `stop`, or until nobody hands out or takes any more.
    pub(crate) async fn run(
        mut self,
        mut records: mpsc::Receiver<Work>,
        hand_on: mpsc::Sender<Vec<Decoded>>,
        stop: &CancellationToken,
    ) {
        let mut works = Vec::with_capacity(self.batch);
        loop {
            let taken = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                taken = records.recv_many(&mut works, self.batch) => taken,
            };
            if taken == 0 {
                return;
            }
            let mut batch: Vec<Decoded> = works.drain(..).filter_map(|work| self.decode(work)).collect();
            self.park().await;
            let asked: Vec<_> = batch.iter().map(|decoded| (decoded.identity, decoded.at)).collect();
            let elsewhere = self.look_up.stored_elsewhere(&asked).await;
            for (decoded, elsewhere) in batch.iter_mut().zip(elsewhere) {
                decoded.stored_elsewhere = elsewhere;
            }
            if hand_on.send(batch).await.is_err() {
                return;
            }
        }
    }

    /// An event that cannot be decoded is settled here; the projector parks it with its reason. One whose decoding panics is ours
    /// to park.
    fn decode(&mut self, work: Work) -> Option<Decoded> {
        let Work { mut record, settle } = work;
        let value = record.value.take().unwrap_or_default();
        let at = Position { partition: record.partition, offset: record.offset };
        let read = caught(|| {
            let event = Event::stored(&value).ok()?;
            let subject = event.resolved_subject(record.header("subject"));
            Some((event.identity(), event, subject))
        });
        let (identity, event, subject) = match read {
            Ok(Some(read)) => read,
            Ok(None) => {
                self.metrics.undecodable_events.inc();
                settle.done();
                return None;
            }
            Err(Panicked) => {
                self.metrics.faults.inc();
                let from = Origin { topic: topics::EVENTS, at };
                self.faults.push((rejected(record.key.into(), value.into(), from), settle));
                return None;
            }
        };
        let traceparent = record.header("traceparent");
        let traceparent = traceparent.and_then(|value| String::from_utf8(value.to_vec()).ok());
        let (key, body, stored_elsewhere) = (Bytes::from(record.key), Bytes::from(value), false);
        Some(Decoded { key, event, subject, identity, body, traceparent, at, stored_elsewhere, settle })
    }

    /// Parks the events whose decoding panicked.
    async fn park(&mut self) {
        if self.faults.is_empty() {
            return;
        }
        let (records, settles): (Vec<OwnedRecord>, Vec<Settle>) = self.faults.drain(..).unzip();
        append_all(&self.producer, &records, &self.metrics).await;
        settles.into_iter().for_each(Settle::done);
    }
}
