//! Every series of ingest, and the layer that feeds those about requests.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use service::prometheus::{
    self, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use crate::{Ingest, error::Code};

const SECONDS: [f64; 13] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// The series of ingest.
pub(crate) struct Metrics {
    /// Requests by path and status.
    pub(crate) requests: IntCounterVec,
    /// Seconds from the first byte of a request to its answer, by path.
    pub(crate) request_seconds: HistogramVec,
    /// Requests that ingest itself turned away, by reason.
    pub(crate) refused: IntCounterVec,
    /// Events that the log acknowledged.
    pub(crate) events: IntCounter,
    /// Seconds from handing events to the producer to their acknowledgement.
    pub(crate) append_seconds: Histogram,
    /// Bytes of request bodies in hand.
    pub(crate) in_flight_bytes: IntGauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        const VALID: &str = "the names of metrics are valid by the test below";
        let histogram = |name: &str, help: &str| HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        let counters = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect(VALID)
        };
        Self {
            requests: counters("ingest_requests_total", "Requests by path and status.", &["path", "status"]),
            request_seconds: HistogramVec::new(
                histogram("ingest_request_seconds", "Seconds from a request to its answer, by path."),
                &["path"],
            )
            .expect(VALID),
            refused: counters(
                "ingest_refused_total",
                "Requests that were turned away, by reason.",
                &["reason"],
            ),
            events: IntCounter::new("ingest_events_total", "Events that the log acknowledged.").expect(VALID),
            append_seconds: Histogram::with_opts(histogram(
                "ingest_append_seconds",
                "Seconds from handing events to the producer to their acknowledgement.",
            ))
            .expect(VALID),
            in_flight_bytes: IntGauge::new("ingest_in_flight_bytes", "Bytes of request bodies in hand.")
                .expect(VALID),
        }
    }

    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.requests.clone()))?;
        registry.register(Box::new(self.request_seconds.clone()))?;
        registry.register(Box::new(self.refused.clone()))?;
        registry.register(Box::new(self.events.clone()))?;
        registry.register(Box::new(self.append_seconds.clone()))?;
        registry.register(Box::new(self.in_flight_bytes.clone()))
    }
}

/// Counts and times a request.
pub(crate) async fn observe(State(ingest): State<Ingest>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let metrics = &ingest.inner.metrics;
    let path = path.as_ref().map_or("", MatchedPath::as_str);
    metrics.requests.with_label_values(&[path, response.status().as_str()]).inc();
    metrics.request_seconds.with_label_values(&[path]).observe(start.elapsed().as_secs_f64());
    if let Some(Code(reason)) = response.extensions().get() {
        metrics.refused.with_label_values(&[reason]).inc();
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_has_its_name() {
        let (metrics, registry) = (Metrics::new(), Registry::new());
        metrics.register(&registry).unwrap();
        metrics.requests.with_label_values(&["/events", "200"]).inc();
        metrics.request_seconds.with_label_values(&["/events"]).observe(0.1);
        metrics.refused.with_label_values(&["busy"]).inc();
        let names: Vec<_> = registry.gather().iter().map(|family| family.name().to_owned()).collect();
        assert_eq!(
            names,
            [
                "ingest_append_seconds",
                "ingest_events_total",
                "ingest_in_flight_bytes",
                "ingest_refused_total",
                "ingest_request_seconds",
                "ingest_requests_total",
            ]
        );
    }
}
