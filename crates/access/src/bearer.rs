//! A bearer token → [`Caller`].
//!
//! Verified tokens are remembered under the SHA-256 of the whole token for at most [`REMEMBERED`], so a busy caller costs one
//! signature check a minute. A remembered one counts only while it has not ended and its key is still in the key set.

use std::sync::Arc;

use http::{HeaderMap, Method, header};
use moka::future::Cache;

use crate::{
    caller::Caller,
    error::AuthError,
    keys::{Fingerprint, KeyError, Keys},
    token::{self, BadToken, REMEMBERED, TokenHash},
};

/// Verified tokens that are remembered; some KB each.
const REMEMBERED_MAX: u64 = 20_000;

/// See the module.
pub(crate) struct Bearer {
    keys: Arc<Keys>,
    cookie_name: String,
    remembered: Cache<TokenHash, Arc<Remembered>>,
}

struct Remembered {
    caller: Caller,
    key: Fingerprint,
    expires_s: u64,
}

impl Bearer {
    pub(crate) fn new(keys: Arc<Keys>, cookie_name: String) -> Self {
        let remembered = Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(REMEMBERED).build();
        Self { keys, cookie_name, remembered }
    }

    /// Who sent these headers with this method.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        method: &Method,
    ) -> Result<Caller, AuthError> {
        let token = self.token_in(headers, method)?;
        let hash = token::hash(token);
        if let Some(known) = self.remembered.get(&hash).await {
            if token::is_over(known.expires_s, token::now_s()) {
                return Err(AuthError::Invalid);
            }
            if self.keys.holds(&known.key) {
                return Ok(known.caller.clone());
            }
            self.remembered.invalidate(&hash).await;
        }
        let verified = self.verify(token).await?;
        let caller = verified.caller.clone();
        self.remembered.insert(hash, Arc::new(verified)).await;
        Ok(caller)
    }

    /// The token in the `Authorization` header, or for GET in the cookie. A header that is there and empty is not made good
    /// by a cookie.
    fn token_in<'a>(&self, headers: &'a HeaderMap, method: &Method) -> Result<&'a str, AuthError> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        if let Some(value) = values.next() {
            let text = value.to_str().map_err(|_| AuthError::Invalid)?;
            let (scheme, token) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                let token = token.trim();
                let is_single = values.next().is_none();
                return if token.is_empty() || !is_single { Err(AuthError::Invalid) } else { Ok(token) };
            }
        }
        if *method == Method::GET { self.cookie_in(headers) } else { Err(AuthError::Missing) }
    }

    fn cookie_in<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, AuthError> {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, value)| *name == self.cookie_name && !value.is_empty())
            .map(|(_, value)| value)
            .ok_or(AuthError::Missing)
    }

    async fn verify(&self, token: &str) -> Result<Remembered, AuthError> {
        let header = token::header(token).map_err(refused)?;
        let key_id = header.key_id.ok_or_else(|| refused(BadToken::NoKeyId))?;
        let key = self.keys.find(&key_id).await.map_err(|error| match error {
            KeyError::Unknown => refused(BadToken::UnknownKey),
            KeyError::Unavailable => AuthError::Unavailable,
        })?;
        if !key.allows(header.algorithm) {
            return Err(refused(BadToken::Algorithm));
        }
        let verified = token::verify(token, header.algorithm, &key.decoding).map_err(refused)?;
        let caller = Caller::from_verified(&verified).map_err(|_| refused(BadToken::Claims))?;
        Ok(Remembered { caller, key: key.fingerprint, expires_s: verified.expires_s })
    }
}

/// The reason goes to the log of who looks for it, never to the caller.
fn refused(reason: BadToken) -> AuthError {
    tracing::debug!(%reason, "a bearer token does not count");
    AuthError::Invalid
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::{neighbour, settings::AccessSettings};

    fn bearer() -> Bearer {
        let settings = AccessSettings::local("http://127.0.0.1:9");
        let client = neighbour::client(&settings).unwrap();
        let keys = Keys::new(neighbour::Neighbour::new("OpenID", client, &settings), &settings).unwrap();
        Bearer::new(Arc::new(keys), settings.cookie_name)
    }

    fn check(headers: &[(&'static str, &str)], method: &Method, expect: Result<&str, AuthError>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(bearer().token_in(&map, method), expect, "{headers:?} {method}");
    }

    #[tokio::test]
    async fn where_a_token_may_stand() {
        let (get, post) = (&Method::GET, &Method::POST);
        check(&[("authorization", "Bearer abc")], post, Ok("abc"));
        check(&[("authorization", "bearer  abc ")], post, Ok("abc"));
        check(&[("cookie", "x=1; AltinnStudioRuntime=abc")], get, Ok("abc"));
        check(&[("cookie", "AltinnStudioRuntime=abc")], post, Err(AuthError::Missing));
        check(&[("cookie", "AltinnStudioRuntime=abc")], &Method::DELETE, Err(AuthError::Missing));
        check(&[("cookie", "altinnstudioruntime=abc")], get, Err(AuthError::Missing));
        check(&[("authorization", "Basic abc"), ("cookie", "AltinnStudioRuntime=c")], get, Ok("c"));
        check(&[], get, Err(AuthError::Missing));
        for empty in ["Bearer", "Bearer ", "Bearer    "] {
            check(
                &[("authorization", empty), ("cookie", "AltinnStudioRuntime=c")],
                get,
                Err(AuthError::Invalid),
            );
        }
        check(&[("authorization", "Bearer a"), ("authorization", "Bearer b")], get, Err(AuthError::Invalid));
    }
}
