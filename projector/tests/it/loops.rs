//! Whole projectors on real topics.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use event::{
    DeliveryHeaders, DeliveryId, DeliveryKind, EventIdentity, Micros, NOT_PERMITTED, Subscription,
    SubscriptionId, SubscriptionMark, topics,
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
        let lag = projector_lag(&world, &[topics::EVENTS]).await;
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

async fn projector_lag(world: &World, topics: &[&str]) -> i64 {
    let mut lag = 0;
    for topic in topics {
        let stored: i64 = world.store.positions(topic).await.unwrap().iter().map(|(_, next)| next).sum();
        let ends = kafka_loop::admin::end_offsets(&world.kafka, topic).await.unwrap();
        lag += ends.values().sum::<i64>() - stored;
    }
    lag
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_without_positions_starts_with_the_oldest_kept_record_and_stores_nothing_twice() {
    let world = World::with_topics().await;
    let subscription = SubscriptionId(7);
    for n in 0..20 {
        let id = n.to_string();
        world.append(topics::EVENTS, &id, json(&id, n).as_bytes(), &[]).await;
        world.append(topics::ATTEMPTS, &id, attempt(subscription, "event", "failed").as_bytes(), &[]).await;
        let headers = dead_headers(subscription, u128::from(n));
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        world.append(topics::DEAD, &id, json(&id, n).as_bytes(), &headers).await;
    }
    let projected = async |world: &World| {
        let (life, _) = world.start();
        until("nothing is left", || async {
            let lag = projector_lag(world, &[topics::EVENTS, topics::ATTEMPTS, topics::DEAD]).await;
            if lag == 0 { Ok(()) } else { Err(format!("{lag} are")) }
        })
        .await;
        life.shutdown().await.unwrap();
        let attempts = world.store.attempts_of(subscription, SubscriptionMark(0), 100).await.unwrap().len();
        let dead = world.store.dead_letters_of(subscription, SubscriptionMark(0), 100).await.unwrap().len();
        (world.ids().await, attempts, dead)
    };
    let first = projected(&world).await;
    assert_eq!((first.0.len(), first.1, first.2), (20, 20, 20));
    world.store.execute_for_test("delete from projection_offset".to_owned()).await.unwrap();
    assert_eq!(projected(&world).await, first);
    assert!(world.parked().await.is_empty());
}

fn attempt(subscription: SubscriptionId, kind: &str, outcome: &str) -> String {
    format!(
        r#"{{"delivery":"{}","subscription":{subscription},"kind":"{kind}","eventId":"1","eventSource":"s","eventType":"t","resource":"r","attempt":1,"outcome":"{outcome}","durationMs":5,"at":"{}"}}"#,
        DeliveryId::of(subscription, EventIdentity(1)),
        Micros::now().to_rfc3339()
    )
}

fn dead_headers(subscription: SubscriptionId, event: u128) -> Vec<(&'static str, String)> {
    let headers = DeliveryHeaders {
        subscription,
        position: 1,
        mark: None,
        endpoint_revision: None,
        delivery: DeliveryId::of(subscription, EventIdentity(event)),
        attempt: 12,
        put_backs: 0,
        created: Micros::now(),
        first_failure: None,
        last_outcome: None,
        kind: DeliveryKind::Event,
        traceparent: None,
        reason: Some("the last attempt failed".into()),
    };
    headers.to_pairs()
}

fn wanted() -> NewSubscription {
    NewSubscription {
        endpoint: "https://example.com/hook".into(),
        source_filter: None,
        resource_filter: Some(RESOURCE.into()),
        subject_filter: None,
        subject_sent: None,
        type_filter: None,
        include_subunits: false,
        consumer: "/org/ttd".into(),
        created_by: "/org/ttd".into(),
    }
}

/// An attempt with more members.
fn attempt_of(of: &Subscription, kind: &str, outcome: &str, more: &str) -> String {
    let delivery = DeliveryId::of(of.id, EventIdentity(1));
    format!(
        r#"{{"delivery":"{delivery}","subscription":{},"kind":"{kind}","eventId":"1","eventSource":"s","eventType":"t","resource":"r","attempt":1,"outcome":"{outcome}","durationMs":5,"at":"{}",{more}}}"#,
        of.id,
        Micros::now().to_rfc3339()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_validation_validates_and_attempts_refusals_and_dead_letters_are_shown() {
    let world = World::with_topics().await;
    let (subscription, _) = world.store.create_subscription(&wanted()).await.unwrap();
    let (life, _) = world.start();
    let delivery = DeliveryId::of(subscription.id, EventIdentity(1));
    let (mark, another) = (subscription.mark, SubscriptionMark(subscription.mark.0 ^ 1));
    let append = async |mark: SubscriptionMark, revision: i32, kind: &str, outcome: &str| {
        let more = format!(r#""mark":"{mark}","endpointRevision":{revision},"detail":"{NOT_PERMITTED}""#);
        let attempt = attempt_of(&subscription, kind, outcome, &more);
        world.append(topics::ATTEMPTS, &subscription.id.to_string(), attempt.as_bytes(), &[]).await;
    };
    // Late answers: of the one that had the number before, and of an endpoint that it had before.
    append(another, 1, "validation", "delivered").await;
    append(mark, 0, "validation", "delivered").await;
    append(mark, 1, "event", "dropped").await;
    append(mark, 1, "validation", "failed").await;
    until("four attempts are stored", || async {
        let count = "select count(*) from delivery_attempt".to_owned();
        let count = world.store.numbers_for_test(count).await.unwrap();
        if count == [4] { Ok(()) } else { Err(format!("{count:?}")) }
    })
    .await;
    assert!(!world.store.subscription(subscription.id).await.unwrap().unwrap().validated);
    append(mark, 1, "validation", "delivered").await;
    let headers = DeliveryHeaders {
        subscription: subscription.id,
        position: 1,
        mark: Some(mark),
        endpoint_revision: None,
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
    let of_another = DeliveryHeaders { mark: Some(another), ..headers.clone() };
    let event = json("1", 1);
    for (headers, value) in [(of_another, "of another"), (headers, &event)] {
        let pairs = headers.to_pairs();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        world.append(topics::DEAD, "k", value.as_bytes(), &pairs).await;
    }
    world.append(topics::DEAD, "k", b"garbage", &[("reason", "not a delivery")]).await;
    until("all is shown", || async {
        let attempts = world.store.attempts_of(subscription.id, mark, 10).await.unwrap().len();
        let dead = world.store.dead_letters_of(subscription.id, mark, 10).await.unwrap();
        let validated = world.store.subscription(subscription.id).await.unwrap().unwrap().validated;
        let refused = world.store.refusals_of(std::slice::from_ref(&subscription)).await.unwrap();
        let shown = attempts == 4
            && validated
            && dead.len() == 1
            && refused.get(&subscription.id).is_some_and(|one| one.mark == Some(mark));
        if shown { Ok(()) } else { Err(format!("{attempts} {validated} {dead:?}")) }
    })
    .await;
    let dead = world.store.dead_letters_of(subscription.id, mark, 10).await.unwrap();
    assert_eq!((dead[0].delivery, dead[0].attempts), (delivery, 12));
    let kept = format!("select count(*) from dead_letter where event = '{event}'");
    assert_eq!(world.store.numbers_for_test(kept).await.unwrap(), [1]);
    assert!(world.store.dead_letters_of(SubscriptionId(999), mark, 10).await.unwrap().is_empty());
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
