//! Postgres fails over to a server that has lost its last moments: a number of a subscription is given again.
//!
//! The server is stopped, its data are put back to an earlier copy, and recovery begins another timeline, as a standby does
//! that takes over without having received everything.

use std::{path::PathBuf, process::Command};

use event::{DeliveryHeaders, DeliveryId, Event, Micros, Subscription, SubscriptionId, topics};
use kafka_loop::Outgoing;
use local_altinn::Reply;
use local_stack::{Stack, StackOptions};
use platform_tests::{
    client::{Client, generic},
    process::Process,
    wait::until,
    world::{RESOURCE, World},
};
use serde_json::{Value, json};
use store::Store;

use crate::probe;

struct Server {
    stack: Stack,
    data: PathBuf,
    copy: PathBuf,
}

impl Server {
    async fn start() -> Self {
        let stack =
            Stack::start(StackOptions::temporary(), |step| eprintln!("own stack: {step}")).await.unwrap();
        let folder = stack.logs().parent().unwrap().join("postgres");
        Self { stack, data: folder.join("data"), copy: folder.join("copy") }
    }

    /// What a standby has received up to now.
    async fn remember(&self) {
        self.stack.kill_postgres().await.unwrap();
        let copied = Command::new("cp").arg("-a").args([&self.data, &self.copy]).status().unwrap();
        assert!(copied.success());
        self.stack.start_postgres().await.unwrap();
    }

    /// The standby takes over; what came after [`Server::remember`] is lost.
    async fn fail_over(&self) {
        self.stack.kill_postgres().await.unwrap();
        std::fs::remove_dir_all(&self.data).unwrap();
        std::fs::rename(&self.copy, &self.data).unwrap();
        let configuration = self.data.join("postgresql.auto.conf");
        let text = std::fs::read_to_string(&configuration).unwrap() + "restore_command = 'false'\n";
        std::fs::write(&configuration, text).unwrap();
        std::fs::write(self.data.join("recovery.signal"), "").unwrap();
        // The server may run as somebody else; it takes the file away when it has taken over.
        let owned = Command::new("chown")
            .arg(format!("--reference={}", self.data.display()))
            .arg(self.data.join("recovery.signal"))
            .status()
            .unwrap();
        assert!(owned.success());
        self.stack.start_postgres().await.unwrap();
    }
}

/// The delivery of an event that matched a subscription.
async fn deliver(world: &World, to: &Subscription, id: &str) {
    let event = Event::parse(generic(id, "/party/1").to_string().as_bytes()).unwrap();
    let headers = DeliveryHeaders::first(to, DeliveryId::of(to.id, event.identity()), Micros::now());
    let pairs = headers.to_pairs();
    let headers: Vec<(&str, &[u8])> = pairs.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let value = event.json().as_bytes();
    let out =
        Outgoing { topic: topics::DELIVERIES, partition: None, key: b"endpoint", value, headers: &headers };
    world.producer().send(out).await.unwrap();
}

/// Waits until the validation of a subscription stands in the delivery log.
async fn its_validation_is_projected(world: &World, to: &Subscription) {
    let store = world.store();
    until("the validation is in the delivery log", || async {
        let count = format!("select count(*) from delivery_attempt where mark::text = '{}'", dashed(to));
        let count = store.numbers_for_test(count).await.map_err(|error| error.to_string())?;
        if count == [0] { Err("it is not".to_owned()) } else { Ok(()) }
    })
    .await;
}

fn dashed(to: &Subscription) -> String {
    uuid::Uuid::from_u128(to.mark.0).to_string()
}

/// The subscription's row; a connection of the pool may have died with the server.
async fn row(store: &Store, id: SubscriptionId) -> Subscription {
    until("the subscription's row is there", || async {
        let found = store.subscription(id).await.map_err(|error| error.to_string())?;
        found.ok_or_else(|| "it is not".to_owned())
    })
    .await
}

/// Subscribes, as soon as the database is there; the number.
async fn subscribe(client: &Client, endpoint: &str) -> SubscriptionId {
    until("a subscription is made", || async {
        let body = json!({"endPoint": endpoint, "resourceFilter": RESOURCE});
        let answer = client.post("/events/api/v1/subscriptions").json(&body).send().await.unwrap();
        let made: Value = answer.json().await.unwrap_or_default();
        made["id"].as_i64().map(SubscriptionId).ok_or_else(|| made.to_string())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_given_again_sends_nothing_to_the_wrong_endpoint_and_validates_nobody() {
    let server = Server::start().await;
    let (brokers, database) = (server.stack.brokers(), server.stack.database_url());
    let mut world = World::on("failover", brokers, database).await;
    world.set("VALIDATION_AGAIN_MS", "500");
    world.set("VALIDATIONS_MAX", "1000");
    let platform = world.start("ingest,projector,query-api").await;
    let dispatcher = Process::start(&world, "dispatcher").await;
    let (client, store) = (world.client(platform.address()), world.store());
    until("the projector has its places", || async {
        let places = store.positions(topics::ATTEMPTS).await.unwrap().len();
        if places == 3 { Ok(()) } else { Err(format!("{places} of 3")) }
    })
    .await;
    server.remember().await;
    let lost = subscribe(&client, &world.receiver.url("lost")).await;
    client.validated(lost.0).await;
    let lost = row(&store, lost).await;
    its_validation_is_projected(&world, &lost).await;

    // When the dispatcher looks again, the new server has as many changes as the old one had: only its history tells.
    dispatcher.freeze();
    server.fail_over().await;
    let hook = world.altinn.webhook("other");
    hook.always(Reply::status(500));
    let other = subscribe(&client, &hook.url).await;
    assert_eq!(other, lost.id, "the number is given again");
    for n in 0..3 {
        subscribe(&client, &world.receiver.url(&format!("more-{n}"))).await;
    }
    dispatcher.thaw();

    // What the log holds is projected again, and the validation of the lost one names this number.
    until("its own validation was tried", || async {
        let count = hook.count();
        if count > 0 { Ok(()) } else { Err("it was not".to_owned()) }
    })
    .await;
    its_validation_is_projected(&world, &lost).await;
    let now = row(&store, other).await;
    assert!(!now.validated && now.mark != lost.mark);
    hook.always(Reply::status(200));
    client.validated(other.0).await;
    deliver(&world, &lost, "for-the-lost").await;
    assert_eq!(client.publish(&generic("for-the-other", "/party/1")).await.unwrap(), 200);
    let ids = || {
        let ids =
            hook.requests().into_iter().map(|request| request.json()["id"].as_str().unwrap().to_owned());
        ids.filter(|id| id.starts_with("for-the-")).collect::<Vec<String>>()
    };
    until("its own event comes", || async { if ids().is_empty() { Err("none".to_owned()) } else { Ok(()) } })
        .await;
    probe::nothing_is_left_to_push(&world).await;
    assert_eq!(ids(), ["for-the-other"]);
    assert!(world.receiver.events("lost").is_empty());
    let log = probe::attempts(&client, other.0).await;
    assert!(log.iter().all(|attempt| attempt["mark"] == now.mark.to_string()), "{log:?}");
    drop(dispatcher);
    platform.stop().await;
    server.stack.stop().await;
}
