//! The claims of a token: named values, each name once.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::Value;

const SYSTEM_USER_TYPE: &str = "urn:altinn:systemuser";
pub(crate) const ZERO_UUID: &str = "00000000-0000-0000-0000-000000000000";

/// Claims in the token's own order. A name that occurs twice makes the token malformed.
#[derive(Clone, Default)]
pub(crate) struct Claims(Vec<(String, Value)>);

/// A claim we use has a shape that it cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claim {0} has an unexpected shape")]
pub(crate) struct BadClaim(pub(crate) &'static str);

impl Claims {
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
            .filter(|value| !value.is_null())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// A text, also when it was written as a number. Empty counts as absent.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<String>, BadClaim> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => Err(BadClaim(name)),
        }
    }

    /// A positive whole number, also when it was written as a text. Zero counts as absent: it is nobody's id.
    pub(crate) fn id(&self, name: &'static str) -> Result<Option<i64>, BadClaim> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let number: i64 = text.parse().map_err(|_| BadClaim(name))?;
        if number < 0 { Err(BadClaim(name)) } else { Ok(Some(number).filter(|number| *number > 0)) }
    }

    /// The organisation number in a claim like `{"authority": …, "ID": "0192:991825827"}`.
    pub(crate) fn authority_number(&self, name: &str) -> Option<String> {
        let claim = structured(self.get(name)?)?;
        let number = claim.get("ID")?.as_str()?.rsplit(':').next()?;
        (number.len() == 9 && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| number.to_owned())
    }

    /// The first system user in `authorization_details`; the zero id is nobody's.
    pub(crate) fn system_user(&self) -> Option<String> {
        let details = structured(self.get("authorization_details")?)?;
        let list = details.as_array().map_or(std::slice::from_ref(details.as_ref()), Vec::as_slice);
        let is_one = |entry: &&Value| entry.get("type").and_then(Value::as_str) == Some(SYSTEM_USER_TYPE);
        let id = list.iter().find(is_one)?.get("systemuser_id")?;
        let id = id.as_array().map_or(Some(id), |ids| ids.first())?.as_str()?.to_ascii_lowercase();
        (is_uuid(&id) && id != ZERO_UUID).then_some(id)
    }

    #[cfg(test)]
    pub(crate) fn of(json: &Value) -> Self {
        serde_json::from_value(json.clone()).unwrap()
    }
}

/// A claim that has members: .NET writes it as a text that holds JSON, Maskinporten writes JSON.
fn structured(claim: &Value) -> Option<Cow<'_, Value>> {
    match claim {
        Value::String(text) => serde_json::from_str(text).ok().map(Cow::Owned),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(Cow::Borrowed(claim))
        }
    }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

/// More claims than any real token has.
const CLAIMS_MAX: usize = 256;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let mut claims: Vec<(String, Value)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if claims.len() == CLAIMS_MAX {
                return Err(A::Error::custom("too many claims"));
            }
            if claims.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom("a claim occurs twice"));
            }
            claims.push((name, value));
        }
        Ok(Claims(claims))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_that_occurs_twice_is_malformed() {
        assert!(serde_json::from_str::<Claims>(r#"{"a":1,"b":2}"#).is_ok());
        assert!(serde_json::from_str::<Claims>(r#"{"a":1,"a":1}"#).is_err());
    }

    #[test]
    fn claims_may_be_numbers_or_texts() {
        let claims =
            Claims::of(&json!({"n": 1337, "t": "1337", "zero": 0, "bad": "x", "minus": -1, "list": []}));
        assert_eq!(claims.id("n"), Ok(Some(1337)));
        assert_eq!(claims.id("t"), Ok(Some(1337)));
        assert_eq!(claims.text("n"), Ok(Some("1337".to_owned())));
        assert_eq!(claims.id("zero"), Ok(None));
        assert_eq!(claims.id("absent"), Ok(None));
        assert_eq!(claims.id("bad"), Err(BadClaim("bad")));
        assert_eq!(claims.id("minus"), Err(BadClaim("minus")));
        assert_eq!(claims.text("list"), Err(BadClaim("list")));
    }
}
