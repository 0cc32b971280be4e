//! What the services answer while something is down, and that they go on by themselves when it is back.

use std::{collections::BTreeMap, time::Duration};

use kafka_loop::{admin, groups};
use local_stack::{Stack, StackOptions};
use platform_tests::{
    client::{Client, generic},
    ledger::Ledger,
    process::Process,
    wait::until,
    world::{ALL, World},
};
use tokio::task::JoinSet;

pub(crate) async fn own_stack() -> Stack {
    // A stack of its own: it is going to be killed.
    Stack::start(StackOptions::temporary(), |step| eprintln!("own stack: {step}")).await.unwrap()
}

/// The whole feed, read by cursor.
pub(crate) async fn whole_feed(client: &Client) -> BTreeMap<String, usize> {
    let (mut after, mut seen) = ("0".to_owned(), BTreeMap::new());
    loop {
        let page = until("a page is answered", || {
            let after = after.clone();
            async move {
                let path = format!(
                    "/events/api/v1/events?resource={}&after={after}&size=1000",
                    platform_tests::world::RESOURCE
                );
                match client.try_page(&path).await {
                    Some(page) if page.status == 200 => Ok(page),
                    other => Err(format!("{:?}", other.map(|page| page.status))),
                }
            }
        })
        .await;
        for event in &page.events {
            *seen.entry(event["id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        after = page.cursor.unwrap();
        if page.next.is_none() {
            return seen;
        }
    }
}

/// Where undelivered events are: what the log says of them, and which group has not read to its end.
pub(crate) async fn whereabouts(
    world: &World,
    reader: &Client,
    subscription: i64,
    open: &[&String],
) -> String {
    let mut told = format!("{} are not, such as {:?};", open.len(), open.first());
    for group in groups::all() {
        for topic in group.topics {
            let lag = admin::lag(&world.kafka(), group.name, topic).await.unwrap_or(-1);
            if lag != 0 {
                told += &format!(" {} is {lag} behind on {topic};", group.name);
            }
        }
    }
    let attempts = reader.attempts(subscription).await;
    let last = attempts.iter().filter(|attempt| open.iter().any(|id| attempt["eventId"] == **id));
    last.take(3).for_each(|attempt| told += &attempt.to_string());
    told
}

pub(crate) fn seed() -> u64 {
    let given =
        std::env::vars().find(|(name, _)| name == "FAULT_SEED").map(|(_, value)| value.parse().unwrap());
    given.unwrap_or_else(|| u64::from(std::process::id()) ^ 0x5eed)
}

/// Publishes until an event comes through: then the subscription is on every dispatcher.
pub(crate) async fn until_subscribed(world: &World, writer: &Client, endpoint: &str) {
    until("events reach the subscription", || async {
        writer.publish(&generic(&uuid::Uuid::new_v4().to_string(), "/party/1")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        if world.receiver.events(endpoint).is_empty() { Err("none came".to_owned()) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_database_down_publishing_and_pushing_go_on() {
    let stack = own_stack().await;
    let mut world = World::on("nodb", stack.brokers(), stack.database_url()).await;
    world.set("DATABASE_ACQUIRE_TIMEOUT_MS", "500");
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    client.subscribe_and_wait(&world.receiver.url("nodb")).await;
    until_subscribed(&world, &client, "nodb").await;
    stack.kill_postgres().await.unwrap();
    let mut ledger = Ledger::default();
    for n in 0..50 {
        let id = format!("dark-{n}");
        assert_eq!(client.publish(&generic(&id, "/party/2")).await.unwrap(), 200);
        ledger.published.insert(id);
    }
    until("events are pushed without the database", || async {
        let delivered = world.receiver.delivered("nodb");
        let open = ledger.published.iter().filter(|id| !delivered.contains_key(*id)).count();
        if open == 0 { Ok(()) } else { Err(format!("{open} are not")) }
    })
    .await;
    let feed =
        client.get(&format!("/events/api/v1/events?resource={}&after=0", platform_tests::world::RESOURCE));
    let answer = feed.send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    stack.start_postgres().await.unwrap();
    until("the feed has everything", || async {
        let feed = whole_feed(&client).await;
        let open = ledger.published.iter().filter(|id| !feed.contains_key(*id)).count();
        if open == 0 { Ok(()) } else { Err(format!("{open} are missing")) }
    })
    .await;
    ledger.in_feed = whole_feed(&client).await;
    ledger.delivered = world.receiver.delivered("nodb");
    ledger.must_close();
    platform.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_without_the_database_publishes_and_the_rest_begins_when_it_answers() {
    let stack = own_stack().await;
    let world = World::on("nodbstart", stack.brokers(), stack.database_url()).await;
    stack.kill_postgres().await.unwrap();
    let mut process = Process::begin(&world, ALL);
    let client = world.client(process.public);
    until("events are accepted without the database", || async {
        match client.publish(&generic("early", "/party/1")).await {
            Some(status) if status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    // The process takes requests, because publishing works, and says what does not.
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let readiness = http.get(format!("http://{}/readyz", process.admin)).send().await.unwrap();
    assert_eq!(readiness.status(), 200);
    assert_eq!(readiness.text().await.unwrap(), "ready\nnot ready: database\n");
    for path in ["/events/api/v1/events?after=0", "/events/api/v1/subscriptions", "/health"] {
        let answer = client.get(path).send().await.unwrap();
        assert_eq!(answer.status(), 503, "{path}");
        assert!(answer.headers().contains_key("retry-after"), "{path}");
    }
    stack.start_postgres().await.unwrap();
    process.ready().await;
    until("what was accepted early is in the feed", || async {
        let feed = whole_feed(&client).await;
        if feed.contains_key("early") { Ok(()) } else { Err(format!("{feed:?}")) }
    })
    .await;
    client.subscribe_and_wait(&world.receiver.url("late")).await;
    until_subscribed(&world, &client, "late").await;
    assert!(process.terminate().await.success(), "{}", process.log());
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_broker_down_publishing_answers_503_and_nothing_grows() {
    let stack = own_stack().await;
    let mut world = World::on("nolog", stack.brokers(), stack.database_url()).await;
    world.set("KAFKA_MESSAGE_TIMEOUT_MS", "1500");
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    assert_eq!(client.publish(&generic("before", "/party/1")).await.unwrap(), 200);
    stack.kill_broker().await.unwrap();
    let mut publishers = JoinSet::new();
    for n in 0..40 {
        let client = client.clone();
        publishers.spawn(async move {
            let request =
                client.post("/events/api/v1/events").header("content-type", "application/cloudevents+json");
            let answer =
                request.body(generic(&format!("dark-{n}"), "/party/1").to_string()).send().await.unwrap();
            (answer.status(), answer.headers().contains_key("retry-after"))
        });
    }
    while let Some(answer) = publishers.join_next().await {
        assert_eq!(answer.unwrap(), (http::StatusCode::SERVICE_UNAVAILABLE, true));
    }
    let producer_is_empty = || async {
        let waiting = platform.metric("ingest_in_flight_bytes");
        if waiting == 0.0 { Ok(()) } else { Err(format!("{waiting} bytes wait")) }
    };
    until("nothing waits any more", producer_is_empty).await;
    stack.start_broker().await.unwrap();
    until("publishing works again", || async {
        match client.publish(&generic("after", "/party/1")).await {
            Some(status) if status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    until("both events are in the feed", || async {
        let feed = whole_feed(&client).await;
        if feed.contains_key("before") && feed.contains_key("after") {
            Ok(())
        } else {
            Err(format!("{feed:?}"))
        }
    })
    .await;
    assert_eq!(whole_feed(&client).await.values().copied().max(), Some(1));
    until("the projector has caught up", || async {
        match admin::lag(&world.kafka(), groups::PROJECTOR, event::topics::EVENTS).await {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    platform.stop().await;
    stack.stop().await;
}
