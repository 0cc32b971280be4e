use super::*;
use crate::producer::Position;

/// Where the journal ends before anything of ours is on it.
const JOURNAL_END: i64 = 100;

/// The books of a partition that was taken over, and what was settled since: each record with its entry on the journal.
struct Desk {
    books: Arc<Books>,
    journal: Journal,
    place: Place,
    told: BTreeMap<i64, i64>,
    committed: CommitPoint,
}

impl Desk {
    /// An earlier owner left this position and these marks, and the partition ended at `end`.
    fn taken_over(offset: i64, metadata: &str, end: i64) -> Self {
        let journal = Journal::new("journal", |_| ());
        journal.know(&journal::Marks::from([(0, JOURNAL_END)]));
        let books = Books::new(None, Some(journal.clone()));
        let place: Place = (Arc::from("deliveries"), 0);
        let committed = CommitPoint { offset, metadata: metadata.to_owned() };
        let hold = books.open(place.clone(), committed.clone());
        assert_eq!(books.recalled(&place, &hold, end), Some(offset));
        Self { books, journal, place, told: BTreeMap::new(), committed }
    }

    fn take(&self, offset: i64) -> Settle {
        let (topic, key) = (Arc::clone(&self.place.0), Vec::new());
        let record =
            Record { topic, partition: 0, offset, timestamp_ms: 0, key, value: None, headers: Vec::new() };
        self.books.take(&self.place, &record).unwrap().0
    }

    fn settle(&mut self, offset: i64, settle: Settle) {
        let entry = self.journal.begin();
        let at = JOURNAL_END + i64::try_from(self.told.len()).unwrap();
        entry.acknowledged(Position { partition: 0, offset: at });
        entry.settles(|| settle.done());
        self.told.insert(offset, at);
    }

    /// The mark of the newest commit, which says of all that is settled that it is done, or leaves it to the journal.
    fn committed_mark(&mut self) -> i64 {
        if let Some((_, point)) = self.books.moved().pop() {
            self.committed = point;
        }
        let CommitPoint { offset, metadata } = &self.committed;
        let done = done_set::decode(*offset, metadata);
        let mark = journal::decode(done_set::marks_of(metadata))[&0];
        for (settled, at) in &self.told {
            let is_done = settled < offset || done.iter().any(|run| run.contains(settled));
            assert!(is_done || *at >= mark, "{settled} is neither done nor beyond {mark}: {at}");
        }
        mark
    }
}

#[test]
fn what_a_commit_has_no_room_for_lies_beyond_its_marks() {
    let mut desk = Desk::taken_over(0, "", 0);
    let mut held = Vec::new();
    let mut marks = Vec::new();
    for round in 0..10 {
        for offset in round * 500..(round + 1) * 500 {
            let settle = desk.take(offset);
            if offset % 2 == 0 {
                held.push(settle);
            } else {
                desk.settle(offset, settle);
            }
        }
        marks.push(desk.committed_mark());
    }
    assert!(marks.is_sorted() && marks.last() > Some(&JOURNAL_END), "{marks:?}");
}

#[test]
fn what_the_first_commit_has_no_room_for_lies_beyond_its_marks_too() {
    let mut desk = Desk::taken_over(0, "", 0);
    let taken = (0..5_000).map(|offset| (offset, desk.take(offset)));
    let (held, settled): (Vec<_>, Vec<_>) = taken.partition(|(offset, _)| offset % 2 == 0);
    for (offset, settle) in settled {
        desk.settle(offset, settle);
    }
    assert_eq!(desk.committed_mark(), JOURNAL_END);
    drop(held);
}

#[test]
fn the_marks_of_an_earlier_owner_stay_until_all_that_its_journal_may_tell_of_is_passed() {
    let mut desk = Desk::taken_over(5, ";0:40", 8);
    for (offset, is_passed) in [(5, false), (6, false), (7, true), (8, true)] {
        let settle = desk.take(offset);
        desk.settle(offset, settle);
        let mark = desk.committed_mark();
        assert_eq!(mark >= JOURNAL_END, is_passed, "at {offset} the mark is {mark}");
    }
}
