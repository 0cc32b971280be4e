//! The dispatcher's series. The text of a series is its meaning; labels come from enums only.

use event::AttemptOutcome;
use service::prometheus::{
    Error, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// All of them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Subscriptions in the view.
    pub(crate) subscriptions: IntGauge,
    /// Bytes of the view.
    pub(crate) subscriptions_bytes: IntGauge,
    /// Milliseconds since the view was last known to be complete.
    pub(crate) view_age_ms: IntGauge,
    /// Events that were matched, with or without a subscription.
    pub(crate) matched_events: IntCounter,
    /// Deliveries that were appended for matched events.
    pub(crate) matched_deliveries: IntCounter,
    /// Events that were taken for a second copy, and matched nothing.
    pub(crate) repeated_events: IntCounter,
    /// Look-ups of repeated events that the database did not answer in time.
    pub(crate) repeats_unanswered: IntCounter,
    /// Records of `events` that could not be decoded; the projector parks them.
    pub(crate) undecodable_events: IntCounter,
    /// Subscriptions that an event matched and that may not receive it.
    pub(crate) match_refused: IntCounter,
    /// Events that wait for Register to tell their main unit.
    pub(crate) main_units_awaited: IntGauge,
    /// Tries at deliveries by outcome.
    pub(crate) attempts: IntCounterVec,
    /// Deliveries put back by reason.
    pub(crate) put_back: IntCounterVec,
    /// Records of deliveries that came a second time and started nothing.
    pub(crate) repeated_deliveries: IntCounter,
    /// Records that are no deliveries; they are among the dead letters.
    pub(crate) unreadable: IntCounter,
    /// Deliveries that wait for the view of the subscriptions.
    pub(crate) held: IntGauge,
    /// Circuits that opened.
    pub(crate) circuits_opened: IntCounter,
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
            matched_events: make.counter("matched_events_total", "Events that were matched.")?,
            matched_deliveries: make
                .counter("matched_deliveries_total", "Deliveries appended for matched events.")?,
            repeated_events: make
                .counter("repeated_events_total", "Events that were taken for a second copy.")?,
            repeats_unanswered: make.counter(
                "repeats_unanswered_total",
                "Look-ups of repeated events without an answer in time.",
            )?,
            undecodable_events: make
                .counter("undecodable_events_total", "Records of events that could not be decoded.")?,
            match_refused: make
                .counter("match_refused_total", "Matches whose subscription may not receive the event.")?,
            main_units_awaited: make
                .gauge("main_units_awaited", "Events that wait for Register to tell their main unit.")?,
            attempts: make.counters("attempts_total", "Tries at deliveries by outcome.", "outcome")?,
            put_back: make.counters("put_back_total", "Deliveries put back by reason.", "reason")?,
            repeated_deliveries: make
                .counter("repeated_deliveries_total", "Delivery records that came a second time.")?,
            unreadable: make
                .counter("unreadable_total", "Records that are no deliveries, now dead letters.")?,
            held: make.gauge("held", "Deliveries that wait for the view of the subscriptions.")?,
            circuits_opened: make.counter("circuits_opened_total", "Circuits that opened.")?,
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
        })
    }

    /// Counts a try.
    pub(crate) fn attempt(&self, outcome: AttemptOutcome) {
        self.attempts.with_label_values(&[outcome.name()]).inc();
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
