//! What every process of the platform needs and nothing that belongs to one of them.
//!
//! * [`mod@env`] reads settings and reports every mistake at once.
//! * [`lifecycle`] starts named parts, stops them in order, says which one died.
//! * [`admin`] answers `/livez`, `/readyz` and `/metrics` on a port of its own.
//! * [`doors`] lets connections in, within bounds, and ends those that make us wait; [`descriptors`] says how many there may be.
//! * [`telemetry`] decides how log lines look.
//! * [`encoding`] reads bodies that came compressed.
//! * [`json`] is how an answer in JSON looks.
//! * [`problem`] is the one shape in which a client reads a refusal.
//! * [`trace`] marks refusals with the id of their request.

#![warn(missing_docs)]

pub mod admin;
pub mod descriptors;
pub mod doors;
pub mod encoding;
pub mod env;
pub mod json;
pub mod lifecycle;
pub mod problem;
pub mod telemetry;
pub mod trace;

pub use prometheus;
