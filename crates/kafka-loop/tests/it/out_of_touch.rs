//! Clients whose broker answers as one that is being let in again, falls silent, or breaks their connections off: they are made
//! anew, nothing is lost, and what is acknowledged is in order.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use event::topics::{self, Topics};
use kafka_loop::{
    AppendError, BatchHandler, BatchOptions, Budget, Clients, HandlerError, KafkaSettings, LedgerOptions,
    LoopError, Outgoing, Producer, Record, Source, admin, groups, open_ledger, run_batches, whole,
};
use local_stack::Front;
use rdkafka::{
    mocking::MockCluster,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use service::{lifecycle::Lifecycle, prometheus::Registry};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const WAIT: Duration = Duration::from_secs(120);
const PARTITIONS: i32 = 2;

/// Topics of a test's own, reached through a front; and what is shown of the clients.
struct Platform {
    front: Front,
    direct: KafkaSettings,
    settings: KafkaSettings,
    registry: Registry,
    life: Lifecycle,
}

impl Platform {
    async fn new(name: &str) -> Self {
        let stack = local_stack::shared().await;
        let prefix = format!("touch-{}-{name}.", std::process::id());
        let direct = KafkaSettings::plain(&stack.brokers(), &prefix);
        let overrides = admin::TopicOverrides { partitions: Some(PARTITIONS), replication: Some(1) };
        admin::ensure_topics(&direct, &Topics::load(), overrides).await.unwrap();
        let front = Front::start(stack.brokers()).await.unwrap();
        let (registry, life) = (Registry::new(), Lifecycle::new());
        let clients = Clients::observed(&registry, &life, true).unwrap();
        // They ask for metadata often, so that they meet what the front says of it.
        let extra = vec![("topic.metadata.refresh.interval.ms".to_owned(), "300".to_owned())];
        let settings = KafkaSettings { clients, extra, ..KafkaSettings::plain(&front.brokers(), &prefix) };
        Self { front, direct, settings, registry, life }
    }

    fn renewals(&self, client: &str) -> f64 {
        value(&self.registry, "kafka_client_renewed_total", client)
    }

    async fn is_renewed(&self, client: &str) {
        until("the client is made anew", || self.renewals(client) > 0.0).await;
    }

    /// Lets the clients of `names` meet a broker that is being let in again, until each of them has forgotten it and was made
    /// anew. Now and then the client library takes the given addresses in the very moment in which it forgets all others, and
    /// needs no help: then once more.
    async fn fence(&self, names: &[&str]) {
        let are_renewed = || names.iter().all(|name| self.renewals(name) > 0.0);
        let end = Instant::now() + WAIT * 3;
        while !are_renewed() {
            assert!(Instant::now() < end, "clients that forgot their brokers are not made anew");
            self.front.set_fenced(true);
            self.front.reset();
            let asked = self.front.metadata_answers();
            until("they forgot, or ask on", || are_renewed() || self.front.metadata_answers() > asked + 8)
                .await;
            self.front.set_fenced(false);
            let asked = self.front.metadata_answers();
            until("they know the broker again", || self.front.metadata_answers() > asked + 2).await;
        }
    }
}

fn value(registry: &Registry, family: &str, client: &str) -> f64 {
    let families = registry.gather();
    let metrics = families.iter().filter(|found| found.name() == family).flat_map(|found| found.get_metric());
    let of_client = metrics.filter(|metric| metric.get_label().iter().any(|label| label.value() == client));
    of_client.map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + WAIT;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One record after the other to a partition, each until it is acknowledged.
async fn publish(producer: &Producer, topic: &str, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let value = n.to_string();
        let partition = Some(i32::try_from(n).unwrap() % PARTITIONS);
        let out = Outgoing { topic, partition, key: b"key", value: value.as_bytes(), headers: &[] };
        let end = Instant::now() + WAIT;
        while let Err(error) = producer.send(out).await {
            assert!(Instant::now() < end, "{n} is not acknowledged: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn number(record: &Record) -> usize {
    std::str::from_utf8(record.value.as_deref().unwrap()).unwrap().parse().unwrap()
}

type Seen = Arc<Mutex<BTreeSet<usize>>>;

async fn all_are_seen(seen: &Seen, count: usize) {
    until("every record is read", || seen.lock().unwrap().len() >= count).await;
    assert_eq!(*seen.lock().unwrap(), (0..count).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_forgot_its_brokers_is_made_anew_and_nothing_acknowledged_is_lost() {
    let platform = Platform::new("producer").await;
    let producer = Producer::new(&platform.settings).unwrap();
    publish(&producer, topics::EVENTS, 0..20).await;
    platform.fence(&["producer"]).await;
    publish(&producer, topics::EVENTS, 20..40).await;
    until("it is shown as connected", || {
        value(&platform.registry, "kafka_client_connected", "producer") > 0.0
    })
    .await;
    let records = whole::read(&platform.direct, topics::EVENTS).await.unwrap();
    assert_eq!(records.iter().map(number).collect::<BTreeSet<_>>(), (0..40).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_newer_is_acknowledged_while_something_older_is_open_in_a_client_that_is_made_anew() {
    let platform = Platform::new("order").await;
    let patient = KafkaSettings { message_timeout: Duration::from_secs(300), ..platform.settings.clone() };
    let producer = Producer::new(&patient).unwrap();
    let send = |value: &'static [u8]| {
        let out = Outgoing { topic: topics::EVENTS, partition: Some(0), key: b"k", value, headers: &[] };
        producer.enqueue(out).unwrap()
    };
    send(b"0").await.unwrap();
    platform.front.silence();
    let older = send(b"1");
    let newer = async {
        platform.is_renewed("producer").await;
        send(b"2").await
    };
    let order = Mutex::new(Vec::new());
    let told = |what: &'static str| order.lock().unwrap().push(what);
    let (older, newer) = tokio::time::timeout(WAIT, async {
        tokio::join!(
            async {
                let outcome = older.await;
                told("older");
                outcome
            },
            async {
                let outcome = newer.await;
                told("newer");
                outcome
            }
        )
    })
    .await
    .unwrap();
    assert_eq!(*order.lock().unwrap(), ["older", "newer"]);
    assert_eq!(older, Err(AppendError::Timeout), "what nobody knows the end of has not succeeded");
    assert!(newer.unwrap().offset > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fatal_error_of_a_producer_ends_the_process_and_its_readiness() {
    let broker = MockCluster::new(1).unwrap();
    broker.create_topic(topics::EVENTS, 1, 1).unwrap();
    let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 20];
    broker.request_errors(RDKafkaApiKey::InitProducerId, &refused);
    let (registry, life) = (Registry::new(), Lifecycle::new());
    let clients = Clients::observed(&registry, &life, true).unwrap();
    let settings =
        KafkaSettings { clients: clients.clone(), ..KafkaSettings::plain(&broker.bootstrap_servers(), "") };
    let producer = Producer::new(&settings).unwrap();
    producer.decides(life.readiness("appends"));
    let out = Outgoing { topic: topics::EVENTS, partition: None, key: b"k", value: b"v", headers: &[] };
    assert!(producer.send(out).await.is_err());
    let ended = tokio::time::timeout(WAIT, clients.until_one_fails(CancellationToken::new())).await.unwrap();
    let why = ended.unwrap_err().to_string();
    assert!(why.contains("a producer failed for good"), "{why}");
    assert_eq!(life.not_ready(), ["appends"]);
}

/// Keeps the numbers that it is given.
struct Keeps(Seen);

impl BatchHandler for Keeps {
    async fn positions(&mut self, committed: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        Ok(committed)
    }

    async fn handle(&mut self, batch: Vec<Record>) -> Result<(), HandlerError> {
        self.0.lock().unwrap().extend(batch.iter().map(number));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_loop_that_forgot_its_brokers_goes_on_where_it_was() {
    let platform = Platform::new("batches").await;
    let producer = Producer::new(&platform.direct).unwrap();
    publish(&producer, topics::EVENTS, 0..20).await;
    let (seen, stop) = (Seen::default(), CancellationToken::new());
    let mut running = JoinSet::new();
    let (settings, handler, until_then) = (platform.settings.clone(), Keeps(Arc::clone(&seen)), stop.clone());
    running.spawn(async move {
        let options = BatchOptions {
            group: groups::PROJECTOR,
            topic: topics::EVENTS,
            max_records: 100,
            max_bytes: 1 << 20,
            max_wait: Duration::from_millis(10),
            stalled_after: WAIT,
        };
        run_batches(&settings, &options, handler, until_then).await
    });
    all_are_seen(&seen, 20).await;
    platform.fence(&[groups::PROJECTOR]).await;
    publish(&producer, topics::EVENTS, 20..40).await;
    all_are_seen(&seen, 40).await;
    assert!(platform.life.not_ready().is_empty());
    stop.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
}

fn options(group: &'static str, source: Source) -> LedgerOptions {
    let budget = Budget { records: 64, bytes: 1 << 20 };
    LedgerOptions { group, source, budget, per_partition: None, stalled_after: None, journal: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_loop_and_the_one_that_follows_it_go_on_after_they_forgot_their_brokers() {
    let platform = Platform::new("ledgers").await;
    let producer = Producer::new(&platform.direct).unwrap();
    let stop = CancellationToken::new();
    let fresh = options(groups::PUSH, Source::Group(vec![topics::DELIVERIES]));
    let fresh = open_ledger(&platform.settings, fresh, stop.clone()).unwrap();
    let source = Source::Follow { topic: topics::DUE, of: fresh.assignment };
    let due = open_ledger(&platform.settings, options(groups::PUSH, source), stop.clone()).unwrap();
    let mut running = JoinSet::new();
    let (of_fresh, of_due) = (Seen::default(), Seen::default());
    for (mut records, ended, seen) in
        [(fresh.records, fresh.ended, Arc::clone(&of_fresh)), (due.records, due.ended, Arc::clone(&of_due))]
    {
        running.spawn(async move {
            while let Some(work) = records.recv().await {
                seen.lock().unwrap().insert(number(&work.record));
                work.settle.done();
            }
            ended.await.unwrap()
        });
    }
    for numbers in [0..20, 20..40] {
        publish(&producer, topics::DELIVERIES, numbers.clone()).await;
        publish(&producer, topics::DUE, numbers.clone()).await;
        all_are_seen(&of_fresh, numbers.end).await;
        all_are_seen(&of_due, numbers.end).await;
        if numbers.start == 0 {
            platform.fence(&[groups::PUSH, topics::DUE]).await;
        }
    }
    stop.cancel();
    while let Some(ended) = running.join_next().await {
        ended.unwrap().unwrap();
    }
    for (group, topic) in [(groups::PUSH, topics::DELIVERIES), (groups::PUSH, topics::DUE)] {
        assert_eq!(admin::lag(&platform.direct, group, topic).await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_reset_again_and_again_lose_and_reorder_nothing() {
    let platform = Platform::new("resets").await;
    let producer = Producer::new(&platform.settings).unwrap();
    let stop = CancellationToken::new();
    let ledger = options(groups::PUSH, Source::Group(vec![topics::DELIVERIES]));
    let mut ledger = open_ledger(&platform.settings, ledger, stop.clone()).unwrap();
    let mut running = JoinSet::new();
    let seen = Seen::default();
    let inner = Arc::clone(&seen);
    running.spawn(async move {
        let mut last = [0; 2];
        while let Some(work) = ledger.records.recv().await {
            let (n, partition) = (number(&work.record), usize::try_from(work.record.partition).unwrap());
            assert!(n >= last[partition] || inner.lock().unwrap().contains(&n), "{n} comes late");
            last[partition] = n;
            inner.lock().unwrap().insert(n);
            work.settle.done();
        }
        ledger.ended.await.unwrap()
    });
    for round in 0..10 {
        publish(&producer, topics::DELIVERIES, round * 20..(round + 1) * 20).await;
        platform.front.reset();
    }
    all_are_seen(&seen, 200).await;
    stop.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_hears_nothing_is_not_ready_after_half_a_minute_and_ends_after_a_minute() {
    let platform = Platform::new("silence").await;
    let producer = Producer::new(&platform.direct).unwrap();
    publish(&producer, topics::DELIVERIES, 0..20).await;
    let fresh = options(groups::PUSH, Source::Group(vec![topics::DELIVERIES]));
    let mut ledger = open_ledger(&platform.settings, fresh, CancellationToken::new()).unwrap();
    // Partitions are held, positions are to be committed, and records are in hand.
    let mut in_hand = Vec::new();
    for n in 0..20 {
        let work = tokio::time::timeout(WAIT, ledger.records.recv()).await.unwrap().unwrap();
        if n % 2 == 0 { work.settle.done() } else { in_hand.push(work) }
    }
    assert!(platform.life.not_ready().is_empty());
    platform.front.set_mute(true);
    until("it is not ready", || platform.life.not_ready() == [groups::PUSH]).await;
    assert!(ledger.ended.try_recv().is_err(), "it does not end before");
    let connected = || value(&platform.registry, "kafka_client_connected", groups::PUSH);
    assert_eq!(connected(), 0.0);
    let ended = tokio::time::timeout(WAIT, &mut ledger.ended).await.unwrap().unwrap();
    assert!(matches!(ended, Err(LoopError::OutOfTouch { .. })), "{ended:?}");
    assert!(platform.renewals(groups::PUSH) >= 2.0);
}
