//! The keys that sign: one for bearer tokens, with those before it that still count, and one for platform access tokens.
//!
//! Made at the start, or kept in a file so that tokens outlive a restart. RSA with 2,048 bits, as the real ones.

use std::{
    fs,
    io::Write,
    path::Path,
    sync::{PoisonError, RwLock},
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    jwk::{AlgorithmParameters, Jwk},
};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::claims::Claims;

/// Seconds by which clocks may differ.
const SKEW_S: u64 = 10;

pub(crate) struct KeyRing {
    bearer: RwLock<BearerKeys>,
    platform: SigningKey,
}

struct BearerKeys {
    current: SigningKey,
    /// Their tokens still count; public parts only.
    before: Vec<Value>,
}

struct SigningKey {
    id: String,
    encoding: EncodingKey,
    certificate_der: Vec<u8>,
    public: Value,
}

impl KeyRing {
    pub(crate) fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        let [bearer, platform] = match file {
            Some(file) if file.exists() => read(file)?,
            Some(file) => write(file)?,
            None => [make()?, make()?],
        };
        let current = SigningKey::new(&bearer)?;
        let bearer = RwLock::new(BearerKeys { current, before: Vec::new() });
        Ok(Self { bearer, platform: SigningKey::new(&platform)? })
    }

    pub(crate) fn rotate(&self, keep_old: bool) -> anyhow::Result<()> {
        let new = SigningKey::new(&make()?)?;
        let mut keys = self.bearer.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut keys.current, new);
        if keep_old {
            keys.before.push(old.public);
        } else {
            keys.before.clear();
        }
        drop(keys);
        Ok(())
    }

    /// The key set as it is published.
    pub(crate) fn jwks(&self) -> Value {
        let keys = self.bearer.read().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = keys.before.iter().chain([&keys.current.public]).collect();
        json!({ "keys": all })
    }

    pub(crate) fn bearer_key_id(&self) -> String {
        self.bearer.read().unwrap_or_else(PoisonError::into_inner).current.id.clone()
    }

    pub(crate) fn sign_bearer(&self, claims: &Value, key_id: Option<&str>) -> String {
        self.bearer.read().unwrap_or_else(PoisonError::into_inner).current.sign(claims, key_id)
    }

    /// The claims of a token that a bearer key signed and that has not ended.
    pub(crate) fn verify_bearer(&self, token: &str) -> Option<Claims> {
        let keys = self.bearer.read().unwrap_or_else(PoisonError::into_inner);
        keys.before.iter().chain([&keys.current.public]).find_map(|public| verified(public, token))
    }

    /// The claims of a token of another provider that has not ended. Those are signed with the platform's key, which is not in the
    /// key set: they count nowhere before they are exchanged.
    pub(crate) fn verify_foreign(&self, token: &str) -> Option<Claims> {
        verified(&self.platform.public, token)
    }

    pub(crate) fn sign_platform(&self, claims: &Value) -> String {
        self.platform.sign(claims, None)
    }

    /// The certificate of the platform key, as the base64 of its DER: so Key Vault keeps it.
    pub(crate) fn platform_certificate(&self) -> String {
        STANDARD.encode(&self.platform.certificate_der)
    }
}

impl SigningKey {
    fn new(pair: &KeyPair) -> anyhow::Result<Self> {
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])
            .and_then(|params| params.self_signed(pair))
            .context("a certificate for a signing key cannot be made")?;
        let certificate_der = certificate.der().to_vec();
        let encoding = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes())
            .context("a signing key cannot be used")?;
        let jwk = Jwk::from_encoding_key(&encoding, Algorithm::RS256).context("a key has no public part")?;
        let AlgorithmParameters::RSA(rsa) = jwk.algorithm else {
            anyhow::bail!("a signing key is not an RSA key");
        };
        let digest = Sha256::digest(&certificate_der);
        let id: String = digest.iter().take(20).map(|byte| format!("{byte:02X}")).collect();
        let public = json!({
            "kty": "RSA", "use": "sig", "kid": id, "x5t": id, "alg": "RS256",
            "n": rsa.n, "e": rsa.e, "x5c": [STANDARD.encode(&certificate_der)],
        });
        Ok(Self { id, encoding, certificate_der, public })
    }

    fn sign(&self, claims: &Value, key_id: Option<&str>) -> String {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(key_id.unwrap_or(&self.id).to_owned());
        jsonwebtoken::encode(&header, claims, &self.encoding).expect("an RSA key signs any JSON object")
    }
}

fn verified(public: &Value, token: &str) -> Option<Claims> {
    let component = |name: &str| public.get(name).and_then(Value::as_str);
    let key = DecodingKey::from_rsa_components(component("n")?, component("e")?).ok()?;
    let mut validation = Validation::new(Algorithm::RS256);
    validation.leeway = SKEW_S;
    validation.validate_nbf = true;
    validation.validate_aud = false;
    Some(jsonwebtoken::decode::<Claims>(token, &key, &validation).ok()?.claims)
}

fn make() -> anyhow::Result<KeyPair> {
    KeyPair::generate_for(&PKCS_RSA_SHA256).context("a signing key cannot be made")
}

const END: &str = "-----END PRIVATE KEY-----";

fn read(file: &Path) -> anyhow::Result<[KeyPair; 2]> {
    let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let damaged = || format!("{} does not hold two private keys; delete it to get new ones", file.display());
    let pairs: Vec<_> = text
        .split_inclusive(END)
        .filter(|pem| pem.contains(END))
        .map(|pem| KeyPair::from_pkcs8_pem_and_sign_algo(pem.trim(), &PKCS_RSA_SHA256))
        .collect::<Result<_, _>>()
        .with_context(damaged)?;
    pairs.try_into().map_err(|_| anyhow::anyhow!(damaged()))
}

fn write(file: &Path) -> anyhow::Result<[KeyPair; 2]> {
    let pairs = [make()?, make()?];
    let text: String = pairs.iter().map(KeyPair::serialize_pem).collect();
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(file)
        .and_then(|mut out| out.write_all(text.as_bytes()))
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_a_file_outlive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.pem");
        let first = KeyRing::open(Some(&file)).unwrap();
        let second = KeyRing::open(Some(&file)).unwrap();
        let modulus = |ring: &KeyRing| ring.jwks()["keys"][0]["n"].clone();
        assert_eq!(modulus(&first), modulus(&second));
        fs::write(&file, "no keys").unwrap();
        let error = KeyRing::open(Some(&file)).err().unwrap();
        assert!(error.to_string().contains("delete it to get new ones"), "{error}");
    }

    #[test]
    fn rotation_keeps_or_drops_the_old_key() {
        let ring = KeyRing::open(None).unwrap();
        let count = || ring.jwks()["keys"].as_array().unwrap().len();
        ring.rotate(true).unwrap();
        assert_eq!(count(), 2);
        ring.rotate(false).unwrap();
        assert_eq!(count(), 1);
    }
}
