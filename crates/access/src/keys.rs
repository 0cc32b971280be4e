//! The keys that sign bearer tokens: OpenID metadata and JWKS, cached and rotated.
//!
//! State: the present key set, swapped as a whole. Rules:
//!
//! * The first load happens with the first token. An unknown key id loads again, at most once in `reload_pause`.
//! * Keys older than `refresh_after` are loaded again in the background when one is used, so that a withdrawn key is noticed. While that
//!   fails the known keys go on counting, until they are older than `age_max`: then nothing is verified with them.
//! * One load runs at a time; everybody who needs it waits for that one.
//! * A failed load may be repeated after [`RETRY`].

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use service::telemetry::chain;
use sha2::{Digest, Sha256};
use tokio::{sync::Mutex, time::Instant};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::{
    error::SetupError,
    neighbour::{Neighbour, NoAnswer},
    settings::AccessSettings,
};

/// Least time between two loads while they fail.
const RETRY: Duration = Duration::from_secs(1);
/// Keys of one set that are looked at.
const KEYS_MAX: usize = 64;

/// Tells keys apart; two sets that hold the same key under the same id give the same one.
pub(crate) type Fingerprint = [u8; 16];

/// One key and what it may verify.
pub(crate) struct Key {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) decoding: DecodingKey,
    algorithms: &'static [Algorithm],
}

impl Key {
    /// Whether a token of this algorithm may be verified with this key.
    pub(crate) fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("no key has this id")]
    Unknown,
    #[error("the keys cannot be had")]
    Unavailable,
}

#[derive(Default)]
struct KeySet {
    by_id: HashMap<String, Arc<Key>>,
    loaded: Option<Instant>,
}

/// When the next load may start, and how the last one ended.
#[derive(Default)]
struct Gate {
    not_before: Option<Instant>,
    last_failed: bool,
}

impl Gate {
    fn is_open(&self) -> bool {
        self.not_before.is_none_or(|not_before| Instant::now() >= not_before)
    }
}

/// See the module.
pub(crate) struct Keys {
    neighbour: Neighbour,
    metadata: Url,
    reload_pause: Duration,
    refresh_after: Duration,
    age_max: Duration,
    current: ArcSwap<KeySet>,
    gate: Mutex<Gate>,
    tasks: TaskTracker,
}

impl Keys {
    pub(crate) fn new(neighbour: Neighbour, settings: &AccessSettings) -> Result<Self, SetupError> {
        let metadata = settings
            .open_id_well_known
            .join(".well-known/openid-configuration")
            .map_err(SetupError::Address)?;
        Ok(Self {
            neighbour,
            metadata,
            reload_pause: settings.key_reload_pause,
            refresh_after: settings.key_refresh,
            age_max: settings.key_age_max,
            current: ArcSwap::default(),
            gate: Mutex::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// The key with this id.
    pub(crate) async fn find(self: &Arc<Self>, id: &str) -> Result<Arc<Key>, KeyError> {
        if let Some(key) = self.present().by_id.get(id) {
            return Ok(Arc::clone(key));
        }
        self.load_for(id).await
    }

    /// Whether the present set holds this key.
    pub(crate) fn holds(self: &Arc<Self>, fingerprint: &Fingerprint) -> bool {
        self.present().by_id.values().any(|key| key.fingerprint == *fingerprint)
    }

    /// The keys that count now. Starts a background load when they have grown old; beyond the greatest age there are none.
    fn present(self: &Arc<Self>) -> Arc<KeySet> {
        let set = self.current.load_full();
        let age = set.loaded.map(|loaded| loaded.elapsed()).unwrap_or_default();
        if set.loaded.is_some() && age >= self.refresh_after {
            self.refresh();
        }
        if age >= self.age_max { Arc::default() } else { set }
    }

    fn refresh(self: &Arc<Self>) {
        if !self.gate.try_lock().is_ok_and(|gate| gate.is_open()) {
            return;
        }
        let keys = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Ok(mut gate) = keys.gate.try_lock()
                && gate.is_open()
            {
                keys.load(&mut gate).await;
            }
        });
    }

    async fn load_for(self: &Arc<Self>, id: &str) -> Result<Arc<Key>, KeyError> {
        let mut gate = self.gate.lock().await;
        let found = |keys: &Arc<Self>| keys.present().by_id.get(id).map(Arc::clone);
        if let Some(key) = found(self) {
            return Ok(key);
        }
        if gate.is_open() {
            self.load(&mut gate).await;
        }
        let missing = if gate.last_failed { KeyError::Unavailable } else { KeyError::Unknown };
        found(self).ok_or(missing)
    }

    async fn load(&self, gate: &mut Gate) {
        let outcome = self.fetch().await;
        gate.last_failed = outcome.is_err();
        let pause = match outcome {
            Ok(by_id) => {
                tracing::info!(keys = by_id.len(), "the keys that verify tokens were loaded");
                self.current.store(Arc::new(KeySet { by_id, loaded: Some(Instant::now()) }));
                self.reload_pause
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the keys that verify tokens could not be loaded");
                RETRY
            }
        };
        gate.not_before = Some(Instant::now() + pause);
    }

    async fn fetch(&self) -> Result<HashMap<String, Arc<Key>>, LoadError> {
        let metadata: Metadata = self.fetch_json(self.metadata.clone()).await?;
        let jwks_url = Url::parse(&metadata.jwks_uri).map_err(LoadError::Address)?;
        let jwks: Jwks = self.fetch_json(jwks_url).await?;
        let keys: HashMap<_, _> = jwks.keys.into_iter().take(KEYS_MAX).filter_map(usable).collect();
        if keys.is_empty() { Err(LoadError::NoKeys) } else { Ok(keys) }
    }

    async fn fetch_json<T: for<'de> Deserialize<'de>>(&self, url: Url) -> Result<T, LoadError> {
        let answer = self.neighbour.get(url).await?;
        if !answer.status.is_success() {
            return Err(LoadError::Status(answer.status.as_u16()));
        }
        serde_json::from_slice(&answer.body).map_err(LoadError::Shape)
    }
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("there is no answer")]
    NoAnswer(#[from] NoAnswer),
    #[error("the answer has status {0}")]
    Status(u16),
    #[error("the answer has an unexpected shape")]
    Shape(#[source] serde_json::Error),
    #[error("the address of the keys is not a URL")]
    Address(#[source] url::ParseError),
    #[error("the set holds no key that we can use")]
    NoKeys,
}

#[derive(Deserialize)]
struct Metadata {
    jwks_uri: String,
}

/// Keys are read one by one: one of a kind that we do not know must not hide the others.
#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

/// The key under its id, when it is one for signatures that we accept: RSA for RS256 and PS256, P-256 for ES256.
fn usable(json: serde_json::Value) -> Option<(String, Arc<Key>)> {
    let jwk: Jwk = serde_json::from_value(json).ok()?;
    let id = jwk.common.key_id.clone()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|r#use| *r#use != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithms, material) = material(&jwk)?;
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    let digest = Sha256::new().chain_update(&id).chain_update([0]).chain_update(material).finalize();
    let fingerprint = digest.first_chunk().copied()?;
    Some((id, Arc::new(Key { fingerprint, decoding, algorithms })))
}

fn material(jwk: &Jwk) -> Option<(&'static [Algorithm], String)> {
    if let AlgorithmParameters::RSA(rsa) = &jwk.algorithm {
        let algorithms: &[Algorithm] = match jwk.common.key_algorithm {
            None => &[Algorithm::RS256, Algorithm::PS256],
            Some(KeyAlgorithm::RS256) => &[Algorithm::RS256],
            Some(KeyAlgorithm::PS256) => &[Algorithm::PS256],
            Some(_other) => return None,
        };
        return Some((algorithms, format!("{}.{}", rsa.n, rsa.e)));
    }
    if let AlgorithmParameters::EllipticCurve(curve) = &jwk.algorithm {
        let for_es256 = matches!(jwk.common.key_algorithm, None | Some(KeyAlgorithm::ES256));
        if curve.curve == EllipticCurve::P256 && for_es256 {
            return Some((&[Algorithm::ES256], format!("{}.{}", curve.x, curve.y)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_signature_keys_of_accepted_kinds_are_used() {
        let rsa = |extra: serde_json::Value| {
            let mut key = json!({"kty": "RSA", "kid": "k", "n": "AQAB", "e": "AQAB"});
            key.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            usable(key)
        };
        let (_, key) = rsa(json!({})).unwrap();
        assert!(
            key.allows(Algorithm::RS256) && key.allows(Algorithm::PS256) && !key.allows(Algorithm::RS512)
        );
        assert!(!rsa(json!({"alg": "RS256"})).unwrap().1.allows(Algorithm::PS256));
        assert!(rsa(json!({"use": "enc"})).is_none());
        assert!(rsa(json!({"alg": "RS384"})).is_none());
        assert!(usable(json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0"})).is_none());
        assert!(usable(json!({"kty": "EC", "kid": "k", "crv": "P-384", "x": "AQAB", "y": "AQAB"})).is_none());
        assert!(usable(json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"})).is_none());
    }
}
