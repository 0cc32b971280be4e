//! ingest with what is around it, and what it wrote to the log.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use access::{Access, AccessSettings};
use axum::{Router, body::Body};
use event::topics::{self, Topics};
use http::{HeaderMap, Request, StatusCode};
use ingest::{Config, Ingest};
use kafka_loop::{
    BatchHandler, BatchOptions, HandlerError, KafkaSettings, Producer, Record,
    admin::{self, TopicOverrides},
    groups, run_batches,
};
use local_altinn::{LocalAltinn, Options};
use service::{env::Env, prometheus::Registry};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(crate) const RESOURCE: &str = "urn:altinn:resource:ttd-altinn-events-automated-tests";
pub(crate) const GENERIC: &str = "/events/api/v1/events";
pub(crate) const APP: &str = "/events/api/v1/app";
pub(crate) const SEED: &str = "/events";
pub(crate) const STRUCTURED: &str = "application/cloudevents+json";
pub(crate) const BATCH: &str = "application/cloudevents-batch+json";

/// ingest, a local Altinn of its own, topics of its own.
pub(crate) struct World {
    pub(crate) altinn: LocalAltinn,
    pub(crate) registry: Registry,
    kafka: KafkaSettings,
    router: Router,
}

/// What a client reads.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A valid generic event.
pub(crate) fn generic(id: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"https://ttd.example.no/things/1","type":"t","resource":"{RESOURCE}"}}"#
    )
}

pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn config() -> Config {
    Config::from_env(&Env::from_pairs([]))
}

impl World {
    /// On the shared Kafka.
    pub(crate) async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let stack = local_stack::shared().await;
        let prefix = format!("ingest-{}-{}.", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let kafka = KafkaSettings::plain(&stack.brokers(), &prefix);
        let overrides = TopicOverrides { partitions: Some(1), replication: Some(1) };
        admin::ensure_topics(&kafka, &Topics::load(), overrides).await.unwrap();
        Self::on(kafka, config()).await
    }

    /// Without any Kafka: for whatever is refused before the log, and for a log that is away.
    pub(crate) async fn without_log(config: Config) -> Self {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut kafka = KafkaSettings::plain(&closed.to_string(), "");
        kafka.message_timeout = Duration::from_millis(500);
        Self::on(kafka, config).await
    }

    async fn on(kafka: KafkaSettings, config: Config) -> Self {
        let altinn = local_altinn::start(Options::default()).await.unwrap();
        let access = Access::new(&AccessSettings::local(&altinn.base_url)).unwrap();
        let registry = Registry::new();
        let ingest = Ingest::new(config, Producer::new(&kafka).unwrap(), access, &registry).unwrap();
        Self { altinn, registry, kafka, router: ingest::router(ingest) }
    }

    /// The test department with the scope to publish.
    pub(crate) fn ttd(&self) -> String {
        self.altinn.enterprise_token(Some("ttd"), "991825827", &["altinn:events.publish"])
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 10_000_000).await.unwrap();
        let body = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// POST with a bearer token.
    pub(crate) async fn publish(
        &self,
        path: &str,
        token: &str,
        content_type: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let bearer = format!("Bearer {token}");
        self.post(path, &[("authorization", bearer.as_str()), ("content-type", content_type)], body).await
    }

    /// The first records of `events`, in order; exactly that many are there.
    pub(crate) async fn log(&self, count: usize) -> Vec<Record> {
        let ends = admin::end_offsets(&self.kafka, topics::EVENTS).await.unwrap();
        assert_eq!(ends.values().sum::<i64>(), i64::try_from(count).unwrap(), "records on the log");
        let (seen, mut records) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let options = BatchOptions {
            group: groups::PROJECTOR,
            topic: topics::EVENTS,
            max_records: 1_000,
            max_bytes: 1 << 24,
            max_wait: Duration::from_millis(10),
            stalled_after: Duration::from_secs(60),
        };
        let reading = run_batches(&self.kafka, &options, Reader(Arc::new(seen)), stop.clone());
        let collecting = async {
            let mut all = Vec::new();
            while all.len() < count {
                let more = tokio::time::timeout(Duration::from_secs(30), records.recv()).await;
                all.extend(more.expect("the log is read").unwrap());
            }
            stop.cancel();
            all
        };
        let (read, all) = tokio::join!(reading, collecting);
        read.unwrap();
        all
    }

    /// The value of a counter or gauge, over all labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let of_name = families.iter().filter(|family| family.name() == name);
        of_name
            .flat_map(|family| family.get_metric())
            .map(|m| m.get_counter().get_value() + m.get_gauge().get_value())
            .sum()
    }
}

struct Reader(Arc<mpsc::UnboundedSender<Vec<Record>>>);

impl BatchHandler for Reader {
    async fn positions(&mut self, committed: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        Ok(committed.into_iter().map(|(partition, _)| (partition, 0)).collect())
    }

    async fn handle(&mut self, batch: Vec<Record>) -> Result<(), HandlerError> {
        self.0.send(batch).map_err(|_| HandlerError::Fatal(anyhow::anyhow!("nobody reads")))
    }
}
