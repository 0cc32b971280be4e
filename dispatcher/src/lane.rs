//! A lane: what waits for one endpoint from one topic, in its order. Pure.

use std::collections::VecDeque;

use crate::permits::Whose;

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
    /// Its size in memory, in bytes.
    pub(crate) weight: usize,
    /// How often it was put back before.
    pub(crate) put_backs: u32,
    /// Whose permit it needs.
    pub(crate) whose: Whose,
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

/// The deliveries of a lane.
#[derive(Debug)]
pub(crate) struct LaneQueue<T> {
    waiting: VecDeque<Waiting<T>>,
    load: Load,
}

impl<T> Default for LaneQueue<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), load: Load::default() }
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
        self.waiting.front()
    }

    /// Puts one at the end.
    pub(crate) fn push(&mut self, waiting: Waiting<T>) {
        self.load.add(waiting.weight);
        self.waiting.push_back(waiting);
    }

    /// Takes the oldest.
    pub(crate) fn pop(&mut self) -> Option<Waiting<T>> {
        let waiting = self.waiting.pop_front()?;
        self.load.take(waiting.weight);
        Some(waiting)
    }

    /// Takes the newest.
    pub(crate) fn take_back(&mut self) -> Option<Waiting<T>> {
        let waiting = self.waiting.pop_back()?;
        self.load.take(waiting.weight);
        Some(waiting)
    }
}
