//! Every series of the query-api. Labels come from enums only.

use service::prometheus::{self, Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// The query-api's series.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Pages that were answered.
    pub pages: IntCounter,
    /// Events on them.
    pub events: IntCounter,
    /// Events left out because the reader may not see them.
    pub refused: IntCounter,
    /// Requests turned away because their caller has too much in hand or comes too often.
    pub busy_callers: IntCounter,
    /// Looks into the store for an event by the id that a reader gave.
    pub looks_for_ids: IntCounter,
    /// Questions to the database whether it is there.
    pub health_questions: IntCounter,
    /// Pages that stopped because the PDP gave no answer.
    pub unknown: IntCounter,
    /// Seconds a page, waiting not counted.
    pub page_seconds: Histogram,
    /// Readers that wait now.
    pub waiting: IntGauge,
    /// Validations that were appended.
    pub validations: IntCounter,
    /// Validations that could not be appended and are tried again.
    pub validations_failed: IntCounter,
}

impl Metrics {
    /// Registers every series.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let times = vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];
        let page_seconds = Histogram::with_opts(
            HistogramOpts::new("query_api_page_seconds", "Seconds a page, waiting not counted.")
                .buckets(times),
        )?;
        registry.register(Box::new(page_seconds.clone()))?;
        let waiting = IntGauge::new("query_api_waiting", "Readers that wait now.")?;
        registry.register(Box::new(waiting.clone()))?;
        Ok(Self {
            pages: counter("query_api_pages_total", "Pages that were answered.")?,
            events: counter("query_api_events_total", "Events on pages.")?,
            refused: counter(
                "query_api_refused_total",
                "Events left out because the reader may not see them.",
            )?,
            busy_callers: counter(
                "query_api_busy_callers_total",
                "Requests turned away because their caller has too much in hand or comes too often.",
            )?,
            looks_for_ids: counter(
                "query_api_looks_for_ids_total",
                "Looks into the store for an event by the id that a reader gave.",
            )?,
            health_questions: counter(
                "query_api_health_questions_total",
                "Questions to the database whether it is there.",
            )?,
            unknown: counter(
                "query_api_unknown_total",
                "Pages that stopped because the PDP gave no answer.",
            )?,
            page_seconds,
            waiting,
            validations: counter("query_api_validations_total", "Validations that were appended.")?,
            validations_failed: counter(
                "query_api_validations_failed_total",
                "Validations that could not be appended and are tried again.",
            )?,
        })
    }
}
