//! What makes the real decision point throw (contract §3.8). Whatever part of a request it is in, the answer is one indeterminate
//! result for all of it, with status 200.

use serde_json::{Value as Json, json};

use crate::answer::{Status, bare};

/// Why there is no answer to any part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No JSON, or not of the XACML JSON profile.
    Unreadable,
    NoSubject,
    NullValue,
    DataType,
    /// A system user stands alone, or not at all.
    SystemUserBesideOthers,
    UserId,
    UnknownResource,
    PersonNumber,
    UnknownOrganisation,
    /// A permit, without a party, for a resource that an access list restricts.
    ListWithoutParty,
    /// A test said so.
    Told,
}

impl Fault {
    const fn message(self) -> &'static str {
        match self {
            Self::Unreadable => "the request is not of the XACML JSON profile",
            Self::NoSubject => "there is no subject",
            Self::NullValue => "an attribute has no value",
            Self::DataType => "a data type is not supported",
            Self::SystemUserBesideOthers => "a system user stands beside other attributes",
            Self::UserId => "a user id is no integer",
            Self::UnknownResource => "the resource is unknown",
            Self::PersonNumber => "a person is named by number",
            Self::UnknownOrganisation => "an organisation number is unknown",
            Self::ListWithoutParty => "an access list needs a party",
            Self::Told => "the decision point is broken",
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Unreadable => "urn:oasis:names:tc:xacml:1.0:status:syntax-error",
            Self::NoSubject
            | Self::NullValue
            | Self::DataType
            | Self::SystemUserBesideOthers
            | Self::UserId
            | Self::UnknownResource
            | Self::PersonNumber
            | Self::UnknownOrganisation
            | Self::ListWithoutParty
            | Self::Told => "urn:oasis:names:tc:xacml:1.0:status:processing-error",
        }
    }

    /// The answer to the whole request.
    pub(crate) fn answer(self) -> Json {
        let status = Status { code: self.code(), message: self.message() };
        json!({ "response": [bare("Indeterminate", &status)] })
    }
}
