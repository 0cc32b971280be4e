//! Kafka and Postgres hang under load, each service in a process of its own: everything goes on by itself afterwards.
//!
//! A broker that hung is let into its cluster again, and for a moment names no brokers; a client that asks then forgets all of
//! them. `FREEZES` is how often each of the two, and both at once, hang; `FAULT_SEED` repeats a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use local_stack::Stack;
use platform_tests::{
    client::{Client, generic},
    process::Process,
    wait::{in_time, until},
    world::{RESOURCE, World},
};
use serde_json::json;
use tokio::{sync::Mutex, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::faults::{own_stack, seed, until_subscribed, whereabouts};

const PUBLISHERS: usize = 8;
/// The type of the events that tell whether everything goes on.
const PROBE: &str = "test.probe";
/// Parties of probes, and endpoints that get them: enough that each partition has some.
const PROBES: usize = 8;
/// Longer than a broker may be away before it is fenced.
const HANGS_FOR: Duration = Duration::from_secs(12);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Broker,
    Postgres,
    Both,
}

/// How many events each publisher has got accepted; their ids are `publisher-number`.
type Accepted = Arc<std::sync::Mutex<BTreeMap<usize, usize>>>;

/// Publishes one event after the other, each until it is accepted.
async fn publish(client: Client, publisher: usize, accepted: Accepted, stop: CancellationToken) {
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    let mut n = 0;
    while !stop.is_cancelled() {
        let event = generic(&format!("{publisher}-{n}"), &format!("/party/{publisher}"));
        until("a publish is accepted", || async {
            match client.publish(&event).await {
                Some(status) if status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        n += 1;
        accepted.lock().unwrap().insert(publisher, n);
        pace.tick().await;
    }
}

/// A reader who follows the feed by its cursor through all faults.
#[derive(Default)]
struct Reading {
    after: Option<String>,
    ids: Vec<String>,
}

impl Reading {
    /// Reads on to the end.
    async fn on(&mut self, client: &Client) -> Result<(), String> {
        loop {
            let after = self.after.as_deref().unwrap_or("0");
            let path = format!("/events/api/v1/events?resource={RESOURCE}&after={after}&size=1000");
            let page = client.try_page(&path).await.ok_or("the feed does not answer")?;
            if page.status != 200 {
                return Err(page.status.to_string());
            }
            self.ids.extend(page.events.iter().map(|event| event["id"].as_str().unwrap().to_owned()));
            self.after = page.cursor;
            if page.next.is_none() {
                return Ok(());
            }
        }
    }
}

struct Site {
    stack: Stack,
    world: World,
    services: BTreeMap<&'static str, Process>,
    reader: Client,
    writer: Client,
    feed: Mutex<Reading>,
    probes: Vec<i64>,
}

impl Site {
    async fn start() -> Self {
        let stack = own_stack().await;
        let mut world = World::on("frozen", stack.brokers(), stack.database_url()).await;
        world.set("KAFKA_MESSAGE_TIMEOUT_MS", "3000");
        // Sends of one endpoint that are on their way together arrive in any order. So one at a time, and nothing is put back.
        world.set("PUSH_IN_FLIGHT_PER_ENDPOINT", "1");
        world.set("PUSH_QUEUE_PER_ENDPOINT", "1000000");
        let mut services = BTreeMap::new();
        for service in ["query-api", "projector", "dispatcher", "ingest"] {
            services.insert(service, Process::start(&world, service).await);
        }
        let reader = world.client(services["query-api"].public);
        let writer = world.client(services["ingest"].public);
        let mut probes = Vec::new();
        for endpoint in (0..PROBES).map(probes_of) {
            let endpoint = world.receiver.url(&endpoint);
            let wanted = json!({"endPoint": endpoint, "resourceFilter": RESOURCE, "typeFilter": PROBE});
            probes.push(reader.subscribe_with(&wanted).await);
            reader.validated(probes[probes.len() - 1]).await;
        }
        Self { stack, world, services, reader, writer, feed: Mutex::default(), probes }
    }

    async fn hang(&self, fault: Fault) {
        let broker = (fault != Fault::Postgres).then(|| self.stack.freeze_broker().unwrap());
        let postgres = (fault != Fault::Broker).then(|| self.stack.freeze_postgres().unwrap());
        tokio::time::sleep(HANGS_FOR).await;
        if fault == Fault::Postgres {
            self.is_accepted("dark-0", "/party/1000", "while Postgres hangs").await;
        } else {
            self.services["ingest"].is_not_ready("appends").await;
        }
        drop((broker, postgres));
    }

    async fn is_accepted(&self, id: &str, party: &str, when: &str) {
        let mut event = generic(id, party);
        event["type"] = PROBE.into();
        until(&format!("a publish is accepted {when}"), || async {
            match self.writer.publish(&event).await {
                Some(status) if status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    fn all_run(&mut self) {
        for (name, process) in &mut self.services {
            assert!(process.ended().is_none(), "{name} ended: {}", process.log());
        }
    }

    async fn are_delivered(&mut self, subscription: i64, endpoint: &str, ids: &[String]) {
        let site = Mutex::new(&mut *self);
        let waited = in_time(|| async {
            let site = &mut *site.lock().await;
            site.all_run();
            let delivered = site.world.receiver.delivered(endpoint);
            let open = ids.iter().filter(|id| !delivered.contains_key(*id)).count();
            if open == 0 { Ok(()) } else { Err(format!("{open} are not")) }
        })
        .await;
        if let Err(state) = waited {
            let delivered = self.world.receiver.delivered(endpoint);
            let open: Vec<&String> = ids.iter().filter(|id| !delivered.contains_key(*id)).collect();
            let whereabouts = whereabouts(&self.world, &self.reader, subscription, &open).await;
            panic!("{endpoint}: not all is delivered: {state}; {whereabouts}");
        }
    }

    /// Waits until a new event of each partition is accepted, in the feed, and delivered to endpoints of each partition.
    async fn goes_on(&mut self) {
        let ids: Vec<String> = (0..PROBES).map(|_| format!("after-{}", uuid::Uuid::new_v4())).collect();
        for (n, id) in ids.iter().enumerate() {
            self.is_accepted(id, &format!("/party/{}", 1000 + n), "again").await;
        }
        let site = Mutex::new(&mut *self);
        until("the feed goes on", || async {
            let site = &mut *site.lock().await;
            site.all_run();
            let mut feed = site.feed.lock().await;
            feed.on(&site.reader).await?;
            let open = ids.iter().filter(|id| !feed.ids.contains(id)).count();
            if open == 0 {
                Ok(())
            } else {
                Err(format!("{open} are missing, {} others there", feed.ids.len()))
            }
        })
        .await;
        for n in 0..self.probes.len() {
            self.are_delivered(self.probes[n], &probes_of(n), &ids).await;
        }
        for process in self.services.values_mut() {
            process.ready().await;
        }
    }
}

/// An endpoint that gets the probes alone.
fn probes_of(n: usize) -> String {
    format!("probes-{n}")
}

/// How often each fault happens.
fn freezes() -> usize {
    let given = std::env::vars().find(|(name, _)| name == "FREEZES").map(|(_, value)| value.parse().unwrap());
    given.unwrap_or(1)
}

/// A moment of up to three seconds, from the seed.
fn moment(seed: u64, round: usize) -> Duration {
    let mixed = (seed ^ round as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Duration::from_millis(mixed % 3_000)
}

fn is_in_order(what: &str, ids: &[String], publisher: usize) {
    let numbers = ids.iter().filter_map(|id| {
        let (of, n) = id.split_once('-')?;
        (of == publisher.to_string()).then(|| n.parse::<usize>().ok()).flatten()
    });
    let numbers: Vec<usize> = numbers.collect();
    let expected: Vec<usize> = (0..numbers.len()).collect();
    assert_eq!(
        numbers, expected,
        "{what}: the events of publisher {publisher} are not all there, once, in their order"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kafka_and_postgres_hung_everything_goes_on_nothing_is_lost_and_order_is_kept() {
    let seed = seed();
    println!("FAULT_SEED={seed}");
    let mut site = Site::start().await;
    let endpoint = site.world.receiver.url("frozen");
    let subscription = site.reader.subscribe_and_wait(&endpoint).await;
    until_subscribed(&site.world, &site.writer, "frozen").await;
    let (accepted, stop) = (Accepted::default(), CancellationToken::new());
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        publishers.spawn(publish(site.writer.clone(), publisher, Arc::clone(&accepted), stop.clone()));
    }
    for round in 0..freezes() * 3 {
        let fault = [Fault::Broker, Fault::Both, Fault::Postgres][round % 3];
        tokio::time::sleep(moment(seed, round)).await;
        site.hang(fault).await;
        let thawed = Instant::now();
        site.goes_on().await;
        println!("round {round}: {fault:?}, went on after {:?}", thawed.elapsed());
    }
    stop.cancel();
    while let Some(ended) = publishers.join_next().await {
        ended.unwrap();
    }
    let accepted = accepted.lock().unwrap().clone();
    let ids = accepted
        .iter()
        .flat_map(|(publisher, count)| (0..*count).map(move |n| format!("{publisher}-{n}")))
        .collect::<BTreeSet<String>>();
    until("every accepted event is in the feed", || async {
        let mut feed = site.feed.lock().await;
        feed.on(&site.reader).await?;
        let read: BTreeSet<&String> = feed.ids.iter().collect();
        let open = ids.iter().filter(|id| !read.contains(id)).count();
        if open == 0 { Ok(()) } else { Err(format!("{open} are not")) }
    })
    .await;
    let ids: Vec<String> = ids.into_iter().collect();
    site.are_delivered(subscription, "frozen", &ids).await;
    let read = std::mem::take(&mut site.feed.lock().await.ids);
    let mut seen = BTreeSet::new();
    let requests = site.world.receiver.events("frozen").into_iter().map(|request| request.event_id());
    let first_attempts: Vec<String> = requests.filter(|id| seen.insert(id.clone())).collect();
    for publisher in 0..PUBLISHERS {
        is_in_order("the feed", &read, publisher);
        is_in_order("the first attempts", &first_attempts, publisher);
    }
    println!("{} accepted, {} delivered", ids.len(), site.world.receiver.events("frozen").len());
    let Site { stack, services, .. } = site;
    drop(services);
    stack.stop().await;
}
