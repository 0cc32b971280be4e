//! A valid event of ours: CloudEvents 1.0 with the limits of our profile (`schemas/event.schema.json`, contract §4.3).
//!
//! The event is its JSON text; the attributes that are filtered on are decoded beside it. The text is what the publisher sent,
//! byte for byte, but for what ingest set in a draft and what the door put right (`mend`): numbers, key order, escapes and
//! the digits of times stay.
//! Invariant: an [`Event`] that exists fulfils the whole profile, so nobody after the door checks again.

use std::{fmt, sync::Arc};

use crate::{
    check::{Attributes, Check},
    ids::{EventIdentity, id_hash},
    instant::Micros,
    limits::EVENT_MAX,
    members::{self, Members},
    mend, scan, subject,
    violation::Violations,
};

/// An event that fulfils the profile. Clones share it.
#[derive(Clone, PartialEq, Eq)]
pub struct Event(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    json: String,
    attributes: Attributes,
}

impl fmt::Debug for Event {
    /// Without data and extensions, which may hold what a log must not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attributes { id, source, kind, resource, .. } = &self.0.attributes;
        write!(f, "Event({id} {kind} of {resource} from {source})")
    }
}

impl Event {
    /// Reads and checks an event in the JSON format, at the door: what can be put right without a question is (null members, small
    /// letters in the time, resources of the old form).
    ///
    /// # Errors
    /// All violations at once.
    pub fn parse(json: &[u8]) -> Result<Self, Violations> {
        if json.len() > EVENT_MAX {
            return Err(Violations::one("RequestBody", format!("is longer than {EVENT_MAX} bytes")));
        }
        let text = trimmed(json)?;
        let read = members::read(text)?;
        match mend::mended(text, &read.0) {
            Some(mended) => Self::read(&mended, &members::read(&mended)?, Check::default()),
            None => Self::read(text, &read, Check::default()),
        }
    }

    /// Reads an event that was accepted before, from the log or the store: byte for byte as it is, also where the door has learned to
    /// refuse or to mend something since.
    ///
    /// # Errors
    /// It was never one of our events.
    pub fn stored(json: &[u8]) -> Result<Self, Violations> {
        let text = trimmed(json)?;
        Self::read(text, &members::read(text)?, Check::of_stored())
    }

    fn read(text: &str, members: &Members<'_>, mut check: Check) -> Result<Self, Violations> {
        for (name, value) in &members.0 {
            check.member(name, value);
        }
        for message in scan::wrongs(text) {
            check.wrong("RequestBody", message);
        }
        Ok(Self(Arc::new(Inner { attributes: check.finish()?, json: text.to_owned() })))
    }

    /// The event in the JSON format, as it is stored, served and pushed.
    pub fn json(&self) -> &str {
        &self.0.json
    }

    /// Attribute `id`.
    pub fn id(&self) -> &str {
        &self.0.attributes.id
    }

    /// Attribute `source`.
    pub fn source(&self) -> &str {
        &self.0.attributes.source
    }

    /// Attribute `type`.
    pub fn event_type(&self) -> &str {
        &self.0.attributes.kind
    }

    /// Attribute `subject`, in the publisher's spelling.
    pub fn subject(&self) -> Option<&str> {
        self.0.attributes.subject.as_deref()
    }

    /// Extension `alternativesubject`.
    pub fn alternative_subject(&self) -> Option<&str> {
        self.0.attributes.alternative_subject.as_deref()
    }

    /// Extension `resource`.
    pub fn resource(&self) -> &str {
        &self.0.attributes.resource
    }

    /// Extension `resourceinstance`.
    pub fn resource_instance(&self) -> Option<&str> {
        self.0.attributes.instance.as_deref()
    }

    /// Attribute `time`, in the publisher's spelling.
    pub fn time_text(&self) -> Option<&str> {
        self.0.attributes.time_text.as_deref()
    }

    /// Attribute `time`, to the microsecond.
    pub fn time(&self) -> Option<Micros> {
        self.0.attributes.time
    }

    /// The subject in its canonical form, as far as its own text tells.
    pub fn canonical_subject(&self) -> Option<String> {
        self.subject().map(subject::canonical)
    }

    /// The subject in its canonical form, given the header `subject` of the event's record: it is there when Register told another
    /// one than the event's own text.
    pub fn resolved_subject(&self, header: Option<&[u8]>) -> Option<String> {
        match header.and_then(|value| std::str::from_utf8(value).ok()) {
            Some(resolved) => Some(subject::canonical(resolved)),
            None => self.canonical_subject(),
        }
    }

    /// The key on the log: the canonical subject, else the source; never a person's number.
    pub fn kafka_key(&self) -> String {
        match self.canonical_subject() {
            Some(subject) if !subject::is_person_number(&subject) => subject,
            Some(_) | None => self.source().to_owned(),
        }
    }

    /// What makes another publish the same event.
    pub fn identity(&self) -> EventIdentity {
        EventIdentity::of(self.resource(), self.source(), self.id())
    }

    /// A 64-bit hash of the id.
    pub fn id_hash(&self) -> i64 {
        id_hash(self.id())
    }
}

fn trimmed(json: &[u8]) -> Result<&str, Violations> {
    Ok(members::utf8(json)?.trim_matches([' ', '\t', '\r', '\n']))
}

#[cfg(test)]
mod tests;
