//! Where each partition stands, and the step that a batch makes. Pure but for the look-up at the start.

use std::collections::BTreeMap;

use kafka_loop::{HandlerError, Record};
use store::{Advance, Store, StoreError};

/// The next offset of each partition, as it is stored.
#[derive(Clone, Debug, Default)]
pub struct Positions(BTreeMap<i32, i64>);

impl Positions {
    /// Reads the stored positions; a partition without one starts with its oldest kept record.
    ///
    /// # Errors
    /// As [`handler_error`].
    pub async fn load(
        &mut self,
        store: &Store,
        topic: &str,
        oldest: &[(i32, i64)],
    ) -> Result<Vec<(i32, i64)>, HandlerError> {
        let starts = store.start_positions(topic, oldest).await.map_err(handler_error)?;
        self.0.extend(starts.iter().copied());
        Ok(starts)
    }

    /// Whether a record is stored already: the batch that it is in was written in part before.
    pub fn has_passed(&self, record: &Record) -> bool {
        self.0.get(&record.partition).is_some_and(|next| record.offset < *next)
    }

    /// The steps from where the partitions stand to behind these records.
    pub fn steps<'r>(&self, records: impl IntoIterator<Item = &'r Record>) -> Vec<Advance> {
        let mut steps: BTreeMap<i32, Advance> = BTreeMap::new();
        for record in records {
            let expected = self.0.get(&record.partition).copied().unwrap_or(record.offset);
            let step = steps.entry(record.partition).or_insert(Advance {
                partition: record.partition,
                expected,
                next: expected,
            });
            step.next = step.next.max(record.offset + 1);
        }
        steps.into_values().collect()
    }

    /// Takes note that steps were stored.
    pub fn moved(&mut self, steps: &[Advance]) {
        self.0.extend(steps.iter().map(|step| (step.partition, step.next)));
    }
}

/// What a loop should do about a failed write.
pub fn handler_error(error: StoreError) -> HandlerError {
    match error {
        StoreError::Unavailable(_) => HandlerError::Transient(error.into()),
        StoreError::Stale => HandlerError::Lost(error.into()),
        StoreError::Data(_) | StoreError::Migrate(_) | StoreError::Settings(_) | StoreError::Refused(_) => {
            HandlerError::Fatal(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partition: i32, offset: i64) -> Record {
        Record {
            topic: "events".into(),
            partition,
            offset,
            timestamp_ms: 0,
            key: Vec::new(),
            value: None,
            headers: Vec::new(),
        }
    }

    #[test]
    fn a_step_goes_from_the_stored_position_over_holes_to_behind_the_last_record() {
        let mut positions = Positions(BTreeMap::from([(0, 5), (1, 0)]));
        let batch = [record(0, 7), record(1, 0), record(0, 9)];
        let steps = positions.steps(&batch);
        let step = |partition, expected, next| Advance { partition, expected, next };
        assert_eq!(steps, [step(0, 5, 10), step(1, 0, 1)]);
        positions.moved(&steps);
        assert!(positions.has_passed(&record(0, 9)) && !positions.has_passed(&record(0, 10)));
        assert!(!positions.has_passed(&record(2, 0)), "nothing is known about it");
    }
}
