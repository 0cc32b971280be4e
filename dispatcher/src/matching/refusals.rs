//! Who is refused at match gets no delivery, and so no attempt: without a word its owner would never know. The first refusal of a
//! subscription in a minute stands on `delivery-attempts`, without the event, as an attempt that never came to be.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use event::{
    AttemptOutcome, AttemptRecord, DeliveryId, DeliveryKind, EventIdentity, Micros, SubscriptionId,
    SubscriptionMark, topics,
};

use crate::{append::OwnedRecord, pushing::outcome::Dropped};

/// The least time between two refusals of a subscription that are told.
const PAUSE: Duration = Duration::from_secs(60);
/// The least time between two looks for what is old, at the bound.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);
/// Subscriptions that are remembered; of others nothing is told.
const REMEMBERED_MAX: usize = 100_000;

/// When refusals were told last.
#[derive(Default)]
pub(crate) struct Refusals {
    told: HashMap<SubscriptionId, Instant>,
    swept: Option<Instant>,
}

impl Refusals {
    /// Whether a refusal that happens now is to be told.
    pub(crate) fn tells(&mut self, subscription: SubscriptionId, now: Instant) -> bool {
        let is_recent = |told: &Instant| now.saturating_duration_since(*told) < PAUSE;
        if self.told.get(&subscription).is_some_and(is_recent) {
            return false;
        }
        let is_swept = self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP_PAUSE);
        if self.told.len() >= REMEMBERED_MAX && !is_swept {
            self.swept = Some(now);
            self.told.retain(|_, told| is_recent(told));
        }
        let has_room = self.told.len() < REMEMBERED_MAX;
        if has_room {
            self.told.insert(subscription, now);
        }
        has_room
    }
}

/// The record that tells a refusal. The attempt's number is 0: it settles no delivery.
pub(crate) fn record(
    subscription: SubscriptionId,
    mark: SubscriptionMark,
    identity: EventIdentity,
    resource: &str,
    now: Micros,
) -> OwnedRecord {
    let record = AttemptRecord {
        delivery: DeliveryId::of(subscription, identity).to_string(),
        subscription: subscription.0,
        mark: Some(mark.to_string()),
        endpoint_revision: None,
        kind: DeliveryKind::Event,
        event_id: String::new(),
        event_source: String::new(),
        event_type: String::new(),
        resource: resource.to_owned(),
        attempt: 0,
        outcome: AttemptOutcome::Dropped,
        status: None,
        duration_ms: 0,
        at: now.to_rfc3339(),
        next_due: None,
        detail: Some(Dropped::Refused.text().to_owned()),
    };
    OwnedRecord {
        topic: topics::ATTEMPTS,
        key: subscription.to_string().into(),
        value: serde_json::to_vec(&record).expect("a record of texts and numbers is JSON").into(),
        headers: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refusal_a_subscription_a_minute_is_told_and_memory_is_bounded() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        let [one, other] = [SubscriptionId(1), SubscriptionId(2)];
        let told: Vec<bool> = (0..180).map(|s| refusals.tells(one, at(s))).collect();
        assert_eq!(told.iter().filter(|told| **told).count(), 3);
        assert!(told[0] && told[60] && told[120] && refusals.tells(other, at(1)));
        let many = i64::try_from(REMEMBERED_MAX).unwrap();
        for id in 10..many + 1_000 {
            refusals.tells(SubscriptionId(id), at(200));
        }
        assert_eq!(refusals.told.len(), REMEMBERED_MAX);
        assert!(!refusals.tells(SubscriptionId(many + 5_000), at(201)), "there is no room");
        assert!(refusals.tells(SubscriptionId(many + 5_000), at(260)), "what is old has made room");
    }
}
