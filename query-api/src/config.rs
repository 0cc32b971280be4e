//! What can be set about the query-api.

use std::time::Duration;

use event::{address::AddressPolicy, resource::AppsDomain};
use service::{doors, env::Env};
use url::Url;

/// The query-api's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// What links start with: the address that clients use, without a slash at the end.
    pub base_uri: String,
    /// Domain of the apps.
    pub apps_domain: AppsDomain,
    /// Which webhook addresses are allowed.
    pub addresses: AddressPolicy,
    /// Most rows of one look into the store.
    pub scan_rows: i64,
    /// Most looks into the store a page.
    pub scan_chunks: usize,
    /// How long an unknown `after` waits for the projector.
    pub unknown_after_wait: Duration,
    /// Most bytes of events that are read or written out at once.
    pub pages_bytes: usize,
    /// Most readers that wait at once.
    pub waiters_max: usize,
    /// Most readers of one caller that wait at once.
    pub waiters_per_caller: usize,
    /// Time between two looks at the head while somebody waits.
    pub head_poll: Duration,
    /// Age at which a validation that was not answered is sent again.
    pub validation_again: Duration,
    /// Longest wait for the whole body of a request before the answer is 408.
    pub body_timeout: Duration,
    /// How often a validation is sent in all.
    pub validations_max: i32,
}

/// Longest wait that a reader may ask for.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
/// Most parties of one read.
pub const PARTIES_MAX: usize = 5_000;
/// Most parties of a read that waits.
pub const WAITING_PARTIES_MAX: usize = 100;
/// Largest page.
pub const SIZE_MAX: i64 = 1_000;
/// Largest page, in bytes of its events and what stands between them.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Page size when none is asked for.
pub const SIZE_DEFAULT: i64 = 50;
/// Most subscriptions of a person.
pub const PERSON_SUBSCRIPTIONS_MAX: i64 = 100;
/// Most subscriptions of any other consumer.
pub const SUBSCRIPTIONS_MAX: i64 = 10_000;

impl Config {
    /// Reads the settings; mistakes are collected in `env`.
    pub fn from_env(env: &Env) -> Self {
        let base_uri = env.text("BASE_URI", "http://localhost:5080");
        if Url::parse(&base_uri).is_err() {
            env.mistake("BASE_URI", "is not an absolute URL; example: https://platform.example.no");
        }
        let pages_bytes = env.parsed("FEED_PAGES_BYTES", "bytes, a whole number from 4194304", "268435456");
        if pages_bytes < PAGE_BYTES_MAX {
            env.mistake("FEED_PAGES_BYTES", "is less than the largest page has; example: 268435456");
        }
        Self {
            base_uri: base_uri.trim_end_matches('/').to_owned(),
            apps_domain: env.parsed("APPS_DOMAIN", "a domain", "apps.altinn.no"),
            addresses: AddressPolicy { allow_loopback: env.flag("ALLOW_LOOPBACK_WEBHOOKS", false) },
            scan_rows: env.parsed("FEED_SCAN_ROWS", "a whole number from 1", "5000"),
            scan_chunks: env.parsed("FEED_SCAN_CHUNKS", "a whole number from 1", "5"),
            unknown_after_wait: env.duration_ms("FEED_UNKNOWN_AFTER_WAIT_MS", 2_000),
            pages_bytes,
            waiters_max: env.parsed("FEED_WAITERS_MAX", "a whole number", "20000"),
            waiters_per_caller: env.parsed("FEED_WAITERS_PER_CALLER", "a whole number", "1000"),
            head_poll: env.duration_ms("FEED_HEAD_POLL_MS", 20),
            validation_again: env.duration_ms("VALIDATION_AGAIN_MS", 30_000),
            body_timeout: doors::body_timeout(env),
            validations_max: env.parsed("VALIDATIONS_MAX", "a whole number from 1", "10"),
        }
    }
}
