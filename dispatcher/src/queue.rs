//! What waits, what is on its way, and what may start next, over all endpoints. Pure: the clock comes in as an argument.
//!
//! Endpoints with something to start stand in line, each once, so that they take turns. A send starts in the *quick* pool; one
//! that stays unanswered moves to the *slow* pool, and an endpoint that tends to that starts there at once. So hanging
//! endpoints do not hold the permits of quick ones.
//!
//! Bounds: a lane of an endpoint holds what the endpoint answers in a second, by its pace of late; beyond that, at most
//! [`Limits::lane`] deliveries and at most an eighth of the room left in all. So a backlog waits in the log and not on a tier,
//! and many sick endpoints together never fill the room: one that turns out to be slow gives back what it holds beyond its
//! share. All that waits is in hand of the loops, whose budget bounds it. A window starts small and grows with every success, so endpoints that never
//! answered cannot take all permits.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    circuit::{Admission, CircuitSettings},
    endpoint::{Endpoint, EndpointKey, Lane, Load, Pool, Waiting},
};

/// The bounds. All counts are of deliveries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Sends in the quick pool.
    pub(crate) quick: usize,
    /// Sends in the slow pool.
    pub(crate) slow: usize,
    /// After how long a send is slow.
    pub(crate) slow_after: Duration,
    /// Sends to one endpoint.
    pub(crate) window: usize,
    /// Deliveries that wait in one lane of one endpoint.
    pub(crate) lane: usize,
    /// What may wait in one lane of all endpoints.
    pub(crate) waiting: Load,
    /// When an endpoint counts as failing.
    pub(crate) circuit: CircuitSettings,
}

/// The window of an endpoint with slow sends while the slow pool is more than half full.
const CROWDED_WINDOW: usize = 4;
/// A lane of an endpoint holds at most one of so many parts of the room that is left.
const SHARE: usize = 8;
/// An endpoint that answers what waits for it within this time keeps up.
const KEEPS_UP: Duration = Duration::from_secs(1);
/// Above this many endpoints, idle ones are forgotten, also what was known of their health.
const REMEMBERED: usize = 65_536;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start<T> {
    /// Send; then report to [`Queue::finished`] or [`Queue::abandoned`].
    Send(EndpointKey, Pool, T),
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

/// All endpoints with something to remember.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    limits: Limits,
    endpoints: HashMap<EndpointKey, Endpoint<T>>,
    forget_above: usize,
    line_quick: VecDeque<EndpointKey>,
    line_slow: VecDeque<EndpointKey>,
    quick: usize,
    slow: usize,
    /// Sends that have ended and whose outcome is not on the log yet: after a crash they would be made again, as those in flight.
    unsettled: usize,
    fresh: Load,
    due: Load,
}

impl<T> Queue<T> {
    /// Nothing waits and nothing is on its way.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            endpoints: HashMap::new(),
            forget_above: REMEMBERED,
            line_quick: VecDeque::new(),
            line_slow: VecDeque::new(),
            quick: 0,
            slow: 0,
            unsettled: 0,
            fresh: Load::default(),
            due: Load::default(),
        }
    }

    /// Puts a delivery into its endpoint's lane. One that can start at once always finds room.
    ///
    /// # Errors
    /// The delivery, when there is no room for it.
    pub(crate) fn offer(
        &mut self,
        key: &EndpointKey,
        lane: Lane,
        waiting: Waiting<T>,
    ) -> Result<(), Waiting<T>> {
        let of_endpoint = self.endpoints.get(key).map_or(Load::default(), |endpoint| endpoint.load(lane));
        let starts_at_once = of_endpoint.count == 0 && self.has_permit_for(key);
        let has_room =
            starts_at_once || self.keeps_up(key, lane) || self.has_room(lane, of_endpoint, waiting.weight);
        if !has_room {
            return Err(waiting);
        }
        self.load_mut(lane).add(waiting.weight);
        self.forget_idle();
        self.endpoints.entry(Arc::clone(key)).or_default().push(lane, waiting);
        self.stand_in_line(key);
        Ok(())
    }

    fn keeps_up(&self, key: &EndpointKey, lane: Lane) -> bool {
        let window = self.window_of(key);
        self.endpoints.get(key).is_none_or(|endpoint| endpoint.keeps_up(lane, window, KEEPS_UP))
    }

    /// What an endpoint that has turned out to be slow holds beyond its share, newest first.
    pub(crate) fn give_back(&mut self, key: &EndpointKey) -> Vec<T> {
        let mut given = Vec::new();
        for lane in [Lane::Fresh, Lane::Due] {
            while let Some(of_endpoint) = self.endpoints.get(key).map(|endpoint| endpoint.load(lane)) {
                if of_endpoint.count == 0 || self.has_room(lane, of_endpoint, 0) {
                    break;
                }
                let Some(waiting) = self.endpoints.get_mut(key).and_then(|endpoint| endpoint.take_back(lane))
                else {
                    break;
                };
                self.load_mut(lane).take(waiting.weight);
                given.push(waiting.item);
            }
        }
        given
    }

    fn has_room(&self, lane: Lane, of_endpoint: Load, weight: usize) -> bool {
        let (limits, load) = (self.limits, self.load(lane));
        let free = limits.waiting.count.saturating_sub(load.count);
        let free_bytes = limits.waiting.bytes.saturating_sub(load.bytes);
        of_endpoint.count < limits.lane.min(free / SHARE) && of_endpoint.bytes + weight <= free_bytes / SHARE
    }

    fn has_permit_for(&self, key: &EndpointKey) -> bool {
        let (pool, in_flight, window) = match self.endpoints.get(key) {
            Some(endpoint) => (endpoint.pool(), endpoint.in_flight(), self.window_of(key)),
            None => (Pool::Quick, 0, 1),
        };
        let permits = match pool {
            Pool::Quick => self.limits.quick,
            Pool::Slow => self.limits.slow,
        };
        in_flight < window && self.in_flight(pool) < permits
    }

    /// The next delivery whose turn it is, with its permit taken if it is to be sent.
    pub(crate) fn next(&mut self) -> Option<Start<T>> {
        self.next_in(Pool::Quick).or_else(|| self.next_in(Pool::Slow))
    }

    fn next_in(&mut self, pool: Pool) -> Option<Start<T>> {
        let (used, most) = match pool {
            Pool::Quick => (self.quick, self.limits.quick),
            Pool::Slow => (self.slow, self.limits.slow),
        };
        if used + self.unsettled >= most {
            return None;
        }
        loop {
            let key = self.line(pool).pop_front()?;
            let window = self.window_of(&key);
            let Some(endpoint) = self.endpoints.get_mut(&key) else { continue };
            endpoint.in_line = false;
            let start =
                if endpoint.pool() == pool && endpoint.may_start(window) { endpoint.pop() } else { None };
            if let Some((lane, admission, waiting)) = start {
                self.load_mut(lane).take(waiting.weight);
                return Some(self.begin(key, pool, admission, waiting.item));
            }
            self.stand_in_line(&key);
        }
    }

    fn begin(&mut self, key: EndpointKey, pool: Pool, admission: Admission, item: T) -> Start<T> {
        match admission {
            Admission::Skip => {
                self.stand_in_line(&key);
                Start::Skip(item)
            }
            Admission::Send => {
                self.count(&key, pool, 1);
                self.stand_in_line(&key);
                Start::Send(key, pool, item)
            }
        }
    }

    /// Moves a send that is still unanswered to the slow pool. False when that is full; then it keeps its quick permit.
    pub(crate) fn slowed(&mut self, key: &EndpointKey) -> bool {
        if let Some(endpoint) = self.endpoints.get_mut(key) {
            endpoint.tends_slow = true;
        }
        let has_room = self.slow < self.limits.slow;
        if has_room {
            self.count(key, Pool::Quick, -1);
            self.count(key, Pool::Slow, 1);
        }
        has_room
    }

    /// A send ended: gives its permit back and learns from the outcome. Until [`Queue::settled`] it counts as if it were on its way.
    /// True when this opened the circuit.
    pub(crate) fn finished(&mut self, key: &EndpointKey, pool: Pool, finished: Finished) -> bool {
        let limits = self.limits;
        let mut opens = false;
        if let Some(endpoint) = self.endpoints.get_mut(key) {
            let took = finished.now.saturating_duration_since(finished.started);
            endpoint.took(took);
            if took < limits.slow_after {
                endpoint.tends_slow = false;
            }
            if finished.succeeded {
                endpoint.circuit.succeeded();
                endpoint.window = (endpoint.window + 1).min(limits.window);
            } else {
                opens = endpoint.circuit.failed(finished.started, finished.now, limits.circuit);
            }
        }
        self.unsettled += 1;
        self.abandoned(key, pool);
        opens
    }

    /// The outcome of a send that ended is on the log.
    pub(crate) fn settled(&mut self) {
        self.unsettled = self.unsettled.saturating_sub(1);
    }

    /// A send was not made, or nobody will know how it ended: gives its permit back.
    pub(crate) fn abandoned(&mut self, key: &EndpointKey, pool: Pool) {
        self.count(key, pool, -1);
        self.stand_in_line(key);
    }

    /// Takes everything that waits, at the end.
    pub(crate) fn clear(&mut self) -> Vec<T> {
        self.line_quick.clear();
        self.line_slow.clear();
        let mut left = Vec::new();
        for (_, mut endpoint) in self.endpoints.drain() {
            while let Some((_, _, waiting)) = endpoint.pop() {
                left.push(waiting.item);
            }
        }
        (self.fresh, self.due) = (Load::default(), Load::default());
        left
    }

    /// Sends on their way in a pool.
    pub(crate) fn in_flight(&self, pool: Pool) -> usize {
        match pool {
            Pool::Quick => self.quick,
            Pool::Slow => self.slow,
        }
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

    fn line(&mut self, pool: Pool) -> &mut VecDeque<EndpointKey> {
        match pool {
            Pool::Quick => &mut self.line_quick,
            Pool::Slow => &mut self.line_slow,
        }
    }

    fn count(&mut self, key: &EndpointKey, pool: Pool, change: isize) {
        let endpoint = self.endpoints.get_mut(key);
        let (of_all, of_endpoint) = match pool {
            Pool::Quick => (&mut self.quick, endpoint.map(|endpoint| &mut endpoint.quick)),
            Pool::Slow => (&mut self.slow, endpoint.map(|endpoint| &mut endpoint.slow)),
        };
        *of_all = of_all.saturating_add_signed(change);
        if let Some(of_endpoint) = of_endpoint {
            *of_endpoint = of_endpoint.saturating_add_signed(change);
        }
    }

    fn window_of(&self, key: &EndpointKey) -> usize {
        let Some(endpoint) = self.endpoints.get(key) else { return 0 };
        let crowded = endpoint.slow > 0 && self.slow > self.limits.slow / 2;
        let window = endpoint.window.min(self.limits.window);
        if crowded { window.min(CROWDED_WINDOW) } else { window }
    }

    /// Puts an endpoint at the end of the line of its pool, if it has something to start and stands in none.
    fn stand_in_line(&mut self, key: &EndpointKey) {
        let window = self.window_of(key);
        let Some(endpoint) = self.endpoints.get_mut(key) else { return };
        if endpoint.in_line || !endpoint.may_start(window) {
            return;
        }
        endpoint.in_line = true;
        let pool = endpoint.pool();
        self.line(pool).push_back(Arc::clone(key));
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
