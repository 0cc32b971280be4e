//! Puts deliveries back: many together, apart from the sends.
//!
//! A put back is no attempt and nobody waits for it, so it must cost little and hold nobody up. They are appended together, one
//! batch at a time, and count in no bound of the sends. What comes from `deliveries.due` and finds no room again is put back at a
//! quarter of the time at most: a wave of a million that a tier releases at one moment then takes longer, and the sends to others do
//! not. What comes from `deliveries` is put back as fast as the log takes it, because fresh deliveries for others stand behind it.
//!
//! Only the first put back of a delivery is written into the delivery log. Bounds: the budgets of the loops, on whose records all
//! that waits here hangs; [`TOGETHER`] in one batch.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use event::AttemptOutcome;
use futures::future::join_all;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Push;
use crate::{
    append::{OwnedRecord, append_all, append_one},
    caught::caught,
    pushing::{
        delivery::{Delivery, Told},
        outcome::{Ended, PutBack},
    },
};

/// Deliveries that are appended together at most.
const TOGETHER: usize = 512;
/// After a batch from `deliveries.due`, so many times as long nothing is put back.
const REST: u32 = 3;

/// A delivery to put back, and why.
type Back = (Delivery, PutBack);

/// Where deliveries to put back are handed over.
pub(super) struct PutBacks {
    fresh: UnboundedSender<Back>,
    again: UnboundedSender<Back>,
}

/// What is handed over there.
pub(super) struct Incoming {
    fresh: UnboundedReceiver<Back>,
    again: UnboundedReceiver<Back>,
}

impl PutBacks {
    pub(super) fn new() -> (Self, Incoming) {
        let ((fresh, of_fresh), (again, of_again)) = (unbounded_channel(), unbounded_channel());
        (Self { fresh, again }, Incoming { fresh: of_fresh, again: of_again })
    }

    /// After the stop what is handed over is dropped: it comes again.
    pub(super) fn take(&self, delivery: Delivery, why: PutBack) {
        let headers = &delivery.headers;
        let is_fresh = headers.attempt == 0 && headers.put_backs == 0;
        let to = if is_fresh { &self.fresh } else { &self.again };
        to.send((delivery, why)).ok();
    }
}

impl Push {
    /// Puts back what is handed over, until the stop.
    pub(super) fn run_put_backs(self: &Arc<Self>, incoming: Incoming) {
        let Incoming { fresh, again } = incoming;
        self.spawn(Arc::clone(self).put_back_from(fresh, 0));
        self.spawn(Arc::clone(self).put_back_from(again, REST));
    }

    async fn put_back_from(self: Arc<Self>, mut incoming: UnboundedReceiver<Back>, rest: u32) {
        loop {
            let mut batch = Vec::with_capacity(TOGETHER);
            let taken = self.stop.run_until_cancelled(incoming.recv_many(&mut batch, TOGETHER)).await;
            if taken.is_none_or(|count| count == 0) {
                return;
            }
            let begun = Instant::now();
            self.put_back_together(batch).await;
            let pause = begun.elapsed() * rest;
            if self.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    async fn put_back_together(&self, batch: Vec<Back>) {
        let mut moved = Vec::with_capacity(batch.len());
        let mut told = Vec::with_capacity(batch.len());
        for (mut delivery, why) in batch {
            // The next owner of a partition that was taken away reads it again.
            if !delivery.is_held() {
                continue;
            }
            let all = caught(|| self.tell(&delivery, &Ended::PutBack(why), Duration::ZERO));
            let Told { outcome, next, attempt } = all.unwrap_or_else(|_| {
                self.metrics.faults.inc();
                delivery.parked()
            });
            let comes_again = outcome == AttemptOutcome::PutBack;
            if comes_again {
                delivery.release();
            }
            moved.extend(next);
            told.push((delivery, attempt, !comes_again));
        }
        // The log says nothing that is not so yet.
        append_all(&self.producer, &moved, &self.metrics).await;
        join_all(told.into_iter().map(|(delivery, attempt, remember)| self.end(delivery, attempt, remember)))
            .await;
    }

    /// What happened is told, then the delivery's own record is settled.
    pub(super) async fn end(&self, delivery: Delivery, attempt: Option<OwnedRecord>, remember: bool) {
        let entry = self.journal.begin();
        if let Some(attempt) = attempt
            && let Some(at) = append_one(&self.producer, &attempt, &self.metrics).await
        {
            entry.acknowledged(at);
        }
        entry.settles(|| delivery.settle(remember));
    }
}
