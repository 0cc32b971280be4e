//! Tokens with the claims of the real ones (contract §2.1), for whoever asks.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::keys::KeyRing;

/// Seconds that a token lives when nothing else is said.
const TTL_S: i64 = 1_800;
/// The same for platform access tokens.
const PLATFORM_TTL_S: i64 = 300;

/// What a token should say. The fields are the parameters of the public test tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// Of whom.
    pub holder: Holder,
    /// Scopes.
    pub scopes: Vec<String>,
    /// Seconds until it ends; below zero it has ended.
    pub ttl_s: i64,
    /// Authentication level; 3 for organisations and 4 for persons when nothing is said.
    pub auth_level: Option<u8>,
    /// Organisation number of a supplier who holds the token by delegation.
    pub supplier: Option<String>,
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// An organisation, a service owner when `org` is there.
    Enterprise {
        /// Short name.
        org: Option<String>,
        /// Organisation number.
        org_number: String,
    },
    /// A person.
    Person {
        /// Number of the user.
        user_id: i64,
        /// Number of the party.
        party_id: i64,
        /// Person number, synthetic.
        pid: Option<String>,
    },
    /// A system user of an organisation.
    SystemUser {
        /// Id (a UUID).
        id: String,
        /// Organisation number.
        org_number: String,
    },
    /// An app or component, for a platform access token.
    Platform {
        /// Who signs: a service owner, or `platform`.
        issuer: String,
        /// Name of the app.
        app: String,
    },
}

impl TokenRequest {
    fn new(holder: Holder, scopes: &[&str], ttl_s: i64) -> Self {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Self { holder, scopes, ttl_s, auth_level: None, supplier: None }
    }

    /// Of a service owner, or of an organisation when `org` is none.
    pub fn enterprise(org: Option<&str>, org_number: &str, scopes: &[&str]) -> Self {
        let holder = Holder::Enterprise { org: org.map(str::to_owned), org_number: org_number.to_owned() };
        Self::new(holder, scopes, TTL_S)
    }

    /// Of a person.
    pub fn personal(user_id: i64, party_id: i64, scopes: &[&str]) -> Self {
        Self::new(Holder::Person { user_id, party_id, pid: None }, scopes, TTL_S)
    }

    /// Of a system user.
    pub fn system_user(id: &str, org_number: &str, scopes: &[&str]) -> Self {
        let holder = Holder::SystemUser { id: id.to_owned(), org_number: org_number.to_owned() };
        Self::new(holder, scopes, TTL_S)
    }

    /// Of an app, signed by its service owner.
    pub fn platform(issuer: &str, app: &str) -> Self {
        let holder = Holder::Platform { issuer: issuer.to_owned(), app: app.to_owned() };
        Self::new(holder, &[], PLATFORM_TTL_S)
    }

    /// The same with another life time in seconds; below zero it has ended.
    #[must_use]
    pub fn ttl(mut self, seconds: i64) -> Self {
        self.ttl_s = seconds;
        self
    }

    /// The same at another authentication level.
    #[must_use]
    pub fn level(mut self, level: u8) -> Self {
        self.auth_level = Some(level);
        self
    }

    /// The same, held by a supplier to whom the organisation delegated.
    #[must_use]
    pub fn supplied_by(mut self, org_number: &str) -> Self {
        self.supplier = Some(org_number.to_owned());
        self
    }

    pub(crate) fn mint(&self, keys: &KeyRing, base_url: &str) -> String {
        let claims = self.claims(base_url);
        match &self.holder {
            Holder::Platform { .. } => keys.sign_platform(&claims),
            Holder::Enterprise { .. } | Holder::Person { .. } | Holder::SystemUser { .. } => {
                keys.sign_bearer(&claims, None)
            }
        }
    }

    fn claims(&self, base_url: &str) -> Value {
        let now = now_s();
        let mut claims = self.holder_claims();
        let all = [
            ("iss", json!(format!("{base_url}/authentication/api/v1/openid/"))),
            ("iat", json!(now)),
            ("nbf", json!(now.min(now.saturating_add(self.ttl_s)).saturating_sub(5))),
            ("exp", json!(now.saturating_add(self.ttl_s))),
            ("jti", json!(Uuid::new_v4().to_string())),
        ];
        for (name, value) in all {
            // A platform access token names its own issuer.
            claims.entry(name.to_owned()).or_insert(value);
        }
        if !self.scopes.is_empty() {
            claims.insert("scope".into(), json!(self.scopes.join(" ")));
        }
        if let Some(supplier) = &self.supplier {
            claims.insert("supplier".into(), authority(supplier));
        }
        Value::Object(claims)
    }

    fn holder_claims(&self) -> serde_json::Map<String, Value> {
        let level = |default: u8| self.auth_level.unwrap_or(default).to_string();
        let claims = match &self.holder {
            Holder::Enterprise { org, org_number } => {
                let mut claims = json!({
                    "token_type": "Bearer",
                    "client_id": Uuid::new_v4().to_string(),
                    "consumer": authority(org_number),
                    "urn:altinn:orgNumber": org_number,
                    "urn:altinn:authenticatemethod": "maskinporten",
                    "urn:altinn:authlevel": level(3),
                });
                if let (Some(org), Some(claims)) = (org, claims.as_object_mut()) {
                    claims.insert("urn:altinn:org".into(), json!(org));
                }
                claims
            }
            Holder::Person { user_id, party_id, pid } => json!({
                "token_type": "Bearer",
                "client_id": Uuid::new_v4().to_string(),
                "nameid": user_id.to_string(),
                "urn:altinn:userid": user_id.to_string(),
                "urn:altinn:partyid": party_id,
                "urn:altinn:authenticatemethod": "BankID",
                "urn:altinn:authlevel": level(4),
                "pid": pid,
                "acr": "idporten-loa-high",
            }),
            Holder::SystemUser { id, org_number } => json!({
                "token_type": "Bearer",
                "client_id": Uuid::new_v4().to_string(),
                "consumer": authority(org_number),
                "urn:altinn:authlevel": level(3),
                "authorization_details": [{
                    "type": "urn:altinn:systemuser",
                    "systemuser_id": [id],
                    "systemuser_org": authority(org_number),
                    "system_id": format!("{org_number}_local_system"),
                }],
            }),
            Holder::Platform { issuer, app } => json!({
                "iss": issuer,
                "aud": "platform.altinn.no",
                "urn:altinn:app": app,
                "jti": Uuid::new_v4().to_string(),
            }),
        };
        match claims {
            Value::Object(claims) => claims.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                serde_json::Map::new()
            }
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(now).unwrap_or(i64::MAX)
}

pub(crate) fn authority(org_number: &str) -> Value {
    json!({"authority": "iso6523-actorid-upis", "ID": format!("0192:{org_number}")})
}
