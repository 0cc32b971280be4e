//! The members of a JSON object against the profile: reads the attributes, collects everything that is wrong.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    instant::{Micros, TimeRefusal},
    limits::{ATTRIBUTE_MAX, NAME_MAX, RESOURCE_MAX},
    media::MediaType,
    resource, subject,
    violation::{Violation, Violations},
};

/// What an event is filtered on, decoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) kind: String,
    pub(crate) subject: Option<String>,
    pub(crate) time_text: Option<String>,
    pub(crate) time: Option<Micros>,
    pub(crate) resource: String,
    pub(crate) instance: Option<String>,
    pub(crate) alternative_subject: Option<String>,
}

/// A check under way.
#[derive(Default)]
pub(crate) struct Check {
    attributes: Attributes,
    seen: Seen,
    wrong: Vec<Violation>,
    /// Whether the event was accepted before: what the door refuses only since then does not count.
    is_stored: bool,
}

/// Which of the members that belong together were there.
#[derive(Default)]
struct Seen {
    version: bool,
    id: bool,
    source: bool,
    kind: bool,
    resource: bool,
    data: bool,
    base64: bool,
}

impl Check {
    /// A check of an event that was accepted before.
    pub(crate) fn of_stored() -> Self {
        Self { is_stored: true, ..Self::default() }
    }

    /// Notes something that is wrong.
    pub(crate) fn wrong(&mut self, attribute: &str, message: impl Into<String>) {
        self.wrong.push(Violation::new(attribute, message));
    }

    /// Takes one member. A null is an absent member; beside no other data, null data is data.
    pub(crate) fn member(&mut self, name: &str, value: &RawValue) {
        let raw = value.get();
        match name {
            _ if raw == "null" => {}
            "data" => self.seen.data = true,
            "data_base64" => self.base64(raw),
            "specversion" => self.version(raw),
            "id" => {
                self.seen.id = true;
                self.attributes.id = self.text(name, raw, ATTRIBUTE_MAX).unwrap_or_default();
            }
            "source" => self.source(raw),
            "type" => {
                self.seen.kind = true;
                self.attributes.kind = self.text(name, raw, ATTRIBUTE_MAX).unwrap_or_default();
            }
            "subject" => self.subject(raw),
            "alternativesubject" => self.attributes.alternative_subject = self.optional(name, raw),
            "resourceinstance" => self.attributes.instance = self.optional(name, raw),
            "resource" => self.resource(raw),
            "time" => self.time(raw),
            "dataschema" => self.data_schema(raw),
            "datacontenttype" => self.content_type(raw),
            _ => self.extension(name, raw),
        }
    }

    /// The attributes, or everything that is wrong.
    pub(crate) fn finish(mut self) -> Result<Attributes, Violations> {
        let required = [
            ("specversion", self.seen.version),
            ("id", self.seen.id),
            ("source", self.seen.source),
            ("type", self.seen.kind),
            ("resource", self.seen.resource),
        ];
        for (name, seen) in required {
            if !seen {
                self.wrong(name, "is missing");
            }
        }
        if self.seen.data && self.seen.base64 {
            self.wrong("data_base64", "stands beside data; only one of them may be there");
        }
        if self.wrong.is_empty() { Ok(self.attributes) } else { Err(Violations(self.wrong)) }
    }

    /// A string within a limit, without control characters.
    fn string(&mut self, name: &str, raw: &str, max: usize) -> Option<String> {
        let Some(text) = decoded(raw) else {
            self.wrong(name, "is not a string");
            return None;
        };
        if text.len() > max {
            self.wrong(name, format!("is longer than {max} bytes"));
        } else if holds_control(&text) {
            self.wrong(name, "holds a control character");
        }
        Some(text.into_owned())
    }

    /// A string that must not be empty.
    fn text(&mut self, name: &str, raw: &str, max: usize) -> Option<String> {
        let text = self.string(name, raw, max)?;
        if text.is_empty() {
            self.wrong(name, "is empty");
        }
        Some(text)
    }

    /// An extension of ours; empty is as good as absent, as CloudEvents allows for extensions.
    fn optional(&mut self, name: &str, raw: &str) -> Option<String> {
        self.string(name, raw, ATTRIBUTE_MAX).filter(|text| !text.is_empty())
    }

    fn version(&mut self, raw: &str) {
        self.seen.version = true;
        if decoded(raw).as_deref() != Some("1.0") {
            self.wrong("specversion", "is not \"1.0\"");
        }
    }

    fn source(&mut self, raw: &str) {
        self.seen.source = true;
        let Some(source) = self.text("source", raw, ATTRIBUTE_MAX) else { return };
        if !is_uri_reference(&source) {
            self.wrong("source", "is not a URI reference");
        }
        self.attributes.source = source;
    }

    fn resource(&mut self, raw: &str) {
        self.seen.resource = true;
        let Some(resource) = self.text("resource", raw, RESOURCE_MAX) else { return };
        if !resource.is_empty() && !resource::is_urn(&resource) {
            self.wrong("resource", "is not a valid URN; example: urn:altinn:resource:app_ttd_apps-test");
        }
        self.attributes.resource = resource;
    }

    /// A person's number with a mistake in it fails whole requests to Register and the PDP, the questions of others included (contract
    /// §3.8). The number is not repeated.
    fn subject(&mut self, raw: &str) {
        self.attributes.subject = self.text("subject", raw, ATTRIBUTE_MAX);
        let named = self.attributes.subject.as_deref();
        if named.is_some_and(subject::is_no_persons_number) && !self.is_stored {
            self.wrong(
                "subject",
                "names a person by what is no person's number: eleven figures, of which the last two check the others",
            );
        }
    }

    fn time(&mut self, raw: &str) {
        let Some(text) = self.text("time", raw, ATTRIBUTE_MAX) else { return };
        match Micros::read(&text) {
            Ok(time) => self.attributes.time = Some(time),
            Err(_) if text.is_empty() => {}
            Err(refusal) if self.is_stored && refusal != TimeRefusal::NotATime => {}
            Err(refusal) => self.wrong("time", refusal.to_string()),
        }
        self.attributes.time_text = Some(text);
    }

    fn data_schema(&mut self, raw: &str) {
        let schema = self.text("dataschema", raw, RESOURCE_MAX);
        if schema.is_some_and(|schema| !schema.is_empty() && url::Url::parse(&schema).is_err()) {
            self.wrong("dataschema", "is not an absolute URI");
        }
    }

    fn content_type(&mut self, raw: &str) {
        let text = self.text("datacontenttype", raw, ATTRIBUTE_MAX);
        if text.is_some_and(|text| !text.is_empty() && MediaType::parse(&text).is_none()) {
            self.wrong("datacontenttype", "is not a media type; example: application/json");
        }
    }

    fn base64(&mut self, raw: &str) {
        self.seen.base64 = true;
        if !decoded(raw).is_some_and(|text| is_base64(&text)) {
            self.wrong("data_base64", "is not base64 text");
        }
    }

    fn name(&mut self, name: &str) {
        let named = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !named || name.is_empty() || name.len() > NAME_MAX {
            self.wrong(name, format!("is not a name of 1 to {NAME_MAX} lower-case letters and digits"));
        }
    }

    fn extension(&mut self, name: &str, raw: &str) {
        self.name(name);
        match raw.as_bytes().first() {
            Some(b'"') => match decoded(raw) {
                Some(text) if holds_control(&text) => self.wrong(name, "holds a control character"),
                Some(_) => {}
                None => self.wrong(name, "is not a string"),
            },
            Some(b't' | b'f') => {}
            Some(_) if raw.parse::<i32>().is_ok() => {}
            Some(_) | None => self.wrong(name, "is neither a string nor a boolean nor a 32-bit integer"),
        }
    }
}

/// The text of a JSON string; borrowed unless it holds escapes.
fn decoded(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

fn holds_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Whether a text can be a URI reference (RFC 3986 §4.1); letters beyond ASCII are let through as in IRIs.
fn is_uri_reference(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let good = match byte {
            b'%' => {
                let digits = (bytes.next(), bytes.next());
                matches!(digits, (Some(a), Some(b)) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
            }
            b' ' | b'<' | b'>' | b'"' | b'{' | b'}' | b'|' | b'\\' | b'^' | b'`' => false,
            other => !other.is_ascii_control(),
        };
        if !good {
            return false;
        }
    }
    true
}

/// Whether a text is base64 with padding (RFC 4648 §4).
fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}
