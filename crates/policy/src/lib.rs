//! XACML 3.0 policies of the form that Altinn apps ship: read, checked, evaluated. Pure: no I/O, no clock, no async.
//!
//! [`Policy::parse`] reads a policy and refuses all that it cannot evaluate exactly: an element, attribute, function or data type
//! that is not known here is an error that names it, never something to skip. Types are checked then, too, so that evaluation
//! meets no surprise but those that a request brings: an attribute that must be there and is not, or several values where one is
//! needed.
//!
//! [`Policy::evaluate`] follows the standard ("XACML 3.0 core", sections are named where they are implemented): targets §7.7,
//! conditions §7.9, rules §7.11, policies §7.12 and §7.14, obligations §7.18, combining algorithms appendix C, functions
//! appendix A.3.
//!
//! Not here, and therefore refused: policy sets, references, variables, attribute selectors, issuers of attributes, advice,
//! higher-order functions, combiner parameters, and data types other than string, boolean, integer and any-URI.

#![warn(missing_docs)]

mod pattern;
mod read;
mod xml;

mod combine;
mod error;
mod expression;
mod function;
mod obligation;
mod policy;
mod request;
mod target;
mod value;

pub use error::{PolicyError, Refusal};
pub use expression::Failure;
pub use obligation::{Assignment, Obligation};
pub use policy::{Decision, Effect, Outcome, Policy, Possible};
pub use request::{ACTION, ENVIRONMENT, RESOURCE, Request, SUBJECT};
pub use value::{DataType, Value};
