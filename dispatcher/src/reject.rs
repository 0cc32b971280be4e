//! The record with which an event whose matching panicked is parked in `events.rejected` (`schemas/records.md`).

use bytes::Bytes;
use event::topics;
use kafka_loop::Position;

use crate::{
    append::{self, OwnedRecord},
    caught::REASON,
};

/// The event as it came, with the reason and where it stood.
pub(crate) fn rejected(key: Bytes, value: Bytes, at: Position) -> OwnedRecord {
    let headers = append::headers(vec![
        ("reason", "unmatchable".to_owned()),
        ("detail", REASON.to_owned()),
        ("origin-topic", topics::EVENTS.to_owned()),
        ("origin-partition", at.partition.to_string()),
        ("origin-offset", at.offset.to_string()),
    ]);
    OwnedRecord { topic: topics::REJECTED, key, value, headers }
}
