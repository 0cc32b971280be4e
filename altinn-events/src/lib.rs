//! The wiring of the platform and its command line. What a service does is in the service's own crate.
//!
//! [`settings`] reads everything, [`platform`] starts any set of the four services in one process, [`facade`] is the one HTTP
//! server in front of them, [`commands`] are what a person types.

pub mod commands;
pub mod facade;
pub mod platform;
pub mod settings;
