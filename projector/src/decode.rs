//! A record of `events` becomes an event, or a reason why it never will. Pure.

use event::{Event, subject};
use kafka_loop::Record;
use store::NewEvent;

/// Why a record cannot become a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It has no value.
    Empty,
    /// Its value is not an event of our profile.
    Undecodable,
    /// The database cannot hold it.
    Unstorable,
}

impl Reason {
    /// The name in headers and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Undecodable => "undecodable",
            Self::Unstorable => "unstorable",
        }
    }
}

/// Reads a record.
///
/// # Errors
/// The reason, and the violations in words.
pub fn decode(record: &Record) -> Result<NewEvent, (Reason, String)> {
    let Some(value) = &record.value else {
        return Err((Reason::Empty, "the record has no value".to_owned()));
    };
    let event = Event::parse(value).map_err(|wrong| (Reason::Undecodable, wrong.to_string()))?;
    // The header is there when Register gave another canonical subject than the event's own text.
    let resolved = record.header("subject").and_then(|value| std::str::from_utf8(value).ok());
    let subject = match resolved {
        Some(resolved) => Some(subject::canonical(resolved)),
        None => event.canonical_subject(),
    };
    Ok(NewEvent { event, subject, kafka_partition: record.partition, kafka_offset: record.offset })
}
