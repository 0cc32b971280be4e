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
/// Pushes `deliveries`.
pub const PUSH: &str = "dispatcher.push";
/// Pushes `deliveries.due`; assigned by hand, so it never has members.
pub const DUE: &str = "dispatcher.due";
/// Moves records of the tiers to `deliveries.due` when they are due.
pub const TIERS: &str = "dispatcher.tiers";

/// Every group with the topics it reads, by short names.
pub fn all() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        (PROJECTOR, vec![topics::EVENTS]),
        (ATTEMPTS, vec![topics::ATTEMPTS]),
        (DEAD, vec![topics::DEAD]),
        (MATCH, vec![topics::EVENTS]),
        (PUSH, vec![topics::DELIVERIES]),
        (DUE, vec![topics::DUE]),
        (TIERS, topics::TIERS.iter().map(|(topic, _)| *topic).collect()),
    ]
}
