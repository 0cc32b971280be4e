//! The book of a port's connections: how many there are, of whom, and which have made us wait for too long.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::{AbortHandle, Id};
use tokio_util::sync::CancellationToken;

use super::{
    metrics::{PortMetrics, Refused},
    pulse::{Limits, Phase, Pulse, Watch},
    settings::DoorSettings,
};

/// How long a connection that was asked to end may take for it.
const END_WAIT: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Book {
    settings: DoorSettings,
    limits: Limits,
    metrics: PortMetrics,
    open: HashMap<Id, Open>,
    by_household: HashMap<IpAddr, usize>,
}

struct Open {
    household: IpAddr,
    pulse: Arc<Pulse>,
    watch: Watch,
    rest: CancellationToken,
    task: AbortHandle,
    is_cut: bool,
}

impl Open {
    fn cut(&mut self) {
        self.task.abort();
        self.is_cut = true;
    }
}

impl Book {
    pub(super) fn new(settings: DoorSettings, metrics: PortMetrics) -> Self {
        let limits = settings.limits();
        Self { settings, limits, metrics, open: HashMap::new(), by_household: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether one more connection may come from there.
    pub(super) fn admits(&self, address: IpAddr, household: IpAddr) -> Result<(), Refused> {
        if self.open.len() >= self.settings.connections_max {
            return Err(Refused::Full);
        }
        let of_one = self.by_household.get(&household).copied().unwrap_or_default();
        if of_one >= self.settings.connections_per_address && !self.settings.is_proxy(address) {
            return Err(Refused::AddressFull);
        }
        Ok(())
    }

    pub(super) fn enter(
        &mut self,
        household: IpAddr,
        pulse: Arc<Pulse>,
        rest: CancellationToken,
        task: AbortHandle,
    ) {
        *self.by_household.entry(household).or_default() += 1;
        let watch = Watch::new(Instant::now());
        self.open.insert(task.id(), Open { household, pulse, watch, rest, task, is_cut: false });
        self.metrics.open(self.open.len());
    }

    pub(super) fn strike(&mut self, task: Id) {
        let Some(ended) = self.open.remove(&task) else { return };
        if let Some(count) = self.by_household.get_mut(&ended.household) {
            *count -= 1;
            if *count == 0 {
                self.by_household.remove(&ended.household);
            }
        }
        self.metrics.open(self.open.len());
    }

    /// Ends those that have taken too long. One that is idle is asked to first: a request may just be coming.
    pub(super) fn look(&mut self, now: Instant) {
        for open in self.open.values_mut().filter(|open| !open.is_cut) {
            let signs = open.pulse.signs();
            let was_asked = open.rest.is_cancelled();
            let limits = Limits { idle: if was_asked { END_WAIT } else { self.limits.idle }, ..self.limits };
            let Some(phase) = open.watch.look(&signs, &limits, now) else { continue };
            if phase == Phase::Idle && !was_asked {
                open.rest.cancel();
                open.watch.again(now);
            } else {
                open.cut();
            }
            self.metrics.closed(phase);
        }
    }

    /// Ends all but those that we work for.
    pub(super) fn end_those_we_wait_for(&mut self) {
        for open in self.open.values_mut().filter(|open| !open.is_cut) {
            let phase = open.pulse.signs().phase();
            if phase != Phase::Work {
                open.cut();
                self.metrics.closed(phase);
            }
        }
    }
}
