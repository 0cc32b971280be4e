//! What is wrong with an event, all of it at once.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The attribute, or `RequestBody` when it is none.
    pub attribute: String,
    /// What is wrong with it, as a sentence without a subject: `is missing`.
    pub message: String,
}

/// Longest name that is repeated to whoever sent it, in characters.
const NAME_SHOWN_MAX: usize = 80;

impl Violation {
    /// A violation of this attribute; of a very long name only the start is kept.
    pub fn new(attribute: impl Into<String>, message: impl Into<String>) -> Self {
        let mut attribute = attribute.into();
        if let Some((at, _)) = attribute.char_indices().nth(NAME_SHOWN_MAX) {
            attribute.truncate(at);
            attribute.push('…');
        }
        Self { attribute, message: message.into() }
    }
}

/// Where a text stops being JSON. The parser's own words would repeat what stands there, which may be a person's number.
pub fn json_place(error: &serde_json::Error) -> String {
    format!("at line {}, column {}", error.line(), error.column())
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.attribute, self.message)
    }
}

/// Everything that is wrong; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violations(pub Vec<Violation>);

impl Violations {
    /// A single violation.
    pub fn one(attribute: impl Into<String>, message: impl Into<String>) -> Self {
        Self(vec![Violation::new(attribute, message)])
    }

    /// The violations as (attribute, message), as a problem shows them.
    pub fn into_pairs(self) -> Vec<(String, String)> {
        self.0.into_iter().map(|violation| (violation.attribute, violation.message)).collect()
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.0.iter().enumerate() {
            write!(f, "{}{violation}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}
