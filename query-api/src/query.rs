//! Query parameters and headers of a read, as they were sent. Pure.

use event::Micros;
use http::{HeaderMap, header};

use crate::{
    config::{SIZE_DEFAULT, SIZE_MAX, WAIT_MAX},
    error::Refusal,
};

/// The query string, decoded, in request order. Repeated names are kept.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string; none is an empty one.
    pub fn read(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first value of a parameter; names compare without regard to case. Empty counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub fn all(&self, name: &str) -> Vec<String> {
        let found = self.0.iter().filter(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_empty());
        found.map(|(_, value)| value.clone()).collect()
    }

    /// Everything but one parameter, for a link to the next page.
    pub fn without(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        let rest = self.0.iter().filter(move |(key, _)| !key.eq_ignore_ascii_case(name));
        rest.map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// A time with zone. `+` that a client did not encode has become a blank: it is read as what was meant.
    ///
    /// # Errors
    /// The text is no time, or has no zone.
    pub fn time(&self, name: &str) -> Result<Option<Micros>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let text = text.trim().replace(' ', "+");
        match read_time(&text) {
            Some(time) => Ok(Some(time)),
            None => {
                Err(Refusal::wrong(name, "must be a time with a time zone; example: 2026-11-23T12:00:00Z"))
            }
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// The text is none.
    pub fn number(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Refusal::wrong(name, "is not a whole number"))
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

/// RFC 3339, and the shorter form without seconds that the contract allows.
fn read_time(text: &str) -> Option<Micros> {
    Micros::parse_rfc3339(text).or_else(|| {
        let (minutes, zone) = text.split_at_checked(16)?;
        Micros::parse_rfc3339(&format!("{minutes}:00{zone}"))
    })
}

/// A header as text.
pub fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim).filter(|text| !text.is_empty())
}

/// A GET may state no body type or a JSON one (contract §1.1, note d).
///
/// # Errors
/// [`Refusal::MediaType`] for any other.
pub fn check_media_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(stated) = header(headers, header::CONTENT_TYPE.as_str()) else { return Ok(()) };
    let media = stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media == "application/json" || media == "text/json" || media.ends_with("+json") {
        Ok(())
    } else {
        Err(Refusal::MediaType)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_forms_of_the_contract() {
        for (query, expected) in [
            ("from=2023-02-16T18:00Z", "2023-02-16T18:00:00Z"),
            ("from=2023-02-16T18:00:00.1234567%2B01:00", "2023-02-16T17:00:00.123456Z"),
            ("from=2023-02-16T18:00:00+01:00", "2023-02-16T17:00:00Z"),
        ] {
            let time = Query::read(Some(query)).time("from").unwrap().unwrap();
            assert_eq!(time.to_rfc3339(), expected);
        }
        for wrong in ["from=2023-02-16T18:00:00", "from=yesterday", "from=2023-02-16"] {
            assert!(Query::read(Some(wrong)).time("from").is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_a_largest_value_and_below_one_depends_on_the_feed() {
        let size = |query| Query::read(Some(query));
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
