//! The projector against a real Kafka and a real Postgres.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the line that is wrong"
)]

mod batches;
mod cut;
mod harness;
mod loops;
