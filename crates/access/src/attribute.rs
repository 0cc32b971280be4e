//! One XACML attribute of a question, the names in use, and how attributes become a cache key.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

pub(crate) const USER_ID: &str = "urn:altinn:userid";
pub(crate) const ANONYMOUS: &str = "urn:altinn:anonymous";
pub(crate) const ORG: &str = "urn:altinn:org";
pub(crate) const APP: &str = "urn:altinn:app";
pub(crate) const PARTY_ID: &str = "urn:altinn:partyid";
pub(crate) const PARTY_UUID: &str = "urn:altinn:party:uuid";
pub(crate) const PERSON_UUID: &str = "urn:altinn:person:uuid";
pub(crate) const PERSON_NUMBER: &str = "urn:altinn:person:identifier-no";
pub(crate) const ORGANISATION_NUMBER: &str = "urn:altinn:organization:identifier-no";
pub(crate) const ORGANISATION_NUMBER_OLD: &str = "urn:altinn:organizationnumber";
pub(crate) const SYSTEM_USER: &str = "urn:altinn:systemuser:uuid";
pub(crate) const SCOPE: &str = "urn:scope";
pub(crate) const SESSION_ID: &str = "urn:altinn:sessionid";
pub(crate) const EVENT_ID: &str = "urn:altinn:event-id";
pub(crate) const EVENT_TYPE: &str = "urn:altinn:eventtype";
pub(crate) const EVENT_SOURCE: &str = "urn:altinn:eventsource";
pub(crate) const INSTANCE_ID: &str = "urn:altinn:instance-id";
pub(crate) const RESOURCE: &str = "urn:altinn:resource";
pub(crate) const RESOURCE_INSTANCE: &str = "urn:altinn:resource:instance-id";
pub(crate) const APP_RESOURCE: &str = "urn:altinn:appresource";
pub(crate) const ACTION_ID: &str = "urn:oasis:names:tc:xacml:1.0:action:action-id";

/// A party id that nobody has: the PDP evaluates it normally, while an event without a party would be shown to more people
/// (contract §3.8).
pub(crate) const NOBODY: &str = "0";

/// Issuer of attributes that do not come from a token.
pub(crate) const ALTINN: &str = "Altinn";

/// Data types as they stand in the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DataType {
    /// The bare word.
    String,
    XsdString,
    XsdInteger,
}

impl DataType {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::XsdString => "http://www.w3.org/2001/XMLSchema#string",
            Self::XsdInteger => "http://www.w3.org/2001/XMLSchema#integer",
        }
    }
}

/// One attribute. Its value may be a person number: it has no `Debug`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Attribute {
    pub(crate) id: Cow<'static, str>,
    pub(crate) value: String,
    pub(crate) data_type: DataType,
    pub(crate) issuer: Cow<'static, str>,
    /// Asked back in the result.
    pub(crate) in_result: bool,
}

impl Attribute {
    /// A bare string issued by Altinn, not asked back.
    pub(crate) fn new(id: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            value: value.into(),
            data_type: DataType::String,
            issuer: Cow::Borrowed(ALTINN),
            in_result: false,
        }
    }

    pub(crate) fn typed(mut self, data_type: DataType) -> Self {
        self.data_type = data_type;
        self
    }

    pub(crate) fn asked_back(mut self) -> Self {
        self.in_result = true;
        self
    }

    /// Party texts are asked back, URNs never (contract §3.3).
    pub(crate) fn asked_back_unless_urn(self) -> Self {
        let is_urn = self.data_type == DataType::String;
        if is_urn { self } else { self.asked_back() }
    }

    pub(crate) fn issued_by(mut self, issuer: &str) -> Self {
        self.issuer = Cow::Owned(issuer.to_owned());
        self
    }

    /// Event id and session id change from question to question and decide nothing.
    fn decides(&self) -> bool {
        self.id != EVENT_ID && self.id != SESSION_ID
    }
}

/// What a consumer string, a subject or an alternative subject means to the PDP (contract §3.3); nothing for other texts.
pub(crate) fn of_party_text(text: &str) -> Option<Attribute> {
    let xsd = |id: &'static str, value: &str, data_type| Some(Attribute::new(id, value).typed(data_type));
    if let Some(rest) = text.strip_prefix('/') {
        let (kind, value) = rest.split_once('/')?;
        return match kind {
            _ if value.is_empty() => None,
            "user" => xsd(USER_ID, value, DataType::XsdString),
            "org" => xsd(ORG, value, DataType::XsdString),
            "party" => xsd(PARTY_ID, value, DataType::XsdInteger),
            "organisation" => xsd(ORGANISATION_NUMBER, value, DataType::XsdString),
            "systemuser" => xsd(SYSTEM_USER, value, DataType::XsdString),
            _other => None,
        };
    }
    of_urn(text)
}

/// A URN split at its last colon: what stands before is the name, what stands after the value.
pub(crate) fn of_urn(urn: &str) -> Option<Attribute> {
    let (name, value) = urn.rsplit_once(':')?;
    (is_urn(urn) && name != "urn" && !value.is_empty()).then(|| Attribute::new(name.to_owned(), value))
}

/// Whether the text is a URN by RFC 8141's outer form, in any case.
pub(crate) fn is_urn(text: &str) -> bool {
    let mut parts = text.splitn(3, ':');
    let (scheme, namespace, rest) = (parts.next(), parts.next(), parts.next());
    let namespace_ok = namespace.is_some_and(|namespace| {
        (2..=32).contains(&namespace.len())
            && namespace.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !namespace.starts_with('-')
    });
    let rest_ok =
        rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()));
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("urn")) && namespace_ok && rest_ok
}

/// Feeds the attributes that decide into a digest; lengths stand before texts, so that no two lists run together.
pub(crate) fn digest_into(hasher: &mut Sha256, attributes: &[Attribute]) {
    for attribute in attributes.iter().filter(|attribute| attribute.decides()) {
        for text in [&*attribute.id, &attribute.value, &*attribute.issuer, attribute.data_type.text()] {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
    }
    hasher.update(u64::MAX.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<(&str, &str, DataType)>) {
        let found = of_party_text(text);
        let found = found.as_ref().map(|found| (&*found.id, found.value.as_str(), found.data_type));
        assert_eq!(found, expect, "{text}");
    }

    #[test]
    fn consumer_and_subject_texts_become_the_attributes_of_the_contract() {
        check("/user/20000001", Some(("urn:altinn:userid", "20000001", DataType::XsdString)));
        check("/org/ttd", Some(("urn:altinn:org", "ttd", DataType::XsdString)));
        check("/party/50001337", Some(("urn:altinn:partyid", "50001337", DataType::XsdInteger)));
        let number = "urn:altinn:organization:identifier-no";
        check("/organisation/991825827", Some((number, "991825827", DataType::XsdString)));
        check("/systemuser/a-b", Some(("urn:altinn:systemuser:uuid", "a-b", DataType::XsdString)));
        check(
            "urn:altinn:organization:identifier-no:991825827",
            Some((number, "991825827", DataType::String)),
        );
        for nothing in
            ["", "party", "/party/", "/person/02857099512", "/organization/1", "free text", "urn:x"]
        {
            check(nothing, None);
        }
    }

    #[test]
    fn digests_tell_neighbouring_values_apart_and_overlook_ids_that_decide_nothing() {
        let digest = |attributes: &[Attribute]| {
            let mut hasher = Sha256::new();
            digest_into(&mut hasher, attributes);
            hasher.finalize()
        };
        let one = [Attribute::new(PARTY_ID, "1"), Attribute::new(EVENT_ID, "a")];
        let other_event = [Attribute::new(PARTY_ID, "1"), Attribute::new(EVENT_ID, "b")];
        let other_party = [Attribute::new(PARTY_ID, "2"), Attribute::new(EVENT_ID, "a")];
        let shifted = [Attribute::new(format!("{PARTY_ID}1"), "")];
        assert_eq!(digest(&one), digest(&other_event));
        assert_ne!(digest(&one), digest(&other_party));
        assert_ne!(digest(&one), digest(&shifted));
    }
}
