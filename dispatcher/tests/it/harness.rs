//! A dispatcher with topics, a schema and an Altinn of its own; dropping it ends it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use access::{Access, AccessSettings};
use event::{
    AttemptRecord, DeliveryHeaders, DeliveryId, DeliveryKind, Draft, Event, Micros, Subscription, topics,
    topics::Topics,
};
use kafka_loop::{
    Budget, KafkaSettings, LedgerOptions, Outgoing, Producer, Record, Source, admin, admin::TopicOverrides,
    groups, open_ledger,
};
use local_altinn::LocalAltinn;
use service::{env::Env, lifecycle::Lifecycle, prometheus::Registry};
use store::{NewSubscription, Store, StoreSettings};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const RESOURCE: &str = "urn:altinn:resource:ttd-altinn-events-automated-tests";
/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Harness {
    pub(crate) altinn: LocalAltinn,
    pub(crate) store: Store,
    pub(crate) producer: Producer,
    pub(crate) kafka: KafkaSettings,
    pub(crate) life: Lifecycle,
    /// Of the dispatcher that [`Harness::run`] started.
    registry: Registry,
    tables: StoreSettings,
    /// How the dispatchers that are started from now on ask for rights.
    pub(crate) access: AccessSettings,
    settings: BTreeMap<&'static str, String>,
}

/// Records of a topic, as they come.
pub(crate) struct Reader {
    seen: Arc<Mutex<Vec<Record>>>,
    _tasks: JoinSet<()>,
    _stop: DropGuard,
}

impl Harness {
    /// Everything but the dispatcher runs.
    pub(crate) async fn prepare(settings: &[(&'static str, &str)]) -> Self {
        Self::prepare_with(settings, Topics::load()).await
    }

    /// The same, with these topics only.
    pub(crate) async fn prepare_with(settings: &[(&'static str, &str)], topics: Topics) -> Self {
        let stack = local_stack::shared().await;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let name = format!("d{}_{now:x}", std::process::id());
        let kafka = KafkaSettings::plain(&stack.brokers(), &format!("{name}."));
        create(&kafka, &topics).await;
        let tables = StoreSettings {
            url: stack.database_url().to_owned(),
            schema: name,
            max_connections: 4,
            acquire_timeout: Duration::from_secs(2),
            partition_size: 1_000,
        };
        let store = Store::connect(&tables).unwrap();
        store.migrate().await.unwrap();
        let mut defaults = BTreeMap::from([("ALLOW_LOOPBACK_WEBHOOKS", "true".to_owned())]);
        defaults.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let altinn = local_altinn::start(local_altinn::Options::default()).await.unwrap();
        Self {
            access: AccessSettings::local(&altinn.base_url),
            altinn,
            store,
            producer: Producer::new(&kafka).unwrap(),
            kafka,
            life: Lifecycle::new(),
            registry: Registry::new(),
            tables,
            settings: defaults,
        }
    }

    /// The store as another process sees it.
    pub(crate) fn another_store(&self) -> Store {
        Store::connect(&self.tables).unwrap()
    }

    /// Everything runs.
    pub(crate) async fn start(settings: &[(&'static str, &str)]) -> Self {
        let mut harness = Self::prepare(settings).await;
        harness.run().await;
        harness
    }

    /// Starts a dispatcher and waits until it is ready.
    pub(crate) async fn run(&mut self) {
        self.registry = Registry::new();
        self.life = self.beside(&self.registry).await;
    }

    /// One more dispatcher beside the first.
    pub(crate) async fn another(&self) -> Lifecycle {
        self.beside(&Registry::new()).await
    }

    /// The value of a counter or gauge of the dispatcher that [`Harness::run`] started, over all labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let values = family.get_metric().iter();
        values.map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
    }

    /// Creates the topics that are still away.
    pub(crate) async fn create_topics(&self) {
        create(&self.kafka, &Topics::load()).await;
    }

    async fn beside(&self, registry: &Registry) -> Lifecycle {
        let life = Lifecycle::new();
        let env = Env::from_pairs(self.settings.iter().map(|(name, value)| (*name, value.as_str())));
        let config = dispatcher::Config::from_env(&env);
        env.finish().unwrap();
        let access = Access::new(&self.access).unwrap();
        let (store, producer) = (self.store.clone(), self.producer.clone());
        dispatcher::start(config, &self.kafka, store, producer, access, registry, &life).unwrap();
        wait_until("the dispatcher is ready", || life.not_ready().is_empty()).await;
        life
    }

    /// A validated subscription of `/org/ttd`, whom the local Altinn permits everything on [`RESOURCE`].
    pub(crate) async fn subscribe(&self, endpoint: &str) -> Subscription {
        self.subscribe_as("/org/ttd", endpoint).await
    }

    pub(crate) async fn subscribe_as(&self, consumer: &str, endpoint: &str) -> Subscription {
        let new = self.create(consumer, endpoint).await;
        self.store.set_validated(new.proof()).await.unwrap();
        self.store.subscription(new.id).await.unwrap().unwrap()
    }

    /// A validated subscription of `/org/ttd` for events of one type.
    pub(crate) async fn subscribe_to(&self, kind: &str, endpoint: &str) -> Subscription {
        let new = NewSubscription { type_filter: Some(kind.to_owned()), ..wish("/org/ttd", endpoint) };
        let new = self.store.create_subscription(&new).await.unwrap().0;
        self.store.set_validated(new.proof()).await.unwrap();
        self.store.subscription(new.id).await.unwrap().unwrap()
    }

    pub(crate) async fn create(&self, consumer: &str, endpoint: &str) -> Subscription {
        let new = wish(consumer, endpoint);
        self.store.create_subscription(&new).await.unwrap().0
    }

    /// Appends an event to the log.
    pub(crate) async fn publish(&self, event: &Event) {
        self.publish_raw(&event.kafka_key(), event.json().as_bytes()).await;
    }

    /// Appends an event whose canonical subject Register has told.
    pub(crate) async fn publish_about(&self, subject: &str, event: &Event) {
        let headers = [("subject", subject.as_bytes())];
        let value = event.json().as_bytes();
        let out = Outgoing {
            topic: topics::EVENTS,
            partition: None,
            key: subject.as_bytes(),
            value,
            headers: &headers,
        };
        self.producer.send(out).await.unwrap();
    }

    pub(crate) async fn publish_raw(&self, key: &str, value: &[u8]) {
        let out =
            Outgoing { topic: topics::EVENTS, partition: None, key: key.as_bytes(), value, headers: &[] };
        self.producer.send(out).await.unwrap();
    }

    /// Appends a delivery as a matcher or the API would.
    pub(crate) async fn deliver(&self, headers: &DeliveryHeaders, value: &[u8]) {
        let pairs = headers.to_pairs();
        let headers: Vec<(&str, &[u8])> =
            pairs.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let out = Outgoing {
            topic: topics::DELIVERIES,
            partition: None,
            key: b"endpoint",
            value,
            headers: &headers,
        };
        self.producer.send(out).await.unwrap();
    }

    /// Appends the validation of a subscription, as the API would.
    pub(crate) async fn validate(&self, subscription: &Subscription) {
        let headers = DeliveryHeaders {
            endpoint_revision: Some(subscription.endpoint_revision),
            kind: DeliveryKind::Validation,
            ..DeliveryHeaders::first(
                subscription,
                DeliveryId(u128::from(subscription.id.0.unsigned_abs())),
                Micros::now(),
            )
        };
        let body = br#"{"specversion":"1.0","id":"v","source":"https://x/subscriptions/1","type":"platform.events.validatesubscription"}"#;
        self.deliver(&headers, body).await;
    }

    /// Reads a topic from its start, in the name of the group that projects it.
    pub(crate) fn reader(&self, topic: &'static str) -> Reader {
        let group = if topic == topics::ATTEMPTS { groups::ATTEMPTS } else { groups::DEAD };
        let options = LedgerOptions {
            group,
            source: Source::Group(vec![topic]),
            budget: Budget { records: 100_000, bytes: 1 << 30 },
            per_partition: None,
            stalled_after: None,
            journal: None,
        };
        let stop = CancellationToken::new();
        let mut ledger = open_ledger(&self.kafka, options, stop.clone()).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let into = Arc::clone(&seen);
        tasks.spawn(async move {
            while let Some(work) = ledger.records.recv().await {
                into.lock().unwrap().push(work.record);
                work.settle.done();
            }
        });
        Reader { seen, _tasks: tasks, _stop: stop.drop_guard() }
    }

    /// Waits until every dispatcher that lives holds the changes up to a position.
    pub(crate) async fn in_force(&self, position: i64) {
        let until = std::time::Instant::now() + PATIENCE;
        while !self.store.held_everywhere().await.unwrap().covers(position) {
            assert!(std::time::Instant::now() < until, "position {position} did not come into force");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until nothing of a topic is left to do.
    pub(crate) async fn drained(&self, group: &str, topic: &str) {
        let until = std::time::Instant::now() + PATIENCE;
        while admin::lag(&self.kafka, group, topic).await.unwrap() > 0 {
            assert!(std::time::Instant::now() < until, "{group} did not finish {topic}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Reader {
    /// All records so far.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.seen.lock().unwrap().clone()
    }

    /// All attempt records so far.
    pub(crate) fn attempts(&self) -> Vec<AttemptRecord> {
        self.records()
            .iter()
            .map(|record| serde_json::from_slice(record.value.as_ref().unwrap()).unwrap())
            .collect()
    }

    /// Waits for so many records.
    pub(crate) async fn wait_for(&self, count: usize) {
        wait_until(&format!("{count} records came"), || self.seen.lock().unwrap().len() >= count).await;
    }
}

async fn create(kafka: &KafkaSettings, topics: &Topics) {
    let overrides = TopicOverrides { partitions: Some(2), replication: Some(1) };
    // A broker that is busy creating topics may say for a moment that nobody leads them.
    let until = std::time::Instant::now() + PATIENCE;
    while let Err(error) = admin::ensure_topics(kafka, topics, overrides).await {
        assert!(std::time::Instant::now() < until, "{error}");
    }
}

/// Waits for a condition that has a name.
pub(crate) async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < until, "it did not come to pass that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn wish(consumer: &str, endpoint: &str) -> NewSubscription {
    NewSubscription {
        endpoint: endpoint.to_owned(),
        source_filter: None,
        resource_filter: Some(RESOURCE.to_owned()),
        subject_filter: None,
        subject_sent: None,
        type_filter: None,
        include_subunits: false,
        consumer: consumer.to_owned(),
        created_by: consumer.to_owned(),
    }
}

/// An event of [`RESOURCE`].
pub(crate) fn event(id: &str) -> Event {
    event_of("test.happened", id)
}

/// An event of [`RESOURCE`] about a party.
pub(crate) fn event_about(id: &str, party: i64) -> Event {
    event_with("test.happened", party, id)
}

/// An event of [`RESOURCE`] of another type.
pub(crate) fn event_of(kind: &str, id: &str) -> Event {
    event_with(kind, 50_001_337, id)
}

fn event_with(kind: &str, party: i64, id: &str) -> Event {
    let mut draft = Draft::new();
    for (name, value) in [
        ("specversion", "1.0"),
        ("id", id),
        ("source", "https://ttd.example.com/source"),
        ("type", kind),
        ("subject", &format!("/party/{party}")),
        ("resource", RESOURCE),
    ] {
        draft.set_text(name, value);
    }
    draft.validate().unwrap()
}
