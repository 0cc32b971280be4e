//! The signs of life of a connection, and what they mean.
//!
//! Its own task writes them, the port's task reads them now and then. They are counts without a clock, so that a request costs no look
//! at the time; a sign that is seen a moment late is seen at the next look.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hyper::body::Incoming;

/// Bytes that a peer takes at least of an answer, in the time that it has for it.
const TAKEN_MIN: u64 = 64 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Bytes read, and written.
    pub(super) read: AtomicU64,
    pub(super) written: AtomicU64,
    /// Bytes that were read when the last request was at its end.
    pub(super) at_rest: AtomicU64,
    /// A write waits for the peer.
    pub(super) is_blocked: AtomicBool,
    /// All is said; what comes still is dropped.
    pub(super) lingers: AtomicBool,
    pub(super) is_http2: AtomicBool,
    /// The body of the last request of HTTP/1 was not read to its end; what is left of it.
    pub(super) left_unread: AtomicBool,
    left: Mutex<Option<Incoming>>,
    /// Requests that came in all, and those in hand.
    pub(super) requests: AtomicU64,
    pub(super) in_hand: AtomicUsize,
    /// Bodies of requests that are not read to their end.
    pub(super) bodies: AtomicUsize,
    /// Answers of which the peer was given a piece and has not taken the next.
    pub(super) owed: AtomicUsize,
}

/// The pulse at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signs {
    read: u64,
    written: u64,
    at_rest: u64,
    is_blocked: bool,
    lingers: bool,
    is_http2: bool,
    requests: u64,
    in_hand: usize,
    bodies: usize,
    owed: usize,
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Its first request, or a further one of HTTP/1 that has begun, is not read.
    #[default]
    Head,
    /// It has nothing to do.
    Idle,
    /// A body comes.
    Body,
    /// We work, or wait for an event.
    Work,
    /// The peer takes an answer.
    Write,
    /// It ends.
    Linger,
}

impl Pulse {
    pub(super) fn signs(&self) -> Signs {
        Signs {
            read: self.read.load(Relaxed),
            written: self.written.load(Relaxed),
            at_rest: self.at_rest.load(Relaxed),
            is_blocked: self.is_blocked.load(Relaxed),
            lingers: self.lingers.load(Relaxed),
            is_http2: self.is_http2.load(Relaxed),
            requests: self.requests.load(Relaxed),
            in_hand: self.in_hand.load(Relaxed),
            bodies: self.bodies.load(Relaxed),
            owed: self.owed.load(Relaxed),
        }
    }

    /// Somebody has read no further.
    pub(super) fn leave(&self, body: Incoming) {
        self.left_unread.store(true, Relaxed);
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    /// What is left of the body of the last request.
    pub(super) fn take_left(&self) -> Option<Incoming> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the peer may still send what nobody reads: a body that was answered before its end, or a head that is not accepted.
    pub(super) fn leaves_unread(&self) -> bool {
        let signs = self.signs();
        let has_half_a_head = signs.in_hand == 0 && signs.read > signs.at_rest;
        !signs.is_http2 && (self.left_unread.load(Relaxed) || has_half_a_head)
    }
}

impl Signs {
    pub(super) fn phase(&self) -> Phase {
        if self.lingers {
            Phase::Linger
        } else if self.is_blocked || self.owed > 0 {
            Phase::Write
        } else if self.bodies > 0 {
            Phase::Body
        } else if self.in_hand > 0 {
            Phase::Work
        } else if self.requests == 0 || (!self.is_http2 && self.read > self.at_rest) {
            Phase::Head
        } else {
            Phase::Idle
        }
    }

    /// What rises while a phase makes progress.
    fn mark(&self, phase: Phase) -> u64 {
        match phase {
            Phase::Head | Phase::Idle | Phase::Work => self.requests,
            Phase::Body => self.read,
            Phase::Write => self.written,
            Phase::Linger => 0,
        }
    }
}

/// How long a connection may stay in a phase without progress; work has bounds of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) head: Duration,
    pub(super) idle: Duration,
    pub(super) body: Duration,
    pub(super) write: Duration,
    pub(super) linger: Duration,
}

impl Limits {
    fn of(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Head => self.head,
            Phase::Idle => self.idle,
            Phase::Body => self.body,
            Phase::Work => Duration::MAX,
            Phase::Write => self.write,
            Phase::Linger => self.linger,
        }
    }
}

/// What was seen of a connection, and since when it is so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    phase: Phase,
    mark: u64,
    since: Instant,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self { phase: Phase::Head, mark: 0, since: now }
    }

    /// Looks again; the phase, when it has lasted for too long.
    pub(super) fn look(&mut self, signs: &Signs, limits: &Limits, now: Instant) -> Option<Phase> {
        let phase = signs.phase();
        let mark = signs.mark(phase);
        let least = if phase == Phase::Write { TAKEN_MIN } else { 1 };
        if phase != self.phase || mark.saturating_sub(self.mark) >= least {
            *self = Self { phase, mark, since: now };
        }
        (now.saturating_duration_since(self.since) >= limits.of(phase)).then_some(phase)
    }

    /// Begins to wait anew.
    pub(super) fn again(&mut self, now: Instant) {
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: Limits = Limits { head: SECOND, idle: SECOND, body: SECOND, write: SECOND, linger: SECOND };

    #[test]
    fn signs_tell_what_a_connection_is_at() {
        let new = Signs::default();
        let half = Signs { read: 3, ..new };
        let busy = Signs { read: 9, requests: 1, in_hand: 1, ..new };
        let rests = Signs { read: 9, at_rest: 9, requests: 1, ..new };
        for (signs, phase) in [
            (new, Phase::Head),
            (half, Phase::Head),
            (busy, Phase::Work),
            (Signs { bodies: 1, ..busy }, Phase::Body),
            (Signs { bodies: 1, owed: 1, ..busy }, Phase::Write),
            (Signs { is_blocked: true, ..rests }, Phase::Write),
            (rests, Phase::Idle),
            (Signs { read: 10, ..rests }, Phase::Head),
            (Signs { read: 10, is_http2: true, ..rests }, Phase::Idle),
            (Signs { lingers: true, ..busy }, Phase::Linger),
        ] {
            assert_eq!(signs.phase(), phase, "{signs:?}");
        }
    }

    /// Looks at the signs half a second apart; the phase that was overdue, and at which look.
    fn looked_at(signs: impl IntoIterator<Item = Signs>) -> Option<(usize, Phase)> {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        signs.into_iter().enumerate().find_map(|(at, signs)| {
            let now = start + SECOND / 2 * u32::try_from(at).unwrap();
            watch.look(&signs, &LIMITS, now).map(|phase| (at, phase))
        })
    }

    #[test]
    fn a_head_is_not_waited_for_longer_because_it_dribbles() {
        let dribbles = |at: u64| Signs { read: at, ..Signs::default() };
        assert_eq!(looked_at((0..9).map(dribbles)), Some((2, Phase::Head)));
    }

    #[test]
    fn one_request_after_another_is_no_idling() {
        let quick = |at: u64| Signs { read: at, at_rest: at, requests: at, ..Signs::default() };
        assert_eq!(looked_at((1..9).map(quick)), None);
        assert_eq!(looked_at((1..9).map(|_| quick(1))), Some((2, Phase::Idle)));
    }

    #[test]
    fn a_body_that_comes_is_waited_for_and_work_is_not_timed() {
        let busy = Signs { requests: 1, in_hand: 1, ..Signs::default() };
        assert_eq!(looked_at((1..9).map(|read| Signs { read, bodies: 1, ..busy })), None);
        assert_eq!(looked_at((1..9).map(|_| Signs { bodies: 1, ..busy })), Some((2, Phase::Body)));
        assert_eq!(looked_at((1..9).map(|_| busy)), None);
    }

    #[test]
    fn a_peer_that_takes_a_few_bytes_of_an_answer_is_as_one_that_takes_none() {
        let takes = |bytes: u64| {
            (1..9).map(move |at| Signs { requests: 1, owed: 1, written: at * bytes, ..Signs::default() })
        };
        assert_eq!(looked_at(takes(1)), Some((2, Phase::Write)));
        assert_eq!(looked_at(takes(TAKEN_MIN)), None);
    }
}
