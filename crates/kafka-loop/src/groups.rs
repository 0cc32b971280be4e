//! The consumer groups of the platform, and what each reads.

use event::topics;

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

/// Every group with the topics it reads, by short names.
pub fn all() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        (PROJECTOR, vec![topics::EVENTS]),
        (ATTEMPTS, vec![topics::ATTEMPTS]),
        (DEAD, vec![topics::DEAD]),
        (MATCH, vec![topics::EVENTS]),
        (PUSH, vec![topics::DELIVERIES, topics::DUE]),
        (TIERS, topics::TIERS.iter().map(|(topic, _)| *topic).collect()),
    ]
}
