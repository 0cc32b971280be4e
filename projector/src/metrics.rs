//! Every series of the projector. Labels come from enums only.

use service::prometheus::{
    self, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// The projector's series.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Events written to the feed.
    pub stored: IntCounter,
    /// Events that were there already.
    pub repeated: IntCounter,
    /// Repeated events whose content differs from the stored one.
    pub conflicting: IntCounter,
    /// Records parked in `events.rejected`, by reason.
    pub rejected: IntCounterVec,
    /// Attempts and dead letters that could not be read or stored.
    pub history_skipped: IntCounter,
    /// Records a transaction.
    pub batch_records: Histogram,
    /// Seconds a transaction.
    pub batch_seconds: Histogram,
    /// The newest sequence number this process has written.
    pub head: IntGauge,
    /// Rounds of housekeeping that failed.
    pub housekeeping_failed: IntCounter,
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
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| -> Result<Histogram, prometheus::Error> {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let rejected = IntCounterVec::new(
            Opts::new("projector_rejected_total", "Records parked in events.rejected, by reason."),
            &["reason"],
        )?;
        registry.register(Box::new(rejected.clone()))?;
        let head =
            IntGauge::new("projector_head_sequence", "The newest sequence number this process has written.")?;
        registry.register(Box::new(head.clone()))?;
        let sizes = vec![1.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 2_000.0];
        let times = vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];
        Ok(Self {
            stored: counter("projector_stored_total", "Events written to the feed.")?,
            repeated: counter("projector_repeated_total", "Events that were there already.")?,
            conflicting: counter(
                "projector_conflicting_total",
                "Repeated events whose content differs from the stored one.",
            )?,
            rejected,
            history_skipped: counter(
                "projector_history_skipped_total",
                "Attempts and dead letters that could not be read or stored.",
            )?,
            batch_records: histogram("projector_batch_records", "Records a transaction.", sizes)?,
            batch_seconds: histogram("projector_batch_seconds", "Seconds a transaction.", times)?,
            head,
            housekeeping_failed: counter(
                "projector_housekeeping_failed_total",
                "Rounds of housekeeping that failed.",
            )?,
        })
    }
}
