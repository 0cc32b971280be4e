//! One try at a delivery, as it stands on `delivery-attempts`.

use serde::{Deserialize, Serialize};

use crate::{
    delivery::DeliveryKind,
    ids::{SubscriptionId, SubscriptionMark},
    subscription::Proof,
};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptOutcome {
    /// The endpoint answered 2xx.
    Delivered,
    /// It answered something else, or not at all; the delivery is on a tier.
    Failed,
    /// Nothing was sent because the endpoint's circuit is open; counts as an attempt.
    Skipped,
    /// Moved to a tier without an attempt.
    PutBack,
    /// The subscription is gone or may not see the event any more.
    Dropped,
    /// The last attempt failed; the delivery is a dead letter.
    Dead,
}

impl AttemptOutcome {
    /// The name in JSON, in tables and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::PutBack => "put-back",
            Self::Dropped => "dropped",
            Self::Dead => "dead",
        }
    }
}

/// The detail of a dropped attempt whose subscription may not receive the event.
pub const NOT_PERMITTED: &str = "not-permitted";

/// The JSON value of a record on `delivery-attempts`. Of an event that the subscriber may not receive, or about which nobody could say,
/// it tells nothing but the resource, which the subscription names itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptRecord {
    /// The delivery's id, 32 hexadecimal digits.
    pub delivery: String,
    /// The subscription's id.
    pub subscription: i64,
    /// The subscription's mark, 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mark: Option<String>,
    /// Of a validation: the revision of the endpoint that it proves.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub endpoint_revision: Option<i32>,
    /// What was delivered.
    pub kind: DeliveryKind,
    /// The event's id.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub event_id: String,
    /// The event's source.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub event_source: String,
    /// The event's type.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub event_type: String,
    /// The event's resource; empty for a validation.
    pub resource: String,
    /// 1 to 12; the number of the attempt that this is, or, for put back and dropped, of the one that would have been next; 0 where the
    /// subscription was refused at match, before there was a delivery.
    pub attempt: u8,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The status that the endpoint answered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
    /// From the start of the request to its end.
    pub duration_ms: u32,
    /// When it ended, RFC 3339.
    pub at: String,
    /// When the next attempt is due, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_due: Option<String>,
    /// What went wrong, in words without the endpoint's own text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
}

impl AttemptRecord {
    /// Why the subscription may not receive the event, where it may not.
    pub fn refusal(&self) -> Option<&str> {
        let is_dropped = self.kind == DeliveryKind::Event && self.outcome == AttemptOutcome::Dropped;
        self.detail.as_deref().filter(|detail| is_dropped && *detail == NOT_PERMITTED)
    }

    /// Takes out what tells the event.
    pub fn hide_event(&mut self) {
        self.event_id.clear();
        self.event_source.clear();
        self.event_type.clear();
    }

    /// The mark of its subscription, where it has one.
    pub fn subscription_mark(&self) -> Option<SubscriptionMark> {
        self.mark.as_deref()?.parse().ok()
    }

    /// What it proves, when it is a validation that arrived. One from before there were marks proves nothing: it comes again.
    pub fn proof(&self) -> Option<Proof> {
        if self.kind != DeliveryKind::Validation || self.outcome != AttemptOutcome::Delivered {
            return None;
        }
        Some(Proof {
            subscription: SubscriptionId(self.subscription),
            mark: self.subscription_mark()?,
            endpoint_revision: self.endpoint_revision?,
        })
    }
}
