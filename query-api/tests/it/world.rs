//! query-api with what is around it: a schema, topics and a local Altinn of its own.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicI64, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use access::{Access, AccessSettings};
use axum::{Router, body::Body};
use event::{Event, topics};
use http::{Method, StatusCode};
use kafka_loop::{KafkaSettings, Producer, Record};
use local_altinn::LocalAltinn;
use query_api::{Config, Needs, QueryApi, router};
use service::{env::Env, lifecycle::Lifecycle, prometheus::Registry};
use store::{Advance, NewEvent, Store, StoreSettings};

use crate::asked::{self, closed_port};
pub(crate) use crate::asked::{Answer, PATIENCE};

pub(crate) const RESOURCE: &str = "urn:altinn:resource:ttd-altinn-events-automated-tests";
pub(crate) const APP: &str = "urn:altinn:resource:app_ttd_apps-test";
pub(crate) const BASE: &str = "https://platform.example.no";
pub(crate) const GENERIC: &str = "/events/api/v1/events";

pub(crate) struct World {
    pub(crate) altinn: LocalAltinn,
    pub(crate) store: Store,
    pub(crate) life: Lifecycle,
    pub(crate) router: Router,
    registry: Registry,
    kafka: KafkaSettings,
    next_offset: AtomicI64,
}

impl Answer {
    /// The ids of the events of a page.
    pub(crate) fn ids(&self) -> Vec<String> {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        let events = self.json();
        events.as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Path and parameters of `next`; empty when there is none.
    pub(crate) fn next(&self) -> &str {
        let next = self.header("next");
        if next.is_empty() { "" } else { next.strip_prefix(BASE).unwrap() }
    }
}

/// A generic event about a party.
pub(crate) fn generic(resource: &str, id: &str, party: i64) -> Event {
    parsed(&format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"https://ttd.example.no/things/1","type":"thing.made","subject":"/party/{party}","resource":"{resource}"}}"#
    ))
}

/// An event of the test department's app, about an instance of a party's.
pub(crate) fn of_app(id: &str, party: i64, kind: &str, time: &str) -> Event {
    let instance = format!("{party}/6fb3f738-6800-4f29-9f3e-1c66862656cd");
    parsed(&format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"https://ttd.apps.altinn.no/ttd/apps-test/instances/{instance}","type":"{kind}","subject":"/party/{party}","resource":"{APP}","resourceinstance":"{instance}","time":"{time}"}}"#
    ))
}

pub(crate) fn parsed(json: &str) -> Event {
    Event::parse(json.as_bytes()).unwrap()
}

type Settings<'a> = &'a [(&'static str, &'a str)];

impl World {
    /// Everything is there.
    pub(crate) async fn new(settings: Settings<'_>) -> Self {
        let stack = local_stack::shared().await;
        Self::on(&stack.database_url(), &closed_port().to_string(), settings).await
    }

    /// With topics, for what is appended.
    pub(crate) async fn with_log(settings: Settings<'_>) -> Self {
        let stack = local_stack::shared().await;
        let world = Self::on(&stack.database_url(), &stack.brokers(), settings).await;
        asked::create_topics(&world.kafka).await;
        world
    }

    /// Without a database.
    pub(crate) async fn without_database() -> Self {
        let closed = closed_port();
        let url = format!("postgres://postgres@{closed}/postgres");
        Self::with_patience(&url, &closed.to_string(), &[], Duration::from_millis(200)).await
    }

    /// With a database and a log of one's own.
    pub(crate) async fn on(database_url: &str, brokers: &str, settings: Settings<'_>) -> Self {
        Self::with_patience(database_url, brokers, settings, Duration::from_secs(5)).await
    }

    async fn with_patience(
        database_url: &str,
        brokers: &str,
        settings: Settings<'_>,
        acquire_timeout: Duration,
    ) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("query_api_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let database = StoreSettings {
            url: database_url.to_owned(),
            schema: name.clone(),
            max_connections: 4,
            acquire_timeout,
            partition_size: 10_000,
        };
        let store = Store::connect(&database).unwrap();
        if store.migrate().await.is_ok() {
            store.start_positions("events", &[(0, 0)]).await.unwrap();
        }
        let mut kafka = KafkaSettings::plain(brokers, &format!("{name}."));
        kafka.message_timeout = Duration::from_secs(3);
        let altinn = local_altinn::start(local_altinn::Options::default()).await.unwrap();
        let at = |path: &str| format!("{}{path}", altinn.base_url);
        let addresses = [
            ("OPENID_WELL_KNOWN_ENDPOINT", at("/authentication/api/v1/openid/")),
            ("PLATFORM_CERTIFICATES", at("/platform-certificates/{issuer}-access-token-public-cert")),
            ("AUTHORIZATION_API", at("/authorization/api/v1/")),
            ("REGISTER_API", at("/register/api/")),
        ];
        let mut all = BTreeMap::from([("BASE_URI", BASE), ("FEED_UNKNOWN_AFTER_WAIT_MS", "100")]);
        all.extend(addresses.iter().map(|(name, value)| (*name, value.as_str())));
        all.extend(settings.iter().copied());
        let env = Env::from_pairs(all);
        let (config, access) = (Config::from_env(&env), AccessSettings::from_env(&env));
        env.finish().unwrap();
        let (registry, life) = (Registry::new(), Lifecycle::new());
        let access = Access::new(&access).unwrap();
        let producer = Producer::new(&kafka).unwrap();
        let reads = Store::connect_for_reads(&database).unwrap();
        let needs = Needs { store: reads, access, producer, registry: &registry, life: &life };
        let router = router(QueryApi::new(config, needs).unwrap());
        Self { altinn, store, life, router, registry, kafka, next_offset: AtomicI64::new(0) }
    }

    /// Stores events as the projector does, in one batch.
    pub(crate) async fn put(&self, events: impl IntoIterator<Item = Event>) {
        let events: Vec<Event> = events.into_iter().collect();
        let count = i64::try_from(events.len()).unwrap();
        let expected = self.next_offset.fetch_add(count, Ordering::SeqCst);
        let rows: Vec<NewEvent> = events
            .into_iter()
            .zip(expected..)
            .map(|(event, kafka_offset)| NewEvent {
                subject: event.canonical_subject(),
                event,
                kafka_partition: 0,
                kafka_offset,
            })
            .collect();
        let step = Advance { partition: 0, expected, next: expected + count };
        self.store.write_batch("events", &rows, &[step]).await.unwrap();
    }

    /// Stores an event whose canonical subject Register has told.
    pub(crate) async fn put_about(&self, subject: &str, event: Event) {
        let kafka_offset = self.next_offset.fetch_add(1, Ordering::SeqCst);
        let row = NewEvent { subject: Some(subject.to_owned()), event, kafka_partition: 0, kafka_offset };
        let step = Advance { partition: 0, expected: kafka_offset, next: kafka_offset + 1 };
        self.store.write_batch("events", &[row], &[step]).await.unwrap();
    }

    /// The test department, with the scope to read and subscribe.
    pub(crate) fn ttd(&self) -> String {
        self.altinn.enterprise_token(Some("ttd"), "991825827", &["altinn:events.subscribe"])
    }

    /// A person who may read the own party's events of the test department's app.
    pub(crate) fn person(&self) -> String {
        self.altinn.personal_token(1_337, 50_001_337, &[])
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        asked::ask(&self.router, method, path, headers, body).await
    }

    /// GET with a bearer token.
    pub(crate) async fn get(&self, token: &str, path: &str) -> Answer {
        self.get_with(token, path, &[]).await
    }

    pub(crate) async fn get_with(&self, token: &str, path: &str, more: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(more);
        self.send(Method::GET, path, &headers, "").await
    }

    /// The value of a counter or gauge.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        asked::metric(&self.registry, name)
    }

    /// Waits until a metric has a value.
    pub(crate) async fn until(&self, name: &str, value: f64) {
        let until = Instant::now() + PATIENCE;
        while self.metric(name) < value {
            assert!(Instant::now() < until, "{name} is {}, not {value}", self.metric(name));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The records of `deliveries`, in order; exactly that many are there.
    pub(crate) async fn deliveries(&self, count: usize) -> Vec<Record> {
        asked::records(&self.kafka, topics::DELIVERIES, count).await
    }
}
