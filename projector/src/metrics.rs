//! Every series of the projector. Labels come from closed sets only.

use service::prometheus::{
    self, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector,
};

use crate::{decode::Reason, lag::TOPICS};

/// The projector's series.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Events written to the feed.
    pub stored: IntCounter,
    /// Events that were there already.
    pub repeated: IntCounter,
    /// Repeated events whose content differs from the stored one.
    pub conflicting: IntCounter,
    /// Attempts written to the delivery log.
    pub attempts: IntCounter,
    /// Dead letters written.
    pub dead_letters: IntCounter,
    /// Subscriptions whose endpoint proved itself.
    pub validated: IntCounter,
    /// Records parked in `events.rejected`, by topic and reason.
    pub rejected: IntCounterVec,
    /// Records of a topic that are not projected yet, by topic; absent while nobody knows.
    pub lag: IntGaugeVec,
    /// Records a transaction.
    pub batch_records: Histogram,
    /// Seconds a transaction.
    pub batch_seconds: Histogram,
    /// The newest sequence number this process has written.
    pub head: IntGauge,
    /// Steps of housekeeping that failed.
    pub housekeeping_failed: IntCounter,
}

fn made<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: Result<C, prometheus::Error>,
) -> Result<C, prometheus::Error> {
    let collector = collector?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

impl Metrics {
    /// Registers every series; those with labels start at zero, but for the lag, which is absent until it is known.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| made(registry, IntCounter::new(name, help));
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            made(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
        };
        let rejected =
            Opts::new("projector_rejected_total", "Records parked in events.rejected, by topic and reason.");
        let rejected = made(registry, IntCounterVec::new(rejected, &["topic", "reason"]))?;
        let lag =
            Opts::new("projector_lag_records", "Records of a topic that are not projected yet, by topic.");
        let lag = made(registry, IntGaugeVec::new(lag, &["topic"]))?;
        for topic in TOPICS {
            for reason in Reason::ALL {
                rejected.with_label_values(&[topic, reason.name()]).inc_by(0);
            }
        }
        let head =
            IntGauge::new("projector_head_sequence", "The newest sequence number this process has written.");
        let sizes = [1.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 2_000.0];
        let times = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];
        Ok(Self {
            stored: counter("projector_stored_total", "Events written to the feed.")?,
            repeated: counter("projector_repeated_total", "Events that were there already.")?,
            conflicting: counter(
                "projector_conflicting_total",
                "Repeated events whose content differs from the stored one.",
            )?,
            attempts: counter("projector_attempts_total", "Attempts written to the delivery log.")?,
            dead_letters: counter("projector_dead_letters_total", "Dead letters written.")?,
            validated: counter("projector_validated_total", "Subscriptions whose endpoint proved itself.")?,
            rejected,
            lag,
            batch_records: histogram("projector_batch_records", "Records a transaction.", &sizes)?,
            batch_seconds: histogram("projector_batch_seconds", "Seconds a transaction.", &times)?,
            head: made(registry, head)?,
            housekeeping_failed: counter(
                "projector_housekeeping_failed_total",
                "Steps of housekeeping that failed.",
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_series_are_these() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        metrics.lag.with_label_values(&[TOPICS[0]]).set(1);
        let names: Vec<String> = registry.gather().iter().map(|family| family.name().to_owned()).collect();
        assert_eq!(
            names,
            [
                "projector_attempts_total",
                "projector_batch_records",
                "projector_batch_seconds",
                "projector_conflicting_total",
                "projector_dead_letters_total",
                "projector_head_sequence",
                "projector_housekeeping_failed_total",
                "projector_lag_records",
                "projector_rejected_total",
                "projector_repeated_total",
                "projector_stored_total",
                "projector_validated_total",
            ]
        );
    }
}
