//! The batch loop against a real broker: nothing is lost or passed over by failures, restarts and rebalances.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use event::topics;
use kafka_loop::{
    BatchHandler, BatchOptions, HandlerError, KafkaSettings, Outgoing, Producer, Record, admin, groups,
    run_batches,
};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::broker::{WAIT, number, platform, publish};

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
    assert!(error.to_string().contains("has work in hand that is unfinished"), "{error}");
}

/// Everything is stored already; there is nothing to hand over.
struct Whole;

impl BatchHandler for Whole {
    async fn positions(&mut self, oldest: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        Ok(oldest.into_iter().map(|(partition, _)| (partition, 5)).collect())
    }

    async fn handle(&mut self, batch: Vec<Record>) -> Result<(), HandlerError> {
        panic!("{} records came again", batch.len())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_partition_over_commits_where_it_starts_so_that_no_lag_is_shown_where_none_is() {
    let settings = platform("takes-over", 1).await;
    publish(&settings, topics::EVENTS, 5).await;
    let options = BatchOptions {
        group: groups::PROJECTOR,
        topic: topics::EVENTS,
        max_records: 10,
        max_bytes: 1 << 20,
        max_wait: Duration::ZERO,
        stalled_after: WAIT,
    };
    let stop = CancellationToken::new();
    let run = run_batches(&settings, &options, Whole, stop.clone());
    let watch = async {
        while admin::lag(&settings, groups::PROJECTOR, topics::EVENTS).await.unwrap() != 0 {}
        stop.cancel();
    };
    let (ended, ()) = tokio::time::timeout(WAIT, async { tokio::join!(run, watch) }).await.unwrap();
    ended.unwrap();
}

/// What stores does not answer until it is back, or says that it is away; then as [`Memory`] without its faults.
#[derive(Clone)]
struct Away {
    says_so: bool,
    stored: Arc<Mutex<BTreeMap<i32, i64>>>,
    is_back: watch::Receiver<bool>,
    /// Partitions that were asked for.
    asked: Arc<Mutex<Vec<i32>>>,
}

impl BatchHandler for Away {
    async fn positions(&mut self, oldest: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        self.asked.lock().unwrap().extend(oldest.iter().map(|(partition, _)| *partition));
        let stored = self.stored.lock().unwrap();
        Ok(oldest.into_iter().map(|(p, start)| (p, *stored.get(&p).unwrap_or(&start))).collect())
    }

    async fn handle(&mut self, batch: Vec<Record>) -> Result<(), HandlerError> {
        if self.says_so && !*self.is_back.borrow() {
            return Err(HandlerError::Transient(anyhow::anyhow!("away")));
        }
        self.is_back.wait_for(|is_back| *is_back).await.unwrap();
        let mut stored = self.stored.lock().unwrap();
        for record in &batch {
            let expected = stored.entry(record.partition).or_insert(0);
            assert_eq!(*expected, record.offset, "a record was left out or came twice");
            *expected += 1;
        }
        Ok(())
    }
}

impl Away {
    fn new(says_so: bool, is_back: &watch::Sender<bool>) -> Self {
        Self { says_so, stored: Arc::default(), is_back: is_back.subscribe(), asked: Arc::default() }
    }
}

/// The members of the projector's group, once it is settled.
fn members(settings: &KafkaSettings) -> Option<usize> {
    let asker: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", &settings.brokers).create().unwrap();
    let group = settings.group(groups::PROJECTOR);
    let list = asker.fetch_group_list(Some(&group), Duration::from_secs(5)).ok()?;
    let found = list.groups().first()?;
    (found.state() == "Stable").then(|| found.members().len())
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + WAIT;
    while !tokio::task::block_in_place(&holds) {
        assert!(Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_goes_and_comes_while_a_batch_waits_leaves_no_hole() {
    let settings = platform("goes-and-comes", 2).await;
    let producer = Producer::new(&settings).unwrap();
    let publish = async |count: usize| {
        for n in 0..count * 2 {
            let partition = Some(i32::try_from(n % 2).unwrap());
            let out = Outgoing { topic: topics::EVENTS, partition, key: b"k", value: b"v", headers: &[] };
            producer.send(out).await.unwrap();
        }
    };
    let options = BatchOptions {
        group: groups::PROJECTOR,
        topic: topics::EVENTS,
        max_records: 60,
        max_bytes: 1 << 20,
        max_wait: Duration::from_millis(10),
        stalled_after: WAIT,
    };
    let is_back = watch::Sender::new(false);
    let (first, stop) = (Away::new(false, &is_back), CancellationToken::new());
    let mut running = JoinSet::new();
    let run = |handler: Away, stop: CancellationToken| {
        let (settings, options) = (settings.clone(), options.clone());
        async move { run_batches(&settings, &options, handler, stop).await }
    };
    running.spawn(run(first.clone(), stop.clone()));
    until("both are its own", || first.asked.lock().unwrap().len() == 2).await;
    publish(5).await;
    let (second, leaves) = (Away::new(true, &is_back), CancellationToken::new());
    let mut other = JoinSet::new();
    other.spawn(run(second.clone(), leaves.clone()));
    until("a second one has taken one over", || second.asked.lock().unwrap().len() == 1).await;
    publish(5).await;
    leaves.cancel();
    other.join_next().await.unwrap().unwrap().unwrap();
    until("the first has both again", || members(&settings) == Some(1)).await;
    // So many that its next batch is full long before the last.
    publish(300).await;
    is_back.send_replace(true);
    let all = BTreeMap::from([(0, 310), (1, 310)]);
    until("all is stored", || *first.stored.lock().unwrap() == all).await;
    stop.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
}
