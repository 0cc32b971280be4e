//! An event before it is one: members in order, each with the publisher's own bytes.
//!
//! Ingest normalises a draft (sets what the server sets) and then validates it. Values that nobody sets are never re-written:
//! numbers, key order inside data and the text of times stay as they came.

use serde_json::value::RawValue;

use crate::{
    event::Event,
    members,
    violation::{Violations, json_place},
};

/// Members of a JSON object in order, with their values' own text.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    members: Vec<(String, Box<RawValue>)>,
    /// The text the draft was read from, while nothing was changed.
    text: Option<String>,
}

impl Draft {
    /// An empty draft, for binary mode.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a JSON object.
    ///
    /// # Errors
    /// Not UTF-8, not a JSON object, or a member stands there twice.
    pub fn parse(json: &[u8]) -> Result<Self, Violations> {
        let text = members::utf8(json)?;
        let owned =
            members::read(text)?.0.into_iter().map(|(name, value)| (name.into_owned(), value.to_owned()));
        Ok(Self { members: owned.collect(), text: Some(text.to_owned()) })
    }

    /// The raw JSON of a member that is not null.
    pub fn raw(&self, name: &str) -> Option<&str> {
        let (_, value) = self.members.iter().find(|(key, _)| key == name)?;
        Some(value.get()).filter(|value| *value != "null")
    }

    /// The text of a member that is a string.
    pub fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.raw(name)?).ok()
    }

    /// The members' names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }

    /// Whether a member is there and not null.
    pub fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// Sets a member to a string; at its old place, or at the end.
    pub fn set_text(&mut self, name: &str, text: &str) {
        let raw = serde_json::value::to_raw_value(text).expect("a string is always JSON");
        self.set(name, raw);
    }

    /// Sets a member to a JSON text.
    ///
    /// # Errors
    /// The text is not JSON.
    pub fn set_raw(&mut self, name: &str, json: &str) -> Result<(), Violations> {
        let raw = RawValue::from_string(json.to_owned())
            .map_err(|error| Violations::one(name, format!("is not JSON {}", json_place(&error))))?;
        self.set(name, raw);
        Ok(())
    }

    fn set(&mut self, name: &str, raw: Box<RawValue>) {
        self.text = None;
        match self.members.iter_mut().find(|(key, _)| key == name) {
            Some((_, value)) => *value = raw,
            None => self.members.push((name.to_owned(), raw)),
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) {
        if self.members.iter().any(|(key, _)| key == name) {
            self.text = None;
            self.members.retain(|(key, _)| key != name);
        }
    }

    /// Checks the draft against the whole profile.
    ///
    /// # Errors
    /// All violations at once.
    pub fn validate(self) -> Result<Event, Violations> {
        match self.text {
            Some(text) => Event::parse(text.as_bytes()),
            None => Event::parse(self.to_json().as_bytes()),
        }
    }

    fn to_json(&self) -> String {
        let mut json = String::from("{");
        for (index, (name, value)) in self.members.iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            json.push_str(&serde_json::Value::String(name.clone()).to_string());
            json.push(':');
            json.push_str(value.get());
        }
        json.push('}');
        json
    }
}
