//! A batch that was full by bytes is emptied again, because what stores it has lost its place or its partitions were taken away:
//! the loop reads on.

#![allow(clippy::unwrap_used, reason = "a test fails at the line that is wrong")]

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use event::topics::{self, Topics};
use kafka_loop::{
    BatchHandler, BatchOptions, HandlerError, KafkaSettings, Outgoing, Producer, Record, admin, groups,
    run_batches,
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

const WAIT: Duration = Duration::from_secs(60);

async fn platform(name: &str, partitions: i32) -> KafkaSettings {
    let stack = local_stack::shared().await;
    let prefix = format!("emptied-{}-{name}.", std::process::id());
    let settings = KafkaSettings::plain(&stack.brokers(), &prefix);
    let overrides = admin::TopicOverrides { partitions: Some(partitions), replication: Some(1) };
    admin::ensure_topics(&settings, &Topics::load(), overrides).await.unwrap();
    settings
}

async fn publish(settings: &KafkaSettings, partition: i32, count: usize) {
    let producer = Producer::new(settings).unwrap();
    for _ in 0..count {
        let out = Outgoing {
            topic: topics::EVENTS,
            partition: Some(partition),
            key: b"key",
            value: b"value",
            headers: &[],
        };
        producer.send(out).await.unwrap();
    }
}

async fn until<F: Future<Output = Option<String>>>(name: &str, mut missing: impl FnMut() -> F) {
    let end = Instant::now() + WAIT;
    while let Some(state) = missing().await {
        assert!(Instant::now() < end, "waited in vain for: {name}; now: {state}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Records in a full batch of the second test, and what one weighs.
const FULL: usize = 12;
const WEIGHT: usize = 3 + 5 + 128;

/// A batch ends by its bytes alone.
fn options(max_bytes: usize) -> BatchOptions {
    BatchOptions {
        group: groups::PROJECTOR,
        topic: topics::EVENTS,
        max_records: 1_000,
        max_bytes,
        max_wait: WAIT * 10,
        stalled_after: WAIT,
    }
}

/// The next offset of each partition, as a table would hold it for all members.
type Table = Arc<Mutex<BTreeMap<i32, i64>>>;

/// One member's handler.
struct Rows {
    table: Table,
    /// Partitions whose positions this member has asked for.
    started: Arc<Mutex<BTreeSet<i32>>>,
    /// The weights of the batches that were handed over.
    weights: watch::Sender<Vec<usize>>,
    /// Every which batch is stored, and its answer lost.
    loses: Option<usize>,
}

impl Rows {
    fn new(table: &Table) -> Self {
        Self {
            table: Arc::clone(table),
            started: Arc::default(),
            weights: watch::Sender::default(),
            loses: None,
        }
    }

    fn step(&self, batch: &[Record]) -> Result<(), HandlerError> {
        let mut table = self.table.lock().unwrap();
        for record in batch {
            let next = table.entry(record.partition).or_default();
            if *next != record.offset {
                return Err(HandlerError::Lost(anyhow::anyhow!("stored is {next}, not {}", record.offset)));
            }
            *next += 1;
        }
        Ok(())
    }
}

impl BatchHandler for Rows {
    async fn positions(&mut self, asked: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        self.started.lock().unwrap().extend(asked.iter().map(|(partition, _)| *partition));
        let mut table = self.table.lock().unwrap();
        Ok(asked.iter().map(|(p, start)| (*p, *table.entry(*p).or_insert(*start))).collect())
    }

    async fn handle(&mut self, batch: Vec<Record>) -> Result<(), HandlerError> {
        self.weights.send_modify(|weights| weights.push(batch.iter().map(Record::weight).sum()));
        self.step(&batch)?;
        match self.loses {
            Some(every) if self.weights.borrow().len().is_multiple_of(every) => {
                Err(HandlerError::Lost(anyhow::anyhow!("the answer to the commit never came")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_place_while_the_next_batch_is_full_by_bytes_stops_nothing() {
    const RECORDS: usize = 60;
    let settings = platform("lost", 1).await;
    publish(&settings, 0, RECORDS).await;
    let table = Table::default();
    let rows = Rows { loses: Some(3), ..Rows::new(&table) };
    let stop = CancellationToken::new();
    // Every record is a batch that is full by bytes.
    let options = options(1);
    let run = run_batches(&settings, &options, rows, stop.clone());
    let watch = async {
        until("all records are stored", || async {
            let stored: i64 = table.lock().unwrap().values().sum();
            (stored < i64::try_from(RECORDS).unwrap()).then(|| format!("{stored} are"))
        })
        .await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(run, watch);
    ended.unwrap();
}

/// The first member has collected less than a batch, all of `partition`, when a second one joins and takes half.
async fn a_second_joins_while_only_one_partition_has_records(partition: i32) {
    let settings = platform(&format!("revoked-{partition}"), 2).await;
    publish(&settings, partition, FULL).await;
    let table = Table::default();
    let (first, second) = (Rows::new(&table), Rows::new(&table));
    let (mut handed, started) = (first.weights.subscribe(), Arc::clone(&second.started));
    let stop = CancellationToken::new();
    let mut members = JoinSet::new();
    let mut join = |rows: Rows| {
        let (settings, stop) = (settings.clone(), stop.clone());
        members.spawn(async move { run_batches(&settings, &options(FULL * WEIGHT), rows, stop).await });
    };
    join(first);
    tokio::time::timeout(WAIT, handed.wait_for(|handed| handed.len() == 1)).await.unwrap().unwrap();
    publish(&settings, partition, FULL - 1).await;
    join(second);
    until("the second member has a partition", || async {
        started.lock().unwrap().is_empty().then(|| "it has none".to_owned())
    })
    .await;
    for partition in [0, 1] {
        publish(&settings, partition, FULL).await;
    }
    let handed = tokio::time::timeout(WAIT, handed.wait_for(|handed| handed.len() > 1)).await;
    let handed = handed.expect("the first member goes on").unwrap().clone();
    assert!(handed.iter().all(|weight| *weight == FULL * WEIGHT), "not all were full: {handed:?}");
    stop.cancel();
    while let Some(ended) = members.join_next().await {
        ended.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoke_of_all_that_was_collected_leaves_nothing_of_it_behind() {
    // Which of the two partitions goes to the second member is for the group to decide: each is tried.
    for partition in [0, 1] {
        a_second_joins_while_only_one_partition_has_records(partition).await;
    }
}
