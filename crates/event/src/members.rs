//! The members of a JSON object, in order, each with its own text.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{
    limits::MEMBERS_MAX,
    violation::{Violation, Violations, json_place},
};

/// Members as borrowed from the text.
pub(crate) struct Members<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(12);
                while let Some(Name(name)) = map.next_key()? {
                    if members.len() == MEMBERS_MAX {
                        return Err(A::Error::custom("there are more"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// A member's name, borrowed unless it holds escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

/// Reads the members of an object and refuses repeated names.
pub(crate) fn read(json: &str) -> Result<Members<'_>, Violations> {
    let members: Members<'_> = serde_json::from_str(json).map_err(|error| {
        let message = format!(
            "is not a JSON object of at most {MEMBERS_MAX} members; it stops being one {}",
            json_place(&error)
        );
        Violations::one("RequestBody", message)
    })?;
    let mut repeated: Vec<Violation> = Vec::new();
    for (index, (name, _)) in members.0.iter().enumerate() {
        if members.0.iter().take(index).any(|(earlier, _)| earlier == name) {
            repeated.push(Violation::new(name.as_ref(), "stands there more than once"));
        }
    }
    if repeated.is_empty() { Ok(members) } else { Err(Violations(repeated)) }
}

/// The bytes as text.
pub(crate) fn utf8(json: &[u8]) -> Result<&str, Violations> {
    std::str::from_utf8(json).map_err(|_| Violations::one("RequestBody", "is not UTF-8"))
}
