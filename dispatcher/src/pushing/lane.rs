//! A lane: what waits for one endpoint from one topic, in its order. Pure.

use std::{collections::VecDeque, time::Instant};

use crate::pushing::permits::Whose;

/// Where a delivery comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// From `deliveries`.
    Fresh,
    /// From `deliveries.due`.
    Due,
}

/// A delivery that waits.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    /// The delivery.
    pub(crate) item: T,
    /// Since when.
    pub(crate) since: Instant,
    /// Its size in memory, in bytes.
    pub(crate) weight: usize,
    /// How often it was put back before.
    pub(crate) put_backs: u32,
    /// Whose permit it needs.
    pub(crate) whose: Whose,
    /// Whether it is not known yet if it may be sent: what stands behind it waits, too.
    pub(crate) is_pending: bool,
    /// Whether it validates a subscription.
    pub(crate) is_validation: bool,
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

/// The number of a delivery in its lane; rises with each.
pub(crate) type Number = u64;

/// The deliveries of a lane.
#[derive(Debug)]
pub(crate) struct LaneQueue<T> {
    waiting: VecDeque<(Number, Waiting<T>)>,
    next: Number,
    load: Load,
}

impl<T> Default for LaneQueue<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), next: 0, load: Load::default() }
    }
}

impl<T> LaneQueue<T> {
    /// What waits.
    pub(crate) fn load(&self) -> Load {
        self.load
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The oldest.
    pub(crate) fn front(&self) -> Option<&Waiting<T>> {
        self.waiting.front().map(|(_, waiting)| waiting)
    }

    /// Whether its oldest may be sent.
    pub(crate) fn is_ready(&self) -> bool {
        self.front().is_some_and(|waiting| !waiting.is_pending)
    }

    /// Puts one at the end; tells its number.
    pub(crate) fn push(&mut self, waiting: Waiting<T>) -> Number {
        self.load.add(waiting.weight);
        let number = self.next;
        self.next += 1;
        self.waiting.push_back((number, waiting));
        number
    }

    /// Takes the oldest.
    pub(crate) fn pop(&mut self) -> Option<Waiting<T>> {
        let taken = self.waiting.pop_front();
        self.taken(taken)
    }

    /// Takes the newest.
    pub(crate) fn take_back(&mut self) -> Option<Waiting<T>> {
        let taken = self.waiting.pop_back();
        self.taken(taken)
    }

    /// Takes one from among the others.
    pub(crate) fn take(&mut self, number: Number) -> Option<Waiting<T>> {
        let at = self.waiting.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let taken = self.waiting.remove(at);
        self.taken(taken)
    }

    /// One that was pending may be sent.
    pub(crate) fn permit(&mut self, number: Number) {
        if let Ok(at) = self.waiting.binary_search_by_key(&number, |(number, _)| *number)
            && let Some((_, waiting)) = self.waiting.get_mut(at)
        {
            waiting.is_pending = false;
        }
    }

    fn taken(&mut self, taken: Option<(Number, Waiting<T>)>) -> Option<Waiting<T>> {
        let (_, waiting) = taken?;
        self.load.take(waiting.weight);
        Some(waiting)
    }
}
