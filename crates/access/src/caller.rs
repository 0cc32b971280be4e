//! Claims → [`Caller`]: who calls, in the words of the platform.

use std::{collections::HashSet, fmt, ops::Deref, sync::Arc};

use event::Micros;
use serde_json::Value;

use crate::{claims::BadClaim, subject::Subject, token::Verified};

const ORG: &str = "urn:altinn:org";
const ORG_NUMBER: &str = "urn:altinn:orgNumber";
const USER_ID: &str = "urn:altinn:userid";
const PARTY_ID: &str = "urn:altinn:partyid";
const AUTH_LEVEL: &str = "urn:altinn:authlevel";
/// More scopes than any real token has.
const SCOPES_MAX: usize = 1_000;

/// Who calls: a verified bearer token, and the platform access token beside it when there was one. Cheap to clone; shows as
/// its consumer string in logs.
#[derive(Clone)]
pub struct Caller {
    identity: Arc<Identity>,
    /// The app or component that signed the platform access token of this request, when one was sent and counts.
    pub platform: Option<PlatformApp>,
}

/// What a verified bearer token says (contract §2.3).
pub struct Identity {
    /// What the token may be used for.
    pub scopes: Scopes,
    /// Short name of the service owner, for instance `ttd`.
    pub org: Option<String>,
    /// Number of the person's user.
    pub user_id: Option<i64>,
    /// Number of the person's party.
    pub party_id: Option<i64>,
    /// Organisation number of the owner of the token.
    pub org_number: Option<String>,
    /// Id of the system user.
    pub system_user: Option<String>,
    /// How surely the person or organisation is known: 0 to 4.
    pub auth_level: u8,
    /// Organisation number of the `consumer` in Maskinporten: on whose behalf the token was issued.
    pub consumer_number: Option<String>,
    /// Organisation number of the `supplier` in Maskinporten: who holds a token by delegation of the consumer.
    pub supplier: Option<String>,
    /// When the token ends.
    pub expires: Micros,
    /// What the PDP is told about the caller.
    pub(crate) subject: Arc<Subject>,
}

/// The app or component that signed a platform access token (contract §2.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformApp {
    /// Who signed: a service owner's short name, or `platform`.
    pub issuer: Arc<str>,
    /// Name of the app or component.
    pub app: Arc<str>,
}

/// The scopes of a token; compared without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(HashSet<Box<str>>);

impl Scopes {
    /// Whether this scope is among them.
    pub fn has(&self, scope: &str) -> bool {
        self.0.contains(scope) || self.0.contains(scope.to_ascii_lowercase().as_str())
    }

    /// All of them, in lower case and no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    fn parse(value: Option<&Value>) -> Result<Self, BadClaim> {
        let texts: Vec<&str> = match value {
            None => Vec::new(),
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(list)) => {
                list.iter().map(|item| item.as_str().ok_or(BadClaim("scope"))).collect::<Result<_, _>>()?
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
                return Err(BadClaim("scope"));
            }
        };
        let scopes: HashSet<Box<str>> = texts
            .into_iter()
            .flat_map(str::split_ascii_whitespace)
            .map(|scope| scope.to_ascii_lowercase().into())
            .collect();
        if scopes.len() > SCOPES_MAX { Err(BadClaim("scope")) } else { Ok(Self(scopes)) }
    }
}

impl Caller {
    /// From the claims of a verified token.
    pub(crate) fn from_verified(verified: &Verified) -> Result<Self, BadClaim> {
        let claims = &verified.claims;
        let auth_level = claims.text(AUTH_LEVEL)?.unwrap_or_else(|| "0".to_owned());
        let expires = i64::try_from(verified.expires_s.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        let identity = Identity {
            scopes: Scopes::parse(claims.get("urn:altinn:scope").or_else(|| claims.get("scope")))?,
            org: claims.text(ORG)?,
            user_id: claims.id(USER_ID)?,
            party_id: claims.id(PARTY_ID)?,
            org_number: claims.text(ORG_NUMBER)?,
            system_user: claims.system_user(),
            auth_level: auth_level.parse().map_err(|_| BadClaim(AUTH_LEVEL))?,
            consumer_number: claims.authority_number("consumer"),
            supplier: claims.authority_number("supplier"),
            expires: Micros(expires),
            subject: Arc::new(Subject::from_claims(claims)),
        };
        Ok(Self { identity: Arc::new(identity), platform: None })
    }

    /// Nobody: no scopes, level 0, and the PDP is told that the subject is anonymous.
    pub(crate) fn anonymous() -> Self {
        let identity = Identity {
            scopes: Scopes::default(),
            org: None,
            user_id: None,
            party_id: None,
            org_number: None,
            system_user: None,
            auth_level: 0,
            consumer_number: None,
            supplier: None,
            expires: Micros(i64::MAX),
            subject: Arc::new(Subject::anonymous()),
        };
        Self { identity: Arc::new(identity), platform: None }
    }

    #[cfg(test)]
    pub(crate) fn named_for_test(claim: &str, value: &str) -> Self {
        let claims = crate::claims::Claims::of(&serde_json::json!({ claim: value }));
        Self::from_verified(&Verified { claims, expires_s: 2_000_000_000 }).expect("the claim is one")
    }

    /// Whether nobody is known: the request had no token.
    pub fn is_anonymous(&self) -> bool {
        self.subject.is_anonymous()
    }

    /// The same caller with the platform access token of this request.
    #[must_use]
    pub fn with_platform(mut self, platform: Option<PlatformApp>) -> Self {
        self.platform = platform;
        self
    }

    /// The consumer string (contract §2.4): the first of org, user, system user, organisation that the token names.
    pub fn consumer(&self) -> Option<String> {
        if let Some(org) = &self.org {
            return Some(format!("/org/{org}"));
        }
        if let Some(user_id) = self.user_id {
            return Some(format!("/user/{user_id}"));
        }
        if let Some(system_user) = &self.system_user {
            return Some(format!("/systemuser/{system_user}"));
        }
        self.org_number.as_ref().map(|number| format!("/organisation/{number}"))
    }

    /// Whether the token has this scope; case does not matter.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.has(scope)
    }

    /// Whether the token acts for somebody who delegated to its holder.
    pub fn is_by_delegation(&self) -> bool {
        self.supplier.is_some() && self.supplier != self.consumer_number
    }
}

impl Deref for Caller {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.identity
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("consumer", &self.consumer())
            .field("platform", &self.platform)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::claims::{Claims, ZERO_UUID};

    fn caller(claims: &Value) -> Result<Caller, BadClaim> {
        Caller::from_verified(&Verified { claims: Claims::of(claims), expires_s: 2_000_000_000 })
    }

    fn consumer(claims: &Value) -> Option<String> {
        caller(claims).unwrap().consumer()
    }

    const UUID: &str = "a1b2c3d4-0000-4000-8000-000000000001";

    #[test]
    fn the_consumer_string_is_the_first_that_applies() {
        let details = json!([{"type": "urn:altinn:systemuser", "systemuser_id": [UUID]}]);
        let mut claims = json!({
            "urn:altinn:org": "ttd", "urn:altinn:userid": 1337, "authorization_details": details,
            "urn:altinn:orgNumber": "991825827",
        });
        for (expected, remove) in [
            (Some("/org/ttd".to_owned()), "urn:altinn:org"),
            (Some("/user/1337".to_owned()), "urn:altinn:userid"),
            (Some(format!("/systemuser/{UUID}")), "authorization_details"),
            (Some("/organisation/991825827".to_owned()), "urn:altinn:orgNumber"),
            (None, ""),
        ] {
            assert_eq!(consumer(&claims), expected);
            claims.as_object_mut().unwrap().remove(remove);
        }
    }

    #[test]
    fn numbers_and_texts_make_the_same_caller() {
        assert_eq!(consumer(&json!({"urn:altinn:userid": "1337"})).unwrap(), "/user/1337");
        assert_eq!(
            consumer(&json!({"urn:altinn:orgNumber": 991_825_827})).unwrap(),
            "/organisation/991825827"
        );
        assert_eq!(caller(&json!({"urn:altinn:authlevel": "3"})).unwrap().auth_level, 3);
        assert_eq!(caller(&json!({"urn:altinn:authlevel": 3})).unwrap().auth_level, 3);
    }

    #[test]
    fn zero_is_nobody() {
        let zero = json!([{"type": "urn:altinn:systemuser", "systemuser_id": [ZERO_UUID]}]);
        assert_eq!(consumer(&json!({"urn:altinn:userid": 0, "authorization_details": zero})), None);
    }

    #[test]
    fn claims_of_an_impossible_shape_are_refused() {
        for claims in [
            json!({"urn:altinn:userid": "abc"}),
            json!({"urn:altinn:partyid": -5}),
            json!({"urn:altinn:authlevel": 300}),
            json!({"scope": 7}),
            json!({"scope": (0..10_000).map(|n| format!("s{n}")).collect::<Vec<_>>().join(" ")}),
        ] {
            assert!(caller(&claims).is_err(), "{claims}");
        }
    }

    #[test]
    fn scopes_compare_ignoring_case_and_a_federated_claim_goes_first() {
        let one = caller(&json!({"scope": "altinn:Events.Publish  openid"})).unwrap();
        assert!(one.has_scope("altinn:events.publish") && one.has_scope("ALTINN:EVENTS.PUBLISH"));
        assert!(!one.has_scope("altinn:events.publish.admin"));
        let federated = caller(&json!({"scope": "a", "urn:altinn:scope": "b"})).unwrap();
        assert!(federated.has_scope("b") && !federated.has_scope("a"));
    }

    #[test]
    fn a_token_by_delegation_names_both() {
        let claims = json!({
            "consumer": {"authority": "iso6523-actorid-upis", "ID": "0192:991825827"},
            "supplier": {"authority": "iso6523-actorid-upis", "ID": "0192:310075728"},
        });
        let caller = caller(&claims).unwrap();
        assert_eq!(caller.consumer_number.as_deref(), Some("991825827"));
        assert_eq!(caller.supplier.as_deref(), Some("310075728"));
        assert!(caller.is_by_delegation());
    }

    #[test]
    fn a_caller_shows_no_person_number() {
        let caller = caller(&json!({"urn:altinn:userid": 1, "pid": "02857099512"})).unwrap();
        assert!(!format!("{caller:?}").contains("02857099512"));
    }
}
