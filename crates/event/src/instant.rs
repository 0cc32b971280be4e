//! Points in time as microseconds, the precision of Postgres.

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    /// Reads an RFC 3339 time with zone; digits below a microsecond are cut.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        // The format allows a blank for the `T` and small letters; the profile does not.
        if text.as_bytes().get(10) != Some(&b'T') || text.ends_with('z') {
            return None;
        }
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Self::from_nanos(time.unix_timestamp_nanos())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_zone_and_written_in_utc() {
        let read = |text| Micros::parse_rfc3339(text).map(Micros::to_rfc3339);
        assert_eq!(read("2026-11-23T01:02:03.4567891+01:00").as_deref(), Some("2026-11-23T00:02:03.456789Z"));
        assert_eq!(read("2026-11-23T01:02:03Z").as_deref(), Some("2026-11-23T01:02:03Z"));
        for wrong in ["2026-11-23 01:02:03Z", "2026-11-23T01:02:03", "2026-11-23T01:02:03+00", "", "æøå"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
