//! What several tests wait for: changed subscriptions in force, nothing left to match or to push, books read back.

use std::collections::BTreeMap;

use event::topics::{DELIVERIES, EVENTS};
use kafka_loop::{admin, groups};
use platform_tests::{
    client::{Client, generic},
    wait::until,
    world::{RESOURCE, World},
};
use serde_json::{Value, json};

/// Waits until the dispatchers that match have every change of the subscriptions that was made before this call.
///
/// A view takes changes in the order of their positions. So it is told by a subscription that is made now, one for each
/// partition of `events`: once its own event came, all earlier changes are in force at the matcher of that partition.
pub(crate) async fn changes_are_in_force(world: &World, client: &Client) {
    let ends = admin::end_offsets(&world.kafka(), EVENTS).await.unwrap();
    for partition in ends.keys() {
        let name = format!("canary-{}", uuid::Uuid::new_v4().simple());
        let body = json!({
            "endPoint": world.receiver.url(&name), "resourceFilter": RESOURCE, "subjectFilter": name,
        });
        client.validated(client.subscribe_with(&body).await).await;
        let producer = world.producer();
        until("the matcher follows the subscriptions", || async {
            let event = generic(&format!("{name}-{}", uuid::Uuid::new_v4()), &name).to_string();
            let out = kafka_loop::Outgoing {
                topic: EVENTS,
                partition: Some(*partition),
                key: name.as_bytes(),
                value: event.as_bytes(),
                headers: &[],
            };
            producer.send(out).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            if world.receiver.events(&name).is_empty() { Err("no canary yet".to_owned()) } else { Ok(()) }
        })
        .await;
    }
}

/// Waits until every event is in the feed, or parked.
pub(crate) async fn everything_is_stored(world: &World) {
    nothing_is_left(world, groups::PROJECTOR, EVENTS).await;
}

/// Waits until every event is matched and every fresh delivery settled.
pub(crate) async fn nothing_is_left_to_push(world: &World) {
    nothing_is_left(world, groups::MATCH, EVENTS).await;
    nothing_is_left(world, groups::PUSH, DELIVERIES).await;
}

async fn nothing_is_left(world: &World, group: &str, topic: &str) {
    until("a topic is worked off", || async {
        let lag = admin::lag(&world.kafka(), group, topic).await.unwrap();
        if lag == 0 { Ok(()) } else { Err(format!("{lag} of {topic} are left to {group}")) }
    })
    .await;
}

/// How often each event was answered with a success at an endpoint, canaries left out.
pub(crate) fn delivered(world: &World, name: &str) -> BTreeMap<String, usize> {
    let mut delivered = world.receiver.delivered(name);
    delivered.retain(|id, _| !id.starts_with("canary-"));
    delivered
}

/// How often each event stands in the feed of the test department's resource, canaries left out.
pub(crate) async fn in_feed(client: &Client) -> BTreeMap<String, usize> {
    let (mut counts, mut after) = (BTreeMap::new(), "0".to_owned());
    loop {
        let page = client.page(&after, 1_000).await;
        assert_eq!(page.status, 200);
        for event in &page.events {
            let id = event["id"].as_str().unwrap();
            if !id.starts_with("canary-") {
                *counts.entry(id.to_owned()).or_default() += 1;
            }
        }
        if page.events.is_empty() {
            return counts;
        }
        after = page.cursor.unwrap();
    }
}

/// Waits until an event is in the feed of the test department's resource.
pub(crate) async fn reaches_the_feed(client: &Client, id: &str) {
    until("the event is in the feed", || async {
        let ids = in_feed(client).await;
        if ids.contains_key(id) { Ok(()) } else { Err(format!("{} others are", ids.len())) }
    })
    .await;
}

/// The attempts at events, not at validations, in the order of their numbers.
pub(crate) async fn attempts(client: &Client, subscription: i64) -> Vec<Value> {
    let mut attempts = client.attempts(subscription).await;
    attempts.retain(|attempt| attempt["kind"] == "event");
    attempts.sort_by_key(|attempt| attempt["attempt"].as_u64());
    attempts
}
