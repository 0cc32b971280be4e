//! Media types, read properly: `Application/JSON; charset="utf-8"` is JSON, `application/jsonx` is not.

/// One event in the JSON format of CloudEvents, also on the log.
pub const EVENT: &str = "application/cloudevents+json";
/// A list of such events.
pub const BATCH: &str = "application/cloudevents-batch+json";
/// Any JSON.
pub const JSON: &str = "application/json";

/// A media type (RFC 9110 §8.3.1), in lower case, with its `charset`; other parameters are checked and forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType {
    essence: String,
    charset: Option<String>,
}

impl MediaType {
    /// Reads `type/subtype; name=value; …`; nothing when the text is no media type.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let essence = parts.next()?.trim_matches([' ', '\t']);
        let (kind, sub) = essence.split_once('/')?;
        if !is_token(kind) || !is_token(sub) {
            return None;
        }
        let mut charset = None;
        for part in parts.map(|part| part.trim_matches([' ', '\t'])).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=')?;
            let value = unquoted(value)?;
            if !is_token(name) {
                return None;
            }
            if name.eq_ignore_ascii_case("charset") {
                charset = Some(value.to_ascii_lowercase());
            }
        }
        Some(Self { essence: essence.to_ascii_lowercase(), charset })
    }

    /// Type and subtype, in lower case: `application/json`.
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// Whether it says that the content is JSON: `…/json` or `…+json`.
    pub fn is_json(&self) -> bool {
        self.essence.ends_with("/json") || self.essence.ends_with("+json")
    }

    /// Whether text of this type can be read as UTF-8.
    pub fn is_utf8(&self) -> bool {
        self.charset.as_deref().is_none_or(|charset| matches!(charset, "utf-8" | "utf8" | "us-ascii"))
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').filter(|inner| !inner.contains(['"', '\\'])),
        None => Some(value).filter(|value| is_token(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_in_every_spelling() {
        for text in [
            "application/json",
            "Application/JSON ; charset=UTF-8",
            "application/vnd.x+json; charset=\"utf-8\"",
            "text/json;",
        ] {
            assert!(MediaType::parse(text).is_some_and(|media| media.is_json() && media.is_utf8()), "{text}");
        }
        for text in ["application/jsonx", "text/plain", "application/json+zip"] {
            assert!(MediaType::parse(text).is_some_and(|media| !media.is_json()), "{text}");
        }
    }

    #[test]
    fn what_is_no_media_type_is_told_apart() {
        for text in ["", "json", "a/b/c", "a/", "/b", "a b/c", "a/b; c", "a/b; c=d e", "a/b; c=\"d"] {
            assert_eq!(MediaType::parse(text), None, "{text}");
        }
        assert!(!MediaType::parse("text/plain; charset=latin1").unwrap().is_utf8());
    }
}
