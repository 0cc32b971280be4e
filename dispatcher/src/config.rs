//! The dispatcher's settings. Defaults are what production runs.

use std::time::Duration;

use event::{address::AddressPolicy, limits::EVENT_MAX};
use kafka_loop::Budget;
use service::env::Env;

use crate::pushing::{
    circuit::CircuitSettings,
    outcome::Ladder,
    permits::Pools,
    queue::Limits,
    sockets::{self, Room},
};

/// All of them.
#[derive(Clone, Debug)]
pub struct Config {
    /// How subscriptions are followed.
    pub(crate) subscriptions: SubscriptionsConfig,
    /// How events are matched.
    pub(crate) matching: MatchConfig,
    /// How deliveries are pushed.
    pub(crate) push: PushConfig,
    /// Records of one tier partition that may be in hand.
    pub(crate) tier_budget_per_partition: usize,
    /// The delays of the tiers.
    pub(crate) ladder: Ladder,
}

/// Following the subscriptions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubscriptionsConfig {
    /// How often changes are asked for.
    pub(crate) poll: Duration,
}

/// Matching.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MatchConfig {
    /// Events that are matched together at most.
    pub(crate) batch: usize,
    /// How long the look-up of repeated events may take; without an answer there is none.
    pub(crate) repeats_wait: Duration,
    /// How many identities of recent events are remembered.
    pub(crate) repeats_window: usize,
    /// How many deliveries are appended together at most.
    pub(crate) chunk: usize,
    /// Events in hand.
    pub(crate) budget: Budget,
    /// The delays of the tiers, for events whose main unit nobody tells.
    pub(crate) ladder: Ladder,
}

/// Pushing.
#[derive(Clone, Debug)]
pub(crate) struct PushConfig {
    /// Deliveries in hand, for each of the two topics.
    pub(crate) budget: Budget,
    /// What may wait and what may be on its way.
    pub(crate) limits: Limits,
    /// How long a receiver may take, reading its answer included.
    pub(crate) timeout: Duration,
    /// Sockets to receivers that may be idle.
    pub(crate) idle_sockets: usize,
    /// Look-ups of hosts at once.
    pub(crate) lookups: usize,
    /// How many settled attempts are remembered.
    pub(crate) settled_window: usize,
    /// Which addresses may be called.
    pub(crate) addresses: AddressPolicy,
}

const MIB: usize = 1 << 20;
/// Validations that may be on their way, apart from deliveries.
const VALIDATIONS: usize = 16;
/// No delivery that waits weighs less, in bytes.
pub(crate) const LIGHTEST: usize = 1_024;

impl Config {
    /// Reads the settings; mistakes are collected in `env`.
    pub fn from_env(env: &Env) -> Self {
        let divisor: u32 =
            env.parsed("RETRY_DELAY_DIVISOR", "a whole number from 1, above 1 in tests only", "1");
        if divisor == 0 {
            env.mistake("RETRY_DELAY_DIVISOR", "0 divides nothing; example: 1");
        }
        let ladder = Ladder { divisor: divisor.max(1) };
        Self {
            subscriptions: SubscriptionsConfig { poll: env.duration_ms("SUBSCRIPTIONS_POLL_MS", 50) },
            matching: MatchConfig::from_env(env, ladder),
            push: PushConfig::from_env(env, ladder),
            tier_budget_per_partition: count(env, "TIER_BUDGET_PER_PARTITION", "128"),
            ladder,
        }
    }
}

impl MatchConfig {
    fn from_env(env: &Env, ladder: Ladder) -> Self {
        Self {
            batch: count(env, "MATCH_BATCH", "500"),
            repeats_wait: env.duration_ms("MATCH_REPEATS_WAIT_MS", 250),
            repeats_window: count(env, "MATCH_REPEATS_WINDOW", "200000"),
            chunk: count(env, "MATCH_APPEND_CHUNK", "2000"),
            budget: Budget { records: count(env, "MATCH_BUDGET_RECORDS", "4000"), bytes: 64 * MIB },
            ladder,
        }
    }
}

impl PushConfig {
    fn from_env(env: &Env, ladder: Ladder) -> Self {
        let waiting_bytes: usize =
            env.parsed("PUSH_WAITING_BYTES", "bytes, a whole number from 1048576", "67108864");
        if waiting_bytes < MIB {
            env.mistake("PUSH_WAITING_BYTES", "holds too few deliveries; example: 67108864");
        }
        let (quick, slow) = (count(env, "PUSH_IN_FLIGHT", "512"), count(env, "PUSH_SLOW_IN_FLIGHT", "8192"));
        let pools = Pools { quick, slow, validations: VALIDATIONS, sends: 2 * quick + slow + VALIDATIONS };
        let Room { pools, idle, lookups } = sockets::within(pools, sockets::descriptors());
        let limits = Limits {
            pools,
            slow_after: env.duration_ms("PUSH_SLOW_AFTER_MS", 2_000),
            window: count(env, "PUSH_IN_FLIGHT_PER_ENDPOINT", "32"),
            lane: count(env, "PUSH_QUEUE_PER_ENDPOINT", "64"),
            waiting_bytes,
            ladder,
            circuit: CircuitSettings {
                failures: env.parsed("CIRCUIT_FAILURES", "failures in a row, a whole number", "10"),
                lasting: env.duration_ms("CIRCUIT_LASTING_MS", 10_000) / ladder.divisor,
            },
        };
        let timeout = env.duration_ms("PUSH_TIMEOUT_MS", 45_000);
        if timeout < limits.slow_after {
            env.mistake("PUSH_TIMEOUT_MS", "is shorter than PUSH_SLOW_AFTER_MS; example: 45000");
        }
        Self {
            // Everything that waits and everything on its way.
            budget: Budget {
                records: waiting_bytes / LIGHTEST + pools.sends,
                bytes: waiting_bytes + pools.sends * EVENT_MAX,
            },
            limits,
            timeout,
            idle_sockets: idle,
            lookups,
            settled_window: count(env, "PUSH_SETTLED_WINDOW", "200000"),
            addresses: AddressPolicy { allow_loopback: env.flag("ALLOW_LOOPBACK_WEBHOOKS", false) },
        }
    }
}

/// A bound: at least 1.
fn count(env: &Env, name: &'static str, default: &str) -> usize {
    let value: usize = env.parsed(name, "a whole number from 1", default);
    if value == 0 {
        env.mistake(name, &format!("0 would stop everything; example: {default}"));
    }
    value.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_and_zeros_are_mistakes() {
        let env = Env::from_pairs([
            ("PUSH_TIMEOUT_MS", "500"),
            ("PUSH_IN_FLIGHT", "0"),
            ("RETRY_DELAY_DIVISOR", "0"),
        ]);
        Config::from_env(&env);
        assert_eq!(env.finish().unwrap_err().0.len(), 3);
    }

    #[test]
    fn the_defaults_are_no_mistakes() {
        let env = Env::from_pairs([]);
        let config = Config::from_env(&env);
        env.finish().unwrap();
        assert!(!config.push.addresses.allow_loopback);
        assert_eq!(config.ladder.divisor, 1);
    }
}
