//! The records with which events that were given up are parked in `events.rejected` (`schemas/records.md`).

use bytes::Bytes;
use event::topics;
use kafka_loop::{Position, Record};

use crate::{
    append::{self, Header, OwnedRecord},
    caught::REASON,
};

/// Where an event stood: on `events`, or, while it waited for its main unit, on `deliveries.due`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) topic: &'static str,
    pub(crate) at: Position,
}

impl Origin {
    /// The place of a record of that topic.
    pub(crate) const fn of(topic: &'static str, record: &Record) -> Self {
        Self { topic, at: Position { partition: record.partition, offset: record.offset } }
    }

    /// Why it is parked, and where it stood.
    pub(crate) fn headers(self, reason: &str, detail: &str) -> Vec<Header> {
        append::headers(vec![
            ("reason", reason.to_owned()),
            ("detail", detail.to_owned()),
            ("origin-topic", self.topic.to_owned()),
            ("origin-partition", self.at.partition.to_string()),
            ("origin-offset", self.at.offset.to_string()),
        ])
    }
}

/// An event whose matching panicked, as it came.
pub(crate) fn rejected(key: Bytes, value: Bytes, from: Origin) -> OwnedRecord {
    OwnedRecord { topic: topics::REJECTED, key, value, headers: from.headers("unmatchable", REASON) }
}
