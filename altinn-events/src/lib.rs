//! The wiring of the platform and its command line. What a service does is in the service's own crate.
//!
//! [`settings`] reads everything, [`platform`] starts any set of the four services in one process, [`facade`] is the one HTTP
//! server in front of them, [`commands`] are what a person types.

/// The system's allocator took up to 40 % of the CPU time of the worker threads under load (docs/performance.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub mod commands;
pub mod facade;
pub mod platform;
pub mod settings;
pub mod starts;
