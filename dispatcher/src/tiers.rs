//! The delay lines: what lies on a tier goes to `deliveries.due` when its delay is over.
//!
//! Every record of a tier has the same delay, so the head of a partition is always due first; the ledger hands out a bounded
//! number a partition and pauses it behind them, without ever ceasing to poll. Due is the broker's append time plus the delay,
//! and never later than the delay by our own clock after the record came, so that a wrong clock can shorten a wait but not
//! prolong it. A record is settled when `deliveries.due` has it: the same key finds the same partition there as on
//! `deliveries`, which has as many.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use event::{
    Micros,
    topics::{self, TIERS},
};
use kafka_loop::{LedgerLoop, Producer, Record, Settle, Work};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    append::{OwnedRecord, append_all},
    finish,
    metrics::Metrics,
    pushing::outcome::Ladder,
};

/// Records that are appended together at most.
const TOGETHER: usize = 1_000;

/// The delay lines.
pub(crate) struct Tiers {
    producer: Producer,
    metrics: Arc<Metrics>,
    delays: HashMap<&'static str, Duration>,
    /// What waits, soonest first; the number keeps records of one moment in the order in which they came.
    waiting: BTreeMap<(Instant, u64), Work>,
    taken: u64,
    appends: JoinSet<()>,
}

impl Tiers {
    /// Nothing waits yet.
    pub(crate) fn new(producer: Producer, metrics: Arc<Metrics>, ladder: Ladder) -> Self {
        let delays =
            TIERS.iter().enumerate().map(|(tier, (topic, _))| (*topic, ladder.delay(tier))).collect();
        Self { producer, metrics, delays, waiting: BTreeMap::new(), taken: 0, appends: JoinSet::new() }
    }

    /// Runs until `stop`, or until the ledger ends.
    ///
    /// # Errors
    /// When the ledger failed.
    pub(crate) async fn run(mut self, mut ledger: LedgerLoop, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let next = self.waiting.keys().next().map(|(due, _)| *due);
            // First the end, then what is due, then what is new: new records are never due before older ones.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = self.appends.join_next() => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.release(),
                work = ledger.records.recv() => match work {
                    Some(work) => self.take(work),
                    None => break,
                },
            }
        }
        self.waiting.clear();
        drop(ledger.records);
        let all = async { while self.appends.join_next().await.is_some() {} };
        finish::within_grace(all).await;
        drop(self.appends);
        finish::ended(ledger.ended).await
    }

    fn take(&mut self, work: Work) {
        let delay = self.delays.get(&*work.record.topic).copied().unwrap_or_default();
        let due = Instant::now() + left_of(delay, work.record.timestamp_ms, Micros::now());
        self.taken += 1;
        self.waiting.insert((due, self.taken), work);
    }

    /// Appends what is due.
    fn release(&mut self) {
        let now = Instant::now();
        let mut records = Vec::new();
        let mut settles: Vec<Settle> = Vec::new();
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now
            && records.len() < TOGETHER
        {
            let Work { record, settle } = first.remove();
            // The next owner of a partition that was taken away releases it.
            if !settle.is_held() {
                continue;
            }
            records.push(due_record(record));
            settles.push(settle);
        }
        if records.is_empty() {
            return;
        }
        let (producer, metrics) = (self.producer.clone(), Arc::clone(&self.metrics));
        self.appends.spawn(async move {
            append_all(&producer, &records, &metrics).await;
            metrics.released.inc_by(settles.len() as u64);
            settles.into_iter().for_each(Settle::done);
        });
    }
}

/// How much of a delay is left for a record with this append time; never more than the delay.
fn left_of(delay: Duration, appended_ms: i64, now: Micros) -> Duration {
    let appended = Micros::from_millis(appended_ms);
    if appended_ms <= 0 || appended > now {
        return delay;
    }
    delay.saturating_sub(now.since(appended))
}

/// The record as it was, on the topic of what is due.
fn due_record(record: Record) -> OwnedRecord {
    let headers = record.headers.into_iter().map(|(name, value)| (Cow::Owned(name), value)).collect();
    let value = Bytes::from(record.value.unwrap_or_default());
    OwnedRecord { topic: topics::DUE, key: Bytes::from(record.key), value, headers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_counted_from_the_append_and_never_longer_than_the_delay() {
        let delay = Duration::from_secs(60);
        let now = Micros::from_millis(1_000_000);
        let left = |appended_ms| left_of(delay, appended_ms, now).as_secs();
        assert_eq!(left(1_000_000), 60);
        assert_eq!(left(970_000), 30);
        assert_eq!(left(500_000), 0);
        assert_eq!(left(2_000_000), 60, "the broker's clock is ahead of ours");
        assert_eq!(left(0), 60, "the broker gave no time");
    }
}
