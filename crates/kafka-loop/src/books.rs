//! The books of a ledger loop: the ledger of each partition, what is in hand, and what the next commit says.
//!
//! Three come to them: the loop; whoever settles a record, from any thread; and the rebalance callback, which makes the point to
//! commit anew at the moment in which a partition is taken away. So they lie behind one lock, held for one step at a time;
//! nobody asks the client or hands anything out while holding it.
//!
//! A partition is *held* from its assignment to its revocation. What comes back of an earlier hold changes nothing but what is in
//! hand. A record of a held partition that is dropped unfinished would block its partition for ever without a word: the books
//! remember the first, and the loop ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    consumer::{CommitPoint, Place},
    ledger::Ledger,
    record::Record,
    work::{Budget, Progress, Settle},
};

/// One hold of one partition: from its assignment to its revocation.
#[derive(Clone, Debug)]
pub(crate) struct Hold(Arc<AtomicBool>);

impl Hold {
    fn new() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Whether it still lasts.
    pub(crate) fn lasts(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.0.store(false, Ordering::Release);
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A record in hand, as its [`Settle`] tells it back.
#[derive(Clone, Debug)]
pub(crate) struct InHand {
    place: usize,
    pub(crate) hold: Hold,
    offset: i64,
    weight: usize,
}

/// The books of one loop.
#[derive(Debug)]
pub(crate) struct Books {
    per_partition: Option<usize>,
    pages: Mutex<Pages>,
    settled: Condvar,
}

#[derive(Debug)]
struct Pages {
    entries: Vec<Entry>,
    by_name: BTreeMap<Place, usize>,
    in_hand: Budget,
    dropped: Option<(Place, i64)>,
}

/// A partition, now or earlier ours.
#[derive(Debug)]
struct Entry {
    place: Place,
    hold: Hold,
    /// None when it is not ours.
    ledger: Option<Ledger>,
    paused: bool,
    committed: Option<CommitPoint>,
    dirty: bool,
}

impl Entry {
    /// What the next commit says, if the last one did not say it.
    fn news(&mut self) -> Option<(Place, CommitPoint)> {
        self.dirty = false;
        let ledger = self.ledger.as_ref()?;
        let point = CommitPoint { offset: ledger.position(), metadata: ledger.metadata() };
        if self.committed.as_ref() == Some(&point) {
            return None;
        }
        self.committed = Some(point.clone());
        Some((self.place.clone(), point))
    }
}

impl Books {
    /// Nothing is ours yet. `per_partition`: see [`crate::LedgerOptions`].
    pub(crate) fn new(per_partition: Option<usize>) -> Arc<Self> {
        let in_hand = Budget { records: 0, bytes: 0 };
        let pages = Pages { entries: Vec::new(), by_name: BTreeMap::new(), in_hand, dropped: None };
        Arc::new(Self { per_partition, pages: Mutex::new(pages), settled: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition is ours from now on.
    pub(crate) fn open(&self, place: Place, point: CommitPoint) {
        let entry = Entry {
            place: place.clone(),
            hold: Hold::new(),
            ledger: Some(Ledger::new(point.offset, &point.metadata)),
            paused: false,
            committed: Some(point),
            dirty: false,
        };
        let pages = &mut *self.lock();
        match pages.by_name.get(&place).and_then(|index| pages.entries.get_mut(*index)) {
            Some(slot) => *slot = entry,
            None => {
                pages.by_name.insert(place, pages.entries.len());
                pages.entries.push(entry);
            }
        }
    }

    /// Of these partitions nothing may be started any more.
    pub(crate) fn release(&self, which: impl Fn(&Place) -> bool) {
        for entry in self.lock().entries.iter().filter(|entry| which(&entry.place)) {
            entry.hold.end();
        }
    }

    /// These partitions are not ours any more; what is still to be committed of them.
    pub(crate) fn close(&self, which: impl Fn(&Place) -> bool) -> Vec<(Place, CommitPoint)> {
        let mut last = Vec::new();
        for entry in self.lock().entries.iter_mut().filter(|entry| which(&entry.place)) {
            entry.hold.end();
            last.extend(entry.news());
            entry.ledger = None;
            entry.paused = false;
        }
        last
    }

    /// Takes the next record of a partition in hand, and says whether its partition is to be paused now. None when it is not to
    /// be handed out: an earlier owner settled it, or its partition is not ours.
    pub(crate) fn take(self: &Arc<Self>, place: &Place, record: &Record) -> Option<(Settle, bool)> {
        let pages = &mut *self.lock();
        let index = pages.by_name.get(place).copied()?;
        let entry = pages.entries.get_mut(index)?;
        let ledger = entry.ledger.as_mut()?;
        if !ledger.take(record.offset, Instant::now()) {
            entry.dirty = true;
            return None;
        }
        let full = self.per_partition.is_some_and(|most| ledger.unfinished() >= most);
        let pauses = full && !entry.paused;
        entry.paused |= full;
        let weight = record.weight();
        pages.in_hand.records += 1;
        pages.in_hand.bytes += weight;
        let in_hand = InHand { place: index, hold: entry.hold.clone(), offset: record.offset, weight };
        Some((Settle::new(Arc::clone(self), in_hand), pauses))
    }

    /// A record comes back, finished or not.
    pub(crate) fn settle(&self, back: &InHand, done: bool) {
        let pages = &mut *self.lock();
        pages.in_hand.records = pages.in_hand.records.saturating_sub(1);
        pages.in_hand.bytes = pages.in_hand.bytes.saturating_sub(back.weight);
        if let Some(entry) = pages.entries.get_mut(back.place)
            && entry.hold.is(&back.hold)
            && let Some(ledger) = &mut entry.ledger
        {
            if done {
                ledger.settle(back.offset);
                entry.dirty = true;
            } else if back.hold.lasts() {
                pages.dropped.get_or_insert_with(|| (entry.place.clone(), back.offset));
            }
        }
        self.settled.notify_all();
    }

    /// Waits until less than the budget is in hand, at most this long.
    pub(crate) fn wait_for_room(&self, budget: Budget, wait: Duration) {
        let waited =
            self.settled.wait_timeout_while(self.lock(), wait, |pages| pages.in_hand.reaches(budget));
        drop(waited);
    }

    /// What is in hand.
    pub(crate) fn in_hand(&self) -> Budget {
        self.lock().in_hand
    }

    /// The first record that was dropped unfinished while its partition was ours.
    pub(crate) fn dropped(&self) -> Option<(Place, i64)> {
        self.lock().dropped.clone()
    }

    /// How far the loop is behind its oldest unfinished records.
    pub(crate) fn progress(&self, now: Instant) -> Progress {
        let pages = self.lock();
        let ledgers = || pages.entries.iter().filter_map(|entry| entry.ledger.as_ref());
        Progress {
            oldest: ledgers().filter_map(|ledger| ledger.oldest_age(now)).max().unwrap_or_default(),
            span: ledgers().map(Ledger::span).max().unwrap_or_default(),
        }
    }

    /// The partitions of a topic that are ours.
    pub(crate) fn partitions_of(&self, topic: &str) -> BTreeSet<i32> {
        let pages = self.lock();
        let ours = pages.entries.iter().filter(|entry| entry.ledger.is_some() && *entry.place.0 == *topic);
        ours.map(|entry| entry.place.1).collect()
    }

    /// Whether a partition is paused because too much of it is in hand.
    pub(crate) fn is_paused(&self, place: &Place) -> bool {
        let pages = self.lock();
        pages.by_name.get(place).and_then(|index| pages.entries.get(*index)).is_some_and(|entry| entry.paused)
    }

    /// Partitions that were paused and have room again.
    pub(crate) fn resumed(&self) -> Vec<Place> {
        let Some(most) = self.per_partition else { return Vec::new() };
        let mut resumed = Vec::new();
        for entry in self.lock().entries.iter_mut().filter(|entry| entry.paused) {
            if entry.ledger.as_ref().is_some_and(|ledger| ledger.unfinished() * 2 <= most) {
                entry.paused = false;
                resumed.push(entry.place.clone());
            }
        }
        resumed
    }

    /// What the next commit says of the partitions where something moved.
    pub(crate) fn moved(&self) -> Vec<(Place, CommitPoint)> {
        self.lock().entries.iter_mut().filter(|entry| entry.dirty).filter_map(Entry::news).collect()
    }

    /// Whether something moved since the last commit.
    pub(crate) fn has_moved(&self) -> bool {
        self.lock().entries.iter().any(|entry| entry.dirty)
    }

    /// Makes the next commit say every position again.
    pub(crate) fn forget_commits(&self) {
        for entry in &mut self.lock().entries {
            entry.committed = None;
            entry.dirty = true;
        }
    }
}
