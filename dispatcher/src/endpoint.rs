//! One endpoint: what waits for it in two lanes, what is on its way, and how it has answered lately. Pure.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use event::address::endpoint_key;

use crate::circuit::{Admission, Circuit};

/// The key of an endpoint: origin and path. Many addresses may share one.
pub(crate) type EndpointKey = Arc<str>;

/// The endpoint of a webhook address.
pub(crate) fn key_of(address: &str) -> EndpointKey {
    endpoint_key(address).into()
}

/// Where a delivery comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// From `deliveries`.
    Fresh,
    /// From `deliveries.due`.
    Due,
}

/// Whose permit a send holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    /// Of sends that may be answered soon.
    Quick,
    /// Of sends that have taken long.
    Slow,
}

/// A delivery that waits.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    /// The delivery.
    pub(crate) item: T,
    /// Its size in memory, in bytes.
    pub(crate) weight: usize,
    /// Whether nothing but the dead letters follows it.
    pub(crate) is_last_attempt: bool,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Deliveries.
    pub(crate) count: usize,
    /// Bytes.
    pub(crate) bytes: usize,
}

impl Load {
    /// One more.
    pub(crate) fn add(&mut self, weight: usize) {
        self.count += 1;
        self.bytes += weight;
    }

    /// One less.
    pub(crate) fn take(&mut self, weight: usize) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(weight);
    }
}

/// The window of an endpoint that has not answered yet.
const FIRST_WINDOW: usize = 4;
/// One in so many starts is a due delivery while fresh ones wait.
const DUE_EVERY: u8 = 4;

/// An endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint<T> {
    fresh: LaneQueue<T>,
    due: LaneQueue<T>,
    turn: u8,
    /// Sends on their way that hold a quick permit.
    pub(crate) quick: usize,
    /// Sends on their way that hold a slow permit.
    pub(crate) slow: usize,
    /// How many sends it may have on their way; grows with every success.
    pub(crate) window: usize,
    /// Its last answer took long, so its sends start in the slow pool.
    pub(crate) tends_slow: bool,
    /// How long it takes to answer, of late; none before its first answer.
    pace: Option<Duration>,
    /// It stands in a line.
    pub(crate) in_line: bool,
    /// Whether it keeps failing.
    pub(crate) circuit: Circuit,
}

#[derive(Debug)]
struct LaneQueue<T> {
    waiting: VecDeque<Waiting<T>>,
    bytes: usize,
}

impl<T> Default for LaneQueue<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Default for Endpoint<T> {
    fn default() -> Self {
        Self {
            fresh: LaneQueue::default(),
            due: LaneQueue::default(),
            turn: 0,
            quick: 0,
            slow: 0,
            window: FIRST_WINDOW,
            tends_slow: false,
            pace: None,
            in_line: false,
            circuit: Circuit::default(),
        }
    }
}

impl<T> Endpoint<T> {
    /// Sends on their way.
    pub(crate) fn in_flight(&self) -> usize {
        self.quick + self.slow
    }

    /// The pool in which its next send starts.
    pub(crate) fn pool(&self) -> Pool {
        if self.tends_slow { Pool::Slow } else { Pool::Quick }
    }

    /// An answer took so long, or did not come.
    pub(crate) fn took(&mut self, time: Duration) {
        self.pace = Some(self.pace.map_or(time, |pace| (pace * 3 + time) / 4));
    }

    /// Whether one more delivery in a lane would be sent within `time` with that window. Yes before the first answer, no while
    /// answers take long.
    pub(crate) fn keeps_up(&self, lane: Lane, window: usize, time: Duration) -> bool {
        let ahead = u32::try_from(self.load(lane).count / window.max(1)).unwrap_or(u32::MAX);
        !self.tends_slow && self.pace.is_none_or(|pace| pace.saturating_mul(ahead) < time)
    }

    /// Takes the newest delivery out of a lane.
    pub(crate) fn take_back(&mut self, lane: Lane) -> Option<Waiting<T>> {
        let queue = self.lane_mut(lane);
        let waiting = queue.waiting.pop_back()?;
        queue.bytes = queue.bytes.saturating_sub(waiting.weight);
        Some(waiting)
    }

    /// Whether nothing waits and nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight() == 0 && self.next_lane().is_none()
    }

    /// What waits in a lane.
    pub(crate) fn load(&self, lane: Lane) -> Load {
        let queue = self.lane(lane);
        Load { count: queue.waiting.len(), bytes: queue.bytes }
    }

    /// Puts a delivery at the end of a lane.
    pub(crate) fn push(&mut self, lane: Lane, waiting: Waiting<T>) {
        let queue = self.lane_mut(lane);
        queue.bytes += waiting.weight;
        queue.waiting.push_back(waiting);
    }

    /// Whether something may start now with at most `window` sends on their way.
    pub(crate) fn may_start(&self, window: usize) -> bool {
        let Some(waiting) = self.next_lane().and_then(|lane| self.lane(lane).waiting.front()) else {
            return false;
        };
        match self.circuit.admit(self.in_flight(), waiting.is_last_attempt) {
            Admission::Skip => true,
            Admission::Send => self.in_flight() < window,
        }
    }

    /// Takes the next delivery, and says what to do with it.
    pub(crate) fn pop(&mut self) -> Option<(Lane, Admission, Waiting<T>)> {
        let lane = self.next_lane()?;
        self.turn = (self.turn + 1) % DUE_EVERY;
        let queue = self.lane_mut(lane);
        let waiting = queue.waiting.pop_front()?;
        queue.bytes = queue.bytes.saturating_sub(waiting.weight);
        let admission = self.circuit.admit(self.in_flight(), waiting.is_last_attempt);
        Some((lane, admission, waiting))
    }

    fn next_lane(&self) -> Option<Lane> {
        match (self.fresh.waiting.is_empty(), self.due.waiting.is_empty()) {
            (true, true) => None,
            (false, true) => Some(Lane::Fresh),
            (true, false) => Some(Lane::Due),
            (false, false) if self.turn + 1 == DUE_EVERY => Some(Lane::Due),
            (false, false) => Some(Lane::Fresh),
        }
    }

    fn lane(&self, lane: Lane) -> &LaneQueue<T> {
        match lane {
            Lane::Fresh => &self.fresh,
            Lane::Due => &self.due,
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut LaneQueue<T> {
        match lane {
            Lane::Fresh => &mut self.fresh,
            Lane::Due => &mut self.due,
        }
    }
}
