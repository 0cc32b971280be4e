//! The two loops against a real broker: nothing is lost or passed over by restarts and rebalances.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the line that is wrong"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use event::topics::{self, Topics};
use kafka_loop::{
    BatchHandler, BatchOptions, Budget, HandlerError, KafkaSettings, LedgerOptions, Outgoing, Producer,
    Record, Source, admin, groups, open_ledger, run_batches,
};
use tokio_util::sync::CancellationToken;

const WAIT: Duration = Duration::from_secs(60);

async fn platform(name: &str, partitions: i32) -> KafkaSettings {
    let stack = local_stack::shared().await;
    let run = std::process::id();
    let settings = KafkaSettings::plain(&stack.brokers(), &format!("loop-{run}-{name}."));
    let overrides = admin::TopicOverrides { partitions: Some(partitions), replication: Some(1) };
    admin::ensure_topics(&settings, &Topics::load(), overrides).await.unwrap();
    settings
}

async fn publish(settings: &KafkaSettings, topic: &str, count: usize) {
    let producer = Producer::new(settings).unwrap();
    let acks: Vec<_> = (0..count)
        .map(|n| {
            let (key, value) = (format!("key-{}", n % 50), n.to_string());
            let out = Outgoing {
                topic,
                partition: None,
                key: key.as_bytes(),
                value: value.as_bytes(),
                headers: &[("n", value.as_bytes())],
            };
            producer.enqueue(out).unwrap()
        })
        .collect();
    for ack in acks {
        ack.await.unwrap();
    }
}

fn number(record: &Record) -> usize {
    assert_eq!(record.header("n"), record.value.as_deref());
    std::str::from_utf8(record.value.as_deref().unwrap()).unwrap().parse().unwrap()
}

fn pushing() -> LedgerOptions {
    LedgerOptions {
        group: groups::PUSH,
        source: Source::Group(vec![topics::DELIVERIES]),
        budget: Budget { records: 64, bytes: 1 << 20 },
        per_partition: None,
        stalled_after: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_finish_in_any_order_are_read_again_only_when_they_were_unfinished() {
    let settings = platform("any-order", 3).await;
    publish(&settings, topics::DELIVERIES, 300).await;
    let stop = CancellationToken::new();
    let mut first = open_ledger(&settings, pushing(), stop.clone()).unwrap();
    let (mut settled, mut left) = (BTreeSet::new(), Vec::new());
    while settled.len() < 100 {
        let work = tokio::time::timeout(WAIT, first.records.recv()).await.unwrap().unwrap();
        let n = number(&work.record);
        if n.is_multiple_of(7) && left.len() < 20 {
            left.push(work);
        } else {
            work.settle.done();
            assert!(settled.insert(n), "{n} came twice");
        }
    }
    stop.cancel();
    drop(left);
    while let Some(work) = first.records.recv().await {
        work.settle.done();
        settled.insert(number(&work.record));
    }
    first.ended.await.unwrap().unwrap();

    let stop = CancellationToken::new();
    let mut second = open_ledger(&settings, pushing(), stop.clone()).unwrap();
    let mut again = BTreeSet::new();
    while settled.len() + again.len() < 300 {
        let work = tokio::time::timeout(WAIT, second.records.recv()).await.unwrap().unwrap();
        let n = number(&work.record);
        assert!(!settled.contains(&n), "{n} was settled and came again");
        work.settle.done();
        again.insert(n);
    }
    stop.cancel();
    second.ended.await.unwrap().unwrap();
    assert_eq!(admin::lag(&settings, groups::PUSH, topics::DELIVERIES).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_member_takes_over_half_and_nothing_is_lost() {
    let settings = platform("two-members", 4).await;
    publish(&settings, topics::DELIVERIES, 2_000).await;
    let seen: Arc<Mutex<BTreeMap<usize, usize>>> = Arc::default();
    let stops = [CancellationToken::new(), CancellationToken::new()];
    let mut members = tokio::task::JoinSet::new();
    let count = {
        let seen = Arc::clone(&seen);
        move || seen.lock().unwrap().len()
    };
    for stop in &stops {
        let mut member = open_ledger(&settings, pushing(), stop.clone()).unwrap();
        let seen = Arc::clone(&seen);
        let started = count();
        members.spawn(async move {
            while let Some(work) = member.records.recv().await {
                *seen.lock().unwrap().entry(number(&work.record)).or_default() += 1;
                tokio::task::yield_now().await;
                work.settle.done();
            }
            member.ended.await.unwrap().unwrap();
        });
        let until = tokio::time::Instant::now() + WAIT;
        while count() < (started + 300).min(2_000) && tokio::time::Instant::now() < until {
            tokio::task::yield_now().await;
        }
    }
    publish(&settings, topics::DELIVERIES, 2_000).await;
    let until = tokio::time::Instant::now() + WAIT;
    let total = || seen.lock().unwrap().values().sum::<usize>();
    while total() < 4_000 {
        assert!(tokio::time::Instant::now() < until, "only {} of 4,000 came", total());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for stop in &stops {
        stop.cancel();
    }
    while let Some(ended) = members.join_next().await {
        ended.unwrap();
    }
    assert_eq!(admin::lag(&settings, groups::PUSH, topics::DELIVERIES).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_reads_the_partitions_of_the_loop_it_follows() {
    let settings = platform("follower", 3).await;
    publish(&settings, topics::DUE, 90).await;
    let stop = CancellationToken::new();
    let leader = open_ledger(&settings, pushing(), stop.clone()).unwrap();
    let options = LedgerOptions {
        group: groups::DUE,
        source: Source::Follow { topic: topics::DUE, partitions: leader.assignment.clone() },
        budget: Budget { records: 10, bytes: 1 << 20 },
        per_partition: Some(2),
        stalled_after: None,
    };
    let mut follower = open_ledger(&settings, options, stop.clone()).unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 90 {
        let work = tokio::time::timeout(WAIT, follower.records.recv()).await.unwrap().unwrap();
        assert!(seen.insert(number(&work.record)));
        work.settle.done();
    }
    stop.cancel();
    follower.ended.await.unwrap().unwrap();
    leader.ended.await.unwrap().unwrap();
    assert_eq!(admin::lag(&settings, groups::DUE, topics::DUE).await.unwrap(), 0);
}

/// Stores in memory, fails now and then, and refuses a batch that does not go on where the last one ended.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Stored>>);

/// Next offsets, numbers, calls.
type Stored = (BTreeMap<i32, i64>, Vec<usize>, usize);

impl BatchHandler for Memory {
    async fn positions(&mut self, committed: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        let (next, _, _) = &*self.0.lock().unwrap();
        Ok(committed
            .into_iter()
            .map(|(partition, start)| (partition, *next.get(&partition).unwrap_or(&start)))
            .collect())
    }

    async fn handle(&mut self, batch: Vec<Record>) -> Result<(), HandlerError> {
        let (next, stored, calls) = &mut *self.0.lock().unwrap();
        *calls += 1;
        if *calls % 5 == 2 {
            return Err(HandlerError::Transient(anyhow::anyhow!("not now")));
        }
        if *calls % 7 == 3 {
            return Err(HandlerError::Lost(anyhow::anyhow!("somebody else wrote")));
        }
        for record in &batch {
            let expected = next.entry(record.partition).or_insert(0);
            assert_eq!(*expected, record.offset, "a record was left out or came twice");
            *expected += 1;
            stored.push(number(record));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_keep_their_order_through_failures_and_restarts() {
    let settings = platform("batches", 3).await;
    publish(&settings, topics::EVENTS, 1_000).await;
    let memory = Memory::default();
    let options = BatchOptions {
        group: groups::PROJECTOR,
        topic: topics::EVENTS,
        max_records: 37,
        max_bytes: 1 << 20,
        max_wait: Duration::from_millis(10),
        stalled_after: WAIT,
    };
    for goal in [400, 1_000] {
        let stop = CancellationToken::new();
        let run = run_batches(&settings, &options, memory.clone(), stop.clone());
        let watch = async {
            while memory.0.lock().unwrap().1.len() < goal {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stop.cancel();
        };
        let (ended, ()) = tokio::time::timeout(WAIT, async { tokio::join!(run, watch) }).await.unwrap();
        ended.unwrap();
    }
    let mut stored = memory.0.lock().unwrap().1.clone();
    stored.sort_unstable();
    assert_eq!(stored, (0..1_000).collect::<Vec<_>>());
}

/// Never gets a batch stored.
struct Stuck;

impl BatchHandler for Stuck {
    async fn positions(&mut self, committed: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        Ok(committed)
    }

    async fn handle(&mut self, _: Vec<Record>) -> Result<(), HandlerError> {
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_never_answers_ends_the_loop() {
    let settings = platform("stuck", 1).await;
    publish(&settings, topics::EVENTS, 3).await;
    let options = BatchOptions {
        group: groups::PROJECTOR,
        topic: topics::EVENTS,
        max_records: 1,
        max_bytes: 1 << 20,
        max_wait: Duration::ZERO,
        stalled_after: Duration::from_millis(200),
    };
    let run = run_batches(&settings, &options, Stuck, CancellationToken::new());
    let error = tokio::time::timeout(WAIT, run).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("has finished none of it"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_whose_records_are_never_settled_ends() {
    let settings = platform("idle-hands", 1).await;
    publish(&settings, topics::DELIVERIES, 3).await;
    let options = LedgerOptions { stalled_after: Some(Duration::from_millis(200)), ..pushing() };
    let mut ledger = open_ledger(&settings, options, CancellationToken::new()).unwrap();
    let in_hand = ledger.records.recv().await.unwrap();
    let error = tokio::time::timeout(WAIT, ledger.ended).await.unwrap().unwrap().unwrap_err();
    assert!(error.to_string().contains("has finished none of it"), "{error}");
    drop(in_hand);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_position_stops_the_loop_and_says_so() {
    let stack = local_stack::shared().await;
    let named = platform("lost", 1).await;
    publish(&named, topics::DELIVERIES, 3).await;
    let settings = KafkaSettings { brokers: stack.brokers(), ..named };
    let mut options = pushing();
    options.group = "never-positioned";
    let lost = open_ledger(&settings, options, CancellationToken::new()).unwrap();
    let error = tokio::time::timeout(WAIT, lost.ended).await.unwrap().unwrap().unwrap_err();
    assert!(error.to_string().contains("has no position on"), "{error}");
}
