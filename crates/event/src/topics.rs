//! Topic names and the retry ladder, from `schemas/topics.toml`.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

/// Every accepted event.
pub const EVENTS: &str = "events";
/// Deliveries whose first attempt is due.
pub const DELIVERIES: &str = "deliveries";
/// Deliveries that a tier has released.
pub const DUE: &str = "deliveries.due";
/// Deliveries whose twelfth attempt failed.
pub const DEAD: &str = "deliveries.dead";
/// One record an attempt.
pub const ATTEMPTS: &str = "delivery-attempts";
/// Records of `events` that could not be decoded or stored.
pub const REJECTED: &str = "events.rejected";

/// The tiers, shortest first: each a topic and its one delay.
pub const TIERS: [(&str, Duration); 10] = [
    ("deliveries.retry.10s", Duration::from_secs(10)),
    ("deliveries.retry.30s", Duration::from_secs(30)),
    ("deliveries.retry.1m", Duration::from_secs(60)),
    ("deliveries.retry.5m", Duration::from_secs(300)),
    ("deliveries.retry.10m", Duration::from_secs(600)),
    ("deliveries.retry.30m", Duration::from_secs(1_800)),
    ("deliveries.retry.1h", Duration::from_secs(3_600)),
    ("deliveries.retry.3h", Duration::from_secs(10_800)),
    ("deliveries.retry.6h", Duration::from_secs(21_600)),
    ("deliveries.retry.12h", Duration::from_secs(43_200)),
];

/// Attempts at a delivery before it becomes a dead letter.
pub const MAX_ATTEMPTS: u8 = 12;

/// The tier (index into [`TIERS`]) after attempt 1, 2, … 11: ten steps, and the last tier twice.
pub const fn ladder() -> [usize; 11] {
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
}

/// One topic as `schemas/topics.toml` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Short name, without a platform's prefix.
    pub name: String,
    /// What its records are keyed by, for people.
    pub key: String,
    /// Default number of partitions.
    pub partitions: i32,
    /// How long records are kept, in milliseconds.
    pub retention_ms: i64,
    /// The delay of a tier.
    pub delay: Option<Duration>,
}

/// All topics, in the order of the file, and the settings that each of them has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    topics: Vec<Topic>,
    settings: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    settings: BTreeMap<String, String>,
    topic: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    key: String,
    partitions: i32,
    retention_days: i64,
    delay_seconds: Option<u64>,
    #[serde(rename = "value")]
    _value: String,
}

impl Topics {
    /// The topics of `schemas/topics.toml`, which is compiled in.
    pub fn load() -> Self {
        let file: File = toml::from_str(include_str!("../../../schemas/topics.toml"))
            .expect("schemas/topics.toml is compiled in and read by a test");
        let topics = file.topic.into_iter().map(|entry| Topic {
            name: entry.name,
            key: entry.key,
            partitions: entry.partitions,
            retention_ms: entry.retention_days * 86_400_000,
            delay: entry.delay_seconds.map(Duration::from_secs),
        });
        Self { topics: topics.collect(), settings: file.settings }
    }

    /// All but one: what a test sees while that topic is away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.topics.retain(|topic| topic.name != name);
        self
    }

    /// All of them.
    pub fn all(&self) -> &[Topic] {
        &self.topics
    }

    /// What every topic is created with and checked for: the broker's setting and its value (`cleanup.policy` and so on).
    pub fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The topic of that name.
    pub fn get(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_and_the_names_in_the_code_agree() {
        let topics = Topics::load();
        for name in [EVENTS, DELIVERIES, DUE, DEAD, ATTEMPTS, REJECTED] {
            assert!(topics.get(name).is_some(), "{name}");
        }
        for (name, delay) in TIERS {
            assert_eq!(topics.get(name).and_then(|topic| topic.delay), Some(delay), "{name}");
        }
        assert_eq!(topics.all().len(), 6 + TIERS.len());
        let partitions = |name| topics.get(name).map(|topic| topic.partitions);
        assert_eq!(partitions(DUE), partitions(DELIVERIES));
    }

    #[test]
    fn records_leave_a_topic_by_age_alone() {
        let topics = Topics::load();
        let settings: Vec<_> = topics.settings().collect();
        assert!(settings.contains(&("cleanup.policy", "delete")));
        assert!(settings.contains(&("retention.bytes", "-1")));
        assert!(settings.contains(&("message.timestamp.type", "LogAppendTime")));
        assert_eq!(topics.get(EVENTS).map(|topic| topic.retention_ms), Some(100 * 86_400_000));
    }

    #[test]
    fn twelve_attempts_take_34_hours_and_46_minutes() {
        let waits: Duration = ladder().iter().map(|tier| TIERS[*tier].1).sum();
        assert_eq!(waits, Duration::from_secs(34 * 3_600 + 46 * 60 + 40));
        assert_eq!(ladder().len() + 1, usize::from(MAX_ATTEMPTS));
    }
}
