//! The headers of a record of kind `match` on a tier and on `deliveries.due`: an event whose matching waits until somebody can
//! say which main unit it is about (`schemas/records.md`).

use crate::{delivery::HeaderError, instant::Micros};

/// What is known of an event that waits to be matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchHeaders {
    /// The subject whose main unit is asked for.
    pub unit: String,
    /// When the event was first held.
    pub created: Micros,
    /// The event's canonical subject, when it has one.
    pub subject: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

impl MatchHeaders {
    /// The value of the header `kind`.
    pub const KIND: &'static str = "match";

    /// The headers as they are written, in a fixed order.
    pub fn to_pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            ("kind", Self::KIND.to_owned()),
            ("unit", self.unit.clone()),
            ("created", self.created.0.to_string()),
        ];
        let optional = [("subject", &self.subject), ("traceparent", &self.traceparent)];
        pairs.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        pairs
    }

    /// Reads headers; unknown ones are ignored.
    ///
    /// # Errors
    /// [`HeaderError`] names the first header that is missing or damaged.
    pub fn from_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Self, HeaderError> {
        let pairs: Vec<(&str, &str)> =
            pairs.filter_map(|(name, value)| Some((name, std::str::from_utf8(value).ok()?))).collect();
        let text = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        if text("kind") != Some(Self::KIND) {
            return Err(HeaderError("kind"));
        }
        let created = text("created").and_then(|micros| micros.parse().ok()).ok_or(HeaderError("created"))?;
        Ok(Self {
            unit: text("unit").ok_or(HeaderError("unit"))?.to_owned(),
            created: Micros(created),
            subject: text("subject").map(str::to_owned),
            traceparent: text("traceparent").map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_are_written_and_a_damaged_one_is_named() {
        let headers = MatchHeaders {
            unit: "/party/7".into(),
            created: Micros(5),
            subject: Some("/party/7".into()),
            traceparent: None,
        };
        let read = |pairs: &[(&'static str, String)]| {
            MatchHeaders::from_pairs(pairs.iter().map(|(name, value)| (*name, value.as_bytes())))
        };
        let mut pairs = headers.to_pairs();
        assert_eq!(read(&pairs), Ok(headers));
        pairs.retain(|(name, _)| *name != "unit");
        assert_eq!(read(&pairs), Err(HeaderError("unit")));
    }
}
