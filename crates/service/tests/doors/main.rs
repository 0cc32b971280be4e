//! The doors from outside: real sockets on loopback, each test with a port of its own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the line that is wrong"
)]

mod bounds;
mod early;
mod host;
mod http2;
mod slow;
mod stopping;
