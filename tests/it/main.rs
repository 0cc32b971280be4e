//! The platform from outside. Modules in the order of the README's promises.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the line that is wrong"
)]

mod approved;
mod behind;
mod bounds;
mod callers;
mod changes;
mod compose;
mod contract;
mod doors;
mod failover;
mod faults;
mod feed;
mod frozen;
mod guarantees;
mod guard_rails;
mod kept;
mod kills;
mod ladder;
mod one_definition;
mod poison;
mod probe;
mod rebalance;
mod repeat;
mod rights;
mod roundtrip;
mod shutdown;
mod starts;
mod webhook;
