//! Whole projectors on real topics.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use event::{
    AttemptOutcome, AttemptRecord, DeliveryHeaders, DeliveryId, DeliveryKind, EventIdentity, Micros,
    NOT_PERMITTED, SubscriptionId, topics,
};
use kafka_loop::Outgoing;
use store::NewSubscription;

use crate::{
    cut::Cut,
    harness::{RESOURCE, World, json, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn two_projectors_that_come_and_go_store_every_event_once_in_the_order_of_its_party() {
    let world = World::with_topics().await;
    let (first, _) = world.start();
    let (second, _) = world.start();
    const EVENTS: u32 = 900;
    let mut acks = Vec::new();
    for n in 0..EVENTS {
        let (party, value) = (n % 30, json(&n.to_string(), n % 30));
        let key = format!("/party/{party}");
        let out = Outgoing {
            topic: topics::EVENTS,
            partition: None,
            key: key.as_bytes(),
            value: value.as_bytes(),
            headers: &[],
        };
        // Every third is published twice.
        for _ in 0..=u32::from(n % 3 == 0) {
            acks.push(world.producer.enqueue(out).unwrap());
        }
    }
    for ack in acks {
        ack.await.unwrap();
    }
    second.shutdown().await.unwrap();
    let (third, registry) = world.start();
    until("all are stored", || async {
        let stored = world.store.feed_head().await.unwrap().last.0;
        if stored >= i64::from(EVENTS) { Ok(()) } else { Err(format!("{stored}")) }
    })
    .await;
    until("nothing is left", || async {
        let lag = projector_lag(&world).await;
        if lag == 0 { Ok(()) } else { Err(format!("{lag} are")) }
    })
    .await;
    let feed = world.feed().await;
    let sequences: Vec<i64> = feed.iter().map(|row| row.sequence.0).collect();
    assert_eq!(sequences, (1..=i64::from(EVENTS)).collect::<Vec<_>>());
    let ids: Vec<u32> = world.ids().await.iter().map(|id| id.parse().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    for party in 0..30 {
        let of_party: Vec<u32> = ids.iter().copied().filter(|id| id % 30 == party).collect();
        assert!(of_party.is_sorted(), "party {party}: {of_party:?}");
    }
    assert!(feed.is_sorted_by_key(|row| row.registered));
    assert!(!registry.gather().is_empty());
    first.shutdown().await.unwrap();
    third.shutdown().await.unwrap();
}

async fn projector_lag(world: &World) -> i64 {
    let stored: i64 = world.store.positions(topics::EVENTS).await.unwrap().iter().map(|(_, next)| next).sum();
    let ends = kafka_loop::admin::end_offsets(&world.kafka, topics::EVENTS).await.unwrap();
    ends.values().sum::<i64>() - stored
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_validation_validates_and_attempts_refusals_and_dead_letters_are_shown() {
    let world = World::with_topics().await;
    let new = NewSubscription {
        endpoint: "https://example.com/hook".into(),
        source_filter: None,
        resource_filter: Some(RESOURCE.into()),
        subject_filter: None,
        type_filter: None,
        include_subunits: false,
        consumer: "/org/ttd".into(),
        created_by: "/org/ttd".into(),
    };
    let (subscription, _) = world.store.create_subscription(&new).await.unwrap();
    let (life, _) = world.start();
    let delivery = DeliveryId::of(subscription.id, EventIdentity(1));
    let attempt = |kind: &str, outcome: &str| {
        format!(
            r#"{{"delivery":"{delivery}","subscription":{},"kind":"{kind}","eventId":"1","eventSource":"s","eventType":"t","resource":"r","attempt":1,"outcome":"{outcome}","durationMs":5,"at":"{}"}}"#,
            subscription.id,
            Micros::now().to_rfc3339()
        )
    };
    for (kind, outcome) in [("event", "delivered"), ("validation", "failed"), ("validation", "delivered")] {
        let key = subscription.id.to_string();
        world.append(topics::ATTEMPTS, &key, attempt(kind, outcome).as_bytes(), &[]).await;
    }
    let refused = AttemptRecord {
        attempt: 0,
        outcome: AttemptOutcome::Dropped,
        detail: Some(NOT_PERMITTED.into()),
        ..serde_json::from_str(&attempt("event", "dropped")).unwrap()
    };
    let refused = serde_json::to_vec(&refused).unwrap();
    world.append(topics::ATTEMPTS, &subscription.id.to_string(), &refused, &[]).await;
    let headers = DeliveryHeaders {
        subscription: subscription.id,
        position: 1,
        delivery,
        attempt: 12,
        put_backs: 0,
        created: Micros::now(),
        first_failure: None,
        last_outcome: None,
        kind: DeliveryKind::Event,
        traceparent: None,
        reason: Some("the last attempt failed".into()),
    };
    let pairs = headers.to_pairs();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let event = json("1", 1);
    world.append(topics::DEAD, "k", event.as_bytes(), &pairs).await;
    world.append(topics::DEAD, "k", b"garbage", &[("reason", "not a delivery")]).await;
    until("all is shown", || async {
        let attempts = world.store.attempts_of(subscription.id, 10).await.unwrap().len();
        let dead = world.store.dead_letters_of(subscription.id, 10).await.unwrap();
        let validated = world.store.subscription(subscription.id).await.unwrap().unwrap().validated;
        let refused = world.store.refusals_of(&[subscription.id]).await.unwrap();
        let shown = attempts == 4 && validated && dead.len() == 1 && refused.len() == 1;
        if shown { Ok(()) } else { Err(format!("{attempts} {validated} {dead:?}")) }
    })
    .await;
    let dead = world.store.dead_letters_of(subscription.id, 10).await.unwrap();
    assert_eq!((dead[0].delivery, dead[0].attempts, &dead[0].event), (delivery, 12, &event));
    assert!(world.store.dead_letters_of(SubscriptionId(999), 10).await.unwrap().is_empty());
    life.shutdown().await.unwrap();
    assert!(world.parked().await.is_empty(), "a dead letter without an owner is parked already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_dies_at_the_commit_of_a_batch_that_is_full_by_bytes_stops_nothing() {
    const EVENTS: usize = 40;
    let world = World::with_topics().await;
    for n in 0..EVENTS {
        world.append(topics::EVENTS, "/party/1", json(&n.to_string(), 1).as_bytes(), &[]).await;
    }
    let cut = Cut::every_third_commit(&world.settings).await;
    // Every event is a batch that is full by bytes, and so is the next one, which is collected meanwhile.
    let (life, _) = world.start_on(cut.store.clone(), ("PROJECTOR_BATCH_BYTES", "1"));
    until("all are stored", || async {
        let stored = world.store.feed_head().await.unwrap().last.0;
        if stored >= i64::try_from(EVENTS).unwrap() { Ok(()) } else { Err(format!("{stored}")) }
    })
    .await;
    let expected: Vec<String> = (0..EVENTS).map(|n| n.to_string()).collect();
    assert_eq!(world.ids().await, expected);
    assert!(cut.cuts.load(Ordering::Relaxed) > 5, "the case did not come up");
    life.shutdown().await.unwrap();
}
