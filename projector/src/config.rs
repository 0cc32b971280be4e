//! What can be set about the projector.

use std::time::Duration;

use service::env::Env;

/// The projector's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Most records a transaction.
    pub batch_records: usize,
    /// Most bytes a transaction.
    pub batch_bytes: usize,
    /// Longest wait for more records after the first.
    pub batch_wait: Duration,
    /// How long events are kept after they were stored; at least 90 days.
    pub retention: Duration,
    /// Age at which a partition closes although it has room.
    pub partition_age: Duration,
    /// How long attempts are kept.
    pub attempts_retention: Duration,
    /// How long dead letters are kept.
    pub dead_retention: Duration,
    /// Time between two rounds of housekeeping.
    pub housekeeping: Duration,
}

const DAY: Duration = Duration::from_secs(86_400);
const RETENTION_DAYS_MIN: u32 = 90;

impl Config {
    /// Reads the settings; mistakes are collected in `env`.
    pub fn from_env(env: &Env) -> Self {
        let days: u32 = env.parsed("EVENTS_RETENTION_DAYS", "days, at least 90", "100");
        if days < RETENTION_DAYS_MIN {
            env.mistake("EVENTS_RETENTION_DAYS", "must be at least 90; example: 100");
        }
        let config = Self {
            batch_records: env.parsed("PROJECTOR_BATCH_RECORDS", "a whole number from 1", "2000"),
            batch_bytes: env.parsed("PROJECTOR_BATCH_BYTES", "bytes, a whole number from 1", "4194304"),
            batch_wait: env.duration_ms("PROJECTOR_BATCH_WAIT_MS", 5),
            retention: DAY * days,
            partition_age: DAY * 7,
            attempts_retention: DAY * 30,
            dead_retention: DAY * 100,
            housekeeping: env.duration_ms("PROJECTOR_HOUSEKEEPING_MS", 60_000),
        };
        if config.batch_records == 0 || config.batch_bytes == 0 {
            env.mistake("PROJECTOR_BATCH_RECORDS", "a batch must have room for a record; example: 2000");
        }
        config
    }
}
