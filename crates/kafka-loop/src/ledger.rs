//! How far a partition may be committed when its records finish in any order. Pure.
//!
//! Invariant: [`Ledger::position`] never passes a record that was taken and not settled. Offsets may have holes (compaction,
//! transaction markers): what was never taken does not count as unfinished.

use std::collections::{HashSet, VecDeque};

use crate::done_set;

/// The unfinished and the early-finished records of one partition.
#[derive(Debug)]
pub struct Ledger {
    position: i64,
    taken: VecDeque<Entry>,
    /// Settled by an earlier owner above the position, as its last commit said.
    known_done: HashSet<i64>,
    unfinished: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: i64,
    done: bool,
}

impl Ledger {
    /// Starts at a committed position with the metadata of that commit.
    pub fn new(position: i64, metadata: &str) -> Self {
        let known_done = done_set::decode(position, metadata).into_iter().collect();
        Self { position, taken: VecDeque::new(), known_done, unfinished: 0 }
    }

    /// Takes the next record, in offset order. False when an earlier owner settled it: then it counts as settled and must not
    /// be handed out.
    pub fn take(&mut self, offset: i64) -> bool {
        let done = offset < self.position || self.known_done.remove(&offset);
        if offset >= self.position {
            self.taken.push_back(Entry { offset, done });
        }
        if done {
            self.advance();
        } else {
            self.unfinished += 1;
        }
        !done
    }

    /// Settles a record. Settling twice, or one that was never taken, changes nothing.
    pub fn settle(&mut self, offset: i64) {
        let Ok(at) = self.taken.binary_search_by_key(&offset, |entry| entry.offset) else { return };
        if let Some(entry) = self.taken.get_mut(at)
            && !entry.done
        {
            entry.done = true;
            self.unfinished -= 1;
            self.advance();
        }
    }

    fn advance(&mut self) {
        while let Some(entry) = self.taken.front()
            && entry.done
        {
            self.position = entry.offset + 1;
            self.taken.pop_front();
        }
    }

    /// The offset to commit: that of the next record to read after a restart.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Records taken and not settled.
    pub fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// The metadata to commit with the position. An earlier owner's knowledge is kept until its records come by.
    pub fn metadata(&self) -> String {
        let mut done: Vec<i64> =
            self.taken.iter().filter(|entry| entry.done).map(|entry| entry.offset).collect();
        if !self.known_done.is_empty() {
            done.extend(self.known_done.iter().copied().filter(|offset| *offset >= self.position));
            done.sort_unstable();
        }
        done_set::encode(self.position, done)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_position_waits_for_the_oldest_unfinished_record() {
        let mut ledger = Ledger::new(10, "");
        for offset in [10, 11, 14] {
            assert!(ledger.take(offset));
        }
        ledger.settle(11);
        assert_eq!((ledger.position(), ledger.unfinished()), (10, 2));
        ledger.settle(10);
        assert_eq!(ledger.position(), 12);
        ledger.settle(14);
        assert_eq!((ledger.position(), ledger.unfinished()), (15, 0));
    }

    #[test]
    fn what_an_earlier_owner_settled_is_not_handed_out_again() {
        let mut first = Ledger::new(0, "");
        for offset in 0..6 {
            first.take(offset);
        }
        for offset in [1, 2, 5] {
            first.settle(offset);
        }
        let mut second = Ledger::new(first.position(), &first.metadata());
        let handed_out: Vec<i64> = (0..6).filter(|offset| second.take(*offset)).collect();
        assert_eq!(handed_out, [0, 3, 4]);
        for offset in handed_out {
            second.settle(offset);
        }
        assert_eq!(second.position(), 6);
    }

    proptest! {
        #[test]
        fn no_order_of_settling_passes_an_unfinished_record(order in Just((0_i64..60).collect::<Vec<_>>()).prop_shuffle(), cut in 0_usize..60) {
            let mut ledger = Ledger::new(0, "");
            for offset in 0..60 {
                ledger.take(offset);
            }
            let (settled, open) = order.split_at(cut);
            for offset in settled {
                ledger.settle(*offset);
            }
            prop_assert_eq!(ledger.position(), open.iter().min().copied().unwrap_or(60));
            prop_assert_eq!(ledger.unfinished(), open.len());
            let mut next = Ledger::new(ledger.position(), &ledger.metadata());
            let mut again: Vec<i64> = (ledger.position()..60).filter(|offset| next.take(*offset)).collect();
            again.sort_unstable();
            let mut open = open.to_vec();
            open.sort_unstable();
            prop_assert_eq!(again, open);
        }
    }
}
