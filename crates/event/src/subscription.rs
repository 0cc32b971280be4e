//! A consumer's filter and the endpoint that wants the matching events.

use crate::{
    ids::{SubscriptionId, SubscriptionMark},
    instant::Micros,
};

/// A subscription as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Its place in the order of all changes; taken anew at every change.
    pub position: i64,
    /// Random, and its own for good.
    pub mark: SubscriptionMark,
    /// The webhook address, byte for byte as it was given.
    pub endpoint: String,
    /// Rises whenever the endpoint changes.
    pub endpoint_revision: i32,
    /// Base of the sources that match.
    pub source_filter: Option<String>,
    /// The resource that matches, in lower case.
    pub resource_filter: Option<String>,
    /// The canonical subject that matches.
    pub subject_filter: Option<String>,
    /// The subject as it was asked for, where that is an organisation's number: what its owner reads.
    pub subject_sent: Option<String>,
    /// The type that matches.
    pub type_filter: Option<String>,
    /// Whether events about sub-units match too.
    pub include_subunits: bool,
    /// Who receives: `/org/ttd`, `/user/1` and so on.
    pub consumer: String,
    /// Who created it.
    pub created_by: String,
    /// When.
    pub created: Micros,
    /// Whether the endpoint has answered the validation event.
    pub validated: bool,
    /// The position at which it was validated; later changes leave it.
    pub validated_position: Option<i64>,
    /// Whether its owner has paused it.
    pub paused: bool,
    /// Whether it is gone; kept as a tombstone for readers of changes.
    pub deleted: bool,
}

/// Which endpoint of which subscription has answered its validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The subscription's number.
    pub subscription: SubscriptionId,
    /// Its mark: another subscription may have been given the number meanwhile.
    pub mark: SubscriptionMark,
    /// The endpoint's revision: the subscription may have another endpoint meanwhile.
    pub endpoint_revision: i32,
}

impl Subscription {
    /// What a validation of it proves, as it is now.
    pub const fn proof(&self) -> Proof {
        Proof { subscription: self.id, mark: self.mark, endpoint_revision: self.endpoint_revision }
    }

    /// Whether events may go to it now.
    pub const fn is_active(&self) -> bool {
        self.validated && !self.paused && !self.deleted
    }
}
