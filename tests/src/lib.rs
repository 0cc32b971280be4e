//! The harness of the platform tests: a world is a platform of its own on the shared Kafka and Postgres.
//!
//! * [`world`]: topics with a prefix of their own, a schema of its own, a stand-in for Altinn, services in this process or as
//!   child processes.
//! * [`receiver`]: a webhook receiver that records and answers by script.
//! * [`client`]: what publishers and readers do, typed.
//! * [`ledger`]: what was published, read, delivered; closes or says what is missing.
//! * [`wait`]: waits for named conditions; nothing here sleeps a fixed time and hopes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a harness fails the test at the line that is wrong"
)]

pub mod client;
pub mod ledger;
pub mod process;
pub mod receiver;
pub mod wait;
pub mod world;
