//! What can be set about ingest.

use std::time::Duration;

use event::resource::AppsDomain;
use service::{doors, env::Env};

use crate::body::BATCH_MAX;

/// Bytes of request bodies in hand, of which a publisher may have a part, below which one full batch would never be let in.
const IN_FLIGHT_BYTES_MIN: usize = 2 * BATCH_MAX;

/// Settings of ingest.
#[derive(Clone, Debug)]
pub struct Config {
    /// Domain of the apps.
    pub apps_domain: AppsDomain,
    /// Bytes of request bodies in hand at once, over all publishers; beyond it the answer is 503.
    pub in_flight_bytes: usize,
    /// Bytes of request bodies of one publisher in hand at once; beyond it the answer is 429.
    pub in_flight_bytes_per_publisher: usize,
    /// Requests of one publisher in hand at once; beyond it the answer is 429.
    pub in_flight_per_publisher: usize,
    /// Longest wait for the log's acknowledgement before the answer is 503.
    pub ack_timeout: Duration,
    /// Longest wait for the whole body of a request before the answer is 408.
    pub body_timeout: Duration,
}

impl Config {
    /// `APPS_DOMAIN`, `INGEST_IN_FLIGHT_BYTES`, `INGEST_IN_FLIGHT_BYTES_PER_PUBLISHER`, `INGEST_IN_FLIGHT_PER_PUBLISHER`,
    /// `INGEST_ACK_TIMEOUT_MS`, `HTTP_BODY_TIMEOUT_MS`.
    pub fn from_env(env: &Env) -> Self {
        let config = Self {
            apps_domain: env.parsed("APPS_DOMAIN", "a domain", "apps.altinn.no"),
            in_flight_bytes: env.parsed("INGEST_IN_FLIGHT_BYTES", "bytes as a whole number", "67108864"),
            in_flight_bytes_per_publisher: env.parsed(
                "INGEST_IN_FLIGHT_BYTES_PER_PUBLISHER",
                "bytes as a whole number",
                "16777216",
            ),
            in_flight_per_publisher: env.parsed(
                "INGEST_IN_FLIGHT_PER_PUBLISHER",
                "a whole number above 0",
                "512",
            ),
            ack_timeout: env.duration_ms("INGEST_ACK_TIMEOUT_MS", 6_000),
            body_timeout: doors::body_timeout(env),
        };
        config.check(env);
        config
    }

    fn check(&self, env: &Env) {
        if self.in_flight_bytes < IN_FLIGHT_BYTES_MIN
            || self.in_flight_bytes > usize::try_from(u32::MAX).unwrap_or(0)
        {
            env.mistake("INGEST_IN_FLIGHT_BYTES", "is not between 2097152 and 4294967295; example: 67108864");
        }
        if self.in_flight_bytes_per_publisher < BATCH_MAX {
            env.mistake(
                "INGEST_IN_FLIGHT_BYTES_PER_PUBLISHER",
                "is below 1048576: no batch would be let in; example: 16777216",
            );
        }
        if self.in_flight_per_publisher == 0 {
            env.mistake("INGEST_IN_FLIGHT_PER_PUBLISHER", "is 0; nobody could ever publish; example: 512");
        }
        if self.ack_timeout.is_zero() {
            env.mistake("INGEST_ACK_TIMEOUT_MS", "is 0; example: 6000");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_impossible_settings_are_mistakes() {
        let env = Env::from_pairs([]);
        let config = Config::from_env(&env);
        assert!(env.finish().is_ok());
        assert_eq!(config.apps_domain.host_of("ttd"), "ttd.apps.altinn.no");
        let env = Env::from_pairs([
            ("APPS_DOMAIN", "a b"),
            ("INGEST_IN_FLIGHT_BYTES", "1"),
            ("INGEST_IN_FLIGHT_BYTES_PER_PUBLISHER", "1"),
            ("INGEST_IN_FLIGHT_PER_PUBLISHER", "0"),
            ("INGEST_ACK_TIMEOUT_MS", "0"),
        ]);
        Config::from_env(&env);
        assert_eq!(env.finish().map_err(|error| error.0.len()), Err(5));
    }
}
