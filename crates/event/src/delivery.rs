//! The headers of a record on `deliveries`, the tiers, `deliveries.due` and `deliveries.dead` (`schemas/records.md`).

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{DeliveryId, SubscriptionId, SubscriptionMark},
    instant::Micros,
    subscription::Subscription,
};

/// What a delivery carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryKind {
    /// An event that matched.
    Event,
    /// The event that validates a new subscription's endpoint.
    Validation,
}

impl DeliveryKind {
    /// The name in headers and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Validation => "validation",
        }
    }
}

/// A delivery's state, carried with its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryHeaders {
    /// The subscription it goes to.
    pub subscription: SubscriptionId,
    /// The subscription's position when it matched: a view that is behind it may not judge.
    pub position: i64,
    /// Tells the subscription from another that is given its number; absent on records from before there were marks.
    pub mark: Option<SubscriptionMark>,
    /// Of a validation: the revision of the endpoint that it proves.
    pub endpoint_revision: Option<i32>,
    /// The delivery's id.
    pub delivery: DeliveryId,
    /// Attempts made so far, skipped ones included.
    pub attempt: u8,
    /// How often it was put back so far.
    pub put_backs: u32,
    /// When it matched.
    pub created: Micros,
    /// When its first attempt failed.
    pub first_failure: Option<Micros>,
    /// How the last attempt ended, in words.
    pub last_outcome: Option<String>,
    /// What it carries.
    pub kind: DeliveryKind,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Why it is a dead letter.
    pub reason: Option<String>,
}

/// A record's headers are not those of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("header `{0}` is missing or damaged")]
pub struct HeaderError(pub &'static str);

impl DeliveryHeaders {
    /// Of an event that has just matched a subscription, before its first attempt.
    pub fn first(subscription: &Subscription, delivery: DeliveryId, now: Micros) -> Self {
        Self {
            subscription: subscription.id,
            position: subscription.position,
            mark: Some(subscription.mark),
            endpoint_revision: None,
            delivery,
            attempt: 0,
            put_backs: 0,
            created: now,
            first_failure: None,
            last_outcome: None,
            kind: DeliveryKind::Event,
            traceparent: None,
            reason: None,
        }
    }

    /// The headers as they are written, in a fixed order.
    pub fn to_pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            ("subscription", self.subscription.to_string()),
            ("position", self.position.to_string()),
            ("delivery", self.delivery.to_string()),
            ("attempt", self.attempt.to_string()),
            ("created", self.created.0.to_string()),
            ("kind", self.kind.name().to_owned()),
        ];
        let put_backs = (self.put_backs > 0).then(|| self.put_backs.to_string());
        let optional = [
            ("mark", self.mark.map(|mark| mark.to_string())),
            ("endpoint-revision", self.endpoint_revision.map(|revision| revision.to_string())),
            ("put-backs", put_backs),
            ("first-failure", self.first_failure.map(|time| time.0.to_string())),
            ("last-outcome", self.last_outcome.clone()),
            ("traceparent", self.traceparent.clone()),
            ("reason", self.reason.clone()),
        ];
        pairs.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        pairs
    }

    /// Reads headers; unknown ones are ignored.
    ///
    /// # Errors
    /// [`HeaderError`] names the first header that is missing or damaged.
    pub fn from_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Self, HeaderError> {
        let pairs: Vec<(&str, &str)> =
            pairs.filter_map(|(name, value)| Some((name, std::str::from_utf8(value).ok()?))).collect();
        let text = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let kind = match text("kind") {
            Some("event") => DeliveryKind::Event,
            Some("validation") => DeliveryKind::Validation,
            Some(_) | None => return Err(HeaderError("kind")),
        };
        let put_backs = match text("put-backs") {
            Some(count) => read(Some(count), "put-backs")?,
            None => 0,
        };
        Ok(Self {
            put_backs,
            subscription: SubscriptionId(read(text("subscription"), "subscription")?),
            position: read(text("position"), "position")?,
            mark: read_optional(text("mark"), "mark")?,
            endpoint_revision: read_optional(text("endpoint-revision"), "endpoint-revision")?,
            delivery: read(text("delivery"), "delivery")?,
            attempt: read(text("attempt"), "attempt")?,
            created: Micros(read(text("created"), "created")?),
            first_failure: read_optional(text("first-failure"), "first-failure")?.map(Micros),
            last_outcome: text("last-outcome").map(str::to_owned),
            kind,
            traceparent: text("traceparent").map(str::to_owned),
            reason: text("reason").map(str::to_owned),
        })
    }
}

fn read<T: FromStr>(text: Option<&str>, name: &'static str) -> Result<T, HeaderError> {
    text.and_then(|text| text.parse().ok()).ok_or(HeaderError(name))
}

fn read_optional<T: FromStr>(text: Option<&str>, name: &'static str) -> Result<Option<T>, HeaderError> {
    text.map(|text| read(Some(text), name)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::EventIdentity;

    fn sample() -> DeliveryHeaders {
        DeliveryHeaders {
            subscription: SubscriptionId(7),
            position: 99,
            mark: Some(SubscriptionMark(5)),
            endpoint_revision: Some(2),
            delivery: DeliveryId::of(SubscriptionId(7), EventIdentity(1)),
            attempt: 3,
            put_backs: 2,
            created: Micros(1_000),
            first_failure: Some(Micros(2_000)),
            last_outcome: Some("500".into()),
            kind: DeliveryKind::Event,
            traceparent: None,
            reason: None,
        }
    }

    #[test]
    fn headers_are_read_as_they_are_written() {
        let pairs = sample().to_pairs();
        let read = DeliveryHeaders::from_pairs(pairs.iter().map(|(name, value)| (*name, value.as_bytes())));
        assert_eq!(read, Ok(sample()));
    }

    #[test]
    fn a_damaged_header_is_named() {
        let mut pairs = sample().to_pairs();
        pairs.retain(|(name, _)| *name != "attempt");
        let read = DeliveryHeaders::from_pairs(pairs.iter().map(|(name, value)| (*name, value.as_bytes())));
        assert_eq!(read, Err(HeaderError("attempt")));
    }
}
