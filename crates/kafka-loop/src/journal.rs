//! A journal: a topic on which it is written that a record is finished, before the record is settled. After a crash it tells what a
//! commit could not say any more.
//!
//! Each commit carries *marks*: up to which offset of each partition of the journal every entry of ours is about a record that was
//! settled before. Whoever takes the partition over reads the journal from there to its end as it then stands, before it is handed
//! a record.
//!
//! The marks move by generations: an entry belongs to the generation in which it was begun. When all of the previous one are
//! settled, the ends as they stood when the present one began are marks, because an entry below them was begun before. An entry
//! that is never settled holds the marks for ever: then more is read, nothing is lost.
//!
//! Bounds: two maps of the journal's partitions, and counters.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{producer::Position, record::Record};

/// The next offset of each partition of a journal.
pub(crate) type Marks = BTreeMap<i32, i64>;

/// A journal that one process writes and reads back. Clones share it.
#[derive(Clone)]
pub struct Journal {
    /// The topic's short name.
    pub(crate) topic: &'static str,
    recall: Arc<dyn Fn(&Record) + Send + Sync>,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("topic", &self.topic).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    /// One after the last entry of each partition that we know of.
    ends: Marks,
    /// The ends when the present generation began.
    before: Marks,
    marks: Marks,
    generation: usize,
    /// Entries that are not settled, of even and of odd generations.
    open: [usize; 2],
}

impl State {
    fn open_of(&mut self, generation: usize) -> &mut usize {
        let [even, odd] = &mut self.open;
        if generation.is_multiple_of(2) { even } else { odd }
    }

    /// Begins a new generation when the previous one is settled.
    fn turn(&mut self) {
        if *self.open_of(self.generation + 1) == 0 {
            self.marks = std::mem::replace(&mut self.before, self.ends.clone());
            self.generation += 1;
        }
    }
}

/// An entry on its way to the journal.
#[derive(Debug)]
#[must_use = "an entry that is never settled holds the marks"]
pub struct Entry {
    journal: Journal,
    generation: usize,
}

impl Journal {
    /// A journal on this topic (short name); `recall` is told of every entry that is read back.
    pub fn new(topic: &'static str, recall: impl Fn(&Record) + Send + Sync + 'static) -> Self {
        Self { topic, recall: Arc::new(recall), state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An entry is about to be appended.
    pub fn begin(&self) -> Entry {
        let mut state = self.lock();
        let generation = state.generation;
        *state.open_of(generation) += 1;
        drop(state);
        Entry { journal: self.clone(), generation }
    }

    /// Tells where the partitions end, of which nothing of ours is known yet.
    pub(crate) fn know(&self, ends: &Marks) {
        let state = &mut *self.lock();
        for (partition, end) in ends {
            for marks in [&mut state.ends, &mut state.before, &mut state.marks] {
                marks.entry(*partition).or_insert(*end);
            }
        }
    }

    /// Tells of an entry that was read back.
    pub(crate) fn recall(&self, record: &Record) {
        (self.recall)(record);
    }

    /// The marks as they stand. To be asked for before what was settled is looked at.
    pub(crate) fn marks(&self) -> Marks {
        let mut state = self.lock();
        // Once for the present generation, and once for that before it.
        state.turn();
        state.turn();
        state.marks.clone()
    }
}

impl Entry {
    /// The log has it.
    pub fn acknowledged(&self, at: Position) {
        let mut state = self.journal.lock();
        let end = state.ends.entry(at.partition).or_default();
        *end = (at.offset + 1).max(*end);
    }

    /// Settles the record that it is about, and only then lets the marks pass the entry: a commit with such marks tells itself that
    /// the record is done.
    pub fn settles(self, settle: impl FnOnce()) {
        settle();
        let mut state = self.journal.lock();
        let open = state.open_of(self.generation);
        *open = open.saturating_sub(1);
        state.turn();
    }
}

/// The marks as text: `partition:offset`, separated by commas.
pub(crate) fn encode(marks: &Marks) -> String {
    let pairs: Vec<String> =
        marks.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
    pairs.join(",")
}

/// The marks in a text; what cannot be read is left out.
pub(crate) fn decode(text: &str) -> Marks {
    let pairs = text.split(',').filter_map(|pair| pair.split_once(':'));
    pairs.filter_map(|(partition, offset)| Some((partition.parse().ok()?, offset.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn journal() -> Journal {
        let journal = Journal::new("journal", |_| ());
        journal.know(&Marks::from([(0, 5), (1, 7)]));
        journal
    }

    #[test]
    fn marks_are_read_as_they_were_written() {
        let marks = Marks::from([(0, 5), (11, 1 << 40)]);
        assert_eq!(decode(&encode(&marks)), marks);
        assert_eq!(decode(""), Marks::new());
        assert_eq!(decode("x,1:2,3:"), Marks::from([(1, 2)]));
    }

    #[test]
    fn marks_come_to_the_end_when_everything_is_settled() {
        let journal = journal();
        let entry = journal.begin();
        entry.acknowledged(Position { partition: 1, offset: 9 });
        assert_eq!(journal.marks(), Marks::from([(0, 5), (1, 7)]));
        entry.settles(|| ());
        journal.marks();
        assert_eq!(journal.marks(), Marks::from([(0, 5), (1, 10)]));
    }

    #[test]
    fn the_marks_pass_an_entry_only_when_its_record_is_settled() {
        let journal = journal();
        let entry = journal.begin();
        entry.acknowledged(Position { partition: 0, offset: 5 });
        let settled_marks = || {
            journal.marks();
            journal.marks()[&0]
        };
        entry.settles(|| assert_eq!(settled_marks(), 5));
        assert_eq!(settled_marks(), 6);
    }

    proptest! {
        /// Entries are appended in the order in which they begin, acknowledged and settled in any.
        #[test]
        fn no_mark_passes_an_entry_that_is_not_settled(
            steps in prop::collection::vec((0_i32..2, any::<prop::sample::Index>(), 0_u8..4), 0..300),
        ) {
            let journal = journal();
            let mut ends = Marks::from([(0, 5), (1, 7)]);
            let mut open: Vec<(Entry, Position)> = Vec::new();
            let mut unsettled = BTreeSet::new();
            for (partition, which, what) in steps {
                match what {
                    0 => {
                        let end = ends.get_mut(&partition).unwrap();
                        open.push((journal.begin(), Position { partition, offset: *end }));
                        unsettled.insert((partition, *end));
                        *end += 1;
                    }
                    1 if !open.is_empty() => {
                        let (entry, at) = &open[which.index(open.len())];
                        entry.acknowledged(*at);
                    }
                    2 if !open.is_empty() => {
                        let (entry, at) = open.swap_remove(which.index(open.len()));
                        entry.acknowledged(at);
                        entry.settles(|| ());
                        unsettled.remove(&(at.partition, at.offset));
                    }
                    _ => {}
                }
                let marks = journal.marks();
                prop_assert!(unsettled.iter().all(|(partition, offset)| marks[partition] <= *offset));
            }
        }
    }
}
