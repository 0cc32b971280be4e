//! Partitions that are taken away, and records that are held for long, against a real broker.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use event::topics;
use kafka_loop::{
    Budget, KafkaSettings, LedgerLoop, LedgerOptions, Progress, Source, Work, admin, groups, open_ledger,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::{WAIT, next, number, platform, publish, pushing};

const BUDGET: Budget = Budget { records: 2_000, bytes: 1 << 24 };

/// What two members of a group did, by topic and number.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Counts>>);

type Counts = BTreeMap<(Arc<str>, usize), usize>;

impl Seen {
    fn add(&self, work: &Work) {
        let key = (Arc::clone(&work.record.topic), number(&work.record));
        *self.0.lock().unwrap().entry(key).or_default() += 1;
    }

    fn distinct(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn repeated(&self) -> usize {
        self.0.lock().unwrap().values().map(|count| count - 1).sum()
    }
}

/// Settles what a loop hands out and is still held, one after the other, in an order that is not that of the log; slowly while
/// members come and go.
async fn work_off(mut ledger: LedgerLoop, seen: Seen, slowly: CancellationToken) {
    let mut works = Vec::new();
    while ledger.records.recv_many(&mut works, 4).await > 0 {
        for work in works.drain(..).rev().filter(|work| work.settle.is_held()) {
            seen.add(&work);
            work.settle.done();
        }
        if !slowly.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    ledger.ended.await.unwrap().unwrap();
}

/// Two dispatchers' worth of loops, and more.
struct Group<'a> {
    settings: &'a KafkaSettings,
    seen: Seen,
    slowly: CancellationToken,
    loops: JoinSet<()>,
}

impl Group<'_> {
    /// A member that reads `deliveries` and, in the same partitions, `deliveries.due`; waits until it has some.
    async fn join(&mut self) -> CancellationToken {
        let stop = CancellationToken::new();
        let fresh = LedgerOptions { budget: BUDGET, ..pushing() };
        let fresh = open_ledger(self.settings, fresh, stop.clone()).unwrap();
        let held = fresh.assignment.clone();
        let same = Source::Follow { topic: topics::DUE, of: held.clone() };
        let due = LedgerOptions { source: same, budget: BUDGET, ..pushing() };
        let due = open_ledger(self.settings, due, stop.clone()).unwrap();
        for each in [fresh, due] {
            self.loops.spawn(work_off(each, self.seen.clone(), self.slowly.clone()));
        }
        until("it has partitions", || !held.now().is_empty()).await;
        stop
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + WAIT;
    while !is_so() {
        assert!(tokio::time::Instant::now() < end, "it did not come to pass that {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_settled_before_a_partition_was_taken_away_is_not_read_again() {
    const EACH: usize = 100_000;
    let settings = platform("handed-over", 4).await;
    publish(&settings, topics::DELIVERIES, EACH).await;
    publish(&settings, topics::DUE, EACH).await;
    let (seen, slowly) = (Seen::default(), CancellationToken::new());
    let mut group =
        Group { settings: &settings, seen: seen.clone(), slowly: slowly.clone(), loops: JoinSet::new() };
    let first = group.join().await;
    until("the first is at work", || seen.distinct() > 0).await;
    let others = [group.join().await, group.join().await];
    first.cancel();
    group.loops.join_next().await.unwrap().unwrap();
    assert!(seen.distinct() < 2 * EACH, "all was done before the group was whole");
    slowly.cancel();
    until("all is done", || seen.distinct() == 2 * EACH).await;
    // Each loop settles one record at a time; that may happen in the moment in which a partition goes. Three times some do.
    assert!(seen.repeated() <= 3 * 4, "{} repeated", seen.repeated());
    others.iter().for_each(CancellationToken::cancel);
    while let Some(ended) = group.loops.join_next().await {
        ended.unwrap();
    }
    for topic in [topics::DELIVERIES, topics::DUE] {
        assert_eq!(admin::lag(&settings, groups::PUSH, topic).await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_records_pass_one_that_is_held() {
    const COUNT: usize = 1_000_100;
    let settings = platform("span", 1).await;
    publish(&settings, topics::DELIVERIES, COUNT).await;
    let stop = CancellationToken::new();
    let mut first =
        open_ledger(&settings, LedgerOptions { budget: BUDGET, ..pushing() }, stop.clone()).unwrap();
    let held = next(&mut first).await;
    for _ in 1..COUNT {
        next(&mut first).await.settle.done();
    }
    let behind = |progress: &Progress| progress.span == COUNT as i64 && !progress.oldest.is_zero();
    tokio::time::timeout(WAIT, first.progress.wait_for(behind)).await.unwrap().unwrap();
    stop.cancel();
    let of = number(&held.record);
    drop(held);
    first.ended.await.unwrap().unwrap();
    let committed = admin::committed(&settings, groups::PUSH, topics::DELIVERIES).await.unwrap();
    assert_eq!(committed[&0], 0, "the position waits for it");

    let stop = CancellationToken::new();
    let mut second = open_ledger(&settings, pushing(), stop.clone()).unwrap();
    let again = next(&mut second).await;
    assert_eq!(number(&again.record), of);
    again.settle.done();
    let until_committed = async {
        while admin::lag(&settings, groups::PUSH, topics::DELIVERIES).await.unwrap() > 0 {
            assert!(second.records.try_recv().is_err(), "more than that one came again");
        }
    };
    tokio::time::timeout(WAIT, until_committed).await.unwrap();
    stop.cancel();
    second.ended.await.unwrap().unwrap();
}
