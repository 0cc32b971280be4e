//! A position that was lost is set by a person, a group that is new starts by itself.

use std::{
    collections::BTreeMap,
    process::{Command, Output, Stdio},
};

use altinn_events::{platform::Platform, settings::Settings};
use kafka_loop::{admin, groups, starts};
use platform_tests::{
    client::{Client, generic},
    process::binary,
    wait::until,
    world::{ALL, World, execute},
};
use service::env::Env;

/// Runs `altinn-events topics` against this world.
fn topics(world: &World, arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(["topics", "--replication", "1"])
        .args(arguments)
        .env_clear()
        .envs(world.environment(ALL))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn forget(world: &World, group: &str) {
    until("the broker forgets the group", || async {
        starts::forget_for_test(&world.kafka(), group).await.map_err(|error| error.to_string())
    })
    .await;
}

/// Why services do not go on.
async fn refusal(world: &World, services: &str) -> String {
    let settings = world.environment(services);
    let env = Env::from_pairs(settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let platform = Box::pin(Platform::start(Settings::from_env(&env).unwrap())).await.unwrap();
    platform.life.wait().await;
    format!("{:#}", platform.stop().await.unwrap_err())
}

/// Publishes event after event until more have arrived than before; what has arrived then, and how often.
async fn one_more(world: &World, client: &Client) -> BTreeMap<String, usize> {
    let before = world.receiver.delivered("starts").len();
    until("one more event is delivered", || async {
        client.publish(&generic(&uuid::Uuid::new_v4().to_string(), "/party/1")).await;
        let seen = world.receiver.delivered("starts");
        if seen.len() > before { Ok(seen) } else { Err(format!("{seen:?}")) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_whose_position_was_lost_sends_nothing_again_until_a_person_has_decided() {
    let world = World::new("lostposition").await;
    let running = world.start(ALL).await;
    let client = world.client(running.address());
    client.subscribe_and_wait(&world.receiver.url("starts")).await;
    one_more(&world, &client).await;
    running.stop().await;
    let sent = world.receiver.delivered("starts");
    forget(&world, groups::PUSH).await;
    let why = refusal(&world, ALL).await;
    assert!(why.contains("altinn-events topics --start dispatcher.push=oldest"), "{why}");
    let found = topics(&world, &[]);
    assert!(
        !found.status.success() && told(&found).contains("--start dispatcher.push=oldest"),
        "{}",
        told(&found)
    );
    let shown = topics(&world, &["--start", "dispatcher.push=newest"]);
    assert!(
        shown.status.success() && told(&shown).contains("would set: deliveries, partition 0"),
        "{}",
        told(&shown)
    );
    assert!(refusal(&world, "dispatcher").await.contains("dispatcher.push"), "showing sets nothing");
    // What does not read in the group is not held up.
    world.start("ingest,projector,query-api").await.stop().await;
    let set = topics(&world, &["--start", "dispatcher.push=newest", "--yes"]);
    assert!(set.status.success(), "{}", told(&set));
    let running = world.start(ALL).await;
    let client = world.client(running.address());
    let counts = one_more(&world, &client).await;
    assert!(sent.iter().all(|(id, count)| counts.get(id) == Some(count)), "{sent:?} {counts:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_with_a_new_group_starts_on_topics_that_were_written() {
    let world = World::new("newgroup").await;
    let running = world.start(ALL).await;
    let client = world.client(running.address());
    client.publish(&generic("1", "/party/1")).await;
    running.stop().await;
    // As if the release before had not known the group.
    forget(&world, groups::MATCH).await;
    let store = world.store();
    execute(&store, "delete from group_start where consumer_group = 'dispatcher.match'".to_owned()).await;
    world.start(ALL).await.stop().await;
    let positions = admin::committed(&world.kafka(), groups::MATCH, event::topics::EVENTS).await.unwrap();
    assert_eq!(positions.len(), 3);
    let started = store.groups_started().await.unwrap();
    assert!(started.contains(&("dispatcher.match".to_owned(), "events".to_owned())), "{started:?}");
    forget(&world, groups::MATCH).await;
    assert!(refusal(&world, ALL).await.contains("dispatcher.match"), "now it is no longer new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projectors_position_that_the_topic_does_not_keep_is_set_in_the_store() {
    let world = World::new("projectorstart").await;
    let running = world.start("ingest,projector").await;
    let client = world.client(running.address());
    client.publish(&generic("1", "/party/1")).await;
    let store = world.store();
    until("the event is stored", || async {
        let head = store.feed_head().await.unwrap().last.0;
        if head == 1 { Ok(()) } else { Err(format!("{head}")) }
    })
    .await;
    running.stop().await;
    execute(&store, "update projection_offset set next_offset = 1000 where topic = 'events'".to_owned())
        .await;
    let shown = topics(&world, &["--start", "projector=oldest"]);
    assert!(
        told(&shown).contains("would set: events, partition 0: from 1000, which is not kept, to 0"),
        "{}",
        told(&shown)
    );
    let set = topics(&world, &["--start", "projector=oldest", "--yes"]);
    assert!(set.status.success(), "{}", told(&set));
    let running = world.start("ingest,projector").await;
    let client = world.client(running.address());
    client.publish(&generic("2", "/party/1")).await;
    until("both events are stored, each once", || async {
        let head = store.feed_head().await.unwrap().last.0;
        if head == 2 { Ok(()) } else { Err(format!("{head}")) }
    })
    .await;
    running.stop().await;
}
