//! A consumer's filter and the endpoint that wants the matching events.

use crate::{ids::SubscriptionId, instant::Micros};

/// A subscription as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Its place in the order of all changes; taken anew at every change.
    pub position: i64,
    /// The webhook address, byte for byte as it was given.
    pub endpoint: String,
    /// Base of the sources that match.
    pub source_filter: Option<String>,
    /// The resource that matches, in lower case.
    pub resource_filter: Option<String>,
    /// The canonical subject that matches.
    pub subject_filter: Option<String>,
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

impl Subscription {
    /// Whether events may go to it now.
    pub const fn is_active(&self) -> bool {
        self.validated && !self.paused && !self.deleted
    }
}
