//! A router that is asked in this process, the topics that it writes to, and its metrics. Also of the tests of query-api.

use std::time::{Duration, Instant};

use axum::{Router, body::Body};
use event::topics::Topics;
use http::{HeaderMap, Method, Request, StatusCode};
use kafka_loop::{
    KafkaSettings, Record,
    admin::{self, TopicOverrides},
    whole,
};
use serde_json::Value;
use service::prometheus::Registry;
use tower::ServiceExt;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

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

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Asks with exactly these headers.
pub(crate) async fn ask(
    router: &Router,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 10_000_000).await.unwrap();
    let body = String::from_utf8(bytes.to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// A port where nobody answers.
pub(crate) fn closed_port() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Creates the topics, with a partition each.
pub(crate) async fn create_topics(kafka: &KafkaSettings) {
    let overrides = TopicOverrides { partitions: Some(1), replication: Some(1) };
    // A broker that is busy creating topics may say for a moment that nobody leads them.
    let until = Instant::now() + PATIENCE;
    while let Err(error) = admin::ensure_topics(kafka, &Topics::load(), overrides).await {
        assert!(Instant::now() < until, "{error}");
    }
}

/// The records of a topic, in order; exactly that many are there.
pub(crate) async fn records(kafka: &KafkaSettings, topic: &str, count: usize) -> Vec<Record> {
    let records = whole::read(kafka, topic).await.unwrap();
    assert_eq!(records.len(), count, "records on the log");
    records
}

/// The value of a counter or gauge, over all labels.
pub(crate) fn metric(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let of_name = families.iter().filter(|family| family.name() == name);
    of_name
        .flat_map(|family| family.get_metric())
        .map(|m| m.get_counter().get_value() + m.get_gauge().get_value())
        .sum()
}
