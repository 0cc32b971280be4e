//! Guarantees of the design that have no file of their own: order, sick endpoints, rights.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use event::topics::DELIVERIES;
use kafka_loop::whole;
use local_altinn::Mode;
use platform_tests::{
    client::generic,
    receiver::Script,
    wait::until,
    world::{ALL, World},
};
use serde_json::Value;

use crate::probe;

/// The ids of each party's events, in the order given.
fn by_party(events: impl Iterator<Item = Value>) -> BTreeMap<String, Vec<String>> {
    let mut parties: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
    for event in events.filter(|event| event["subject"].as_str().is_some_and(|s| s.starts_with("/party/"))) {
        parties.entry(text(&event, "subject")).or_default().push(text(&event, "id"));
    }
    parties
}

/// The bodies of the first requests about each event, in the order in which they came to an endpoint.
fn first_arrivals(world: &World, endpoint: &str) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let received = world.receiver.events(endpoint).into_iter();
    received.map(|request| request.json()).filter(|event| seen.insert(event["id"].to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn order() {
    let mut world = World::new("order").await;
    // Sends of one endpoint that are on their way together arrive in any order. So one at a time, and nothing is put back.
    world.set("PUSH_IN_FLIGHT_PER_ENDPOINT", "1");
    world.set("PUSH_QUEUE_PER_ENDPOINT", "1000000");
    let first = world.start(ALL).await;
    let (second, other_door) = (world.start("projector").await, world.start("ingest").await);
    let client = world.client(first.address());
    let publishers = [&first, &other_door, &first].map(|running| world.client(running.address()));
    let mut subscriptions = Vec::new();
    for endpoint in ["order", "fails", "fails-too"] {
        subscriptions.push(client.subscribe_and_wait(&world.receiver.url(endpoint)).await);
    }
    probe::changes_are_in_force(&world, &client).await;
    // Others' retries go on all the time, and so do some of its own.
    world.receiver.script("order", Script { next: [200, 200, 500].repeat(100).into(), ..Script::default() });
    for endpoint in ["fails", "fails-too"] {
        world.receiver.script(endpoint, Script { usual: 500, ..Script::default() });
    }
    let mut published = Vec::new();
    for n in 0..300 {
        let event = generic(&format!("{n:03}"), &format!("/party/{}", n % 5));
        assert_eq!(publishers[n % 3].publish(&event).await.unwrap(), 200);
        published.push(event);
    }
    let published = by_party(published.into_iter());
    probe::everything_is_stored(&world).await;
    probe::nothing_is_left_to_push(&world).await;
    assert_eq!(by_party(client.page("0", 1_000).await.events.into_iter()), published, "the feed");
    let deliveries = whole::read(&world.kafka(), DELIVERIES).await.unwrap();
    for id in subscriptions {
        let own =
            deliveries.iter().filter(|one| one.header("subscription") == Some(id.to_string().as_bytes()));
        let own = own.map(|record| serde_json::from_slice(record.value.as_deref().unwrap()).unwrap());
        assert_eq!(by_party(own), published, "the deliveries of subscription {id}");
    }
    assert_eq!(by_party(first_arrivals(&world, "order").into_iter()), published, "the first attempts");
    let (retried, released) =
        (world.receiver.events("order").len(), first.metric("dispatcher_released_total"));
    assert!(retried > 300 && released > 100.0, "{retried} attempts, {released} retries in all");
    other_door.stop().await;
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_endpoint_harms_nobody_else() {
    const EACH: usize = 100;
    // Sends on their way to an endpoint that has not answered yet, and to one that has.
    const FIRST_WINDOW: usize = 4;
    const WINDOW: usize = 32;
    let mut world = World::new("sick").await;
    // As many sends at once as there are sick endpoints, and none of theirs ends by itself.
    for (name, value) in [
        ("PUSH_IN_FLIGHT", "2"),
        ("PUSH_SLOW_AFTER_MS", "100"),
        ("PUSH_TIMEOUT_MS", "3600000"),
        ("PUSH_QUEUE_PER_ENDPOINT", "16"),
    ] {
        world.set(name, value);
    }
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    let names: Vec<String> = (0..10).map(|n| format!("endpoint-{n}")).collect();
    let (sick, healthy) = names.split_at(2);
    // One never answers a delivery; the other does at first, so that it may have many sends on their way.
    let hangs = || Script { takes: Duration::from_secs(3_600), usual: 500, ..Script::default() };
    world.receiver.script(&sick[0], hangs());
    for name in &names {
        client.subscribe_and_wait(&world.receiver.url(name)).await;
    }
    probe::changes_are_in_force(&world, &client).await;
    let have_all = async |names: &[String], count: usize| {
        for name in names {
            until("an endpoint has everything", || async {
                let arrived = probe::delivered(&world, name).len();
                if arrived == count { Ok(()) } else { Err(format!("{arrived} of {count} are at {name}")) }
            })
            .await;
        }
    };
    let publish = async |named: &str| {
        let batch: Vec<Value> = (0..EACH).map(|n| generic(&format!("{named}-{n}"), "/party/1")).collect();
        assert_eq!(client.publish_batch(&batch).await.status(), 200);
    };
    publish("first").await;
    have_all(&names[1..], EACH).await;
    world.receiver.script(&sick[1], hangs());
    publish("second").await;
    have_all(healthy, 2 * EACH).await;
    // All that while the sick ones held what they had been sent, and that is bounded.
    for (name, most) in [(&sick[0], FIRST_WINDOW), (&sick[1], WINDOW)] {
        let held = world.receiver.events(name).iter().filter(|request| request.answered == 500).count();
        assert_eq!(world.receiver.open(name), held, "a send to {name} has ended");
        assert!(0 < held && held <= most, "{held} sends are open to {name}");
    }
    assert!(platform.metric("dispatcher_put_back_total") > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_checked_when_they_matter() {
    let mut world = World::new("rights").await;
    for name in ["PERMIT_TTL_MS", "REFUSAL_TTL_MS"] {
        world.set(name, "1");
    }
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    let id = client.subscribe_and_wait(&world.receiver.url("rights")).await;
    probe::changes_are_in_force(&world, &client).await;
    assert_eq!(client.publish(&generic("permitted", "/party/1")).await.unwrap(), 200);
    probe::reaches_the_feed(&client, "permitted").await;

    // No answer is not a no.
    world.altinn.pdp().set(Mode::Fail(500));
    assert_eq!(client.publish(&generic("unknown", "/party/1")).await.unwrap(), 503);
    let page = client.page("0", 10).await;
    assert_eq!(page.status, 503);
    let value = generic("waits", "/party/1").to_string();
    let out = kafka_loop::Outgoing {
        topic: event::topics::EVENTS,
        partition: None,
        key: b"/party/1",
        value: value.as_bytes(),
        headers: &[],
    };
    world.producer().send(out).await.unwrap();
    until("the delivery is put back", || async {
        let attempts = probe::attempts(&client, id).await;
        if attempts.iter().any(|attempt| attempt["detail"] == "put back: rights-unknown") {
            Ok(())
        } else {
            Err(format!("{attempts:?}"))
        }
    })
    .await;
    assert!(!probe::delivered(&world, "rights").contains_key("waits"), "it was sent unchecked");
    world.altinn.pdp().set(Mode::Answer);
    until("what was put back is delivered", || async {
        let delivered = probe::delivered(&world, "rights");
        if delivered.contains_key("waits") { Ok(()) } else { Err(format!("{delivered:?}")) }
    })
    .await;

    // A no is one, at each door.
    world.altinn.pdp().revoke_all();
    assert_eq!(client.publish(&generic("refused", "/party/1")).await.unwrap(), 403);
    let page = client.page("0", 10).await;
    assert_eq!((page.status.as_u16(), page.events.len()), (200, 0), "refused events are left out");
    assert!(page.cursor.is_some());
    let value = generic("not-sent", "/party/1").to_string();
    world.producer().send(kafka_loop::Outgoing { value: value.as_bytes(), ..out }).await.unwrap();
    probe::everything_is_stored(&world).await;
    probe::nothing_is_left_to_push(&world).await;
    assert!(!probe::delivered(&world, "rights").contains_key("not-sent"));
    platform.stop().await;
}
