//! Deliveries that wait for the view of the subscriptions to reach the position in their headers. Pure: the clock comes in as an
//! argument. Bound: the budget of the loop that they come from.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long one may wait before it is put back: the database is down, or forgot the change (failover).
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the waits are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What waits, by position.
#[derive(Debug)]
pub(crate) struct Held<T> {
    waiting: BTreeMap<(i64, u64), (Instant, T)>,
    kept: u64,
    looked: Instant,
}

impl<T> Held<T> {
    /// Nothing waits.
    pub(crate) fn new(now: Instant) -> Self {
        Self { waiting: BTreeMap::new(), kept: 0, looked: now }
    }

    /// Keeps one until the view reaches `position`.
    pub(crate) fn keep(&mut self, position: i64, now: Instant, item: T) {
        self.kept += 1;
        self.waiting.insert((position, self.kept), (now, item));
    }

    /// What the view has reached.
    pub(crate) fn reached(&mut self, view: i64) -> Vec<T> {
        let later = self.waiting.split_off(&(view.saturating_add(1), 0));
        let reached = std::mem::replace(&mut self.waiting, later);
        reached.into_values().map(|(_, item)| item).collect()
    }

    /// What has waited too long.
    pub(crate) fn given_up(&mut self, now: Instant) -> Vec<T> {
        if now.saturating_duration_since(self.looked) < LOOK_EVERY {
            return Vec::new();
        }
        self.looked = now;
        let too_old = |since: &Instant| now.saturating_duration_since(*since) > PATIENCE;
        self.waiting.extract_if(.., |_, (since, _)| too_old(since)).map(|(_, (_, item))| item).collect()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_go_on_when_the_view_has_come_far_enough_in_their_order() {
        let now = Instant::now();
        let mut held = Held::new(now);
        for (position, item) in [(5, "a"), (7, "b"), (5, "c"), (6, "d")] {
            held.keep(position, now, item);
        }
        assert!(held.reached(4).is_empty());
        assert_eq!(held.reached(6), ["a", "c", "d"]);
        assert_eq!((held.reached(6).len(), held.len()), (0, 1));
    }

    #[test]
    fn a_view_that_never_comes_is_given_up() {
        let now = Instant::now();
        let mut held = Held::new(now);
        held.keep(5, now, "a");
        held.keep(5, now + Duration::from_secs(50), "b");
        assert!(held.given_up(now + Duration::from_secs(30)).is_empty());
        assert_eq!(held.given_up(now + Duration::from_secs(61)), ["a"]);
        assert_eq!(held.len(), 1);
    }
}
