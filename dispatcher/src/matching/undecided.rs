//! The undecided part of an event: nobody has told its main unit in time.
//!
//! It becomes a record of kind `match` with the event's own key, on a tier that is not above its age, as every put back; when it is
//! due the owner of its partition of `deliveries.due` hands it to the match loop, which asks again. After three days it is given up
//! and parked in `events.rejected`, with the headers that a `match` record made of it again needs.

use bytes::Bytes;
use event::{Event, MatchHeaders, Micros, topics};
use kafka_loop::Record;

use crate::{
    append::{self, OwnedRecord},
    matching::reject::Origin,
    pushing::outcome::Ladder,
};

/// An event that waits to be matched.
pub(crate) struct Undecided<'a> {
    /// Its key on `events`.
    pub(crate) key: &'a Bytes,
    /// The event.
    pub(crate) body: &'a Bytes,
    /// What is known of it.
    pub(crate) headers: MatchHeaders,
    /// Where it stands now.
    pub(crate) from: Origin,
}

impl Undecided<'_> {
    /// The record with which it goes on: to a tier, or, when it is too old, to `events.rejected`.
    pub(crate) fn onward(&self, ladder: Ladder, now: Micros) -> OwnedRecord {
        let mut headers = append::headers(self.headers.to_pairs());
        let topic = ladder.waits_on(self.headers.created, now).unwrap_or_else(|| {
            let detail = "Register has not told for three days whether the event is about a sub-unit";
            headers.extend(self.from.headers("unit-unknown", detail));
            topics::REJECTED
        });
        OwnedRecord { topic, key: self.key.clone(), value: self.body.clone(), headers }
    }
}

/// Whether a record of `deliveries.due` is an event that waits to be matched.
pub(crate) fn is_one(record: &Record) -> bool {
    record.header("kind") == Some(MatchHeaders::KIND.as_bytes())
}

/// Reads such a record.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn read(record: &Record) -> Result<(MatchHeaders, Event), String> {
    let headers = MatchHeaders::from_pairs(record.header_pairs()).map_err(|error| error.to_string())?;
    let event =
        Event::stored(record.value.as_deref().unwrap_or_default()).map_err(|error| error.to_string())?;
    Ok((headers, event))
}

/// The record with which one that cannot be read is parked, as it came.
pub(crate) fn parked(key: Bytes, value: Bytes, from: Origin, why: &str) -> OwnedRecord {
    OwnedRecord { topic: topics::REJECTED, key, value, headers: from.headers("undecodable", why) }
}

#[cfg(test)]
mod tests {
    use kafka_loop::Position;

    use super::*;

    const NOW: Micros = Micros(1_800_000_000_000_000);

    fn onward(age_seconds: i64) -> OwnedRecord {
        let (key, body) = (Bytes::from_static(b"/party/7"), Bytes::from_static(b"{}"));
        let from = Origin { topic: topics::DUE, at: Position { partition: 3, offset: 9 } };
        let headers = MatchHeaders {
            unit: "/party/7".into(),
            created: Micros(NOW.0 - age_seconds * 1_000_000),
            subject: None,
            traceparent: None,
        };
        Undecided { key: &key, body: &body, headers, from }.onward(Ladder { divisor: 1 }, NOW)
    }

    #[test]
    fn it_waits_as_long_as_it_is_old_within_bounds() {
        let tiers = [0, 29, 30, 299, 300, 3_600, 259_200].map(|age| onward(age).topic);
        let tier = |name| ["deliveries.retry.", name].concat();
        assert_eq!(tiers, ["10s", "10s", "30s", "1m", "5m", "1h", "1h"].map(tier));
    }

    #[test]
    fn after_three_days_it_is_parked_with_all_that_makes_a_match_record_of_it_again() {
        let parked = onward(259_201);
        assert_eq!((parked.topic, &parked.key[..]), (topics::REJECTED, &b"/party/7"[..]));
        let header = |name: &str| {
            let found = parked.headers.iter().find(|(header, _)| header == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
        };
        let names = ["kind", "unit", "reason", "origin-topic", "origin-partition", "origin-offset"];
        assert_eq!(names.map(header), ["match", "/party/7", "unit-unknown", "deliveries.due", "3", "9"]);
    }
}
