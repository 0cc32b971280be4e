//! The dispatcher's series. The text of a series is its meaning; labels come from enums only.

use event::AttemptOutcome;
use kafka_loop::Progress;
use service::prometheus::{
    Error, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use tokio::sync::watch;

/// All of them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Subscriptions in the view.
    pub(crate) subscriptions: IntGauge,
    /// Bytes of the view.
    pub(crate) subscriptions_bytes: IntGauge,
    /// Milliseconds since the view was last known to be complete.
    pub(crate) view_age_ms: IntGauge,
    /// 1 while this dispatcher could not write down for the lease what it holds: changes are called in force without it.
    pub(crate) view_beyond_lease: IntGauge,
    /// Events that were matched, with or without a subscription.
    pub(crate) matched_events: IntCounter,
    /// Deliveries that were appended for matched events.
    pub(crate) matched_deliveries: IntCounter,
    /// Events that were taken for a second copy, and matched nothing.
    pub(crate) repeated_events: IntCounter,
    /// Look-ups of repeated events that the database did not answer in time.
    pub(crate) repeats_unanswered: IntCounter,
    /// Closed partitions whose identities are in memory, so that they are not looked into.
    pub(crate) filters: IntGauge,
    /// Records of `events` that could not be decoded; the projector parks them.
    pub(crate) undecodable_events: IntCounter,
    /// Subscriptions that an event matched and that may not receive it.
    pub(crate) match_refused: IntCounter,
    /// Events that wait for Register to tell their main unit.
    pub(crate) main_units_awaited: IntGauge,
    /// Events that went to a tier because nobody told their main unit in time.
    pub(crate) matches_put_back: IntCounter,
    /// Events that were given up for their main unit after three days, and parked in `events.rejected`.
    pub(crate) matches_given_up: IntCounter,
    /// Tries at deliveries by outcome.
    pub(crate) attempts: IntCounterVec,
    /// Deliveries put back by reason.
    pub(crate) put_back: IntCounterVec,
    /// Endpoints that are slower than their events.
    pub(crate) overloaded: IntGauge,
    /// Records of deliveries that came a second time and started nothing.
    pub(crate) repeated_deliveries: IntCounter,
    /// Records that were parked because work on them panicked.
    pub(crate) faults: IntCounter,
    /// Records that are no deliveries; they are among the dead letters.
    pub(crate) unreadable: IntCounter,
    /// Deliveries that wait for the view of the subscriptions.
    pub(crate) held: IntGauge,
    /// Circuits that opened.
    pub(crate) circuits_opened: IntCounter,
    /// Look-ups of webhook hosts by outcome; what is kept is not looked up.
    pub(crate) lookups: IntCounterVec,
    /// Sends on their way in the quick pool.
    pub(crate) in_flight_quick: IntGauge,
    /// Sends on their way in the slow pool.
    pub(crate) in_flight_slow: IntGauge,
    /// Fresh deliveries that wait for their endpoint.
    pub(crate) waiting_fresh: IntGauge,
    /// Due deliveries that wait for their endpoint.
    pub(crate) waiting_due: IntGauge,
    /// Seconds that receivers took to answer.
    pub(crate) send_seconds: Histogram,
    /// Seconds from matching to the answer, for first attempts that arrived.
    pub(crate) match_to_answer_seconds: Histogram,
    /// Deliveries that a tier released.
    pub(crate) released: IntCounter,
    /// Appends that were repeated.
    pub(crate) append_retries: IntCounter,
    /// Records that the log can never take.
    pub(crate) too_large: IntCounter,
    /// Milliseconds for which the oldest unfinished record of a loop has been in hand.
    pub(crate) unfinished_age_ms: IntGaugeVec,
    /// Offsets from the position of a loop's partition to the last record it took; the most of any of its partitions.
    pub(crate) unfinished_span: IntGaugeVec,
}

impl Metrics {
    /// Registers every series.
    ///
    /// # Errors
    /// When the registry has one of these names already.
    pub(crate) fn new(registry: &Registry) -> Result<Self, Error> {
        let make = Make { registry };
        let in_flight = make.gauges("in_flight", "Sends on their way by pool.", "pool")?;
        let waiting = make.gauges("waiting", "Deliveries that wait for their endpoint by lane.", "lane")?;
        Ok(Self {
            subscriptions: make.gauge("subscriptions", "Subscriptions in the view.")?,
            subscriptions_bytes: make.gauge("subscriptions_bytes", "Bytes of the view.")?,
            view_age_ms: make
                .gauge("view_age_ms", "Milliseconds since the view was last known to be complete.")?,
            view_beyond_lease: make.gauge(
                "view_beyond_lease",
                "1 while changes of subscriptions are called in force without this dispatcher.",
            )?,
            matched_events: make.counter("matched_events_total", "Events that were matched.")?,
            matched_deliveries: make
                .counter("matched_deliveries_total", "Deliveries appended for matched events.")?,
            repeated_events: make
                .counter("repeated_events_total", "Events that were taken for a second copy.")?,
            repeats_unanswered: make.counter(
                "repeats_unanswered_total",
                "Look-ups of repeated events without an answer in time.",
            )?,
            filters: make.gauge("filters", "Closed partitions of events whose identities are in memory.")?,
            undecodable_events: make
                .counter("undecodable_events_total", "Records of events that could not be decoded.")?,
            match_refused: make
                .counter("match_refused_total", "Matches whose subscription may not receive the event.")?,
            main_units_awaited: make
                .gauge("main_units_awaited", "Events that wait for Register to tell their main unit.")?,
            matches_put_back: make.counter(
                "matches_put_back_total",
                "Events that went to a tier because nobody told their main unit in time.",
            )?,
            matches_given_up: make.counter(
                "matches_given_up_total",
                "Events parked in events.rejected because nobody told their main unit for three days.",
            )?,
            attempts: make.counters("attempts_total", "Tries at deliveries by outcome.", "outcome")?,
            put_back: make.counters("put_back_total", "Deliveries put back by reason.", "reason")?,
            overloaded: make.gauge("overloaded", "Endpoints that are slower than their events.")?,
            repeated_deliveries: make
                .counter("repeated_deliveries_total", "Delivery records that came a second time.")?,
            faults: make.counter("faults_total", "Records parked because work on them panicked.")?,
            unreadable: make
                .counter("unreadable_total", "Records that are no deliveries, now dead letters.")?,
            held: make.gauge("held", "Deliveries that wait for the view of the subscriptions.")?,
            circuits_opened: make.counter("circuits_opened_total", "Circuits that opened.")?,
            lookups: make.counters("lookups_total", "Look-ups of webhook hosts by outcome.", "outcome")?,
            in_flight_quick: in_flight.with_label_values(&["quick"]),
            in_flight_slow: in_flight.with_label_values(&["slow"]),
            waiting_fresh: waiting.with_label_values(&["fresh"]),
            waiting_due: waiting.with_label_values(&["due"]),
            send_seconds: make.histogram("send_seconds", "Seconds that receivers took to answer.")?,
            match_to_answer_seconds: make.histogram(
                "match_to_answer_seconds",
                "Seconds from matching to the answer to a first attempt.",
            )?,
            released: make.counter("released_total", "Deliveries that a tier released.")?,
            append_retries: make.counter("append_retries_total", "Appends that were repeated.")?,
            too_large: make.counter("too_large_total", "Records that the log can never take.")?,
            unfinished_age_ms: make.gauges(
                "unfinished_age_ms",
                "Milliseconds for which the oldest unfinished record has been in hand, by loop.",
                "loop",
            )?,
            unfinished_span: make.gauges(
                "unfinished_span_records",
                "Offsets from the position to the last record taken, the most of any partition, by loop.",
                "loop",
            )?,
        })
    }

    /// Counts a try.
    pub(crate) fn attempt(&self, outcome: AttemptOutcome) {
        self.attempts.with_label_values(&[outcome.name()]).inc();
    }

    /// Shows how far a loop is behind its oldest unfinished record, until it ends.
    pub(crate) async fn show(&self, name: &'static str, mut progress: watch::Receiver<Progress>) {
        let age = self.unfinished_age_ms.with_label_values(&[name]);
        let span = self.unfinished_span.with_label_values(&[name]);
        while progress.changed().await.is_ok() {
            let now = *progress.borrow_and_update();
            age.set(i64::try_from(now.oldest.as_millis()).unwrap_or(i64::MAX));
            span.set(now.span);
        }
    }
}

struct Make<'a> {
    registry: &'a Registry,
}

impl Make<'_> {
    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(name, help).namespace("dispatcher")
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        let series = IntCounter::with_opts(Self::opts(name, help))?;
        self.registry.register(Box::new(series.clone()))?;
        Ok(series)
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> Result<IntCounterVec, Error> {
        let series = IntCounterVec::new(Self::opts(name, help), &[label])?;
        self.registry.register(Box::new(series.clone()))?;
        Ok(series)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        let series = IntGauge::with_opts(Self::opts(name, help))?;
        self.registry.register(Box::new(series.clone()))?;
        Ok(series)
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> Result<IntGaugeVec, Error> {
        let series = IntGaugeVec::new(Self::opts(name, help), &[label])?;
        self.registry.register(Box::new(series.clone()))?;
        Ok(series)
    }

    fn histogram(&self, name: &str, help: &str) -> Result<Histogram, Error> {
        let buckets =
            vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 45.0];
        let series = Histogram::with_opts(HistogramOpts::from(Self::opts(name, help)).buckets(buckets))?;
        self.registry.register(Box::new(series.clone()))?;
        Ok(series)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_loop_shows_its_oldest_unfinished_record_and_its_span() {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let (tell, progress) = watch::channel(Progress::default());
        tell.send_replace(Progress { oldest: Duration::from_millis(45_001), span: 90_000 });
        let told = async { drop(tell) };
        tokio::join!(metrics.show("push", progress), told);
        assert_eq!(metrics.unfinished_age_ms.with_label_values(&["push"]).get(), 45_001);
        assert_eq!(metrics.unfinished_span.with_label_values(&["push"]).get(), 90_000);
    }
}
