//! A dispatcher that is behind with its subscriptions neither drops nor misdirects a delivery.

use event::{DeliveryHeaders, DeliveryId, Event, Micros, Subscription, topics::DELIVERIES};
use kafka_loop::{Outgoing, Producer};
use platform_tests::{
    client::generic,
    wait::until,
    world::{RESOURCE, Running, World},
};
use store::{NewSubscription, Store};

use crate::probe;

/// A validated subscription that no query-api made, so that nothing tells a dispatcher of it.
async fn subscribe(store: &Store, endpoint: &str) -> Subscription {
    let new = NewSubscription {
        endpoint: endpoint.to_owned(),
        source_filter: None,
        resource_filter: Some(RESOURCE.to_owned()),
        subject_filter: None,
        subject_sent: None,
        type_filter: None,
        include_subunits: false,
        consumer: "/org/ttd".to_owned(),
        created_by: "/org/ttd".to_owned(),
    };
    let (subscription, _) = store.create_subscription(&new).await.unwrap();
    store.set_validated(subscription.proof()).await.unwrap();
    store.subscription(subscription.id).await.unwrap().unwrap()
}

/// Appends a delivery as a dispatcher does that knows the subscription up to this position.
async fn deliver(producer: &Producer, to: &Subscription, position: i64, id: &str, partition: i32) {
    let event = Event::parse(generic(id, "/party/1").to_string().as_bytes()).unwrap();
    let headers = DeliveryHeaders {
        position,
        ..DeliveryHeaders::first(to, DeliveryId::of(to.id, event.identity()), Micros::now())
    };
    let pairs = headers.to_pairs();
    let headers: Vec<(&str, &[u8])> = pairs.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let value = event.json().as_bytes();
    let partition = Some(partition);
    let out = Outgoing { topic: DELIVERIES, partition, key: b"endpoint", value, headers: &headers };
    producer.send(out).await.unwrap();
}

async fn is_delivered(world: &World, name: &str, id: &str) {
    until("the delivery arrives", || async {
        let delivered = probe::delivered(world, name);
        if delivered.contains_key(id) { Ok(()) } else { Err(format!("{delivered:?}")) }
    })
    .await;
}

async fn holds(dispatcher: &Running, count: f64) {
    until("deliveries wait for the view", || async {
        let held = dispatcher.metric("dispatcher_held");
        if (held - count).abs() < 0.5 { Ok(()) } else { Err(format!("{held} wait")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_that_has_not_heard_of_a_subscription_asks_before_it_judges() {
    let mut world = World::new("behindask").await;
    // This one would not look again for an hour.
    world.set("SUBSCRIPTIONS_POLL_MS", "3600000");
    let dispatcher = world.start("dispatcher").await;
    let subscription = subscribe(&world.store(), &world.receiver.url("unheard")).await;
    deliver(&world.producer(), &subscription, subscription.position, "asked-for", 0).await;
    is_delivered(&world, "unheard", "asked-for").await;
    dispatcher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_beyond_the_view_waits_until_the_view_follows_and_then_goes_where_it_belongs() {
    let world = World::new("behindwait").await;
    let dispatcher = world.start("dispatcher").await;
    let (store, producer) = (world.store(), world.producer());
    let first = subscribe(&store, &world.receiver.url("first")).await;
    let known = subscribe(&store, &world.receiver.url("known")).await;
    // The subscription of a change that is still to come: the next two positions are those of its row and its validation.
    let beyond = known.position + 2;
    deliver(&producer, &first, beyond, "waits", 0).await;
    holds(&dispatcher, 1.0).await;
    // What does not have to wait goes past it, on the same partition.
    deliver(&producer, &known, known.position, "goes", 0).await;
    is_delivered(&world, "known", "goes").await;
    assert!(world.receiver.events("first").is_empty(), "it went before the view had come that far");
    assert_eq!(subscribe(&store, &world.receiver.url("last")).await.position, beyond);
    is_delivered(&world, "first", "waits").await;
    holds(&dispatcher, 0.0).await;
    // One that is gone by the time that the view has come far enough is dropped, not sent and not parked.
    deliver(&producer, &first, beyond + 1, "too-late", 0).await;
    holds(&dispatcher, 1.0).await;
    assert!(store.delete_subscription(first.id).await.unwrap().is_some());
    probe::nothing_is_left_to_push(&world).await;
    for (name, id) in [("first", "waits"), ("known", "goes")] {
        let delivered = probe::delivered(&world, name);
        assert_eq!(delivered, [(id.to_owned(), 1)].into(), "{name}");
    }
    assert!(world.receiver.events("last").is_empty());
    dispatcher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_dispatchers_is_behind_and_every_delivery_arrives_where_it_belongs() {
    let mut world = World::new("behindtwo").await;
    let platform = world.start("ingest,projector,query-api,dispatcher").await;
    let client = world.client(platform.address());
    let (store, producer) = (world.store(), world.producer());
    let old = subscribe(&store, &world.receiver.url("old")).await;
    world.set("SUBSCRIPTIONS_POLL_MS", "3600000");
    let behind = world.start("dispatcher").await;
    let mut sent = 0;
    while behind.metric("dispatcher_attempts_total") < 1.0 {
        for partition in 0..3 {
            sent += 1;
            deliver(&producer, &old, old.position, &format!("old-{sent}"), partition).await;
        }
        is_delivered(&world, "old", &format!("old-{sent}")).await;
    }
    // Now both push, and the second has not heard of any of these when their deliveries are appended.
    for n in 0..12 {
        let name = format!("endpoint-{n}");
        let subscription = subscribe(&store, &world.receiver.url(&name)).await;
        deliver(&producer, &subscription, subscription.position, &name, n % 3).await;
    }
    for n in 0..12 {
        let name = format!("endpoint-{n}");
        is_delivered(&world, &name, &name).await;
    }
    probe::nothing_is_left_to_push(&world).await;
    for n in 0..12 {
        let name = format!("endpoint-{n}");
        assert_eq!(probe::delivered(&world, &name), [(name.clone(), 1)].into(), "{name}");
    }
    // A subscription made through the API is validated whoever of the two pushes the validation.
    client.subscribe_and_wait(&world.receiver.url("through-the-api")).await;
    behind.stop().await;
    platform.stop().await;
}
