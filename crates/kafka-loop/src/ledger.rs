//! How far a partition may be committed when its records finish in any order. Pure: the clock comes in as an argument.
//!
//! Kept are the unfinished records, and as runs what an earlier owner settled ahead of them; all other offsets up to the last
//! record taken are done. So memory and the cost of a commit grow with what is unfinished, never with the span behind it.
//!
//! Invariant: [`Ledger::position`] never passes a record that was taken and not settled. Offsets may have holes (compaction,
//! transaction markers): what was never taken does not count as unfinished.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    time::{Duration, Instant},
};

use crate::done_set;

/// The unfinished and the early-finished records of one partition.
#[derive(Debug)]
pub struct Ledger {
    /// One after the last record that was taken.
    taken: i64,
    /// What was taken and not settled, with the time when it was taken.
    unfinished: BTreeMap<i64, Instant>,
    /// Settled by an earlier owner and not taken yet, as its last commit said.
    known_done: VecDeque<Range<i64>>,
}

impl Ledger {
    /// Starts at a committed position with the metadata of that commit.
    pub fn new(position: i64, metadata: &str) -> Self {
        let known_done = done_set::decode(position, metadata).into();
        Self { taken: position, unfinished: BTreeMap::new(), known_done }
    }

    /// Takes the next record, in offset order. False when it was taken before or an earlier owner settled it: then it must not
    /// be handed out.
    pub fn take(&mut self, offset: i64, now: Instant) -> bool {
        if offset < self.taken {
            return false;
        }
        self.taken = offset + 1;
        while self.known_done.front().is_some_and(|run| run.end <= offset) {
            self.known_done.pop_front();
        }
        let done = self.known_done.front().is_some_and(|run| run.contains(&offset));
        if !done {
            self.unfinished.insert(offset, now);
        }
        !done
    }

    /// Settles a record. Settling twice, or one that was never taken, changes nothing.
    pub fn settle(&mut self, offset: i64) {
        self.unfinished.remove(&offset);
    }

    /// The offset to commit: that of the next record to read after a restart.
    pub fn position(&self) -> i64 {
        self.unfinished.first_key_value().map_or(self.taken, |(oldest, _)| *oldest)
    }

    /// Records taken and not settled.
    pub fn unfinished(&self) -> usize {
        self.unfinished.len()
    }

    /// Offsets from the position to the last record taken.
    pub fn span(&self) -> i64 {
        self.taken - self.position()
    }

    /// For how long the oldest unfinished record has been in hand.
    pub fn oldest_age(&self, now: Instant) -> Option<Duration> {
        let (_, taken_at) = self.unfinished.first_key_value()?;
        Some(now.saturating_duration_since(*taken_at))
    }

    /// The end of what was taken: the offset after the last record.
    pub fn taken(&self) -> i64 {
        self.taken
    }

    /// The metadata to commit with the position, within so many bytes; with it the first settled offset that had no room. An earlier
    /// owner's knowledge is kept until its records come by.
    pub fn metadata(&self, room: usize) -> (String, Option<i64>) {
        let ends = self.unfinished.keys().skip(1).copied().chain([self.taken]);
        let ours = self.unfinished.keys().zip(ends).map(|(open, end)| open + 1..end);
        let theirs = self.known_done.iter().map(|run| run.start.max(self.taken)..run.end);
        done_set::encode(self.position(), ours.chain(theirs).filter(|run| !run.is_empty()), room)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::done_set::TEXT_MAX;

    #[test]
    fn the_position_waits_for_the_oldest_unfinished_record() {
        let now = Instant::now();
        let mut ledger = Ledger::new(10, "");
        for offset in [10, 11, 14] {
            assert!(ledger.take(offset, now));
        }
        ledger.settle(11);
        assert_eq!((ledger.position(), ledger.unfinished()), (10, 2));
        ledger.settle(10);
        assert_eq!(ledger.position(), 14, "12 and 13 do not exist");
        ledger.settle(14);
        assert_eq!((ledger.position(), ledger.unfinished()), (15, 0));
    }

    #[test]
    fn what_an_earlier_owner_settled_is_not_handed_out_again() {
        let now = Instant::now();
        let mut first = Ledger::new(0, "");
        for offset in 0..6 {
            first.take(offset, now);
        }
        for offset in [1, 2, 5] {
            first.settle(offset);
        }
        let mut second = Ledger::new(first.position(), &first.metadata(TEXT_MAX).0);
        let handed_out: Vec<i64> = (0..6).filter(|offset| second.take(*offset, now)).collect();
        assert_eq!(handed_out, [0, 3, 4]);
        for offset in handed_out {
            second.settle(offset);
        }
        assert_eq!(second.position(), 6);
    }

    #[test]
    fn a_commit_costs_what_is_unfinished_however_far_behind_it_is() {
        let now = Instant::now();
        let mut ledger = Ledger::new(0, "");
        for offset in 0..3_000_000 {
            ledger.take(offset, now);
            if offset % 1_000_000 != 0 {
                ledger.settle(offset);
            }
        }
        assert_eq!((ledger.unfinished.len(), ledger.known_done.len()), (3, 0), "what is kept");
        assert_eq!((ledger.position(), ledger.span()), (0, 3_000_000));
        let mut next = Ledger::new(ledger.position(), &ledger.metadata(TEXT_MAX).0);
        assert_eq!(next.known_done.len(), 3);
        let again: Vec<i64> = (0..3_000_000).filter(|offset| next.take(*offset, now)).collect();
        assert_eq!(again, [0, 1_000_000, 2_000_000]);
    }

    #[test]
    fn the_oldest_unfinished_record_tells_its_age() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ledger = Ledger::new(0, "");
        assert_eq!(ledger.oldest_age(at(9)), None);
        ledger.take(0, at(1));
        ledger.take(1, at(3));
        assert_eq!(ledger.oldest_age(at(9)), Some(Duration::from_secs(8)));
        ledger.settle(0);
        assert_eq!(ledger.oldest_age(at(9)), Some(Duration::from_secs(6)));
    }

    /// The same by the book: every offset by itself.
    #[derive(Default)]
    struct Naive {
        next: i64,
        taken: BTreeSet<i64>,
        open: BTreeSet<i64>,
    }

    impl Naive {
        fn position(&self) -> i64 {
            self.open.first().copied().unwrap_or(self.next)
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// So many records, so far after the last one.
        Take(i64, i64),
        /// One of the unfinished ones, by its place.
        Settle(prop::sample::Index),
        /// A new owner goes on from the last commit.
        Restart,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0_i64..3, 1_i64..40).prop_map(|(hole, count)| Step::Take(hole, count)),
            20 => any::<prop::sample::Index>().prop_map(Step::Settle),
            1 => Just(Step::Restart),
        ];
        prop::collection::vec(step, 0..120)
    }

    /// A new owner takes what the log holds from the committed position on, and must be handed exactly what is unfinished.
    fn restart(ledger: &Ledger, naive: &Naive, now: Instant) -> Result<Ledger, TestCaseError> {
        let mut next = Ledger::new(ledger.position(), &ledger.metadata(TEXT_MAX).0);
        let log = naive.taken.range(ledger.position()..);
        let again: BTreeSet<i64> = log.filter(|offset| next.take(**offset, now)).copied().collect();
        prop_assert_eq!(&again, &naive.open);
        Ok(next)
    }

    proptest! {
        #[test]
        fn in_any_schedule_it_agrees_with_the_book(position in 0_i64..1 << 40, steps in steps()) {
            let now = Instant::now();
            let mut ledger = Ledger::new(position, "");
            let mut naive = Naive { next: position, ..Naive::default() };
            for step in steps {
                match step {
                    Step::Take(hole, count) => {
                        let first = naive.next + hole;
                        for offset in first..first + count {
                            prop_assert!(ledger.take(offset, now));
                            naive.taken.insert(offset);
                            naive.open.insert(offset);
                        }
                        naive.next = first + count;
                    }
                    Step::Settle(which) => {
                        let offset = naive.open.iter().nth(which.index(naive.open.len().max(1))).copied();
                        if let Some(offset) = offset {
                            ledger.settle(offset);
                            naive.open.remove(&offset);
                        }
                    }
                    Step::Restart => ledger = restart(&ledger, &naive, now)?,
                }
                prop_assert_eq!(ledger.position(), naive.position());
                prop_assert_eq!(ledger.unfinished(), naive.open.len());
                let said_done = done_set::decode(ledger.position(), &ledger.metadata(TEXT_MAX).0);
                prop_assert!(said_done.iter().all(|run| naive.open.range(run.clone()).next().is_none()));
            }
            restart(&ledger, &naive, now)?;
        }
    }
}
