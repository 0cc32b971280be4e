//! A dispatcher that is killed, or stopped and woken: what is repeated, and whose positions count.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use event::{
    DeliveryHeaders, DeliveryId, Micros, Subscription,
    topics::{DELIVERIES, DUE},
};
use kafka_loop::{Ack, Outgoing, Producer, admin, groups};
use platform_tests::{
    client::generic,
    process::Process,
    receiver::Script,
    wait::until,
    world::{RESOURCE, World},
};
use store::NewSubscription;

const IN_FLIGHT: usize = 16;
const HEALTHY: [&str; 4] = ["one", "two", "three", "four"];
const FLAKY: &str = "flaky";

/// A world whose dispatchers put nothing back and have at most [`IN_FLIGHT`] sends on their way.
async fn world(name: &str) -> World {
    let mut world = World::new(name).await;
    let in_flight = IN_FLIGHT.to_string();
    for (name, value) in [
        ("PUSH_IN_FLIGHT", &*in_flight),
        ("PUSH_QUEUE_PER_ENDPOINT", "1000000"),
        ("CIRCUIT_FAILURES", "1000000"),
    ] {
        world.set(name, value);
    }
    world
}

/// A validated subscription with this endpoint.
async fn subscribe(world: &World, endpoint: &str) -> Subscription {
    let store = world.store();
    let new = NewSubscription {
        endpoint: world.receiver.url(endpoint),
        source_filter: None,
        resource_filter: Some(RESOURCE.to_owned()),
        subject_filter: None,
        subject_sent: None,
        type_filter: None,
        include_subunits: false,
        consumer: "/org/ttd".to_owned(),
        created_by: "/org/ttd".to_owned(),
    };
    let new = store.create_subscription(&new).await.unwrap().0;
    store.set_validated(new.proof()).await.unwrap();
    store.subscription(new.id).await.unwrap().unwrap()
}

/// Appends a delivery of an event with this id, as a matcher or a tier would.
fn deliver(producer: &Producer, topic: &str, to: &Subscription, id: &str) -> Ack {
    let event = event::Event::parse(generic(id, "/party/1").to_string().as_bytes()).unwrap();
    let headers = DeliveryHeaders::first(to, DeliveryId::of(to.id, event.identity()), Micros::now());
    let pairs = headers.to_pairs();
    let headers: Vec<(&str, &[u8])> = pairs.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let (key, value) = (to.endpoint.as_bytes(), event.json().as_bytes());
    producer.enqueue(Outgoing { topic, partition: None, key, value, headers: &headers }).unwrap()
}

async fn deliver_to_all(world: &World, topic: &str, to: &[Subscription], ids: std::ops::Range<usize>) {
    let producer = world.producer();
    let acks: Vec<Ack> = ids
        .flat_map(|id| to.iter().map(move |to| (id, to)))
        .map(|(id, to)| deliver(&producer, topic, to, &id.to_string()))
        .collect();
    for ack in acks {
        ack.await.unwrap();
    }
}

/// Deliveries that arrived at the healthy endpoints.
fn arrived(world: &World) -> usize {
    HEALTHY.iter().map(|name| world.receiver.delivered(name).len()).sum()
}

/// How many deliveries came again after they had come before each of these kills, and after the one before it.
fn repeated_by(world: &World, kills: &[Instant]) -> Vec<usize> {
    let mut repeated = vec![0; kills.len() + 1];
    for name in HEALTHY {
        let mut last = HashMap::new();
        for request in world.receiver.events(name) {
            if let Some(before) = last.insert(request.event_id(), request.at) {
                repeated[kills.partition_point(|kill| *kill < before)] += 1;
            }
        }
    }
    repeated
}

async fn until_arrived(world: &World, count: usize) {
    until("deliveries arrive", || async {
        let arrived = arrived(world);
        if arrived >= count { Ok(()) } else { Err(format!("{arrived} of {count}")) }
    })
    .await;
}

async fn until_worked_off(world: &World, topic: &str) {
    until("a topic is worked off", || async {
        match admin::lag(&world.kafka(), groups::PUSH, topic).await {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_repeats_at_most_the_sends_in_flight() {
    const EACH: usize = 2_000;
    const KILLS: usize = 10;
    let world = world("kills").await;
    let mut dispatcher = Process::start(&world, "dispatcher").await;
    let mut to = Vec::new();
    for name in HEALTHY {
        world.receiver.script(name, Script { takes: Duration::from_millis(5), ..Script::default() });
        to.push(subscribe(&world, name).await);
    }
    world.receiver.script(FLAKY, Script { next: [500; 300].into(), ..Script::default() });
    let flaky = [subscribe(&world, FLAKY).await];
    deliver_to_all(&world, DELIVERIES, &flaky, 0..100).await;
    deliver_to_all(&world, DELIVERIES, &to, 0..EACH).await;
    let mut kills = Vec::new();
    for kill in 1..=KILLS {
        until_arrived(&world, kill * HEALTHY.len() * EACH / (KILLS + 2)).await;
        dispatcher.kill();
        kills.push(Instant::now());
        dispatcher.restart(&world);
        dispatcher.ready().await;
    }
    until_arrived(&world, HEALTHY.len() * EACH).await;
    until_worked_off(&world, DELIVERIES).await;
    let repeated = repeated_by(&world, &kills);
    println!("repeated by each kill, and without one: {repeated:?}");
    assert!(repeated.iter().all(|repeated| *repeated <= IN_FLIGHT), "{repeated:?}");
    assert_eq!(repeated.last(), Some(&0), "something came twice without a kill");
    until("what failed at first arrives", || async {
        let arrived = world.receiver.delivered(FLAKY).len();
        if arrived == 100 { Ok(()) } else { Err(format!("{arrived} of 100")) }
    })
    .await;
    assert!(dispatcher.ended().is_none(), "it died by itself: {}", dispatcher.log());
}

async fn committed(world: &World) -> BTreeMap<(&'static str, i32), i64> {
    let mut all = BTreeMap::new();
    for topic in [DELIVERIES, DUE] {
        let committed = admin::committed(&world.kafka(), groups::PUSH, topic).await.unwrap();
        all.extend(committed.into_iter().map(|(partition, offset)| ((topic, partition), offset)));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_of_an_old_owner_does_not_rewind_the_new_ones() {
    const EACH: usize = 300;
    let world = world("late").await;
    let first = Process::start(&world, "dispatcher").await;
    let mut to = Vec::new();
    for name in HEALTHY {
        // The first dispatcher has sends in flight when it is stopped; their answers wait for it.
        world.receiver.script(name, Script { takes: Duration::from_millis(50), ..Script::default() });
        to.push(subscribe(&world, name).await);
    }
    deliver_to_all(&world, DELIVERIES, &to, 0..EACH).await;
    deliver_to_all(&world, DUE, &to, EACH..2 * EACH).await;
    until_arrived(&world, EACH).await;
    first.freeze();
    let mut second = Process::start(&world, "dispatcher").await;
    for topic in [DELIVERIES, DUE] {
        until_worked_off(&world, topic).await;
    }
    let newest = committed(&world).await;
    first.thaw();
    deliver_to_all(&world, DUE, &to, 2 * EACH..2 * EACH + 50).await;
    deliver_to_all(&world, DELIVERIES, &to, 3 * EACH..3 * EACH + 50).await;
    until("all is worked off, and no position went back", || async {
        let now = committed(&world).await;
        for (place, offset) in &now {
            assert!(*offset >= newest[place], "{place:?} went back from {} to {offset}", newest[place]);
        }
        let sum = now.values().sum::<i64>();
        if sum == end(&world).await { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    assert!(second.ended().is_none(), "it died by itself: {}", second.log());
}

/// The ends of both topics, summed up.
async fn end(world: &World) -> i64 {
    let mut sum = 0;
    for topic in [DELIVERIES, DUE] {
        sum += admin::end_offsets(&world.kafka(), topic).await.unwrap().values().sum::<i64>();
    }
    sum
}
