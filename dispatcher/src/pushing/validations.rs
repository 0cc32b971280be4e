//! Validations that wait for a permit. Consumers take turns, so that one with many, or with hosts that hang, holds up its own alone.
//! Pure.
//!
//! Bounds: [`EACH`] of one consumer and [`ALL`] in all; a look is at [`LOOKED_AT`] consumers at most, at others the next time.

use std::collections::{HashMap, VecDeque};

use crate::pushing::{endpoint::EndpointKey, lane::Waiting, permits::Whose};

/// Validations of one consumer that wait.
const EACH: usize = 32;
/// Validations that wait.
const ALL: usize = 4_096;
/// Consumers that are looked at for one whose host and consumer hold less than their share.
const LOOKED_AT: usize = 64;

/// What waits, by consumer.
#[derive(Debug)]
pub(crate) struct Validations<T> {
    of: HashMap<u64, VecDeque<(EndpointKey, Waiting<T>)>>,
    /// The consumers with something that waits, each once.
    turns: VecDeque<u64>,
    all: usize,
}

impl<T> Default for Validations<T> {
    fn default() -> Self {
        Self { of: HashMap::new(), turns: VecDeque::new(), all: 0 }
    }
}

impl<T> Validations<T> {
    /// One more; gives it back when there is no room.
    ///
    /// # Errors
    /// The validation.
    pub(crate) fn push(&mut self, key: EndpointKey, waiting: Waiting<T>) -> Result<(), Waiting<T>> {
        let consumer = waiting.whose.consumer;
        let own = self.of.entry(consumer).or_default();
        if own.len() >= EACH || self.all >= ALL {
            self.forget_empty(consumer);
            return Err(waiting);
        }
        if own.is_empty() {
            self.turns.push_back(consumer);
        }
        own.push_back((key, waiting));
        self.all += 1;
        Ok(())
    }

    /// The first that has room, of the consumer whose turn it is.
    pub(crate) fn next(&mut self, has_room: impl Fn(Whose) -> bool) -> Option<(EndpointKey, Waiting<T>)> {
        for _ in 0..self.turns.len().min(LOOKED_AT) {
            let consumer = self.turns.pop_front()?;
            let Some(own) = self.of.get_mut(&consumer) else { continue };
            let at = own.iter().position(|(_, waiting)| has_room(waiting.whose));
            let taken = at.and_then(|at| own.remove(at));
            if own.is_empty() {
                self.of.remove(&consumer);
            } else {
                self.turns.push_back(consumer);
            }
            if taken.is_some() {
                self.all -= 1;
                return taken;
            }
        }
        None
    }

    /// Takes all.
    pub(crate) fn clear(&mut self) -> Vec<T> {
        let Self { of, .. } = std::mem::take(self);
        of.into_values().flatten().map(|(_, waiting)| waiting.item).collect()
    }

    fn forget_empty(&mut self, consumer: u64) {
        if self.of.get(&consumer).is_some_and(VecDeque::is_empty) {
            self.of.remove(&consumer);
        }
    }
}
