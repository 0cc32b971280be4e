//! query-api from outside: its routes, a real Postgres and Kafka, a local Altinn over HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the line that is wrong"
)]

mod after;
mod app_feeds;
#[path = "../../../ingest/tests/it/asked.rs"]
mod asked;
mod bounds;
mod endpoints;
mod faults;
mod feed;
mod frozen;
mod log;
mod parties;
mod places;
mod subscriptions;
mod wait;
mod world;
