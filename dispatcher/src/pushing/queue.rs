//! What waits, what is on its way, and what may start next, over all endpoints. Pure: the clock comes in as an argument.
//!
//! Endpoints with something to start stand in line ([`super::line`]), each once, so that they take turns. Pools and shares of sends on
//! their way are in [`super::permits`]: hanging endpoints do not hold the permits of quick ones, unproven ones and those of one host or
//! one consumer never more than a part. Validations wait apart from deliveries, for permits of their own.
//!
//! Bounds: a lane of an endpoint holds what the endpoint takes in 15 s, and at least [`Limits::lane`] deliveries; all lanes
//! together hold [`Limits::waiting_bytes`]. What finds no room is put back, to the tier that brings it again before its endpoint is
//! idle ([`super::backlog`]). Many sick endpoints together never fill the room: one that turns out to be slow gives back what it
//! holds beyond its share. All that waits is in hand of the loops, whose budget bounds it. A window starts small and grows with every
//! success, so endpoints that never answered cannot take all permits.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::pushing::{
    circuit::{Admission, CircuitSettings},
    endpoint::{Endpoint, EndpointKey},
    lane::{Lane, Load, Number, Waiting},
    line::Lines,
    outcome::Ladder,
    permits::{Class, Full, Permit, Permits, Pools, Whose},
    validations::Validations,
};

mod room;

pub(crate) use room::Overload;

/// The bounds. All counts are of deliveries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Sends on their way.
    pub(crate) pools: Pools,
    /// After how long a send is slow.
    pub(crate) slow_after: Duration,
    /// Sends to one endpoint.
    pub(crate) window: usize,
    /// Deliveries that may wait in one lane of one endpoint, however slow it is.
    pub(crate) lane: usize,
    /// Bytes that may wait in one lane of all endpoints.
    pub(crate) waiting_bytes: usize,
    /// The delays of the tiers.
    pub(crate) ladder: Ladder,
    /// When an endpoint counts as failing.
    pub(crate) circuit: CircuitSettings,
}

/// The window of an endpoint with slow sends while the slow pool is more than half full.
const CROWDED_WINDOW: usize = 4;
/// Above this many endpoints, idle ones are forgotten, also what was known of their health.
const REMEMBERED: usize = 65_536;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start<T> {
    /// Send; then report to [`Queue::finished`] or [`Queue::abandoned`].
    Send(EndpointKey, Permit, T),
    /// Count an attempt without sending; nothing to report.
    Skip(T),
}

/// How a send ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finished {
    /// Answered 2xx.
    pub(crate) succeeded: bool,
    /// When it began.
    pub(crate) started: Instant,
    /// When it ended.
    pub(crate) now: Instant,
}

/// What the end of a send tells of its endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learnt {
    /// Its circuit opened.
    pub(crate) circuit_opened: bool,
    /// It is known anew how fast it drains: see [`Queue::give_back`].
    pub(crate) pace: bool,
}

/// All endpoints with something to remember.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    limits: Limits,
    endpoints: HashMap<EndpointKey, Endpoint<T>>,
    /// Those with a backlog; whether it changed since it was asked for.
    overloaded: HashMap<EndpointKey, bool>,
    forget_above: usize,
    lines: Lines,
    permits: Permits,
    /// Unproven endpoints of these hosts take long.
    slow_hosts: HashSet<u64>,
    validations: Validations<T>,
    /// Whether it is the turn of the unproven endpoints.
    unproven_first: bool,
    fresh: Load,
    due: Load,
}

impl<T> Queue<T> {
    /// Nothing waits and nothing is on its way.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            endpoints: HashMap::new(),
            overloaded: HashMap::new(),
            forget_above: REMEMBERED,
            lines: Lines::default(),
            permits: Permits::new(limits.pools),
            slow_hosts: HashSet::new(),
            validations: Validations::default(),
            unproven_first: false,
            fresh: Load::default(),
            due: Load::default(),
        }
    }

    /// Puts a delivery into its endpoint's lane, and tells its number there. One that can start at once always finds room.
    ///
    /// # Errors
    /// The delivery and its tier, when there is no room for it.
    pub(crate) fn offer(
        &mut self,
        key: &EndpointKey,
        lane: Lane,
        waiting: Waiting<T>,
        now: Instant,
    ) -> Result<Number, (T, usize)> {
        if waiting.is_validation {
            let refused = |waiting: Waiting<T>| (waiting.item, 0);
            return self.validations.push(Arc::clone(key), waiting).map(|()| 0).map_err(refused);
        }
        if !self.has_room(key, lane, &waiting, now) {
            return Err((waiting.item, self.put_back(key, now)));
        }
        self.load_mut(lane).add(waiting.weight);
        self.forget_idle();
        let number = self.endpoints.entry(Arc::clone(key)).or_default().push(lane, waiting);
        self.stand_in_line(key);
        Ok(number)
    }

    /// A pending delivery may be sent: nothing to do for the caller. Or it may not: then it is taken out of its lane. Nothing also for
    /// one that is not there any more.
    pub(crate) fn decided(
        &mut self,
        key: &EndpointKey,
        lane: Lane,
        number: Number,
        permitted: bool,
    ) -> Option<T> {
        let endpoint = self.endpoints.get_mut(key)?;
        let taken = if permitted {
            endpoint.permit(lane, number);
            None
        } else {
            endpoint.take(lane, number)
        };
        if let Some(waiting) = &taken {
            self.load_mut(lane).take(waiting.weight);
        }
        self.stand_in_line(key);
        taken.map(|waiting| waiting.item)
    }

    fn has_permit_for(&self, key: &EndpointKey, whose: Whose) -> bool {
        let (in_flight, window) = match self.endpoints.get(key) {
            Some(endpoint) => (endpoint.in_flight, self.window_of(key)),
            None => (0, 1),
        };
        in_flight < window && self.permits.room(self.class_of(key, whose.host), whose).is_ok()
    }

    fn class_of(&self, key: &EndpointKey, host: u64) -> Class {
        let host_is_slow = self.slow_hosts.contains(&host);
        match self.endpoints.get(key) {
            Some(endpoint) => endpoint.class(host_is_slow),
            None if host_is_slow => Class::Slow,
            None => Class::Unproven,
        }
    }

    /// The next delivery whose turn it is, with its permit taken if it is to be sent.
    pub(crate) fn next(&mut self) -> Option<Start<T>> {
        self.unproven_first = !self.unproven_first;
        let [first, second] = if self.unproven_first {
            [Class::Unproven, Class::Proven]
        } else {
            [Class::Proven, Class::Unproven]
        };
        self.next_validation()
            .or_else(|| self.next_in(first))
            .or_else(|| self.next_in(second))
            .or_else(|| self.next_in(Class::Slow))
    }

    fn next_validation(&mut self) -> Option<Start<T>> {
        let Self { permits, validations, .. } = self;
        let (key, waiting) = validations.next(|whose| permits.room(Class::Validation, whose).is_ok())?;
        Some(Start::Send(key, permits.take(Class::Validation, waiting.whose), waiting.item))
    }

    fn next_in(&mut self, class: Class) -> Option<Start<T>> {
        loop {
            let key = self.lines.first(class)?;
            let window = self.window_of(&key);
            let Some(endpoint) = self.endpoints.get_mut(&key) else { continue };
            if endpoint.in_line != Some(class) {
                continue;
            }
            endpoint.in_line = None;
            let Some((admission, whose)) = endpoint.next(window) else { continue };
            if endpoint.class(self.slow_hosts.contains(&whose.host)) != class {
                self.stand_in_line(&key);
                continue;
            }
            match self.permits.room(class, whose) {
                _ if admission == Admission::Skip => {}
                Ok(()) => {}
                Err(Full::Pool) => {
                    endpoint.in_line = Some(class);
                    self.lines.stand_first(class, key);
                    return None;
                }
                Err(Full::Holder(holder)) => {
                    endpoint.in_line = Some(class);
                    self.lines.aside(holder, class, key);
                    continue;
                }
            }
            if let Some(start) = self.begin(key, class, whose) {
                return Some(start);
            }
        }
    }

    fn begin(&mut self, key: EndpointKey, class: Class, whose: Whose) -> Option<Start<T>> {
        let endpoint = self.endpoints.get_mut(&key)?;
        let (lane, admission, waiting) = endpoint.pop()?;
        if admission == Admission::Send {
            endpoint.in_flight += 1;
            endpoint.slow += usize::from(class == Class::Slow);
        }
        self.load_mut(lane).take(waiting.weight);
        self.stand_in_line(&key);
        Some(match admission {
            Admission::Skip => Start::Skip(waiting.item),
            Admission::Send => Start::Send(key, self.permits.take(class, whose), waiting.item),
        })
    }

    /// Moves a send that is still unanswered to the slow pool.
    pub(crate) fn slowed(&mut self, key: &EndpointKey, permit: Permit, now: Instant) -> Permit {
        if permit.class != Class::Validation
            && let Some(endpoint) = self.endpoints.get_mut(key)
        {
            endpoint.unanswered(self.limits.slow_after, now);
            endpoint.slow += 1;
            if !endpoint.proven && self.slow_hosts.len() < REMEMBERED {
                self.slow_hosts.insert(permit.whose().host);
            }
        }
        let moved = self.permits.moved(permit);
        self.given_back(permit);
        moved
    }

    /// A send ended: gives its permit back and learns from the outcome. Until [`Queue::settled`] it counts as if it were on its way.
    /// A validation tells nothing of its endpoint's deliveries.
    pub(crate) fn finished(&mut self, key: &EndpointKey, permit: Permit, finished: Finished) -> Learnt {
        let mut learnt = Learnt::default();
        if permit.class != Class::Validation {
            learnt = self.learn(key, permit.whose().host, finished);
        }
        self.permits.unsettled();
        self.abandoned(key, permit);
        learnt
    }

    /// The outcome of a send that ended is on the log.
    pub(crate) fn settled(&mut self) {
        self.permits.settled();
    }

    fn learn(&mut self, key: &EndpointKey, host: u64, finished: Finished) -> Learnt {
        let limits = self.limits;
        let Some(endpoint) = self.endpoints.get_mut(key) else { return Learnt::default() };
        let took = finished.now.saturating_duration_since(finished.started);
        let mut learnt = Learnt { pace: endpoint.took(took, finished.now), circuit_opened: false };
        if took < limits.slow_after {
            endpoint.tends_slow = false;
            self.slow_hosts.remove(&host);
        }
        if finished.succeeded {
            endpoint.circuit.succeeded();
            endpoint.window = (endpoint.window + 1).min(limits.window);
            if !std::mem::replace(&mut endpoint.proven, true) {
                // It stands with the proven ones from now on.
                endpoint.in_line = None;
            }
        } else {
            learnt.circuit_opened = endpoint.circuit.failed(finished.started, finished.now, limits.circuit);
        }
        learnt
    }

    /// A send was not made, or nobody will know how it ended: gives its permit back.
    pub(crate) fn abandoned(&mut self, key: &EndpointKey, permit: Permit) {
        self.permits.give(permit);
        if permit.class != Class::Validation
            && let Some(endpoint) = self.endpoints.get_mut(key)
        {
            endpoint.in_flight = endpoint.in_flight.saturating_sub(1);
            endpoint.slow = endpoint.slow.saturating_sub(usize::from(permit.is_slow()));
        }
        self.given_back(permit);
        self.stand_in_line(key);
    }

    /// Who was held up by a holder's share may try again.
    fn given_back(&mut self, permit: Permit) {
        permit.whose().holders().into_iter().for_each(|holder| self.lines.back(holder));
    }

    /// Takes everything that waits, at the end.
    pub(crate) fn clear(&mut self) -> Vec<T> {
        self.lines.clear();
        let mut left = self.validations.clear();
        for (_, mut endpoint) in self.endpoints.drain() {
            for lane in [Lane::Fresh, Lane::Due] {
                while let Some(waiting) = endpoint.take_back(lane) {
                    left.push(waiting.item);
                }
            }
        }
        (self.fresh, self.due) = (Load::default(), Load::default());
        left
    }

    /// Sends on their way: in the quick pool, in the slow one.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (self.permits.quick(), self.permits.slow())
    }

    /// What waits in a lane, over all endpoints.
    pub(crate) fn load(&self, lane: Lane) -> Load {
        match lane {
            Lane::Fresh => self.fresh,
            Lane::Due => self.due,
        }
    }

    fn load_mut(&mut self, lane: Lane) -> &mut Load {
        match lane {
            Lane::Fresh => &mut self.fresh,
            Lane::Due => &mut self.due,
        }
    }

    fn window_of(&self, key: &EndpointKey) -> usize {
        let Some(endpoint) = self.endpoints.get(key) else { return 0 };
        let crowded = endpoint.slow > 0 && self.permits.slow() > self.limits.pools.slow / 2;
        let window = endpoint.window.min(self.limits.window);
        if crowded { window.min(CROWDED_WINDOW) } else { window }
    }

    /// Puts an endpoint at the end of its line, if it has something to start and stands in none.
    fn stand_in_line(&mut self, key: &EndpointKey) {
        let window = self.window_of(key);
        let Some(endpoint) = self.endpoints.get_mut(key) else { return };
        if endpoint.in_line.is_some() {
            return;
        }
        let Some((_, whose)) = endpoint.next(window) else { return };
        let class = endpoint.class(self.slow_hosts.contains(&whose.host));
        endpoint.in_line = Some(class);
        self.lines.stand(class, Arc::clone(key));
    }

    /// Keeps the number of endpoints within bounds: those on the way and those that wait are bounded by themselves.
    fn forget_idle(&mut self) {
        if self.endpoints.len() > self.forget_above {
            self.endpoints.retain(|_, endpoint| !endpoint.is_idle());
            self.forget_above = REMEMBERED.max(self.endpoints.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests;
