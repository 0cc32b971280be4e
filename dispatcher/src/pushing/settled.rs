//! Which attempts are in hand and which were settled lately, so that a repeated record starts no second chain.
//!
//! A record may come twice: its writer appended it again after a lost acknowledgement, or died before it committed. The second
//! copy of an attempt in hand is settled together with the first, not before it: otherwise its offset could be committed while
//! nothing has been delivered yet. The second copy of a settled attempt is done at once.
//!
//! An attempt whose records' partitions are all taken away is forgotten; while one of them is ours it goes on for all.
//!
//! After a crash or a rebalance the attempts that the log says were settled are remembered as if we had settled them
//! ([`settled_by`]).
//!
//! An attempt that was put back keeps its number and comes again, so it is not remembered. Bound: the given number of settled
//! attempts, about 60 bytes each, and what the budgets of the loops leave in hand.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use event::{AttemptOutcome, AttemptRecord, DeliveryId};
use kafka_loop::Record;

/// An attempt: the delivery, and how many attempts were made before.
pub(crate) type AttemptKey = (DeliveryId, u8);

/// The attempt that an entry of `delivery-attempts` says was settled; none when it was put back, because that copy is still to be
/// sent, or when the entry cannot be read.
pub(crate) fn settled_by(record: &Record) -> Option<AttemptKey> {
    let told: AttemptRecord = serde_json::from_slice(record.value.as_deref()?).ok()?;
    match told.outcome {
        AttemptOutcome::PutBack => None,
        AttemptOutcome::Delivered
        | AttemptOutcome::Failed
        | AttemptOutcome::Skipped
        | AttemptOutcome::Dropped
        | AttemptOutcome::Dead => Some((told.delivery.parse().ok()?, told.attempt.checked_sub(1)?)),
    }
}

/// The registry. `S` settles a record: [`kafka_loop::Settle`], or a recorder in tests.
#[derive(Debug)]
pub(crate) struct Settled<S> {
    inner: Mutex<Inner<S>>,
    remembered: usize,
}

#[derive(Debug)]
struct Inner<S> {
    attempts: HashMap<AttemptKey, State<S>>,
    order: VecDeque<AttemptKey>,
}

#[derive(Debug)]
enum State<S> {
    InHand(Vec<S>),
    Settled,
}

/// An attempt in hand. Dropped without [`InHand::done`], it leaves its records unfinished: they come again.
#[derive(Debug)]
pub(crate) struct InHand<S> {
    key: AttemptKey,
    settle: Option<S>,
    /// Copies that shared the attempt until it was released.
    released: Option<Vec<S>>,
    registry: Arc<Settled<S>>,
}

/// What becomes of a record.
#[derive(Debug)]
pub(crate) enum Begin<S> {
    /// It is the first of its attempt.
    First(InHand<S>),
    /// The attempt is in hand; the record shares its end.
    Shared,
    /// The attempt was settled: the record is done.
    Repeated(S),
}

impl<S> Settled<S> {
    /// Remembers this many settled attempts.
    pub(crate) fn new(remembered: usize) -> Arc<Self> {
        let inner = Inner { attempts: HashMap::new(), order: VecDeque::new() };
        Arc::new(Self { inner: Mutex::new(inner), remembered })
    }

    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a record in hand.
    pub(crate) fn begin(self: &Arc<Self>, key: AttemptKey, settle: S) -> Begin<S> {
        match self.lock().attempts.entry(key) {
            Entry::Occupied(mut known) => match known.get_mut() {
                State::InHand(sharing) => {
                    sharing.push(settle);
                    Begin::Shared
                }
                State::Settled => Begin::Repeated(settle),
            },
            Entry::Vacant(free) => {
                free.insert(State::InHand(Vec::new()));
                Begin::First(InHand { key, settle: Some(settle), released: None, registry: Arc::clone(self) })
            }
        }
    }

    /// Remembers an attempt that the log says was settled, if nothing is known of it.
    pub(crate) fn remember(&self, key: AttemptKey) {
        let mut inner = self.lock();
        if let Entry::Vacant(free) = inner.attempts.entry(key) {
            free.insert(State::Settled);
            inner.order.push_back(key);
        }
        self.forget_oldest(&mut inner);
    }

    fn forget_oldest(&self, inner: &mut Inner<S>) {
        while inner.order.len() > self.remembered {
            if let Some(oldest) = inner.order.pop_front()
                && matches!(inner.attempts.get(&oldest), Some(State::Settled))
            {
                inner.attempts.remove(&oldest);
            }
        }
    }

    /// Forgets an attempt unless one of the records that share it is held; returns them if it was forgotten.
    fn forget_unless(&self, key: AttemptKey, is_held: impl Fn(&S) -> bool) -> Option<Vec<S>> {
        let mut inner = self.lock();
        if let Some(State::InHand(sharing)) = inner.attempts.get(&key)
            && sharing.iter().any(is_held)
        {
            return None;
        }
        match inner.attempts.remove(&key) {
            Some(State::InHand(sharing)) => Some(sharing),
            Some(State::Settled) | None => Some(Vec::new()),
        }
    }

    /// Ends an attempt; returns the records that shared it.
    fn end(&self, key: AttemptKey, remember: bool) -> Vec<S> {
        let mut inner = self.lock();
        let state = if remember {
            inner.order.push_back(key);
            inner.attempts.insert(key, State::Settled)
        } else {
            inner.attempts.remove(&key)
        };
        self.forget_oldest(&mut inner);
        match state {
            Some(State::InHand(sharing)) => sharing,
            Some(State::Settled) | None => Vec::new(),
        }
    }
}

impl<S> InHand<S> {
    /// From now on a record of this attempt is a first one again. To be called before an attempt is put back: the record that is
    /// put back has the same number, may come again before our own append is acknowledged, and must not share our end.
    pub(crate) fn release(&mut self) {
        if self.released.is_none() {
            self.released = Some(self.registry.end(self.key, false));
        }
    }

    /// Whether the partition of any of its records is still ours. If not, the next owner reads them again: nothing may be started,
    /// a copy that comes later is a first one, and this is to be dropped.
    pub(crate) fn is_held(&mut self, is_held: impl Fn(&S) -> bool) -> bool {
        if self.settle.as_ref().is_some_and(&is_held) {
            return true;
        }
        if let Some(sharing) = &self.released {
            return sharing.iter().any(is_held);
        }
        self.released = self.registry.forget_unless(self.key, is_held);
        self.released.is_none()
    }

    /// Settles the record and those that share its attempt. `remember`: whether a later copy is a repetition.
    pub(crate) fn done(mut self, remember: bool, settle: impl Fn(S)) {
        if let Some(own) = self.settle.take() {
            let sharing = match self.released.take() {
                Some(sharing) => sharing,
                None => self.registry.end(self.key, remember),
            };
            settle(own);
            sharing.into_iter().for_each(settle);
        }
    }
}

impl<S> Drop for InHand<S> {
    fn drop(&mut self) {
        if self.settle.is_some() && self.released.is_none() {
            drop(self.registry.end(self.key, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn first(registry: &Arc<Settled<u32>>, key: AttemptKey, record: u32) -> InHand<u32> {
        match registry.begin(key, record) {
            Begin::First(hand) => hand,
            Begin::Shared | Begin::Repeated(_) => panic!("{key:?} is known"),
        }
    }

    const KEY: AttemptKey = (DeliveryId(7), 0);

    #[test]
    fn a_copy_of_an_attempt_in_hand_is_settled_with_it() {
        let registry = Settled::new(10);
        let hand = first(&registry, KEY, 1);
        assert!(matches!(registry.begin(KEY, 2), Begin::Shared));
        let done = RefCell::new(Vec::new());
        hand.done(true, |record| done.borrow_mut().push(record));
        assert_eq!(*done.borrow(), [1, 2]);
        assert!(matches!(registry.begin(KEY, 3), Begin::Repeated(3)));
    }

    #[test]
    fn what_was_dropped_or_put_back_comes_again() {
        let registry = Settled::new(10);
        drop(first(&registry, KEY, 1));
        first(&registry, KEY, 2).done(false, drop);
        drop(first(&registry, KEY, 3));
    }

    #[test]
    fn what_the_log_says_was_settled_is_a_repetition_but_what_is_in_hand_goes_on() {
        let registry = Settled::new(10);
        registry.remember(KEY);
        assert!(matches!(registry.begin(KEY, 1), Begin::Repeated(1)));
        let other = (KEY.0, 1);
        let hand = first(&registry, other, 2);
        registry.remember(other);
        assert!(matches!(registry.begin(other, 3), Begin::Shared));
        drop(hand);
    }

    #[test]
    fn an_attempt_goes_on_while_one_of_its_records_is_held() {
        let registry = Settled::new(10);
        let mut hand = first(&registry, KEY, 1);
        assert!(matches!(registry.begin(KEY, 2), Begin::Shared));
        assert!(hand.is_held(|record| *record == 1));
        assert!(hand.is_held(|record| *record == 2), "the copy came with a new hold");
        assert!(!hand.is_held(|_| false));
        let mut again = first(&registry, KEY, 3);
        drop(hand);
        assert!(again.is_held(|_| true));
        assert!(matches!(registry.begin(KEY, 4), Begin::Shared), "the old one forgot its own attempt only");
    }

    #[test]
    fn the_next_attempt_of_a_delivery_is_another() {
        let registry = Settled::new(10);
        first(&registry, KEY, 1).done(true, drop);
        drop(first(&registry, (KEY.0, 1), 2));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let registry = Settled::new(2);
        for delivery in 0..5 {
            first(&registry, (DeliveryId(delivery), 0), 1).done(true, drop);
        }
        assert!(matches!(registry.begin((DeliveryId(4), 0), 1), Begin::Repeated(_)));
        assert!(matches!(registry.begin((DeliveryId(2), 0), 1), Begin::First(_)));
        assert!(registry.lock().attempts.len() <= 2);
    }

    #[test]
    fn a_record_that_was_put_back_and_comes_again_early_is_a_first_one() {
        let registry = Settled::new(10);
        let mut hand = first(&registry, KEY, 1);
        assert!(matches!(registry.begin(KEY, 2), Begin::Shared));
        hand.release();
        let again = first(&registry, KEY, 3);
        let done = RefCell::new(Vec::new());
        hand.done(false, |record| done.borrow_mut().push(record));
        assert_eq!(*done.borrow(), [1, 2], "the one that came again is not settled with it");
        assert!(matches!(registry.begin(KEY, 4), Begin::Shared));
        again.done(true, |record| done.borrow_mut().push(record));
        assert_eq!(*done.borrow(), [1, 2, 3, 4]);
    }
}
