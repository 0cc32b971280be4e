//! A record of `events` becomes an event, or a reason why it never will. Pure.

use event::Event;
use kafka_loop::Record;
use store::NewEvent;

/// Why a record cannot become a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It has no value.
    Empty,
    /// Its value or its headers are not what its topic holds.
    Undecodable,
    /// The database cannot hold it.
    Unstorable,
}

impl Reason {
    /// Every reason, for the metrics.
    pub const ALL: [Self; 3] = [Self::Empty, Self::Undecodable, Self::Unstorable];

    /// The name in headers and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Undecodable => "undecodable",
            Self::Unstorable => "unstorable",
        }
    }
}

/// Why a record is parked: the reason, and what was found in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The reason.
    pub reason: Reason,
    /// What was found. Names attributes, never their values.
    pub detail: String,
}

impl Reject {
    /// The record is not what its topic holds.
    pub fn undecodable(detail: impl ToString) -> Self {
        Self { reason: Reason::Undecodable, detail: detail.to_string() }
    }

    /// The database refused the row of this record alone.
    pub fn unstorable() -> Self {
        Self { reason: Reason::Unstorable, detail: "the database cannot hold it".to_owned() }
    }
}

/// The value of a record.
///
/// # Errors
/// It has none.
pub fn value(record: &Record) -> Result<&[u8], Reject> {
    let none = || Reject { reason: Reason::Empty, detail: "the record has no value".to_owned() };
    record.value.as_deref().ok_or_else(none)
}

/// Reads a record of `events`.
///
/// # Errors
/// Why it is none of our events.
pub fn event(record: &Record) -> Result<NewEvent, Reject> {
    let event = Event::stored(value(record)?).map_err(Reject::undecodable)?;
    let subject = event.resolved_subject(record.header("subject"));
    Ok(NewEvent { event, subject, kafka_partition: record.partition, kafka_offset: record.offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: Option<&str>, headers: &[(&str, &str)]) -> Record {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        Record {
            topic: "events".into(),
            partition: 3,
            offset: 7,
            timestamp_ms: 0,
            key: Vec::new(),
            value: value.map(|text| text.as_bytes().to_vec()),
            headers: headers.iter().map(own).collect(),
        }
    }

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"https://x.no/a","type":"t","subject":"party/7","resource":"urn:altinn:resource:r"}"#;

    #[test]
    fn the_canonical_subject_is_the_resolved_one_else_the_events_own() {
        let plain = event(&record(Some(EVENT), &[])).unwrap();
        assert_eq!(plain.subject.as_deref(), Some("/party/7"));
        assert_eq!((plain.kafka_partition, plain.kafka_offset), (3, 7));
        let resolved = event(&record(Some(EVENT), &[("subject", "/party/8")])).unwrap();
        assert_eq!(resolved.subject.as_deref(), Some("/party/8"));
        assert_eq!(resolved.event.json(), EVENT);
    }

    #[test]
    fn what_is_no_event_is_told_with_its_reason() {
        let reason = |value| event(&record(value, &[])).unwrap_err().reason;
        assert_eq!(reason(None), Reason::Empty);
        assert_eq!(reason(Some("")), Reason::Undecodable);
        assert_eq!(reason(Some("{}")), Reason::Undecodable);
        assert_eq!(reason(Some(&EVENT.replace("1.0", "0.3"))), Reason::Undecodable);
    }
}
