//! The consumer groups of the platform: what each reads, where its positions are kept, and where it starts when it is new.

use event::{Micros, topics};

/// Materialises `events`.
pub const PROJECTOR: &str = "projector";
/// Materialises `delivery-attempts`.
pub const ATTEMPTS: &str = "projector.attempts";
/// Materialises `deliveries.dead`.
pub const DEAD: &str = "projector.dead";
/// Matches `events` with subscriptions.
pub const MATCH: &str = "dispatcher.match";
/// Pushes `deliveries`, and `deliveries.due` in the same partitions. Its members subscribe to the first and commit for both.
pub const PUSH: &str = "dispatcher.push";
/// Moves records of the tiers to `deliveries.due` when they are due.
pub const TIERS: &str = "dispatcher.tiers";

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name, without prefix.
    pub name: &'static str,
    /// The topics it reads, by short names.
    pub topics: Vec<&'static str>,
    /// Where its positions are true.
    pub kept: Kept,
    /// Where it starts on a topic that has records already, when it is new there.
    pub start: Start,
}

/// Where the positions of a group are true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In Kafka: a group without a position there has lost it, or is new.
    Kafka,
    /// In the store, beside the rows; what is committed to Kafka is for lag tools. Without a row the oldest kept record is first.
    Store,
}

/// Where to start on a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest kept record.
    Oldest,
    /// Behind the newest record.
    Newest,
    /// With the first record that was appended at that time or later.
    At(Micros),
}

impl std::str::FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown =
            || format!("`{text}` is none of oldest, newest, or a time such as 2026-01-02T03:04:05Z");
        match text {
            "oldest" => Ok(Self::Oldest),
            "newest" => Ok(Self::Newest),
            time => Micros::parse_rfc3339(time).map(Self::At).ok_or_else(unknown),
        }
    }
}

/// Every group. A group that a release adds, or a topic that it adds to a group, declares here whether it begins with what is
/// kept or with what comes.
pub fn all() -> Vec<Group> {
    let group = |name, topics, kept, start| Group { name, topics, kept, start };
    let tiers = topics::TIERS.iter().map(|(topic, _)| *topic).collect();
    vec![
        group(PROJECTOR, vec![topics::EVENTS], Kept::Store, Start::Oldest),
        group(ATTEMPTS, vec![topics::ATTEMPTS], Kept::Store, Start::Oldest),
        group(DEAD, vec![topics::DEAD], Kept::Store, Start::Oldest),
        group(MATCH, vec![topics::EVENTS], Kept::Kafka, Start::Oldest),
        group(PUSH, vec![topics::DELIVERIES, topics::DUE], Kept::Kafka, Start::Oldest),
        group(TIERS, tiers, Kept::Kafka, Start::Oldest),
    ]
}

/// The group of that name.
pub fn find(name: &str) -> Option<Group> {
    all().into_iter().find(|group| group.name == name)
}
