//! Cases from the standard, and policies as apps ship them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy grants tests these only inside test functions, not in what they share"
)]

mod apps;
mod decisions;
mod functions;
mod obligations;
mod refused;
mod targets;
mod xml;

use policy::{ACTION, Decision, Outcome, Policy, Possible, RESOURCE, Request, SUBJECT, Value};

pub(crate) const PERMIT: Decision = Decision::Permit;
pub(crate) const DENY: Decision = Decision::Deny;
pub(crate) const NOT_APPLICABLE: Decision = Decision::NotApplicable;
pub(crate) const PERHAPS_PERMIT: Decision = Decision::Indeterminate(Possible::Permit);
pub(crate) const PERHAPS_DENY: Decision = Decision::Indeterminate(Possible::Deny);
pub(crate) const PERHAPS_EITHER: Decision = Decision::Indeterminate(Possible::Either);

/// A request whose subject has these attributes, all strings.
pub(crate) fn subject(attributes: &[(&str, &str)]) -> Request {
    with(Request::new(), SUBJECT, attributes)
}

/// The same with attributes of a resource and an action.
pub(crate) fn asks(subject_has: &[(&str, &str)], action: &str, resource: &[(&str, &str)]) -> Request {
    let action = [("urn:oasis:names:tc:xacml:1.0:action:action-id", action)];
    with(with(subject(subject_has), ACTION, &action), RESOURCE, resource)
}

fn with(request: Request, category: &str, attributes: &[(&str, &str)]) -> Request {
    let add =
        |request: Request, (id, value): &(&str, &str)| request.with(category, id, Value::string(*value));
    attributes.iter().fold(request, add)
}

#[track_caller]
pub(crate) fn outcome(policy: &str, request: &Request) -> Outcome {
    match Policy::parse(policy) {
        Ok(policy) => policy.evaluate(request),
        Err(error) => panic!("{error}\n{policy}"),
    }
}
