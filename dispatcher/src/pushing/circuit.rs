//! Whether an endpoint keeps failing. Pure: the clock comes in as an argument.
//!
//! Closed, every delivery is sent. Open, one send at a time finds out whether the endpoint is back; the others move down the
//! ladder without a socket. A last attempt is always really sent. One success closes.
//!
//! It opens after a row of failures that is long both in number and in time, so that the thirty sends that met one restart of
//! a receiver cost their deliveries nothing.

use std::time::{Duration, Instant};

/// When a circuit opens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CircuitSettings {
    /// Failures without a success between them.
    pub(crate) failures: u32,
    /// How long the endpoint has answered nothing well, counted from the start of the first failed send.
    pub(crate) lasting: Duration,
}

/// The state of one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Circuit {
    failures: u32,
    since: Option<Instant>,
    open: bool,
}

/// What to do with a delivery whose turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Send it.
    Send,
    /// Count an attempt without sending.
    Skip,
}

impl Circuit {
    /// Decides on the next delivery. `in_flight`: sends to this endpoint that have not ended; while the circuit is open any of
    /// them is the probe.
    pub(crate) fn admit(&self, in_flight: usize, is_last_attempt: bool) -> Admission {
        if self.open && in_flight > 0 && !is_last_attempt { Admission::Skip } else { Admission::Send }
    }

    /// A send was answered well.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A send failed. True when this opened the circuit.
    pub(crate) fn failed(&mut self, started: Instant, now: Instant, settings: CircuitSettings) -> bool {
        self.failures = self.failures.saturating_add(1);
        let since = self.since.map_or(started, |since| since.min(started));
        self.since = Some(since);
        let opens = !self.open
            && self.failures >= settings.failures
            && now.saturating_duration_since(since) >= settings.lasting;
        self.open |= opens;
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: CircuitSettings = CircuitSettings { failures: 3, lasting: Duration::from_secs(10) };

    fn opened() -> Circuit {
        let start = Instant::now();
        let mut circuit = Circuit::default();
        for second in [0, 5, 10] {
            circuit.failed(start, start + Duration::from_secs(second), SETTINGS);
        }
        assert!(circuit.open);
        circuit
    }

    #[test]
    fn a_burst_of_failures_at_one_moment_opens_nothing() {
        let start = Instant::now();
        let mut circuit = Circuit::default();
        for _ in 0..100 {
            assert!(!circuit.failed(start, start + Duration::from_millis(20), SETTINGS));
        }
        assert_eq!(circuit.admit(5, false), Admission::Send);
    }

    #[test]
    fn sends_that_hung_until_their_timeout_open_at_once() {
        let start = Instant::now();
        let mut circuit = Circuit::default();
        let end = start + Duration::from_secs(45);
        assert!(!circuit.failed(start, end, SETTINGS));
        assert!(!circuit.failed(start, end, SETTINGS));
        assert!(circuit.failed(start, end, SETTINGS));
    }

    #[test]
    fn open_sends_one_probe_and_skips_the_others() {
        let circuit = opened();
        assert_eq!(circuit.admit(0, false), Admission::Send);
        assert_eq!(circuit.admit(1, false), Admission::Skip);
    }

    #[test]
    fn the_last_attempt_is_always_sent() {
        assert_eq!(opened().admit(7, true), Admission::Send);
    }

    #[test]
    fn one_success_closes() {
        let mut circuit = opened();
        circuit.succeeded();
        assert_eq!(circuit.admit(1, false), Admission::Send);
        let now = Instant::now();
        assert!(!circuit.failed(now - Duration::from_secs(60), now, SETTINGS), "the row begins anew");
    }
}
