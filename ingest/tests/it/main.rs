//! ingest from outside: its routes, a local Altinn over HTTP, a real Kafka.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the line that is wrong"
)]

mod accepted;
mod asked;
mod refused;
mod world;
