//! The batch that is being collected. What is taken out of it again leaves nothing behind: neither its weight nor its wait.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::{
    batches::{BatchOptions, POLL},
    record::Record,
};

/// Records that were read and not handed over yet.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) records: Vec<Record>,
    bytes: usize,
    since: Option<Instant>,
}

impl Collected {
    /// Takes one more.
    pub(crate) fn push(&mut self, record: Record) {
        self.since.get_or_insert_with(Instant::now);
        self.bytes += record.weight();
        self.records.push(record);
    }

    /// Leaves out what came from these partitions: it is read again, by us or by their next owner.
    pub(crate) fn forget(&mut self, partitions: &BTreeSet<i32>) {
        self.records.retain(|record| !partitions.contains(&record.partition));
        self.bytes = self.records.iter().map(Record::weight).sum();
        if self.records.is_empty() {
            self.since = None;
        }
    }

    /// Whether a bound is reached.
    pub(crate) fn is_full(&self, options: &BatchOptions) -> bool {
        self.records.len() >= options.max_records || self.bytes >= options.max_bytes
    }

    /// How long the first record still waits for more.
    pub(crate) fn left(&self, options: &BatchOptions) -> Duration {
        self.since.map_or(POLL, |since| options.max_wait.saturating_sub(since.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_was_emptied_weighs_nothing_and_waits_for_nobody() {
        let record = |partition| Record {
            topic: "events".into(),
            partition,
            offset: 0,
            timestamp_ms: 0,
            key: Vec::new(),
            value: None,
            headers: Vec::new(),
        };
        let mut collected = Collected::default();
        [1, 2, 2].into_iter().for_each(|partition| collected.push(record(partition)));
        collected.forget(&BTreeSet::from([2]));
        assert_eq!((collected.records.len(), collected.bytes), (1, record(1).weight()));
        assert!(collected.since.is_some(), "the first record waits");
        collected.forget(&BTreeSet::from([1]));
        assert_eq!((collected.records.len(), collected.bytes, collected.since), (0, 0, None));
    }
}
