//! Query parameters and headers of a read, as they were sent. Pure.

use event::{MediaType, Micros};
use http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use crate::{
    checks::Checks,
    config::{SIZE_DEFAULT, SIZE_MAX, WAIT_MAX},
    error::Refusal,
};

/// Most patterns of one parameter.
const PATTERNS_MAX: usize = 50;
/// Longest pattern, in bytes; as long as the longest type.
const PATTERN_MAX: usize = 512;

/// The query string, decoded, in request order. Repeated names are kept.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string; none is an empty one.
    ///
    /// # Errors
    /// A name or value holds a control character: none that is stored does.
    pub fn read(query: Option<&str>) -> Result<Self, Refusal> {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let pairs: Vec<(String, String)> =
            pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let mut checks = Checks::default();
        for (name, value) in &pairs {
            checks.of(check_text("query", name))?;
            checks.of(check_text(name, value))?;
        }
        checks.done()?;
        Ok(Self(pairs))
    }

    /// The first value of a parameter; names compare without regard to case. Empty counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// All values of a parameter that is a `LIKE` pattern.
    ///
    /// # Errors
    /// There are too many, one is too long, or one ends with a backslash that stands before nothing.
    pub fn patterns(&self, name: &str) -> Result<Vec<String>, Refusal> {
        let found = self.0.iter().filter(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_empty());
        checked_patterns(name, found.map(|(_, value)| value.clone()).collect())
    }

    /// Everything but one parameter, for a link to the next page.
    pub fn without(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        let rest = self.0.iter().filter(move |(key, _)| !key.eq_ignore_ascii_case(name));
        rest.map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// A time with zone.
    ///
    /// # Errors
    /// The text is no time, or has no zone.
    pub fn time(&self, name: &str) -> Result<Option<Micros>, Refusal> {
        self.get(name).map(|text| time(name, text.trim())).transpose()
    }

    /// A whole number.
    ///
    /// # Errors
    /// The text is none.
    pub fn number(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Refusal::wrong(name, "is not a whole number"))
    }

    /// The parties asked about: repeated, or listed with commas. Numbers below 1 count as absent (contract §1.4).
    ///
    /// # Errors
    /// One of them is no whole number.
    pub fn parties(&self) -> Result<Vec<i64>, Refusal> {
        let found = self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case("party"));
        let texts =
            found.flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|text| !text.is_empty());
        let parties: Result<Vec<i64>, _> = texts.map(str::parse).collect();
        let parties =
            parties.map_err(|_| Refusal::wrong("party", "is not a whole number, nor a list of them"))?;
        Ok(parties.into_iter().filter(|party| *party > 0).collect())
    }

    /// `wait`, in seconds; beyond the longest it is the longest.
    ///
    /// # Errors
    /// The text is no number of seconds.
    pub fn wait(&self) -> Result<std::time::Duration, Refusal> {
        let Some(text) = self.get("wait") else { return Ok(std::time::Duration::ZERO) };
        let seconds: u64 =
            text.parse().map_err(|_| Refusal::wrong("wait", "is not a whole number of seconds"))?;
        Ok(std::time::Duration::from_secs(seconds).min(WAIT_MAX))
    }

    /// `size` of an app feed: at least 1; beyond the largest it is the largest.
    ///
    /// # Errors
    /// Below 1, or no number.
    pub fn app_size(&self) -> Result<i64, Refusal> {
        match self.number("size")? {
            Some(size) if size < 1 => Err(Refusal::wrong("size", "must be a number larger than 0")),
            size => Ok(size.unwrap_or(SIZE_DEFAULT).min(SIZE_MAX)),
        }
    }

    /// `size` of the generic feed: below 1 counts as absent (contract §1.6).
    ///
    /// # Errors
    /// No number.
    pub fn generic_size(&self) -> Result<i64, Refusal> {
        let size = self.number("size")?.filter(|size| *size >= 1).unwrap_or(SIZE_DEFAULT);
        Ok(size.min(SIZE_MAX))
    }
}

/// Patterns that Postgres can compare with.
///
/// # Errors
/// There are too many, one is too long, holds a control character, or ends with a backslash that stands before nothing.
pub fn checked_patterns(name: &str, patterns: Vec<String>) -> Result<Vec<String>, Refusal> {
    if patterns.len() > PATTERNS_MAX {
        return Err(Refusal::wrong(name, format!("may be given {PATTERNS_MAX} times")));
    }
    for pattern in &patterns {
        check_text(name, pattern)?;
        if pattern.len() > PATTERN_MAX {
            return Err(Refusal::wrong(name, format!("is longer than {PATTERN_MAX} bytes")));
        }
        if pattern.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1 {
            return Err(Refusal::wrong(name, "ends with a backslash that stands before nothing"));
        }
    }
    Ok(patterns)
}

/// A time with zone.
///
/// # Errors
/// The text is no time, or has no zone.
pub fn time(name: &str, text: &str) -> Result<Micros, Refusal> {
    read_time(text)
        .ok_or_else(|| Refusal::wrong(name, "must be a time with a time zone; example: 2026-11-23T12:00:00Z"))
}

/// RFC 3339, and what the existing service reads beside it: without seconds, minutes or time of day, and with a blank for the `T`. A `+`
/// that a client did not encode has become a blank: before an offset it is read as what was meant.
fn read_time(text: &str) -> Option<Micros> {
    let (date, rest) = text.split_at_checked(10)?;
    let (clock, zone) = match rest.strip_prefix(['T', 't', ' ']) {
        Some(rest) => rest.split_at_checked(rest.find(['Z', 'z', '+', '-', ' '])?)?,
        None => ("", rest),
    };
    let clock = match clock.len() {
        0 => "00:00:00".to_owned(),
        2 => format!("{clock}:00:00"),
        5 => format!("{clock}:00"),
        _ => clock.to_owned(),
    };
    let zone = zone.trim();
    let sign = if zone.starts_with(|first: char| first.is_ascii_digit()) { "+" } else { "" };
    Micros::parse_rfc3339(&format!("{date}T{clock}{sign}{zone}"))
}

/// A JSON body; members that we do not know are ignored.
///
/// # Errors
/// It has another shape. What is wrong is told by its place: a body may hold a person's number.
pub fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("has not the expected shape at line {}, column {}", error.line(), error.column());
        Refusal::wrong("body", place)
    })
}

/// A header as text; empty counts as absent.
///
/// # Errors
/// It is not UTF-8.
pub fn header<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refusal> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| Refusal::wrong(name, "is not UTF-8"))?;
    Ok(Some(text.trim()).filter(|text| !text.is_empty()))
}

/// No text that is stored holds a control character, and Postgres cannot even compare with `\u{0}`.
///
/// # Errors
/// The text holds one.
pub fn check_text(name: &str, text: &str) -> Result<(), Refusal> {
    if text.contains(char::is_control) {
        Err(Refusal::wrong(name, "holds a control character"))
    } else {
        Ok(())
    }
}

/// A GET may state no body type or a JSON one (contract §1.1, note d).
///
/// # Errors
/// [`Refusal::MediaType`] for any other.
pub fn check_media_type(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(header::CONTENT_TYPE) { check_json_body(headers) } else { Ok(()) }
}

/// A body must be stated to be JSON.
///
/// # Errors
/// [`Refusal::MediaType`] when it is not, or nothing is stated.
pub fn check_json_body(headers: &HeaderMap) -> Result<(), Refusal> {
    let stated = headers.get(header::CONTENT_TYPE).and_then(|value| MediaType::parse(value.to_str().ok()?));
    if stated.is_some_and(|media| media.is_json()) { Ok(()) } else { Err(Refusal::MediaType) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Query {
        Query::read(Some(query)).unwrap()
    }

    #[test]
    fn what_no_stored_text_holds_is_refused_at_the_door() {
        assert!(Query::read(Some("subject=a%00b")).is_err());
        assert!(Query::read(Some("a%0Ab=c")).is_err());
        let mut headers = HeaderMap::new();
        headers.insert("person", http::HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(header(&headers, "person").is_err());
        headers.insert("person", http::HeaderValue::from_bytes("blåbær".as_bytes()).unwrap());
        assert_eq!(header(&headers, "Person").unwrap(), Some("blåbær"));
    }

    #[test]
    fn patterns_are_bounded_and_whole() {
        assert_eq!(read("type=a%25&TYPE=b&type=").patterns("type").unwrap(), ["a%", "b"]);
        assert!(read("type=a%5C").patterns("type").is_err());
        assert!(read("type=a%5C%5C").patterns("type").is_ok());
        assert!(read(&format!("type={}", "a".repeat(513))).patterns("type").is_err());
        assert!(read(&"type=a&".repeat(51)).patterns("type").is_err());
    }

    #[test]
    fn parties_are_repeated_or_listed() {
        assert_eq!(read("party=1,2&PARTY= 3 &party=&party=0,-4").parties().unwrap(), [1, 2, 3]);
        assert!(read("party=1,x").parties().is_err());
        assert!(read("").parties().unwrap().is_empty());
    }

    #[test]
    fn times_are_read_in_the_forms_of_the_contract() {
        for (query, expected) in [
            ("from=2023-02-16T18:00Z", "2023-02-16T18:00:00Z"),
            ("from=2023-02-16T18:00:00.1234567%2B01:00", "2023-02-16T17:00:00.123456Z"),
            ("from=2023-02-16T18:00:00+01:00", "2023-02-16T17:00:00Z"),
            ("from=2020-01-01Z", "2020-01-01T00:00:00Z"),
            ("from=2020-01-01T10Z", "2020-01-01T10:00:00Z"),
            ("from=2020-01-01%2B01:00", "2019-12-31T23:00:00Z"),
            ("from=2020-01-01-02:00", "2020-01-01T02:00:00Z"),
            ("from=2020-01-01 00:00:00Z", "2020-01-01T00:00:00Z"),
            ("from=2020-01-01 10:30 %2B01:00", "2020-01-01T09:30:00Z"),
            ("from=2020-01-01t10:00:00z", "2020-01-01T10:00:00Z"),
        ] {
            let time = read(query).time("from").unwrap().unwrap();
            assert_eq!(time.to_rfc3339(), expected);
        }
        for wrong in [
            "from=2023-02-16T18:00:00",
            "from=yesterday",
            "from=2023-02-16",
            // Whether this is a time of day or an offset, nobody can tell.
            "from=2023-02-16 01:00",
            "from=2023-02-16 01:00:00",
            "from=2020-01-01T",
            "from=2020-01-01TZ1",
            "from=æøåæøZ",
        ] {
            assert!(read(wrong).time("from").is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_a_largest_value_and_below_one_depends_on_the_feed() {
        let size = read;
        assert_eq!(size("size=5000").app_size().unwrap(), 1_000);
        assert!(size("size=0").app_size().is_err());
        assert_eq!(size("size=0").generic_size().unwrap(), 50);
        assert_eq!(size("").app_size().unwrap(), 50);
        assert!(size("size=x").generic_size().is_err());
    }

    #[test]
    fn only_json_types_pass_on_a_get() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(value));
            check_media_type(&headers).is_ok()
        };
        assert!(with("application/json; charset=utf-8") && with("application/cloudevents+json"));
        assert!(!with("text/plain"));
        assert!(check_media_type(&HeaderMap::new()).is_ok());
    }
}
