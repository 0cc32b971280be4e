//! Which events are second copies of one that has been matched (guarantee 3).
//!
//! The same event has the same key, so both copies usually reach the same matcher. Near ones are caught by a bounded window of
//! identities, far ones by one look-up a batch in the stored events. The same position is never a repeat: it is re-read after a
//! crash or a rebalance. Without an answer from the database there are no far repeats: at worst a second delivery.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use event::EventIdentity;
use kafka_loop::Position;
use store::Store;
use tokio::time::Instant;

use crate::metrics::Metrics;

/// Recent identities and where each was matched.
#[derive(Debug)]
pub(crate) struct Window {
    matched: HashMap<EventIdentity, Position>,
    order: VecDeque<EventIdentity>,
    size: usize,
}

impl Window {
    /// Remembers this many identities, about 80 bytes each.
    pub(crate) fn new(size: usize) -> Self {
        Self { matched: HashMap::new(), order: VecDeque::new(), size }
    }

    /// Whether this is another copy of a matched event. `stored_elsewhere`: the stored event came from another position, so that
    /// one is the real copy.
    ///
    /// Only what is not a repeat is remembered, so that two copies are never each taken for a repeat of the other.
    pub(crate) fn is_repeat(
        &mut self,
        identity: EventIdentity,
        at: Position,
        stored_elsewhere: bool,
    ) -> bool {
        if stored_elsewhere {
            return true;
        }
        if let Some(matched) = self.matched.get(&identity) {
            return *matched != at;
        }
        self.matched.insert(identity, at);
        self.order.push_back(identity);
        if self.order.len() > self.size
            && let Some(oldest) = self.order.pop_front()
        {
            self.matched.remove(&oldest);
        }
        false
    }
}

/// The look-up in the stored events.
pub(crate) struct LookUp {
    store: Store,
    metrics: Arc<Metrics>,
    wait: Duration,
    /// A database that did not answer is left alone until then.
    not_before: Option<Instant>,
}

/// How long a database that did not answer is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(2);

impl LookUp {
    /// Waits at most this long for an answer.
    pub(crate) fn new(store: Store, metrics: Arc<Metrics>, wait: Duration) -> Self {
        Self { store, metrics, wait, not_before: None }
    }

    /// For each event whether it is stored under another position.
    pub(crate) async fn stored_elsewhere(&mut self, events: &[(EventIdentity, Position)]) -> Vec<bool> {
        let nothing_known = || vec![false; events.len()];
        if events.is_empty() || self.not_before.is_some_and(|until| Instant::now() < until) {
            return nothing_known();
        }
        let asked: Vec<(EventIdentity, i32, i64)> =
            events.iter().map(|(identity, at)| (*identity, at.partition, at.offset)).collect();
        match tokio::time::timeout(self.wait, self.store.repeats(&asked)).await {
            Ok(Ok(answer)) if answer.len() == events.len() => {
                self.not_before = None;
                answer
            }
            Ok(Ok(_)) | Ok(Err(_)) | Err(_) => {
                self.metrics.repeats_unanswered.inc();
                self.not_before = Some(Instant::now() + LEFT_ALONE);
                nothing_known()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: EventIdentity = EventIdentity(1);

    fn at(partition: i32, offset: i64) -> Position {
        Position { partition, offset }
    }

    #[test]
    fn another_position_is_a_repeat_and_the_same_one_never() {
        let mut window = Window::new(10);
        assert!(!window.is_repeat(ID, at(0, 5), false));
        assert!(window.is_repeat(ID, at(0, 9), false));
        assert!(!window.is_repeat(ID, at(0, 5), false), "re-read after a rebalance");
    }

    #[test]
    fn two_copies_are_never_each_taken_for_a_repeat_of_the_other() {
        let mut window = Window::new(10);
        assert!(window.is_repeat(ID, at(0, 5), true), "the stored one came from 1/7");
        assert!(!window.is_repeat(ID, at(1, 7), false));
    }

    #[test]
    fn the_window_is_bounded() {
        let mut window = Window::new(3);
        for identity in 0..10 {
            assert!(!window.is_repeat(EventIdentity(identity), at(0, 0), false));
        }
        assert_eq!(window.matched.len(), 3);
        assert!(!window.is_repeat(EventIdentity(0), at(0, 1), false));
    }
}
