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
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    consumer::{CommitPoint, Place},
    done_set::{self, TEXT_MAX},
    journal::{self, Journal},
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
    journal: Option<Journal>,
    pages: Mutex<Pages>,
    settled: Condvar,
}

#[derive(Debug)]
struct Pages {
    entries: Vec<Entry>,
    by_name: BTreeMap<Place, usize>,
    in_hand: Budget,
    dropped: Option<(Place, i64)>,
    /// Nothing is taken any more.
    stopped: bool,
}

/// A partition, now or earlier ours.
#[derive(Debug)]
struct Entry {
    place: Place,
    hold: Hold,
    /// None when it is not ours.
    ledger: Option<Ledger>,
    paused: bool,
    marked: Marked,
    committed: Option<CommitPoint>,
    dirty: bool,
}

/// Most earlier marks that are kept.
const EARLIER: usize = 64;

/// Which marks of the journal a commit may carry.
#[derive(Debug)]
struct Marked {
    /// The marks of the commit we started from, and the offset below which records may have been settled that only the journal tells
    /// of; until the position has come so far, those marks stay. Without an end the journal has not been read yet.
    restored: String,
    until: Option<i64>,
    /// How far records had been taken when the marks stood so: for a commit that has no room for everything.
    earlier: VecDeque<(i64, String)>,
}

impl Marked {
    fn waits(&self) -> bool {
        self.until.is_none()
    }

    /// Notes the marks as they stand, and forgets what no commit can need.
    fn note(&mut self, ledger: &Ledger, marks: &str) {
        let position = ledger.position();
        while self.earlier.get(1).is_some_and(|(taken, _)| *taken <= position) {
            self.earlier.pop_front();
        }
        if self.earlier.len() >= EARLIER {
            let mut number = 0;
            self.earlier.retain(|_| {
                number += 1;
                number % 2 == 1
            });
        }
        if self.earlier.back().is_none_or(|(taken, _)| *taken < ledger.taken()) {
            self.earlier.push_back((ledger.taken(), marks.to_owned()));
        }
    }

    /// The metadata of a commit. The marks must have been taken before the ledger was looked at.
    fn metadata(&mut self, ledger: &Ledger, now: &journal::Marks) -> String {
        let is_restored = self.until.is_some_and(|until| ledger.position() >= until);
        let marks = if is_restored { journal::encode(now) } else { self.restored.clone() };
        let (done, left_out) = ledger.metadata(TEXT_MAX.saturating_sub(marks.len() + 1));
        if is_restored {
            self.note(ledger, &marks);
        }
        // What was left out was taken after marks that stood when less had been taken.
        let marks = match left_out {
            Some(first) if is_restored => {
                let before = self.earlier.iter().rev().find(|(taken, _)| *taken <= first);
                before.map_or_else(|| self.restored.clone(), |(_, marks)| marks.clone())
            }
            Some(_) | None => marks,
        };
        if marks.is_empty() { done } else { format!("{done};{marks}") }
    }
}

impl Entry {
    /// What the next commit says, if the last one did not say it.
    fn news(&mut self, marks: Option<&journal::Marks>) -> Option<(Place, CommitPoint)> {
        self.dirty = false;
        let ledger = self.ledger.as_ref()?;
        let metadata = match marks {
            Some(marks) => self.marked.metadata(ledger, marks),
            None => ledger.metadata(TEXT_MAX).0,
        };
        let point = CommitPoint { offset: ledger.position(), metadata };
        if self.committed.as_ref() == Some(&point) {
            return None;
        }
        self.committed = Some(point.clone());
        Some((self.place.clone(), point))
    }
}

impl Books {
    /// Nothing is ours yet. `per_partition`: see [`crate::LedgerOptions`].
    pub(crate) fn new(per_partition: Option<usize>, journal: Option<Journal>) -> Arc<Self> {
        let in_hand = Budget { records: 0, bytes: 0 };
        let (entries, by_name) = (Vec::new(), BTreeMap::new());
        let pages = Pages { entries, by_name, in_hand, dropped: None, stopped: false };
        Arc::new(Self { per_partition, journal, pages: Mutex::new(pages), settled: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn marks(&self) -> Option<journal::Marks> {
        self.journal.as_ref().map(Journal::marks)
    }

    /// A partition is ours from now on. With a journal nothing of it is handed out before [`Books::recalled`].
    pub(crate) fn open(&self, place: Place, point: CommitPoint) -> Hold {
        let hold = Hold::new();
        let marked = Marked {
            restored: done_set::marks_of(&point.metadata).to_owned(),
            until: if self.journal.is_some() { None } else { Some(0) },
            earlier: VecDeque::new(),
        };
        let entry = Entry {
            place: place.clone(),
            hold: hold.clone(),
            marked,
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
        hold
    }

    /// The journal has been read for this hold of a partition, which ended there then; where it starts. None when it is over.
    pub(crate) fn recalled(&self, place: &Place, hold: &Hold, end: i64) -> Option<i64> {
        let marks = self.marks().unwrap_or_default();
        let pages = &mut *self.lock();
        let index = pages.by_name.get(place).copied()?;
        let entry = pages.entries.get_mut(index).filter(|entry| entry.hold.is(hold))?;
        let taken = entry.ledger.as_ref()?.taken();
        // Without marks nothing was read, so the journal tells of nothing that the done-set does not.
        entry.marked.until = Some(if entry.marked.restored.is_empty() { 0 } else { end });
        // For a first commit that has no room for everything.
        entry.marked.earlier.push_back((taken, journal::encode(&marks)));
        Some(taken)
    }

    /// Of these partitions nothing may be started any more.
    pub(crate) fn release(&self, which: impl Fn(&Place) -> bool) {
        for entry in self.lock().entries.iter().filter(|entry| which(&entry.place)) {
            entry.hold.end();
        }
    }

    /// These partitions are not ours any more; what is still to be committed of them.
    pub(crate) fn close(&self, which: impl Fn(&Place) -> bool) -> Vec<(Place, CommitPoint)> {
        let marks = self.marks();
        let mut last = Vec::new();
        for entry in self.lock().entries.iter_mut().filter(|entry| which(&entry.place)) {
            entry.hold.end();
            // Also what was committed already: that commit may have been refused, and we not have been told yet.
            entry.committed = None;
            last.extend(entry.news(marks.as_ref()));
            entry.ledger = None;
            entry.paused = false;
        }
        last
    }

    /// Takes the next record of a partition in hand, and says whether its partition is to be paused now. None when it is not to
    /// be handed out: an earlier owner settled it, or its partition is not ours.
    pub(crate) fn take(self: &Arc<Self>, place: &Place, record: &Record) -> Option<(Settle, bool)> {
        let pages = &mut *self.lock();
        if pages.stopped {
            return None;
        }
        let index = pages.by_name.get(place).copied()?;
        let entry = pages.entries.get_mut(index).filter(|entry| !entry.marked.waits())?;
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

    /// From now on what is in hand only becomes less.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
    }

    /// All partitions that are ours.
    pub(crate) fn open_places(&self) -> Vec<Place> {
        let pages = self.lock();
        let ours = pages.entries.iter().filter(|entry| entry.ledger.is_some());
        ours.map(|entry| entry.place.clone()).collect()
    }

    /// Whether a partition is paused because too much of it is in hand, or because the journal is being read for it.
    pub(crate) fn is_paused(&self, place: &Place) -> bool {
        let pages = self.lock();
        let entry = pages.by_name.get(place).and_then(|index| pages.entries.get(*index));
        entry.is_some_and(|entry| entry.paused || entry.marked.waits())
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
        let marks = self.marks();
        let mut pages = self.lock();
        let moved = pages.entries.iter_mut().filter(|entry| entry.dirty);
        moved.filter_map(|entry| entry.news(marks.as_ref())).collect()
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

#[cfg(test)]
mod tests;
