//! How long a receiver asks us to wait: `Retry-After` in every form of RFC 9110 §10.2.3. Pure.

use std::time::Duration;

use event::Micros;
use http::HeaderValue;

/// The longest wait that is kept; the ladder has no longer one.
const WAIT_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// Seconds, or a date in any of the three forms (§5.6.7), counted from `now`; anything else counts as absent.
pub(super) fn read(wish: &HeaderValue, now: Micros) -> Option<Duration> {
    let text = wish.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are a very long wait all the same.
        text.parse().map_or(WAIT_MAX, Duration::from_secs)
    } else {
        Micros::from_time(httpdate::parse_http_date(text).ok()?.into()).since(now)
    };
    Some(wait.min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(text: &str) -> Option<u64> {
        let now = Micros::parse_rfc3339("2026-11-23T08:00:00Z").unwrap();
        read(&HeaderValue::from_str(text).unwrap(), now).map(|wait| wait.as_secs())
    }

    #[test]
    fn every_form_of_a_date_counts_from_now() {
        for date in
            ["Mon, 23 Nov 2026 08:02:00 GMT", "Monday, 23-Nov-26 08:02:00 GMT", "Mon Nov 23 08:02:00 2026"]
        {
            assert_eq!(wait(date), Some(120), "{date}");
        }
        assert_eq!(wait("Sun Nov  1 08:02:00 2026"), Some(0), "a day of one digit, long ago");
    }

    #[test]
    fn any_number_of_seconds_is_read_and_no_wait_is_longer_than_twelve_hours() {
        for (text, expected) in [(" 7 ", 7), ("0", 0), ("0043199", 43_199), ("43201", 43_200)] {
            assert_eq!(wait(text), Some(expected), "{text}");
        }
        for long in [
            "99999999999999",
            "99999999999999999999999999999999",
            "Fri, 31 Dec 9999 23:59:59 GMT",
            "4294967296",
        ] {
            assert_eq!(wait(long), Some(43_200), "{long}");
        }
    }

    #[test]
    fn nonsense_counts_as_absent() {
        for nonsense in ["", "-1", "+7", "1.5", "soon", "7 s", "2026-11-23T08:02:00Z", "Mon, 23 Nov 2026"] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }
}
