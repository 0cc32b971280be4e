//! Where groups start, on a real broker: by themselves only where nothing was ever written, and never silently anywhere else.

use std::{
    collections::BTreeSet,
    future::Future,
    time::{Duration, Instant},
};

use event::{
    Micros,
    topics::{self, Topics},
};
use kafka_loop::{
    BatchHandler, BatchOptions, Budget, HandlerError, KafkaSettings, LedgerOptions, Outgoing, Producer,
    Record, Source, admin,
    groups::{self, Start},
    open_ledger, run_batches,
    starts::{self, Step},
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions},
    client::DefaultClientContext,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const WAIT: Duration = Duration::from_secs(60);
const OVERRIDES: admin::TopicOverrides = admin::TopicOverrides { partitions: Some(2), replication: Some(1) };

async fn platform(name: &str) -> KafkaSettings {
    let stack = local_stack::shared().await;
    let prefix = format!("starts-{}-{name}.", std::process::id());
    let settings = KafkaSettings::plain(&stack.brokers(), &prefix);
    let report = ensure(&settings).await;
    assert!(report.positioned.len() >= 16, "topics that are created get their starts: {report:?}");
    settings
}

async fn ensure(settings: &KafkaSettings) -> admin::Report {
    admin::ensure_topics(settings, &Topics::load(), OVERRIDES).await.unwrap()
}

fn operator(settings: &KafkaSettings) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &settings.brokers).create().unwrap()
}

async fn until<T, F: Future<Output = Result<T, String>>>(name: &str, mut holds: impl FnMut() -> F) -> T {
    let end = Instant::now() + WAIT;
    loop {
        match holds().await {
            Ok(value) => return value,
            Err(state) => assert!(Instant::now() < end, "waited in vain for: {name}; now: {state}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The broker forgets the positions of a group, as it does with one that was away for too long.
async fn forget(settings: &KafkaSettings, group: &str) {
    until("the broker forgets the group", || async {
        starts::forget_for_test(settings, group).await.map_err(|error| error.to_string())
    })
    .await;
}

async fn append(settings: &KafkaSettings, topic: &str, partition: i32, count: usize) {
    let producer = Producer::new(settings).unwrap();
    for _ in 0..count {
        let out = Outgoing { topic, partition: Some(partition), key: b"key", value: b"value", headers: &[] };
        producer.send(out).await.unwrap();
    }
}

fn pushing() -> LedgerOptions {
    LedgerOptions {
        group: groups::PUSH,
        source: Source::Group(vec![topics::DELIVERIES]),
        budget: Budget { records: 64, bytes: 1 << 20 },
        per_partition: None,
        stalled_after: None,
        journal: None,
    }
}

/// Why the push loop ends.
async fn refusal(settings: &KafkaSettings) -> String {
    let ledger = open_ledger(settings, pushing(), CancellationToken::new()).unwrap();
    tokio::time::timeout(WAIT, ledger.ended).await.unwrap().unwrap().unwrap_err().to_string()
}

/// The first records that the push loop reads, as (partition, offset); it settles none.
async fn first_read(settings: &KafkaSettings, count: usize) -> BTreeSet<(i32, i64)> {
    let stop = CancellationToken::new();
    let mut ledger = open_ledger(settings, pushing(), stop.clone()).unwrap();
    let (mut read, mut held) = (BTreeSet::new(), Vec::new());
    while read.len() < count {
        let work = tokio::time::timeout(WAIT, ledger.records.recv()).await.unwrap().unwrap();
        read.insert((work.record.partition, work.record.offset));
        held.push(work.settle);
    }
    stop.cancel();
    drop(held);
    ledger.ended.await.unwrap().unwrap();
    read
}

async fn plan(settings: &KafkaSettings, start: Start) -> Vec<Step> {
    let steps = starts::plan(settings, &groups::find(groups::PUSH).unwrap(), start, None).await.unwrap();
    steps.into_iter().filter(|step| step.topic == topics::DELIVERIES).collect()
}

fn step(partition: i32, from: Option<i64>, to: i64) -> Step {
    Step { topic: topics::DELIVERIES, partition, from, to }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_forgotten_starts_nowhere_by_itself_on_a_topic_that_was_written() {
    let settings = platform("forgotten").await;
    for partition in [0, 1] {
        append(&settings, topics::DELIVERIES, partition, 3).await;
    }
    forget(&settings, groups::PUSH).await;
    let report = ensure(&settings).await;
    let unwritten = (settings.group(groups::PUSH), settings.topic(topics::DUE));
    assert_eq!(report.positioned, [unwritten]);
    assert!(admin::committed(&settings, groups::PUSH, topics::DELIVERIES).await.unwrap().is_empty());
    let told = refusal(&settings).await;
    assert!(
        told.contains("has no position on")
            && told.contains("altinn-events topics --start dispatcher.push=oldest"),
        "{told}"
    );
    let gaps = starts::gaps(&settings).await.unwrap();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!(
        gaps[0].to_string().contains("altinn-events topics --start dispatcher.push=oldest"),
        "{}",
        gaps[0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_forgotten_starts_by_itself_where_nothing_was_ever_written() {
    let settings = platform("unwritten").await;
    forget(&settings, groups::PUSH).await;
    let report = ensure(&settings).await;
    let named = |topic| (settings.group(groups::PUSH), settings.topic(topic));
    assert_eq!(report.positioned, [named(topics::DELIVERIES), named(topics::DUE)]);
    append(&settings, topics::DELIVERIES, 1, 2).await;
    assert_eq!(first_read(&settings, 2).await, BTreeSet::from([(1, 0), (1, 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_planned_without_doing_it_and_then_set_on_purpose() {
    let settings = platform("on-purpose").await;
    append(&settings, topics::DELIVERIES, 0, 3).await;
    // The broker's clock has gone on when what it appends is later than a moment after the last record.
    let old = kafka_loop::whole::read(&settings, topics::DELIVERIES).await.unwrap();
    let time = Micros::from_millis(old.iter().map(|record| record.timestamp_ms).max().unwrap() + 1);
    until("the clock goes on", || async {
        if Micros::now() > time { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    append(&settings, topics::DELIVERIES, 0, 2).await;
    forget(&settings, groups::PUSH).await;
    assert_eq!(plan(&settings, Start::Oldest).await, [step(0, None, 0), step(1, None, 0)]);
    assert_eq!(plan(&settings, Start::Newest).await, [step(0, None, 5), step(1, None, 0)]);
    let steps = plan(&settings, Start::At(time)).await;
    assert_eq!(steps, [step(0, None, 3), step(1, None, 0)]);
    assert!(admin::committed(&settings, groups::PUSH, topics::DELIVERIES).await.unwrap().is_empty());
    starts::set(&settings, groups::PUSH, steps).await.unwrap();
    assert_eq!(plan(&settings, Start::Oldest).await, [], "nothing is absent any more");
    assert_eq!(first_read(&settings, 2).await, BTreeSet::from([(0, 3), (0, 4)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_was_added_gets_its_start_without_moving_the_others() {
    let settings = platform("added").await;
    append(&settings, topics::DELIVERIES, 0, 3).await;
    let moved = vec![step(0, None, 2)];
    starts::set(&settings, groups::PUSH, moved).await.unwrap();
    let name = settings.topic(topics::DELIVERIES);
    let more =
        operator(&settings).create_partitions(&[NewPartitions::new(&name, 3)], &AdminOptions::new()).await;
    assert!(more.unwrap()[0].is_ok());
    append(&settings, topics::DELIVERIES, 2, 1).await;
    assert!(ensure(&settings).await.positioned.is_empty());
    assert!(refusal(&settings).await.contains("deliveries/2. The broker forgot"));
    let steps = plan(&settings, Start::Oldest).await;
    assert_eq!(steps, [step(2, None, 0)]);
    starts::set(&settings, groups::PUSH, steps).await.unwrap();
    assert_eq!(first_read(&settings, 2).await, BTreeSet::from([(0, 2), (2, 0)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_before_what_is_kept_stops_the_loop_and_is_mended() {
    let settings = platform("expired").await;
    append(&settings, topics::DELIVERIES, 0, 5).await;
    let mut expired = TopicPartitionList::new();
    expired.add_partition_offset(&settings.topic(topics::DELIVERIES), 0, Offset::Offset(4)).unwrap();
    operator(&settings).delete_records(&expired, &AdminOptions::new()).await.unwrap();
    let told = refusal(&settings).await;
    assert!(
        told.contains("outside of what its topic keeps") && told.contains("--start dispatcher.push=oldest"),
        "{told}"
    );
    let steps = plan(&settings, Start::Oldest).await;
    assert_eq!(steps, [step(0, Some(0), 4)]);
    starts::set(&settings, groups::PUSH, steps).await.unwrap();
    assert_eq!(first_read(&settings, 1).await, BTreeSet::from([(0, 4)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_refused_while_the_group_has_members() {
    let settings = platform("members").await;
    append(&settings, topics::DELIVERIES, 0, 1).await;
    let stop = CancellationToken::new();
    let mut ledger = open_ledger(&settings, pushing(), stop.clone()).unwrap();
    let work = tokio::time::timeout(WAIT, ledger.records.recv()).await.unwrap().unwrap();
    let refused = starts::set(&settings, groups::PUSH, vec![step(0, None, 0)]).await.unwrap_err();
    assert!(refused.to_string().contains("nobody may be reading"), "{refused}");
    work.settle.done();
    stop.cancel();
    ledger.ended.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_stands_still_is_committed_again_before_the_broker_forgets_it() {
    let settings = platform("idle").await;
    let stop = CancellationToken::new();
    let leader = open_ledger(&settings, pushing(), stop.clone()).unwrap();
    // A topic that the group's members do not subscribe to: the broker forgets its positions in spite of the members.
    let source = Source::Follow { topic: topics::DUE, of: leader.assignment.clone() };
    let follower = open_ledger(&settings, LedgerOptions { source, ..pushing() }, stop.clone()).unwrap();
    until("positions of the idle topic are committed again and again", || async {
        let commits = commits(&settings, groups::PUSH, topics::DUE).await;
        // Two of them are the starts.
        if commits >= 4 { Ok(()) } else { Err(format!("{commits} commits")) }
    })
    .await;
    stop.cancel();
    follower.ended.await.unwrap().unwrap();
    leader.ended.await.unwrap().unwrap();
}

/// How many positions of a group on a topic the broker was told: its own log of them.
async fn commits(settings: &KafkaSettings, group: &str, topic: &str) -> usize {
    let (group, topic) = (settings.group(group), settings.topic(topic));
    let internal = KafkaSettings { prefix: String::new(), ..settings.clone() };
    let records = kafka_loop::whole::read(&internal, "__consumer_offsets").await.unwrap();
    let holds = |key: &[u8], name: &str| key.windows(name.len()).any(|part| part == name.as_bytes());
    records.iter().filter(|record| holds(&record.key, &group) && holds(&record.key, &topic)).count()
}

/// Starts where the topic does, and shows what it is given.
struct Shown(mpsc::UnboundedSender<(i32, i64)>);

impl BatchHandler for Shown {
    async fn positions(&mut self, oldest: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        Ok(oldest)
    }

    async fn handle(&mut self, batch: Vec<Record>) -> Result<(), HandlerError> {
        for record in batch {
            self.0.send((record.partition, record.offset)).unwrap();
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_keeps_its_own_positions_needs_none_of_kafka_and_starts_at_the_oldest_kept_record() {
    let settings = platform("own").await;
    append(&settings, topics::EVENTS, 0, 5).await;
    append(&settings, topics::EVENTS, 1, 1).await;
    let mut expired = TopicPartitionList::new();
    expired.add_partition_offset(&settings.topic(topics::EVENTS), 0, Offset::Offset(3)).unwrap();
    operator(&settings).delete_records(&expired, &AdminOptions::new()).await.unwrap();
    forget(&settings, groups::PROJECTOR).await;
    let gaps = starts::gaps(&settings).await.unwrap();
    assert!(
        gaps.iter().all(|gap| gap.group != groups::PROJECTOR),
        "its positions are not kept in Kafka: {gaps:?}"
    );
    let (to, mut shown) = mpsc::unbounded_channel();
    let options = BatchOptions {
        group: groups::PROJECTOR,
        topic: topics::EVENTS,
        max_records: 10,
        max_bytes: 1 << 20,
        max_wait: Duration::ZERO,
        stalled_after: WAIT,
    };
    let stop = CancellationToken::new();
    let run = run_batches(&settings, &options, Shown(to), stop.clone());
    let watch = async {
        let mut seen = BTreeSet::new();
        while seen.len() < 3 {
            seen.insert(tokio::time::timeout(WAIT, shown.recv()).await.unwrap().unwrap());
        }
        stop.cancel();
        seen
    };
    let (ended, seen) = tokio::join!(run, watch);
    ended.unwrap();
    assert_eq!(seen, BTreeSet::from([(0, 3), (0, 4), (1, 0)]));
}
