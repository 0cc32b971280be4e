//! The two loops against a real broker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the line that is wrong"
)]

#[cfg(test)]
mod batches;
#[cfg(test)]
mod broker;
#[cfg(test)]
mod fit;
#[cfg(test)]
mod holds;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod ledgers;
#[cfg(test)]
mod out_of_touch;
#[cfg(test)]
mod starts;
