//! Guarantee 3: publishing again is harmless. One feed entry, one delivery, the same answer.

use std::collections::{BTreeMap, BTreeSet};

use platform_tests::{
    client::{Client, generic},
    wait::until,
    world::{ALL, World},
};
use tokio::task::JoinSet;

use crate::probe;

/// Waits until all that was published is stored, matched and pushed; then every event must be there once.
async fn each_is_there_once(world: &World, client: &Client, ids: &BTreeSet<String>) {
    probe::everything_is_stored(world).await;
    probe::nothing_is_left_to_push(world).await;
    let once: BTreeMap<String, usize> = ids.iter().map(|id| (id.clone(), 1)).collect();
    assert_eq!(probe::in_feed(client).await, once, "the feed");
    assert_eq!(probe::delivered(world, "repeat"), once, "the webhook");
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_again_is_harmless() {
    let world = World::new("repeat").await;
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    client.subscribe_and_wait(&world.receiver.url("repeat")).await;
    probe::changes_are_in_force(&world, &client).await;
    let event = generic("again", "/party/1");
    for _ in 0..3 {
        let request =
            client.post("/events/api/v1/events").header("content-type", "application/cloudevents+json");
        let answer = request.body(event.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.unwrap(), "");
        probe::reaches_the_feed(&client, "again").await;
        probe::nothing_is_left_to_push(&world).await;
    }
    // Another source or resource makes another event of the same id.
    let mut other = generic("again", "/party/1");
    other["source"] = "https://ttd.example.no/things/2".into();
    assert_eq!(client.publish(&other).await.unwrap(), 200);
    until("the other event of that id is delivered", || async {
        let count = probe::delivered(&world, "repeat").get("again").copied();
        if count == Some(2) { Ok(()) } else { Err(format!("{count:?}")) }
    })
    .await;
    probe::everything_is_stored(&world).await;
    assert_eq!(platform.metric("projector_repeated_total"), 2.0);
    assert_eq!(platform.metric("projector_conflicting_total"), 0.0);
    // The same id with other data is answered the same and counted; the first one stays.
    let mut changed = event.clone();
    changed["data"] = "other".into();
    assert_eq!(client.publish(&changed).await.unwrap(), 200);
    until("the conflict is counted", || async {
        let counted = platform.metric("projector_conflicting_total");
        if counted == 1.0 { Ok(()) } else { Err(format!("{counted}")) }
    })
    .await;
    probe::nothing_is_left_to_push(&world).await;
    assert_eq!(probe::delivered(&world, "repeat").get("again"), Some(&2));
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_again_is_harmless_when_the_first_copy_is_in_an_older_partition() {
    let mut world = World::new("repeatold").await;
    world.set("EVENTS_PARTITION_SIZE", "40");
    // The memory of the matcher is too short for it as well.
    world.set("MATCH_REPEATS_WINDOW", "1");
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    client.subscribe_and_wait(&world.receiver.url("repeat")).await;
    probe::changes_are_in_force(&world, &client).await;
    let first = generic("first", "/party/1");
    assert_eq!(client.publish(&first).await.unwrap(), 200);
    probe::reaches_the_feed(&client, "first").await;
    let mut ids = BTreeSet::from(["first".to_owned()]);
    for round in 0..5 {
        let batch: Vec<_> = (0..40).map(|n| generic(&format!("{round}-{n}"), "/party/1")).collect();
        assert_eq!(client.publish_batch(&batch).await.status(), 200);
        let last = format!("{round}-39");
        ids.extend((0..40).map(|n| format!("{round}-{n}")));
        probe::reaches_the_feed(&client, &last).await;
    }
    assert!(world.store().partitions().await.unwrap().len() > 3);
    assert_eq!(client.publish(&first).await.unwrap(), 200);
    each_is_there_once(&world, &client, &ids).await;
    assert_eq!(platform.metric("projector_repeated_total"), 1.0);
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_again_is_harmless_when_both_copies_are_in_flight_at_once() {
    let world = World::new("repeatboth").await;
    let platform = world.start(ALL).await;
    let second_projector = world.start("projector").await;
    let client = world.client(platform.address());
    client.subscribe_and_wait(&world.receiver.url("repeat")).await;
    probe::changes_are_in_force(&world, &client).await;
    let mut ids = BTreeSet::new();
    for round in 0..20 {
        let event = generic(&format!("pair-{round}"), &format!("/party/{round}"));
        ids.insert(format!("pair-{round}"));
        let mut publishers = JoinSet::new();
        for _ in 0..4 {
            let (client, event) = (client.clone(), event.clone());
            publishers.spawn(async move { client.publish(&event).await });
        }
        while let Some(status) = publishers.join_next().await {
            assert_eq!(status.unwrap().unwrap(), 200);
        }
    }
    // Twice in one batch as well.
    let twin = generic("twin", "/party/1");
    assert_eq!(client.publish_batch(&[twin.clone(), twin]).await.status(), 200);
    ids.insert("twin".to_owned());
    each_is_there_once(&world, &client, &ids).await;
    second_projector.stop().await;
    platform.stop().await;
}
