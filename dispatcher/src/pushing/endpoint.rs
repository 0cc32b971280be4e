//! One endpoint: what waits for it in two lanes, what is on its way, and how it has answered lately. Pure.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use event::address::endpoint_key;

use crate::pushing::{
    backlog::{Backlog, Work},
    circuit::{Admission, Circuit},
    drain::Drain,
    lane::{Lane, LaneQueue, Load, Number, Waiting},
    permits::{Class, Whose},
};

/// The key of an endpoint: origin and path. Many addresses may share one.
pub(crate) type EndpointKey = Arc<str>;

/// The endpoint of a webhook address.
pub(crate) fn key_of(address: &str) -> EndpointKey {
    endpoint_key(address).into()
}

/// The window of an endpoint that has not answered yet.
const FIRST_WINDOW: usize = 4;
/// What an endpoint that has not answered yet takes in a second, for the time being.
const FIRST_RATE: f64 = 1.0;
/// One in so many starts is a due delivery while fresh ones wait.
const DUE_EVERY: u8 = 4;
/// The same where fresh ones were put back: they are among the due ones now.
const DUE_EVERY_OF_BACKLOG: u8 = 2;

/// An endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint<T> {
    fresh: LaneQueue<T>,
    due: LaneQueue<T>,
    turn: u8,
    /// Sends on their way.
    pub(crate) in_flight: usize,
    /// Those of them that have taken long.
    pub(crate) slow: usize,
    /// It has answered a delivery with 2xx.
    pub(crate) proven: bool,
    /// How many sends it may have on their way; grows with every success.
    pub(crate) window: usize,
    /// Its last answer took long, so its sends start in the slow pool.
    pub(crate) tends_slow: bool,
    drain: Drain,
    /// What it was put back; nothing for one that keeps up.
    backlog: Option<Box<Backlog>>,
    /// The line in which it stands, or from which it was put aside.
    pub(crate) in_line: Option<Class>,
    /// Whether it keeps failing.
    pub(crate) circuit: Circuit,
}

impl<T> Default for Endpoint<T> {
    fn default() -> Self {
        Self {
            fresh: LaneQueue::default(),
            due: LaneQueue::default(),
            turn: 0,
            in_flight: 0,
            slow: 0,
            proven: false,
            window: FIRST_WINDOW,
            tends_slow: false,
            drain: Drain::default(),
            backlog: None,
            in_line: None,
            circuit: Circuit::default(),
        }
    }
}

impl<T> Endpoint<T> {
    /// How its next send starts. `host_is_slow`: another unproven endpoint of its host takes long.
    pub(crate) fn class(&self, host_is_slow: bool) -> Class {
        match (self.tends_slow, self.proven) {
            (true, _) => Class::Slow,
            (false, true) => Class::Proven,
            (false, false) if host_is_slow => Class::Slow,
            (false, false) => Class::Unproven,
        }
    }

    /// An answer came, or the time for it was over. True when it is known anew how fast it drains.
    pub(crate) fn took(&mut self, time: Duration, now: Instant) -> bool {
        let is_busy = !self.fresh.is_empty() || !self.due.is_empty();
        self.drain.ended(time, now, is_busy)
    }

    /// A send has not been answered for this long.
    pub(crate) fn unanswered(&mut self, waited: Duration, now: Instant) {
        self.tends_slow = true;
        self.drain.unanswered(waited, now);
    }

    /// Deliveries that it takes in a second; nothing before its first answer.
    pub(crate) fn rate(&self, window: usize, now: Instant) -> Option<f64> {
        self.drain.rate(window, now)
    }

    /// Whether it has answered, and not slowly.
    pub(crate) fn answers(&self) -> bool {
        !self.tends_slow && self.drain.is_known()
    }

    /// What it has to do.
    pub(crate) fn work(&self, window: usize, now: Instant) -> Work {
        let waiting = self.fresh.load().count + self.due.load().count;
        Work { waiting, rate: self.rate(window, now).unwrap_or(FIRST_RATE) }
    }

    /// What it was put back, where something was.
    pub(crate) fn backlog(&mut self) -> Option<&mut Backlog> {
        self.backlog.as_deref_mut()
    }

    /// The same, begun when there is none.
    pub(crate) fn begin_backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_default()
    }

    /// Nothing that was put back is expected any more.
    pub(crate) fn end_backlog(&mut self) {
        self.backlog = None;
    }

    /// Takes the newest delivery out of a lane.
    pub(crate) fn take_back(&mut self, lane: Lane) -> Option<Waiting<T>> {
        self.lane_mut(lane).take_back()
    }

    /// Takes the oldest delivery out of a lane.
    pub(crate) fn take_front(&mut self, lane: Lane) -> Option<Waiting<T>> {
        self.lane_mut(lane).pop()
    }

    /// The oldest delivery in a lane.
    pub(crate) fn front(&self, lane: Lane) -> Option<&Waiting<T>> {
        self.lane(lane).front()
    }

    /// Whether nothing waits, nothing is on its way, and nothing comes back.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.fresh.is_empty() && self.due.is_empty() && self.backlog.is_none()
    }

    /// What waits in a lane.
    pub(crate) fn load(&self, lane: Lane) -> Load {
        self.lane(lane).load()
    }

    /// Puts a delivery at the end of a lane; tells its number.
    pub(crate) fn push(&mut self, lane: Lane, waiting: Waiting<T>) -> Number {
        self.lane_mut(lane).push(waiting)
    }

    /// Takes one from among the others.
    pub(crate) fn take(&mut self, lane: Lane, number: Number) -> Option<Waiting<T>> {
        self.lane_mut(lane).take(number)
    }

    /// One that was pending may be sent.
    pub(crate) fn permit(&mut self, lane: Lane, number: Number) {
        self.lane_mut(lane).permit(number);
    }

    /// What may start now with at most `window` sends on their way, and whose permit it needs if it is sent.
    pub(crate) fn next(&self, window: usize) -> Option<(Admission, Whose)> {
        let waiting = self.next_lane().and_then(|lane| self.lane(lane).front())?;
        let admission = self.circuit.admit(self.in_flight, waiting.is_last_attempt);
        (admission == Admission::Skip || self.in_flight < window).then_some((admission, waiting.whose))
    }

    /// Takes the next delivery, and says what to do with it.
    pub(crate) fn pop(&mut self) -> Option<(Lane, Admission, Waiting<T>)> {
        let lane = self.next_lane()?;
        self.turn = (self.turn + 1) % self.due_every();
        let waiting = self.lane_mut(lane).pop()?;
        let admission = self.circuit.admit(self.in_flight, waiting.is_last_attempt);
        Some((lane, admission, waiting))
    }

    fn due_every(&self) -> u8 {
        if self.backlog.is_some() { DUE_EVERY_OF_BACKLOG } else { DUE_EVERY }
    }

    /// The lane whose turn it is; one whose oldest is pending has none.
    fn next_lane(&self) -> Option<Lane> {
        match (!self.fresh.is_ready(), !self.due.is_ready()) {
            (true, true) => None,
            (false, true) => Some(Lane::Fresh),
            (true, false) => Some(Lane::Due),
            (false, false) if self.turn + 1 >= self.due_every() => Some(Lane::Due),
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
