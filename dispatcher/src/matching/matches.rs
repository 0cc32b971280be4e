//! An event with the subscriptions that it matched: what is asked about them, and what is appended.

use std::{collections::HashMap, sync::Arc};

use access::{Question, question};
use bytes::Bytes;
use event::{
    DeliveryHeaders, DeliveryId, DeliveryKind, Event, EventIdentity, Micros, SubscriptionId,
    SubscriptionMark, topics,
};

use crate::{
    append::{self, OwnedRecord},
    caught::caught,
    matching::reject::{Origin, rejected},
    pushing::endpoint::EndpointKey,
};

/// A subscription that an event matched.
pub(crate) struct Match {
    pub(crate) event: Arc<Matched>,
    pub(crate) subscription: SubscriptionId,
    pub(crate) mark: SubscriptionMark,
    pub(crate) position: i64,
    pub(crate) endpoint: EndpointKey,
    pub(crate) consumer: String,
}

/// An event on its way through the loop.
pub(crate) struct Matched {
    pub(crate) key: Bytes,
    pub(crate) from: Origin,
    pub(crate) event: Event,
    pub(crate) subject: Option<String>,
    pub(crate) identity: EventIdentity,
    pub(crate) body: Bytes,
    pub(crate) traceparent: Option<String>,
    pub(crate) created: Micros,
}

impl Matched {
    /// The record with which it is parked.
    pub(crate) fn rejected(&self) -> OwnedRecord {
        rejected(self.key.clone(), self.body.clone(), self.from)
    }
}

/// The questions, and for each match the number of its own: each pair of event and consumer is asked about once. None where the
/// question cannot be put, so that the push loop meets it and parks the delivery.
pub(crate) fn questions_about(matches: &[Match]) -> (Vec<Question>, Vec<Option<usize>>) {
    let mut questions = Vec::new();
    let mut numbers: HashMap<(*const Matched, &str), Option<usize>> = HashMap::new();
    let mut asked = Vec::with_capacity(matches.len());
    for matched in matches {
        let number = *numbers.entry((Arc::as_ptr(&matched.event), &matched.consumer)).or_insert_with(|| {
            let question = caught(|| question::push(&matched.consumer, &matched.event.event)).ok()?;
            questions.push(question);
            Some(questions.len() - 1)
        });
        asked.push(number);
    }
    (questions, asked)
}

/// The delivery of an event to a subscription.
pub(crate) fn record_of(matched: &Match) -> OwnedRecord {
    let event = &matched.event;
    let headers = DeliveryHeaders {
        subscription: matched.subscription,
        position: matched.position,
        mark: Some(matched.mark),
        endpoint_revision: None,
        delivery: DeliveryId::of(matched.subscription, event.identity),
        attempt: 0,
        put_backs: 0,
        created: event.created,
        first_failure: None,
        last_outcome: None,
        kind: DeliveryKind::Event,
        traceparent: event.traceparent.clone(),
        reason: None,
    };
    OwnedRecord {
        topic: topics::DELIVERIES,
        key: Bytes::copy_from_slice(matched.endpoint.as_bytes()),
        value: event.body.clone(),
        headers: append::headers(headers.to_pairs()),
    }
}
