//! The series of the doors, by port.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::pulse::Phase;

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There are as many as may be.
    Full,
    /// There are as many of its address as may be.
    AddressFull,
}

/// The series of all ports of a process.
#[derive(Clone, Debug)]
pub struct DoorMetrics {
    open: IntGaugeVec,
    refused: IntCounterVec,
    closed: IntCounterVec,
    accept_errors: IntCounterVec,
}

/// The series of one port.
#[derive(Clone, Debug)]
pub struct PortMetrics {
    open: IntGauge,
    full: IntCounter,
    address_full: IntCounter,
    closed_head: IntCounter,
    closed_idle: IntCounter,
    closed_body: IntCounter,
    closed_write: IntCounter,
    closed_linger: IntCounter,
    accept_errors: IntCounter,
}

impl DoorMetrics {
    /// Registers the series.
    ///
    /// # Errors
    /// When the registry has series of these names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let open = Opts::new("http_connections_open", "Connections that are open, by port.");
        let open = IntGaugeVec::new(open, &["port"])?;
        registry.register(Box::new(open.clone()))?;
        Ok(Self {
            open,
            refused: counter(
                "http_connections_refused_total",
                "Connections that were closed at once because there are as many as may be, in all or of their address.",
                &["port", "reason"],
            )?,
            closed: counter(
                "http_connections_closed_total",
                "Connections that were closed because they made us wait for too long, by what we waited for.",
                &["port", "reason"],
            )?,
            accept_errors: counter(
                "http_accept_errors_total",
                "Errors of accepting connections, such as no descriptor being left.",
                &["port"],
            )?,
        })
    }

    /// Those of one port.
    pub fn port(&self, port: &'static str) -> PortMetrics {
        let refused = |reason| self.refused.with_label_values(&[port, reason]);
        let closed = |reason| self.closed.with_label_values(&[port, reason]);
        PortMetrics {
            open: self.open.with_label_values(&[port]),
            full: refused("full"),
            address_full: refused("address-full"),
            closed_head: closed("head"),
            closed_idle: closed("idle"),
            closed_body: closed("body"),
            closed_write: closed("write"),
            closed_linger: closed("linger"),
            accept_errors: self.accept_errors.with_label_values(&[port]),
        }
    }
}

impl PortMetrics {
    pub(super) fn open(&self, count: usize) {
        self.open.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn refused(&self, reason: Refused) {
        match reason {
            Refused::Full => self.full.inc(),
            Refused::AddressFull => self.address_full.inc(),
        }
    }

    pub(super) fn closed(&self, phase: Phase) {
        match phase {
            Phase::Head => self.closed_head.inc(),
            Phase::Idle => self.closed_idle.inc(),
            Phase::Body => self.closed_body.inc(),
            Phase::Write => self.closed_write.inc(),
            Phase::Linger => self.closed_linger.inc(),
            // It is never closed for being slow.
            Phase::Work => {}
        }
    }

    pub(super) fn accept_failed(&self) {
        self.accept_errors.inc();
    }
}
