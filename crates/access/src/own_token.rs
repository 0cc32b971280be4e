//! The platform access token that we send to Register: we are a component of the platform, as apps are (contract §2.6, §3.7).

use std::sync::{Mutex, PoisonError};

use http::HeaderValue;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::error::SetupError;

const ISSUER: &str = "platform";
const APP: &str = "events";
/// Seconds that a token lives.
const LIFETIME_S: u64 = 300;
/// Seconds before its end at which it is replaced.
const SPARE_S: u64 = 60;

/// See the module.
pub(crate) struct OwnToken {
    key: EncodingKey,
    current: Mutex<Option<(HeaderValue, u64)>>,
}

impl OwnToken {
    /// From an RSA private key as PEM.
    pub(crate) fn new(pem: &str) -> Result<Self, SetupError> {
        let key = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(SetupError::PlatformKey)?;
        Ok(Self { key, current: Mutex::new(None) })
    }

    /// The token to send now; made anew a minute before its end.
    pub(crate) fn at(&self, now_s: u64) -> Option<HeaderValue> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, expires_s)) = &*current
            && now_s + SPARE_S < *expires_s
        {
            return Some(token.clone());
        }
        let expires_s = now_s + LIFETIME_S;
        let claims = json!({
            "iss": ISSUER, "urn:altinn:app": APP, "aud": "platform.altinn.no",
            "nbf": now_s.saturating_sub(5), "exp": expires_s,
        });
        let token = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key).ok()?;
        let mut token = HeaderValue::from_str(&token).ok()?;
        token.set_sensitive(true);
        *current = Some((token.clone(), expires_s));
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};
    use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData};
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_token_is_that_of_our_component_and_is_kept_until_a_minute_before_its_end() {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let own = OwnToken::new(&pair.serialize_pem()).unwrap();
        let now_s = crate::token::now_s();
        let first = own.at(now_s).unwrap();
        assert_eq!(own.at(now_s + LIFETIME_S - SPARE_S - 1).unwrap(), first);
        assert_ne!(own.at(now_s + LIFETIME_S - SPARE_S).unwrap(), first);
        let key = DecodingKey::from_rsa_der(pair.der_bytes());
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_aud = false;
        let claims =
            jsonwebtoken::decode::<Value>(first.to_str().unwrap(), &key, &validation).unwrap().claims;
        assert_eq!((&claims["iss"], &claims["urn:altinn:app"]), (&json!("platform"), &json!("events")));
        assert!(OwnToken::new("no key").is_err());
    }
}
