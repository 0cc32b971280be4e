//! Guarantees of the design that have no file of their own: order, sick endpoints, rights, bounds.

use std::{collections::BTreeMap, time::Duration};

use event::topics::DELIVERIES;
use kafka_loop::whole;
use local_altinn::Mode;
use platform_tests::{
    client::generic,
    receiver::Script,
    wait::until,
    world::{ALL, RESOURCE, World},
};
use serde_json::json;

use crate::probe;

/// The ids of each party's events, in the order given.
fn by_party(events: impl Iterator<Item = serde_json::Value>) -> BTreeMap<String, Vec<String>> {
    let mut parties: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let text = |event: &serde_json::Value, name: &str| event[name].as_str().unwrap().to_owned();
    for event in events.filter(|event| event["subject"].as_str().is_some_and(|s| s.starts_with("/party/"))) {
        parties.entry(text(&event, "subject")).or_default().push(text(&event, "id"));
    }
    parties
}

#[tokio::test(flavor = "multi_thread")]
async fn order() {
    let world = World::new("order").await;
    let first = world.start(ALL).await;
    let second = world.start("projector").await;
    let client = world.client(first.address());
    client.subscribe_and_wait(&world.receiver.url("order")).await;
    probe::changes_are_in_force(&world, &client).await;
    let mut published = Vec::new();
    for n in 0..200 {
        let event = generic(&format!("{n:03}"), &format!("/party/{}", n % 5));
        assert_eq!(client.publish(&event).await.unwrap(), 200);
        published.push(event);
    }
    let published = by_party(published.into_iter());
    probe::everything_is_stored(&world).await;
    probe::nothing_is_left_to_push(&world).await;
    assert_eq!(by_party(client.page("0", 1_000).await.events.into_iter()), published, "the feed");
    let deliveries = whole::read(&world.kafka(), DELIVERIES).await.unwrap();
    let deliveries = deliveries.iter().map(|record| record.value.as_deref().unwrap_or_default());
    let deliveries = deliveries.map(|value| serde_json::from_slice(value).unwrap());
    assert_eq!(by_party(deliveries), published, "the deliveries");
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_endpoint_harms_nobody_else() {
    let mut world = World::new("sick").await;
    // Fewer sends at once than the sick endpoints would like to hold.
    for (name, value) in
        [("PUSH_IN_FLIGHT", "8"), ("PUSH_SLOW_AFTER_MS", "100"), ("PUSH_QUEUE_PER_ENDPOINT", "16")]
    {
        world.set(name, value);
    }
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    let names: Vec<String> = (0..10).map(|n| format!("endpoint-{n}")).collect();
    for name in &names {
        client.subscribe_and_wait(&world.receiver.url(name)).await;
    }
    probe::changes_are_in_force(&world, &client).await;
    let (sick, healthy) = names.split_at(2);
    for name in sick {
        let takes = Duration::from_secs(3_600);
        world.receiver.script(name, Script { takes, ..Script::default() });
    }
    for n in 0..100 {
        assert_eq!(client.publish(&generic(&format!("{n}"), "/party/1")).await.unwrap(), 200);
    }
    for name in healthy {
        until("a healthy endpoint has everything", || async {
            let count = probe::delivered(&world, name).len();
            if count == 100 { Ok(()) } else { Err(format!("{count} are at {name}")) }
        })
        .await;
    }
    // Of what a sick endpoint cannot take, a bounded part is in hand; the rest waits on a tier.
    for name in sick {
        let open = world.receiver.events(name).len();
        assert!(open <= 32, "{open} sends are open to {name}");
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

#[tokio::test(flavor = "multi_thread")]
async fn bounded_everything() {
    let mut world = World::new("bounds").await;
    world.set("FEED_WAITERS_MAX", "1");
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    // Bodies, batches, pages and headers.
    let mut large = generic("large", "/party/1");
    large["data"] = "x".repeat(70_000).into();
    assert!(client.publish(&large).await.unwrap().is_client_error());
    let batch: Vec<_> = (0..10_000).map(|n| generic(&format!("{n}"), "/party/1")).collect();
    assert_eq!(client.publish_batch(&batch).await.status(), 413);
    let resource = format!("/events/api/v1/events?resource={RESOURCE}&after=0");
    let header = "x".repeat(1 << 20);
    let refused = client.get(&resource).header("x-large", header).send().await;
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status() == 431));
    let body = json!({"endPoint": world.receiver.url("x"), "resourceFilter": "x".repeat(100_000)});
    let large = client.post("/events/api/v1/subscriptions").json(&body).send().await.unwrap();
    assert_eq!(large.status(), 413);
    // Waiting readers.
    let waiting = [(); 2].map(|()| client.get(&format!("{resource}&wait=5")).send());
    let [one, other] = waiting;
    let (one, other) = tokio::join!(one, other);
    let answers = [one.unwrap(), other.unwrap()];
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status() == 503).collect();
    assert_eq!(refused.len(), 1, "{answers:?}");
    assert!(refused.iter().all(|answer| answer.headers().contains_key("retry-after")));
    platform.stop().await;
}
