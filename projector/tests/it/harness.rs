//! Topics and a schema of its own for every test.

use std::{
    future::Future,
    time::{Duration, Instant, SystemTime},
};

use event::{Event, Sequence, topics::REJECTED, topics::Topics};
use kafka_loop::{KafkaSettings, Outgoing, Position, Producer, Record, admin, admin::TopicOverrides, whole};
use projector::{Config, Metrics, Needs};
use service::{env::Env, lifecycle::Lifecycle, prometheus::Registry};
use store::{FeedFilter, Store, StoreSettings, StoredEvent, Stretch};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const RESOURCE: &str = "urn:altinn:resource:r1";

pub(crate) struct World {
    pub(crate) kafka: KafkaSettings,
    pub(crate) store: Store,
    pub(crate) settings: StoreSettings,
    pub(crate) producer: Producer,
}

impl World {
    /// A schema, and topics with three partitions each.
    pub(crate) async fn with_topics() -> Self {
        let world = Self::new().await;
        let overrides = TopicOverrides { partitions: Some(3), replication: Some(1) };
        let until = Instant::now() + PATIENCE;
        // A broker that is busy creating topics may say for a moment that nobody leads them.
        while let Err(error) = admin::ensure_topics(&world.kafka, &Topics::load(), overrides).await {
            assert!(Instant::now() < until, "{error}");
        }
        world
    }

    async fn new() -> Self {
        let stack = local_stack::shared().await;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let name = format!("p{}_{now:x}", std::process::id());
        let kafka = KafkaSettings::plain(&stack.brokers(), &format!("{name}."));
        let settings = StoreSettings {
            url: stack.database_url(),
            schema: name,
            max_connections: 8,
            acquire_timeout: Duration::from_secs(20),
            partition_size: 50,
        };
        let store = Store::connect(&settings).unwrap();
        store.migrate().await.unwrap();
        let producer = Producer::new(&kafka).unwrap();
        Self { kafka, store, settings, producer }
    }

    pub(crate) fn metrics() -> Metrics {
        Metrics::register(&Registry::new()).unwrap()
    }

    /// A projector; dropping what is returned ends it.
    pub(crate) fn start(&self) -> (Lifecycle, Registry) {
        self.start_on(self.store.clone(), ("PROJECTOR_BATCH_BYTES", "4194304"))
    }

    /// The same on another way to the store, with a setting of its own.
    pub(crate) fn start_on(&self, store: Store, setting: (&str, &str)) -> (Lifecycle, Registry) {
        let (life, registry) = (Lifecycle::new(), Registry::new());
        let config = Config::from_env(&Env::from_pairs([("PROJECTOR_HOUSEKEEPING_MS", "200"), setting]));
        let needs = Needs {
            kafka: &self.kafka,
            store,
            producer: self.producer.clone(),
            registry: &registry,
            life: &life,
        };
        projector::start(config, needs).unwrap();
        (life, registry)
    }

    pub(crate) async fn append(
        &self,
        topic: &str,
        key: &str,
        value: &[u8],
        headers: &[(&str, &str)],
    ) -> Position {
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let out = Outgoing { topic, partition: None, key: key.as_bytes(), value, headers: &headers };
        self.producer.send(out).await.unwrap()
    }

    /// Everything of [`RESOURCE`] by cursor.
    pub(crate) async fn feed(&self) -> Vec<StoredEvent> {
        let filter = FeedFilter { resource: Some(RESOURCE.to_owned()), ..FeedFilter::default() };
        let (mut rows, mut after) = (Vec::new(), Sequence(0));
        loop {
            let head = self.store.feed_head().await.unwrap().last;
            let stretch = Stretch { head, after, limit: 17, scan: 17, bytes: 1 << 22 };
            let page = self.store.page(&filter, stretch).await.unwrap();
            rows.extend(page.rows);
            after = page.scanned_to;
            if !page.more {
                return rows;
            }
        }
    }

    /// The ids in the feed, in its order.
    pub(crate) async fn ids(&self) -> Vec<String> {
        let rows = self.feed().await;
        rows.iter().map(|row| Event::parse(row.json.as_bytes()).unwrap().id().to_owned()).collect()
    }

    /// What is parked: reason, origin topic, origin offset; in order.
    pub(crate) async fn parked(&self) -> Vec<(String, String, i64)> {
        let records = whole::read(&self.kafka, REJECTED).await.unwrap();
        let text = |record: &Record, name: &str| {
            String::from_utf8(record.header(name).unwrap_or_default().to_vec()).unwrap()
        };
        let mut parked: Vec<_> = records
            .iter()
            .map(|record| {
                let offset = text(record, "origin-offset").parse().unwrap();
                (text(record, "reason"), text(record, "origin-topic"), offset)
            })
            .collect();
        parked.sort();
        parked
    }
}

pub(crate) fn json(id: &str, party: u32) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"https://x.no/a","type":"t","subject":"/party/{party}","resource":"{RESOURCE}"}}"#
    )
}

/// Records of partition 0 of `events`, from an offset on.
pub(crate) fn records(first: i64, values: &[String]) -> Vec<Record> {
    values
        .iter()
        .zip(first..)
        .map(|(value, offset)| Record {
            topic: "events".into(),
            partition: 0,
            offset,
            timestamp_ms: 0,
            key: b"/party/1".to_vec(),
            value: Some(value.clone().into_bytes()),
            headers: Vec::new(),
        })
        .collect()
}

/// The same with a canonical subject that Postgres cannot store.
pub(crate) fn unstorable(mut record: Record) -> Record {
    record.headers.push(("subject".to_owned(), b"/party/\x001".to_vec()));
    record
}

pub(crate) async fn until<T, F, Fut>(name: &str, mut holds: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let end = Instant::now() + PATIENCE;
    loop {
        match holds().await {
            Ok(value) => return value,
            Err(state) => assert!(Instant::now() < end, "waited in vain for: {name}; now: {state}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
