//! One signed token: its header is read, its signature and lifetime are checked.
//!
//! Accepted: RS256, PS256, ES256 with a key of that kind; `exp` is mandatory, `nbf` counts when present, both with a skew of
//! [`SKEW_S`]. Issuer and audience are not checked (contract §2.2). A token with critical header parameters is refused.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::claims::Claims;

/// How far clocks may differ, in seconds.
pub(crate) const SKEW_S: u64 = 10;
/// Longest token that is looked at.
pub(crate) const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// How long a verified token is remembered.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(60);
/// Header that carries a platform access token, exactly once.
pub const PLATFORM_HEADER: &str = "PlatformAccessToken";

/// SHA-256 of a whole token; stands for it in caches.
pub(crate) type TokenHash = [u8; 32];

/// Why a token does not count. Never shown to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadToken {
    #[error("it is too long")]
    TooLong,
    #[error("it is not a signed token")]
    Malformed,
    #[error("its algorithm is not accepted")]
    Algorithm,
    #[error("it names no key")]
    NoKeyId,
    #[error("its key is not known")]
    UnknownKey,
    #[error("its signature or lifetime does not hold")]
    NotValid,
    #[error("a claim has an unexpected shape")]
    Claims,
    #[error("its issuer is not a name")]
    Issuer,
}

/// What a token says about how it is signed; not yet verified.
pub(crate) struct TokenHeader {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
}

/// The claims of a verified token and when it ends.
pub(crate) struct Verified {
    pub(crate) claims: Claims,
    /// Seconds since 1970; the skew is not in it.
    pub(crate) expires_s: u64,
}

pub(crate) fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

/// Seconds since 1970.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whether a token that ends at `expires_s` is over at `now_s`.
pub(crate) fn is_over(expires_s: u64, now_s: u64) -> bool {
    expires_s < now_s.saturating_sub(SKEW_S)
}

/// Reads the header of a token and refuses what could never be accepted.
pub(crate) fn header(token: &str) -> Result<TokenHeader, BadToken> {
    #[derive(Deserialize)]
    struct Raw {
        alg: String,
        kid: Option<String>,
        crit: Option<serde::de::IgnoredAny>,
    }
    if token.len() > TOKEN_BYTES_MAX {
        return Err(BadToken::TooLong);
    }
    if token.matches('.').count() != 2 {
        return Err(BadToken::Malformed);
    }
    let raw: Raw = part(token, 0)?;
    if raw.crit.is_some() {
        return Err(BadToken::Malformed);
    }
    let algorithm = match raw.alg.as_str() {
        "RS256" => Algorithm::RS256,
        "PS256" => Algorithm::PS256,
        "ES256" => Algorithm::ES256,
        _other => return Err(BadToken::Algorithm),
    };
    Ok(TokenHeader { algorithm, key_id: raw.kid })
}

/// The issuer that a token claims, before anything is verified; only good for finding the key that verifies it.
pub(crate) fn unverified_issuer(token: &str) -> Result<String, BadToken> {
    #[derive(Deserialize)]
    struct Raw {
        iss: String,
    }
    part::<Raw>(token, 1).map(|raw| raw.iss)
}

/// Checks signature and lifetime.
pub(crate) fn verify(token: &str, algorithm: Algorithm, key: &DecodingKey) -> Result<Verified, BadToken> {
    let mut validation = Validation::new(algorithm);
    validation.leeway = SKEW_S;
    validation.validate_nbf = true;
    validation.validate_aud = false;
    let data = jsonwebtoken::decode::<Claims>(token, key, &validation).map_err(|_| BadToken::NotValid)?;
    let expires_s = data.claims.get("exp").and_then(seconds).ok_or(BadToken::Claims)?;
    Ok(Verified { claims: data.claims, expires_s })
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float casts saturating, NaN to 0"
)]
fn seconds(value: &serde_json::Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64))
}

fn part<T: DeserializeOwned>(token: &str, index: usize) -> Result<T, BadToken> {
    let text = token.split('.').nth(index).ok_or(BadToken::Malformed)?;
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadToken::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| BadToken::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"))
    }

    #[test]
    fn only_three_algorithms_pass_the_header() {
        for name in ["RS256", "PS256", "ES256"] {
            assert!(header(&token(&format!(r#"{{"alg":"{name}","kid":"k"}}"#))).is_ok(), "{name}");
        }
        for name in ["none", "None", "HS256", "HS512", "RS512", "ES384", "EdDSA", ""] {
            let refused = header(&token(&format!(r#"{{"alg":"{name}"}}"#))).err();
            assert_eq!(refused, Some(BadToken::Algorithm), "{name}");
        }
    }

    #[test]
    fn a_header_that_plays_tricks_is_malformed() {
        for text in [
            r#"{"alg":"RS256","alg":"none"}"#,
            r#"{"alg":"RS256","crit":["exp"]}"#,
            r#"{"kid":"k"}"#,
            r#"[]"#,
            "",
        ] {
            assert_eq!(header(&token(text)).err(), Some(BadToken::Malformed), "{text}");
        }
        assert_eq!(header("a.b").err(), Some(BadToken::Malformed));
        assert_eq!(header("a.b.c.d").err(), Some(BadToken::Malformed));
        assert_eq!(header(&"a".repeat(TOKEN_BYTES_MAX + 1)).err(), Some(BadToken::TooLong));
    }

    #[test]
    fn a_token_is_over_ten_seconds_after_its_end() {
        assert!(!is_over(100, 100));
        assert!(!is_over(100, 110));
        assert!(is_over(100, 111));
    }
}
