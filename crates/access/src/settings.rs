//! What can be set about access: addresses of the neighbours, lifetimes of caches, patience.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use service::env::Env;
use url::{Host, Url};

/// Where the neighbours are and how long their answers count. Names as in the contract (§8.3), one variable each.
#[derive(Clone, Debug)]
pub struct AccessSettings {
    /// Base address of the OpenID metadata; `.well-known/openid-configuration` is appended.
    pub open_id_well_known: Url,
    /// Address of the certificate of a platform access token's issuer; contains `{issuer}` once.
    pub platform_certificates: String,
    /// Base address of the PDP; `decision` is appended.
    pub authorization_api: Url,
    /// Base address of Register; `v1/parties/lookup` is appended.
    pub register_api: Url,
    /// Cookie that may carry the token of a person, on GET alone.
    pub cookie_name: String,
    /// Sent to PDP and Register as `Ocp-Apim-Subscription-Key`.
    pub subscription_key: Option<String>,
    /// RSA private key (PEM) that signs our own platform access token, which Register asks for.
    pub platform_key: Option<String>,
    /// How long a permit counts; at most 60 s.
    pub permit_ttl: Duration,
    /// How long a refusal counts; at most 5 s.
    pub refusal_ttl: Duration,
    /// How long one answer of a neighbour may take, the wait for a free connection included.
    pub timeout: Duration,
    /// Requests to one neighbour that may be under way at once.
    pub max_connections: usize,
    /// Least time between two reloads of the keys because of an unknown key id.
    pub key_reload_pause: Duration,
    /// Proxies whose `X-Forwarded-For` counts: addresses or networks.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests without a token that an address (of IPv6: a /64) may send a minute.
    pub anonymous_per_minute: u32,
    /// Reads that one caller may have in hand at once.
    pub reads_per_caller: usize,
    /// Reads that one caller may send a second, after a burst of two seconds' worth.
    pub reads_per_second: u32,
    /// Questions about rights that one caller's reads may have under way at once; a page may need a thousand.
    pub questions_per_caller: usize,
    /// Age at which the keys are loaded again in the background, so that a withdrawn one is noticed.
    pub key_refresh: Duration,
    /// Age at which the keys count no more, also where they cannot be loaded again.
    pub key_age_max: Duration,
}

const PERMIT_TTL_MAX: Duration = Duration::from_secs(60);
const REFUSAL_TTL_MAX: Duration = Duration::from_secs(5);
/// Where the local Altinn listens, as Altinn's own local test does.
const LOCAL: &str = "http://localhost:5101";

impl AccessSettings {
    /// Reads the settings; mistakes are collected in `env`.
    pub fn from_env(env: &Env) -> Self {
        let settings = Self {
            open_id_well_known: base(env, "OPENID_WELL_KNOWN_ENDPOINT", "/authentication/api/v1/openid/"),
            platform_certificates: env.text("PLATFORM_CERTIFICATES", &local_certificates(LOCAL)),
            authorization_api: base(env, "AUTHORIZATION_API", "/authorization/api/v1/"),
            register_api: base(env, "REGISTER_API", "/register/api/"),
            cookie_name: env.text("JWT_COOKIE_NAME", "AltinnStudioRuntime"),
            subscription_key: env.secret("PLATFORM_SUBSCRIPTION_KEY"),
            platform_key: key_in_file(env, "PLATFORM_ACCESS_TOKEN_KEY_FILE"),
            permit_ttl: env.duration_ms("PERMIT_TTL_MS", 60_000),
            refusal_ttl: env.duration_ms("REFUSAL_TTL_MS", 5_000),
            timeout: env.duration_ms("ACCESS_TIMEOUT_MS", 2_000),
            max_connections: env.parsed("ACCESS_MAX_CONNECTIONS", "a whole number above 0", "32"),
            trusted_proxies: networks(env, "TRUSTED_PROXIES"),
            anonymous_per_minute: env.parsed("ANONYMOUS_PER_MINUTE", "a whole number", "60"),
            reads_per_caller: env.parsed("READS_PER_CALLER", "a whole number above 0", "32"),
            reads_per_second: env.parsed("READS_PER_SECOND_PER_CALLER", "a whole number above 0", "500"),
            questions_per_caller: env.parsed("READ_QUESTIONS_PER_CALLER", "a whole number from 1000", "1000"),
            key_reload_pause: Duration::from_secs(60),
            key_refresh: Duration::from_secs(300),
            key_age_max: env.duration_ms("OPENID_KEYS_AGE_MAX_MS", 3_600_000),
        };
        settings.check(env);
        settings
    }

    /// Settings that point every neighbour at one local Altinn, for tests and `dev`.
    ///
    /// # Panics
    /// When `base_url` is not an absolute URL.
    pub fn local(base_url: &str) -> Self {
        let base_url = base_url.trim_end_matches('/');
        let join = |path: &str| {
            Url::parse(&format!("{base_url}{path}"))
                .expect("the address of a local Altinn is an absolute URL")
        };
        Self {
            open_id_well_known: join("/authentication/api/v1/openid/"),
            platform_certificates: local_certificates(base_url),
            authorization_api: join("/authorization/api/v1/"),
            register_api: join("/register/api/"),
            cookie_name: "AltinnStudioRuntime".to_owned(),
            subscription_key: None,
            platform_key: None,
            permit_ttl: PERMIT_TTL_MAX,
            refusal_ttl: REFUSAL_TTL_MAX,
            timeout: Duration::from_secs(2),
            max_connections: 32,
            trusted_proxies: Vec::new(),
            anonymous_per_minute: 60,
            reads_per_caller: 32,
            reads_per_second: 500,
            questions_per_caller: 1_000,
            key_reload_pause: Duration::from_secs(60),
            key_refresh: Duration::from_secs(300),
            key_age_max: Duration::from_secs(3_600),
        }
    }

    /// The addresses of those whom we believe must be set, and be https but on this machine: a mistake in `env` for each that is not.
    pub fn demand_addresses(&self, env: &Env) {
        let Self { open_id_well_known, platform_certificates, authorization_api, register_api, .. } = self;
        for (name, address) in [
            ("OPENID_WELL_KNOWN_ENDPOINT", open_id_well_known.as_str()),
            ("PLATFORM_CERTIFICATES", platform_certificates),
            ("AUTHORIZATION_API", authorization_api.as_str()),
            ("REGISTER_API", register_api.as_str()),
        ] {
            if !env.is_set(name) {
                env.mistake(name, &format!("must be set; example beside `make run`: {address}"));
            } else if !is_trustworthy(address) {
                env.mistake(name, "must be https, but on this machine; what comes from there is believed");
            }
        }
    }

    fn check(&self, env: &Env) {
        if self.platform_certificates.matches("{issuer}").count() != 1
            || Url::parse(&self.platform_certificates.replace("{issuer}", "ttd")).is_err()
        {
            env.mistake(
                "PLATFORM_CERTIFICATES",
                "is not an absolute URL that contains {issuer} once; example: \
                 http://localhost:5101/platform-certificates/{issuer}-access-token-public-cert",
            );
        }
        if self.permit_ttl > PERMIT_TTL_MAX {
            env.mistake("PERMIT_TTL_MS", "is above 60000: a revoked right must be effective within a minute");
        }
        if self.refusal_ttl > REFUSAL_TTL_MAX {
            env.mistake("REFUSAL_TTL_MS", "is above 5000: a granted right must be effective within seconds");
        }
        if self.max_connections == 0 {
            env.mistake("ACCESS_MAX_CONNECTIONS", "is 0; nothing could ever be asked; example: 32");
        }
        if self.reads_per_caller == 0 || self.reads_per_second == 0 {
            env.mistake(
                "READS_PER_CALLER",
                "and READS_PER_SECOND_PER_CALLER must be above 0; example: 32 and 500",
            );
        }
        if self.questions_per_caller < 1_000 {
            env.mistake(
                "READ_QUESTIONS_PER_CALLER",
                "is below 1000, which the largest page may need; example: 1000",
            );
        }
        if self.timeout.is_zero() {
            env.mistake("ACCESS_TIMEOUT_MS", "is 0; nothing could ever be answered; example: 2000");
        }
    }
}

/// https, or this machine itself.
fn is_trustworthy(address: &str) -> bool {
    let Ok(url) = Url::parse(address) else { return false };
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || is_loopback
}

fn local_certificates(base_url: &str) -> String {
    format!("{base_url}/platform-certificates/{{issuer}}-access-token-public-cert")
}

/// The text of a file that a setting names; none when nothing is set.
fn key_in_file(env: &Env, name: &'static str) -> Option<String> {
    let file = env.optional(name)?;
    match std::fs::read_to_string(&file) {
        Ok(text) => Some(text),
        Err(error) => {
            env.mistake(name, &format!("{file} cannot be read: {error}"));
            None
        }
    }
}

/// Addresses and networks, separated by commas; none when nothing is set.
fn networks(env: &Env, name: &'static str) -> Vec<IpNet> {
    let text = env.text(name, "");
    let listed = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let read = |item: &str| item.parse().or_else(|_| item.parse::<IpAddr>().map(IpNet::from)).ok();
    let networks: Option<Vec<IpNet>> = listed.map(read).collect();
    networks.unwrap_or_else(|| {
        env.mistake(name, "is not a list of addresses and networks; example: 10.0.0.0/8,192.0.2.1");
        Vec::new()
    })
}

/// A base address; a missing slash at its end is added, because paths are joined to it.
fn base(env: &Env, name: &'static str, local_path: &str) -> Url {
    let default = format!("{LOCAL}{local_path}");
    let mut url: Url = env.parsed(name, "an absolute URL", &default);
    if !matches!(url.scheme(), "http" | "https") {
        env.mistake(name, &format!("`{url}` is neither http nor https; example: {default}"));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_point_at_the_local_altinn() {
        let env = Env::from_pairs([]);
        let settings = AccessSettings::from_env(&env);
        env.finish().unwrap();
        assert_eq!(settings.authorization_api.as_str(), "http://localhost:5101/authorization/api/v1/");
        assert_eq!(settings.cookie_name, "AltinnStudioRuntime");
        assert_eq!(settings.platform_certificates, AccessSettings::local(LOCAL).platform_certificates);
    }

    #[test]
    fn a_base_address_without_a_slash_gets_one() {
        let env = Env::from_pairs([("REGISTER_API", "https://platform.altinn.no/register/api")]);
        assert_eq!(AccessSettings::from_env(&env).register_api.path(), "/register/api/");
    }

    #[test]
    fn lifetimes_above_the_guarantee_and_bad_addresses_are_refused_together() {
        let env = Env::from_pairs([
            ("PERMIT_TTL_MS", "60001"),
            ("REFUSAL_TTL_MS", "5001"),
            ("PLATFORM_CERTIFICATES", "http://localhost/cert"),
            ("AUTHORIZATION_API", "ftp://localhost/"),
            ("ACCESS_MAX_CONNECTIONS", "0"),
            ("TRUSTED_PROXIES", "10.0.0.0/8, somewhere"),
        ]);
        drop(AccessSettings::from_env(&env));
        assert_eq!(env.finish().unwrap_err().0.len(), 6);
    }

    #[test]
    fn the_addresses_of_those_whom_we_believe_are_demanded() {
        let mistakes = |pairs: &[(&'static str, &str)]| {
            let env = Env::from_pairs(pairs.iter().copied());
            AccessSettings::from_env(&env).demand_addresses(&env);
            env.finish().err().map_or(0, |error| error.0.len())
        };
        assert_eq!(mistakes(&[]), 4);
        let with = |base: &str| {
            let certificates = format!("{base}/{{issuer}}");
            mistakes(&[
                ("OPENID_WELL_KNOWN_ENDPOINT", base),
                ("PLATFORM_CERTIFICATES", &certificates),
                ("AUTHORIZATION_API", base),
                ("REGISTER_API", base),
            ])
        };
        for (base, expected) in [
            ("https://platform.altinn.no", 0),
            ("http://localhost:5101", 0),
            ("http://127.0.0.1:5101", 0),
            ("http://[::1]:5101", 0),
            ("http://platform.altinn.no", 4),
            ("http://localhost.example.no", 4),
            ("http://10.0.0.1", 4),
        ] {
            assert_eq!(with(base), expected, "{base}");
        }
    }

    #[test]
    fn the_subscription_key_is_not_in_the_table() {
        let env = Env::from_pairs([("PLATFORM_SUBSCRIPTION_KEY", "hush")]);
        assert_eq!(AccessSettings::from_env(&env).subscription_key.as_deref(), Some("hush"));
        assert!(!format!("{:?}", env.table()).contains("hush"));
    }
}
