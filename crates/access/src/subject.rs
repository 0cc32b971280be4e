//! Who the PDP is asked about: from the claims of a token or from a consumer string (contract §3.3).

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    attribute::{
        ANONYMOUS, Attribute, ORGANISATION_NUMBER, ORGANISATION_NUMBER_OLD, PARTY_ID, PERSON_NUMBER,
        PERSON_UUID, SCOPE, SESSION_ID, SYSTEM_USER, USER_ID, digest_into, is_urn, of_party_text,
    },
    claims::Claims,
};

/// What .NET calls the issuer of a claim whose token names none; the existing service sends the same.
const NO_ISSUER: &str = "LOCAL AUTHORITY";
const ORG_NUMBER_CLAIM: &str = "urn:altinn:orgNumber";
/// Claims that name an identity; at most one of them becomes an attribute. No token says that nobody is known, and the PDP throws on
/// a person's number.
const IDENTITIES: [&str; 9] = [
    PERSON_NUMBER,
    ANONYMOUS,
    PERSON_UUID,
    USER_ID,
    PARTY_ID,
    SYSTEM_USER,
    ORG_NUMBER_CLAIM,
    ORGANISATION_NUMBER_OLD,
    ORGANISATION_NUMBER,
];

/// Attributes of one subject and their digest, made once and shared by all questions about it.
pub(crate) struct Subject {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) digest: [u8; 32],
}

impl Subject {
    fn new(attributes: Vec<Attribute>) -> Self {
        let mut hasher = Sha256::new();
        digest_into(&mut hasher, &attributes);
        Self { digest: hasher.finalize().into(), attributes }
    }

    /// Nobody who is known.
    pub(crate) fn anonymous() -> Self {
        Self::new(vec![Attribute::new(ANONYMOUS, "true")])
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.attributes.iter().any(|attribute| attribute.id == ANONYMOUS)
    }

    /// From a consumer string.
    pub(crate) fn from_consumer(consumer: &str) -> Self {
        Self::new(of_party_text(consumer).map(Attribute::asked_back_unless_urn).into_iter().collect())
    }

    /// From the claims of a token: scope, session, every claim named by a URN, and exactly one identity. A system user is asked
    /// about by its id alone.
    pub(crate) fn from_claims(claims: &Claims) -> Self {
        let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or(NO_ISSUER);
        let (identity, stands_alone) = identity(claims);
        let mut attributes = if stands_alone { Vec::new() } else { described(claims) };
        attributes.extend(identity);
        Self::new(attributes.into_iter().map(|attribute| attribute.issued_by(issuer)).collect())
    }
}

fn described(claims: &Claims) -> Vec<Attribute> {
    let mut attributes = Vec::new();
    if let Some(scope) = claims.get("scope") {
        attributes.extend(texts(scope).into_iter().map(|text| Attribute::new(SCOPE, text)));
    }
    if let Some(session) = claims.get("sid").or_else(|| claims.get("jti")) {
        attributes.extend(texts(session).into_iter().map(|text| Attribute::new(SESSION_ID, text)));
    }
    for (name, value) in claims.iter() {
        let is_identity = IDENTITIES.iter().any(|known| name.eq_ignore_ascii_case(known));
        if is_urn(name) && !is_identity {
            let texts = texts(value).into_iter();
            attributes.extend(texts.map(|text| Attribute::new(name.to_owned(), text)));
        }
    }
    attributes
}

/// The one identity, and whether it is a system user, which stands alone.
fn identity(claims: &Claims) -> (Vec<Attribute>, bool) {
    for name in [PERSON_UUID, USER_ID, PARTY_ID] {
        if let Some(value) = claims.get(name).and_then(|value| texts(value).into_iter().next())
            && value != "0"
        {
            return (vec![Attribute::new(name, value)], false);
        }
    }
    if let Some(id) = claims.system_user() {
        return (vec![Attribute::new(SYSTEM_USER, id)], true);
    }
    if let Some(number) = first_text(claims, ORG_NUMBER_CLAIM) {
        let both = [ORGANISATION_NUMBER_OLD, ORGANISATION_NUMBER];
        return (both.into_iter().map(|name| Attribute::new(name, number.clone())).collect(), false);
    }
    let number = first_text(claims, ORGANISATION_NUMBER)
        .or_else(|| first_text(claims, ORGANISATION_NUMBER_OLD))
        .or_else(|| claims.authority_number("consumer"));
    (number.map(|number| Attribute::new(ORGANISATION_NUMBER, number)).into_iter().collect(), false)
}

fn first_text(claims: &Claims, name: &str) -> Option<String> {
    texts(claims.get(name)?).into_iter().next().filter(|text| !text.is_empty())
}

/// A claim's value as .NET sees it: one text for each item of a list.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => vec![value.to_string()],
        Value::Array(list) => list.iter().flat_map(texts_of_item).collect(),
    }
}

fn texts_of_item(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) | Value::Array(_) => Some(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subject(claims: &Value) -> Vec<(String, String)> {
        let subject = Subject::from_claims(&Claims::of(claims));
        subject.attributes.into_iter().map(|found| (found.id.into_owned(), found.value)).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(id, value)| ((*id).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_organisation_is_asked_about_by_its_claims_and_both_names_of_its_number() {
        let claims = json!({
            "iss": "https://platform.altinn.no", "exp": 1, "client_id": "x", "scope": "altinn:events.publish openid",
            "jti": "j", "urn:altinn:org": "ttd", "urn:altinn:orgNumber": "991825827", "urn:altinn:authlevel": 3,
        });
        let expected = [
            ("urn:scope", "altinn:events.publish openid"),
            ("urn:altinn:sessionid", "j"),
            ("urn:altinn:authlevel", "3"),
            ("urn:altinn:org", "ttd"),
            ("urn:altinn:organizationnumber", "991825827"),
            ("urn:altinn:organization:identifier-no", "991825827"),
        ];
        assert_eq!(subject(&claims), pairs(&expected));
        let subject = Subject::from_claims(&Claims::of(&claims));
        assert!(subject.attributes.iter().all(|found| found.issuer == "https://platform.altinn.no"));
    }

    #[test]
    fn exactly_one_identity_is_told() {
        let mut claims = json!({
            "urn:altinn:person:uuid": "u", "urn:altinn:userid": 1337, "urn:altinn:partyid": 50_001_337,
            "consumer": {"ID": "0192:991825827"}, "pid": "02857099512",
        });
        for (name, value, remove) in [
            ("urn:altinn:person:uuid", "u", "urn:altinn:person:uuid"),
            ("urn:altinn:userid", "1337", "urn:altinn:userid"),
            ("urn:altinn:partyid", "50001337", "urn:altinn:partyid"),
            ("urn:altinn:organization:identifier-no", "991825827", "consumer"),
        ] {
            assert_eq!(subject(&claims), pairs(&[(name, value)]));
            claims.as_object_mut().unwrap().remove(remove);
        }
        assert!(subject(&claims).is_empty());
    }

    #[test]
    fn a_persons_number_in_a_token_is_never_told() {
        let claims = json!({"urn:altinn:person:identifier-no": "02857010054", "urn:altinn:userid": 1337});
        assert_eq!(subject(&claims), pairs(&[("urn:altinn:userid", "1337")]));
    }

    #[test]
    fn a_system_user_stands_alone() {
        let id = "a1b2c3d4-0000-4000-8000-000000000001";
        let claims = json!({
            "scope": "s", "urn:altinn:orgNumber": "991825827",
            "authorization_details": [{"type": "urn:altinn:systemuser", "systemuser_id": [id]}],
        });
        assert_eq!(subject(&claims), pairs(&[("urn:altinn:systemuser:uuid", id)]));
    }

    #[test]
    fn two_sessions_of_one_caller_have_one_digest() {
        let digest = |session: &str, level: u8| {
            let claims = json!({"sid": session, "urn:altinn:userid": 1, "urn:altinn:authlevel": level});
            Subject::from_claims(&Claims::of(&claims)).digest
        };
        assert_eq!(digest("a", 3), digest("b", 3));
        assert_ne!(digest("a", 3), digest("a", 4));
    }
}
