//! Points in time as microseconds, the precision of Postgres.

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Most digits of a second's fraction.
const FRACTION_MAX: usize = 9;
/// The widest offset that typed readers know, in minutes.
const OFFSET_MAX: u32 = 14 * 60;
/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z.
const YEARS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// Why a text is no time that every reader can hold. The texts are predicates, as those of a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeRefusal {
    /// It is no time at all, or has no zone.
    #[error("is not an RFC 3339 time with zone; example: 2026-11-23T12:00:00Z")]
    NotATime,
    /// Second 60.
    #[error("is a leap second, which many readers cannot hold")]
    LeapSecond,
    /// A finer fraction than nanoseconds.
    #[error("has more than {FRACTION_MAX} fraction digits")]
    TooFine,
    /// An offset that typed readers refuse.
    #[error("has an offset beyond 14:00")]
    WideOffset,
    /// Outside of the calendar that typed readers have.
    #[error("is not within the years 0001 to 9999 in UTC")]
    Year,
}

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    /// Reads an RFC 3339 time with zone that every typed reader can hold; digits below a microsecond are cut.
    ///
    /// # Errors
    /// [`TimeRefusal`].
    pub fn read(text: &str) -> Result<Self, TimeRefusal> {
        let text = text.to_ascii_uppercase();
        let (clock, zone) = parts(&text).ok_or(TimeRefusal::NotATime)?;
        let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, ""));
        if seconds.ends_with(":60") {
            return Err(TimeRefusal::LeapSecond);
        }
        if fraction.len() > FRACTION_MAX {
            return Err(TimeRefusal::TooFine);
        }
        let time = OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| TimeRefusal::NotATime)?;
        if offset_minutes(zone).is_none_or(|minutes| minutes > OFFSET_MAX) {
            return Err(TimeRefusal::WideOffset);
        }
        Self::from_nanos(time.unix_timestamp_nanos())
            .filter(|time| YEARS.contains(&time.0))
            .ok_or(TimeRefusal::Year)
    }

    /// As [`Micros::read`], where the reason does not matter.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        Self::read(text).ok()
    }

    fn from_nanos(nanos: i128) -> Option<Self> {
        i64::try_from(nanos.div_euclid(1_000)).ok().map(Self)
    }

    /// From milliseconds, as Kafka tells them.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// From a time of the `time` crate.
    pub fn from_time(time: OffsetDateTime) -> Self {
        Self::from_nanos(time.unix_timestamp_nanos()).unwrap_or(Self(i64::MAX))
    }

    /// As a time of the `time` crate, in UTC; beyond its range, 1970.
    pub fn to_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// The time now. Only for callers at the edge; decisions take it as an argument.
    pub fn now() -> Self {
        Self::from_time(OffsetDateTime::now_utc())
    }

    /// RFC 3339 in UTC with `Z`, with as many fraction digits as needed.
    pub fn to_rfc3339(self) -> String {
        self.to_time().format(&Rfc3339).unwrap_or_default()
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// This time later by a duration.
    #[must_use]
    pub fn plus(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The time of day and the zone of `date T clock zone`; the format of the `time` crate lets other separators through.
fn parts(text: &str) -> Option<(&str, &str)> {
    let (date, rest) = text.split_once('T')?;
    let at = rest.find(['Z', '+', '-'])?;
    (date.len() == 10).then(|| rest.split_at(at))
}

/// The minutes of `Z` or of `±hh:mm`, without their sign.
fn offset_minutes(zone: &str) -> Option<u32> {
    let Some(offset) = zone.strip_prefix(['+', '-']) else { return Some(0) };
    let (hours, minutes) = offset.split_once(':')?;
    Some(hours.parse::<u32>().ok()? * 60 + minutes.parse::<u32>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_zone_and_written_in_utc() {
        let read = |text| Micros::parse_rfc3339(text).map(Micros::to_rfc3339);
        assert_eq!(read("2026-11-23T01:02:03.4567891+01:00").as_deref(), Some("2026-11-23T00:02:03.456789Z"));
        assert_eq!(read("2026-11-23T01:02:03Z").as_deref(), Some("2026-11-23T01:02:03Z"));
        assert_eq!(read("2026-11-23t01:02:03z").as_deref(), Some("2026-11-23T01:02:03Z"));
        for wrong in ["2026-11-23 01:02:03Z", "2026-11-23T01:02:03", "2026-11-23T01:02:03+00", "", "æøå"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_time_that_some_typed_reader_cannot_hold_is_refused_with_its_reason() {
        for (text, refusal) in [
            ("1990-12-31T23:59:60Z", TimeRefusal::LeapSecond),
            ("1990-12-31T15:59:60.5-08:00", TimeRefusal::LeapSecond),
            ("0000-01-01T00:00:00Z", TimeRefusal::Year),
            ("0001-01-01T00:00:00+14:00", TimeRefusal::Year),
            ("9999-12-31T23:59:59-00:01", TimeRefusal::Year),
            ("2026-01-01T00:00:00.12345678901234567890Z", TimeRefusal::TooFine),
            ("2026-01-01T00:00:00.1234567890Z", TimeRefusal::TooFine),
            ("2026-01-01T00:00:00+14:01", TimeRefusal::WideOffset),
            ("2026-01-01T00:00:00-23:59", TimeRefusal::WideOffset),
            ("2026-01-01T00:00:00", TimeRefusal::NotATime),
            ("2026-02-29T00:00:00Z", TimeRefusal::NotATime),
            ("12026-01-01T00:00:00Z", TimeRefusal::NotATime),
            ("2026-01-01T24:00:00Z", TimeRefusal::NotATime),
            ("2026-01-01T00:00:00.Z", TimeRefusal::NotATime),
        ] {
            assert_eq!(Micros::read(text), Err(refusal), "{text}");
        }
        for good in [
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
            "0001-01-01T14:00:00+14:00",
            "9999-12-31T09:59:59-14:00",
            "2026-01-01T00:00:00.123456789-14:00",
        ] {
            assert!(Micros::read(good).is_ok(), "{good}");
        }
    }
}
