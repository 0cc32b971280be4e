//! ingest with what is around it, and what it wrote to the log.

use std::{
    io::Write,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use access::{Access, AccessSettings};
use axum::{Router, body::Body};
use event::topics;
use http::Method;
use ingest::{Config, Ingest};
use kafka_loop::{KafkaSettings, Producer, Record};
use local_altinn::{LocalAltinn, Options};
use service::{env::Env, prometheus::Registry};

pub(crate) use event::media::{BATCH, EVENT as STRUCTURED};

use crate::asked;
pub(crate) use crate::asked::Answer;

pub(crate) const RESOURCE: &str = "urn:altinn:resource:ttd-altinn-events-automated-tests";
pub(crate) const GENERIC: &str = "/events/api/v1/events";
pub(crate) const APP: &str = "/events/api/v1/app";
pub(crate) const SEED: &str = "/events";

/// ingest, a local Altinn of its own, topics of its own.
pub(crate) struct World {
    pub(crate) altinn: LocalAltinn,
    pub(crate) registry: Registry,
    kafka: KafkaSettings,
    router: Router,
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
        Self::with(config()).await
    }

    /// On the shared Kafka, with these settings.
    pub(crate) async fn with(config: Config) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let stack = local_stack::shared().await;
        let prefix = format!("ingest-{}-{}.", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let kafka = KafkaSettings::plain(&stack.brokers(), &prefix);
        asked::create_topics(&kafka).await;
        Self::on(kafka, config).await
    }

    /// Without any Kafka: for whatever is refused before the log, and for a log that is away.
    pub(crate) async fn without_log(config: Config) -> Self {
        let mut kafka = KafkaSettings::plain(&asked::closed_port().to_string(), "");
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
        asked::ask(&self.router, Method::POST, path, headers, body).await
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

    /// The records of `events`, in order; exactly that many are there.
    pub(crate) async fn log(&self, count: usize) -> Vec<Record> {
        asked::records(&self.kafka, topics::EVENTS, count).await
    }

    /// The value of a counter or gauge, over all labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        asked::metric(&self.registry, name)
    }
}
