//! A platform access token → [`PlatformApp`] (contract §2.6).
//!
//! The issuer that the token claims must be a plain name before anything is looked up under it. Its certificate is fetched from the
//! configured address, remembered for an hour; that there is none, for a minute. Verified tokens are remembered like bearer
//! tokens.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, StatusCode};
use jsonwebtoken::{Algorithm, DecodingKey};
use moka::{Expiry, future::Cache};
use service::telemetry::chain;
use url::Url;

use crate::{
    caller::PlatformApp,
    error::AuthError,
    neighbour::Neighbour,
    token::{self, BadToken, PLATFORM_HEADER, REMEMBERED, TokenHash},
};

const APP_CLAIM: &str = "urn:altinn:app";
const KNOWN: Duration = Duration::from_secs(3_600);
const UNKNOWN: Duration = Duration::from_secs(60);
const CERTIFICATES_MAX: u64 = 10_000;
const TOKENS_MAX: u64 = 20_000;

/// See the module.
pub(crate) struct Platform {
    neighbour: Neighbour,
    template: String,
    certificates: Cache<String, Option<Arc<Certificate>>>,
    remembered: Cache<TokenHash, (PlatformApp, u64)>,
}

/// The public key of an issuer and the algorithms that fit its kind.
struct Certificate {
    key: DecodingKey,
    algorithms: &'static [Algorithm],
}

struct Lifetimes;

impl Expiry<String, Option<Arc<Certificate>>> for Lifetimes {
    fn expire_after_create(
        &self,
        _: &String,
        found: &Option<Arc<Certificate>>,
        _: Instant,
    ) -> Option<Duration> {
        Some(if found.is_some() { KNOWN } else { UNKNOWN })
    }
}

impl Platform {
    pub(crate) fn new(neighbour: Neighbour, template: String) -> Self {
        Self {
            neighbour,
            template,
            certificates: Cache::builder().max_capacity(CERTIFICATES_MAX).expire_after(Lifetimes).build(),
            remembered: Cache::builder().max_capacity(TOKENS_MAX).time_to_live(REMEMBERED).build(),
        }
    }

    /// The app behind these headers; nothing when no token was sent.
    pub(crate) async fn app(&self, headers: &HeaderMap) -> Result<Option<PlatformApp>, AuthError> {
        let mut values = headers.get_all(PLATFORM_HEADER).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(AuthError::Invalid);
        }
        let token = value.to_str().map_err(|_| AuthError::Invalid)?.trim();
        let hash = token::hash(token);
        if let Some((app, expires_s)) = self.remembered.get(&hash).await {
            let is_over = token::is_over(expires_s, token::now_s());
            return if is_over { Err(AuthError::Invalid) } else { Ok(Some(app)) };
        }
        let (app, expires_s) = self.verify(token).await?;
        self.remembered.insert(hash, (app.clone(), expires_s)).await;
        Ok(Some(app))
    }

    async fn verify(&self, token: &str) -> Result<(PlatformApp, u64), AuthError> {
        let header = token::header(token).map_err(refused)?;
        let issuer = token::unverified_issuer(token).map_err(refused)?;
        if !is_name(&issuer) {
            return Err(refused(BadToken::Issuer));
        }
        let certificate = self.certificate(&issuer).await?.ok_or_else(|| refused(BadToken::UnknownKey))?;
        if !certificate.algorithms.contains(&header.algorithm) {
            return Err(refused(BadToken::Algorithm));
        }
        let verified = token::verify(token, header.algorithm, &certificate.key).map_err(refused)?;
        let app = verified.claims.text(APP_CLAIM).ok().flatten().ok_or_else(|| refused(BadToken::Claims))?;
        Ok((PlatformApp { issuer: issuer.into(), app: app.into() }, verified.expires_s))
    }

    /// One look-up at a time per issuer; failures are not remembered here (the neighbour is silent for a moment after one).
    async fn certificate(&self, issuer: &str) -> Result<Option<Arc<Certificate>>, AuthError> {
        if let Some(known) = self.certificates.get(issuer).await {
            return Ok(known);
        }
        let fetched = self.certificates.try_get_with(issuer.to_owned(), self.fetch(issuer));
        fetched.await.map_err(|error| *error)
    }

    async fn fetch(&self, issuer: &str) -> Result<Option<Arc<Certificate>>, AuthError> {
        let url =
            Url::parse(&self.template.replace("{issuer}", issuer)).map_err(|_| AuthError::Unavailable)?;
        let answer = self.neighbour.get(url).await.map_err(|error| {
            tracing::debug!(error = chain(&error), "a certificate could not be fetched");
            AuthError::Unavailable
        })?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(AuthError::Unavailable);
        }
        let certificate = parse(&answer.body);
        if certificate.is_none() {
            tracing::warn!(issuer, "the certificate of a platform access token's issuer cannot be used");
        }
        Ok(certificate.map(Arc::new))
    }
}

/// A certificate as PEM, as DER, or as the base64 of DER (as Key Vault keeps it).
fn parse(body: &[u8]) -> Option<Certificate> {
    let text = std::str::from_utf8(body).ok().map(str::trim);
    let pem = match text {
        Some(text) if text.starts_with("-----BEGIN") => text.to_owned(),
        Some(text) => pem(&STANDARD.decode(text).ok()?),
        None => pem(body),
    };
    if let Ok(key) = DecodingKey::from_rsa_pem(pem.as_bytes()) {
        return Some(Certificate { key, algorithms: &[Algorithm::RS256, Algorithm::PS256] });
    }
    let key = DecodingKey::from_ec_pem(pem.as_bytes()).ok()?;
    Some(Certificate { key, algorithms: &[Algorithm::ES256] })
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
}

/// What an issuer may be called: it becomes part of an address.
fn is_name(issuer: &str) -> bool {
    (1..=40).contains(&issuer.len())
        && issuer.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn refused(reason: BadToken) -> AuthError {
    tracing::debug!(%reason, "a platform access token does not count");
    AuthError::Invalid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_a_plain_name() {
        for good in ["ttd", "platform", "a-1", &"a".repeat(40)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "TTD", "a/b", "..", "a.b", "a%2fb", "ø", "a b", &"a".repeat(41)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
