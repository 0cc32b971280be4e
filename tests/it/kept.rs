//! Guarantee 1: accepted means kept. Each service, the broker and Postgres are killed under load, while some endpoints take what they
//! get, and others fail, hang, or are too slow: every event ends at each of its endpoints, or as a dead letter, and the kills repeat
//! no more than was on its way.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use event::topics::{ATTEMPTS, DEAD};
use kafka_loop::{Record, whole};
use local_stack::Stack;
use platform_tests::{
    client::{Client, generic},
    ledger::Ledger,
    process::Process,
    receiver::Script,
    wait::{in_time, until},
    world::{RESOURCE, World},
};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::faults::{own_stack, seed, until_subscribed, whereabouts, whole_feed};

const PUBLISHERS: usize = 16;
const EACH: usize = 400;
/// Deliveries that may wait for one endpoint.
const LANE: usize = 400;
/// Events that come at once, for an endpoint that takes a few a second: more than may wait for it.
const BURST: usize = 600;
/// Sends on their way to endpoints that answer quickly, and to a single one.
const IN_FLIGHT: usize = 16;
const IN_FLIGHT_TO_ONE: usize = 8;
/// What is killed while it has to do with sends: theirs are repeated, and nobody else's.
const BREAK_OFF: [&str; 2] = ["dispatcher", "broker"];
/// The whole ladder, 34 h 46 min, in 31 s; put back for three days is 65 s.
const DIVISOR: &str = "4000";

/// What must become of the events of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Delivered,
    DeliveredOrDead,
    Dead,
}

/// An endpoint and what it gets: events of one type, or all of them.
struct Endpoint {
    name: &'static str,
    of_type: Option<&'static str>,
    script: Script,
    ends: Ends,
}

const HARD: &str = "test.hard";
const HANGS: &str = "test.hangs";
const BURSTS: &str = "test.bursts";

fn endpoints() -> Vec<Endpoint> {
    let usual = |usual| Script { usual, ..Script::default() };
    let takes =
        |seconds, usual| Script { takes: Duration::from_secs_f64(seconds), usual, ..Script::default() };
    let every_other = Script { next: [500, 200].repeat(4 * PUBLISHERS * EACH).into(), ..Script::default() };
    let endpoint = |name, of_type, script, ends| Endpoint { name, of_type, script, ends };
    vec![
        endpoint("kept", None, Script::default(), Ends::Delivered),
        endpoint("sometimes", Some(HARD), every_other, Ends::DeliveredOrDead),
        endpoint("never", Some(HARD), usual(500), Ends::Dead),
        endpoint("gone", Some(HARD), usual(410), Ends::Dead),
        endpoint("hangs", Some(HANGS), takes(3_600.0, 500), Ends::Dead),
        endpoint("slow", Some(BURSTS), takes(0.3, 200), Ends::DeliveredOrDead),
    ]
}

/// A publisher's event: some are for the endpoints that make it hard.
fn event(publisher: usize, n: usize) -> Value {
    let mut event = generic(&format!("{publisher}-{n}"), &format!("/party/{}", publisher * 10 + n % 10));
    match n % 100 {
        50 if n < 200 => event["type"] = HANGS.into(),
        n if n % 20 == 0 => event["type"] = HARD.into(),
        _ => {}
    }
    event
}

/// How far the publishers have come, and how far they may go: so that each fault meets them at work.
struct Progress {
    may: Semaphore,
    accepted: AtomicUsize,
}

/// Publishes until every event is accepted; a publish without an answer is repeated, which is harmless.
async fn publish_all(client: Client, publisher: usize, progress: Arc<Progress>) -> Vec<Value> {
    let events: Vec<Value> = (0..EACH).map(|n| event(publisher, n)).collect();
    for event in &events {
        progress.may.acquire().await.unwrap().forget();
        until("a publish is accepted", || async {
            match client.publish(event).await {
                Some(status) if status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        progress.accepted.fetch_add(1, Ordering::Relaxed);
    }
    events
}

async fn publish_burst(client: &Client) -> Vec<Value> {
    let mut burst: Vec<Value> = (0..BURST).map(|n| generic(&format!("burst-{n}"), "/party/1")).collect();
    burst.iter_mut().for_each(|event| event["type"] = BURSTS.into());
    assert_eq!(client.publish_batch(&burst).await.status(), 200);
    burst
}

/// The order of the faults: a shuffle from the seed.
fn schedule(mut seed: u64) -> Vec<&'static str> {
    let mut faults =
        vec!["ingest", "projector", "dispatcher", "query-api", "broker", "postgres", "dispatcher"];
    for at in (1..faults.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from(seed >> 33).unwrap() % (at + 1);
        faults.swap(at, other);
    }
    faults
}

/// Kills one thing and starts it again.
async fn strike(fault: &str, stack: &Stack, world: &World, services: &mut BTreeMap<&'static str, Process>) {
    match fault {
        "broker" => {
            stack.kill_broker().await.unwrap();
            stack.start_broker().await.unwrap();
        }
        "postgres" => {
            stack.kill_postgres().await.unwrap();
            stack.start_postgres().await.unwrap();
        }
        service => {
            let process = services.get_mut(service).unwrap();
            process.kill();
            process.restart(world);
            process.ready().await;
        }
    }
}

async fn world(stack: &Stack) -> World {
    let mut world = World::on("kept", stack.brokers(), stack.database_url()).await;
    let [in_flight, to_one, lane] = [IN_FLIGHT, IN_FLIGHT_TO_ONE, LANE].map(|bound| bound.to_string());
    for (name, value) in [
        ("KAFKA_MESSAGE_TIMEOUT_MS", "3000"),
        ("RETRY_DELAY_DIVISOR", DIVISOR),
        ("PUSH_IN_FLIGHT", &*in_flight),
        ("PUSH_IN_FLIGHT_PER_ENDPOINT", &*to_one),
        ("PUSH_QUEUE_PER_ENDPOINT", &*lane),
        ("PUSH_SLOW_AFTER_MS", "200"),
        ("PUSH_TIMEOUT_MS", "1500"),
        // An eighth of them is for one host; here all have the same.
        ("PUSH_SLOW_IN_FLIGHT", "128"),
    ] {
        world.set(name, value);
    }
    world
}

/// Subscribes every endpoint; the numbers of the subscriptions.
async fn subscribe(world: &World, reader: &Client, writer: &Client) -> Vec<(Endpoint, i64)> {
    let mut all = Vec::new();
    for endpoint in endpoints() {
        let mut wanted = json!({"endPoint": world.receiver.url(endpoint.name), "resourceFilter": RESOURCE});
        if let Some(of_type) = endpoint.of_type {
            wanted["typeFilter"] = of_type.into();
        }
        let id = reader.subscribe_with(&wanted).await;
        reader.validated(id).await;
        world.receiver.script(endpoint.name, endpoint.script.clone());
        all.push((endpoint, id));
    }
    until_subscribed(world, writer, "kept").await;
    all
}

/// The events of a subscription that are dead letters on the log.
async fn dead_letters(world: &World, subscription: i64) -> BTreeSet<String> {
    let letters = whole::read(&world.kafka(), DEAD).await.unwrap();
    let is_its =
        |letter: &&Record| letter.header("subscription") == Some(subscription.to_string().as_bytes());
    let id = |letter: &Record| -> String {
        let event: Value = serde_json::from_slice(letter.value.as_deref().unwrap()).unwrap();
        event["id"].as_str().unwrap().to_owned()
    };
    letters.iter().filter(is_its).map(id).collect()
}

/// The books of an endpoint, or which of its events are not where they must end.
async fn books(
    world: &World,
    (endpoint, subscription): &(Endpoint, i64),
    published: &BTreeSet<String>,
) -> Result<Ledger, Vec<String>> {
    let delivered = world.receiver.delivered(endpoint.name);
    let dead = dead_letters(world, *subscription).await;
    let is_there = |id: &&String| match endpoint.ends {
        Ends::Delivered => delivered.contains_key(*id),
        Ends::DeliveredOrDead => delivered.contains_key(*id) || dead.contains(*id),
        Ends::Dead => dead.contains(*id),
    };
    let open: Vec<String> = published.iter().filter(|id| !is_there(id)).cloned().collect();
    if open.is_empty() {
        Ok(Ledger { published: published.clone(), delivered, dead, ..Ledger::default() })
    } else {
        Err(open)
    }
}

/// Waits until the owner of each subscription sees its dead letters.
async fn dead_letters_are_shown(world: &World, subscription: i64, count: usize) {
    let store = world.store();
    let shown =
        format!("select count(distinct delivery) from dead_letter where subscription = {subscription}");
    until("the dead letters are shown", || async {
        let shown = store.numbers_for_test(shown.clone()).await.unwrap();
        if shown == [i64::try_from(count).unwrap()] { Ok(()) } else { Err(format!("{shown:?} of {count}")) }
    })
    .await;
}

/// The outcomes that the log of attempts tells of, each with how often.
async fn outcomes(world: &World) -> BTreeMap<String, usize> {
    let mut outcomes = BTreeMap::new();
    for attempt in whole::read(&world.kafka(), ATTEMPTS).await.unwrap() {
        let attempt: Value = serde_json::from_slice(attempt.value.as_deref().unwrap()).unwrap();
        *outcomes.entry(attempt["outcome"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    outcomes
}

/// How many events came again that an endpoint had taken before each of these moments, and after the one before it.
fn repeats(world: &World, faults: &[(&str, Instant)]) -> Vec<BTreeMap<&'static str, usize>> {
    let mut repeats = vec![BTreeMap::new(); faults.len() + 1];
    for endpoint in endpoints() {
        let mut last = HashMap::new();
        let taken =
            world.receiver.events(endpoint.name).into_iter().filter(|request| request.answered == 200);
        for request in taken {
            if let Some(before) = last.insert(request.event_id(), request.at) {
                let fault = faults.partition_point(|(_, at)| *at < before);
                *repeats[fault].entry(endpoint.name).or_default() += 1;
            }
        }
    }
    repeats
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_means_kept() {
    let seed = seed();
    let faults = schedule(seed);
    println!("FAULT_SEED={seed}: {faults:?}");
    let stack = own_stack().await;
    let world = world(&stack).await;
    let mut services = BTreeMap::new();
    for service in ["query-api", "projector", "dispatcher", "ingest"] {
        services.insert(service, Process::start(&world, service).await);
    }
    let reader = world.client(services["query-api"].public);
    let writer = world.client(services["ingest"].public);
    let subscribed = subscribe(&world, &reader, &writer).await;
    let mut published = publish_burst(&writer).await;
    let step = PUBLISHERS * EACH / (faults.len() + 1);
    let progress = Arc::new(Progress { may: Semaphore::new(2 * step), accepted: AtomicUsize::new(0) });
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        publishers.spawn(publish_all(writer.clone(), publisher, Arc::clone(&progress)));
    }
    let mut struck = Vec::new();
    for (number, fault) in faults.iter().enumerate() {
        until("the next fault's turn", || async {
            let count = progress.accepted.load(Ordering::Relaxed);
            if count >= step * (number + 1) { Ok(()) } else { Err(format!("{count} accepted")) }
        })
        .await;
        let count = progress.accepted.load(Ordering::Relaxed);
        println!("kill -9 {fault} after {count} events");
        struck.push((*fault, Instant::now()));
        strike(fault, &stack, &world, &mut services).await;
        progress.may.add_permits(step);
    }
    progress.may.add_permits(PUBLISHERS * EACH);
    while let Some(events) = publishers.join_next().await {
        published.extend(events.unwrap());
    }
    all_is_kept(&world, &reader, &subscribed, &published).await;
    for process in services.values_mut() {
        assert!(process.ended().is_none(), "a service died by itself: {}", process.log());
    }
    // A slow endpoint's sends move out of the quick ones.
    let repeats = repeats(&world, &struck);
    for (number, repeats) in repeats.iter().enumerate() {
        println!("repeated by {}: {repeats:?}", faults.get(number).unwrap_or(&"nothing"));
    }
    let repeated = repeats.iter().flat_map(BTreeMap::values).sum::<usize>();
    let broken_off = faults.iter().filter(|fault| BREAK_OFF.contains(fault)).count();
    let most = broken_off * (IN_FLIGHT + IN_FLIGHT_TO_ONE);
    assert!(repeated <= most, "{repeated} repeated by {broken_off} kills");
    drop(services);
    stack.stop().await;
}

/// Every event is in the feed once, and where it must end at each of its endpoints.
async fn all_is_kept(world: &World, reader: &Client, subscribed: &[(Endpoint, i64)], published: &[Value]) {
    assert_eq!(published.len(), PUBLISHERS * EACH + BURST);
    let id_of = |event: &Value| event["id"].as_str().unwrap().to_owned();
    let all: BTreeSet<String> = published.iter().map(id_of).collect();
    until("every accepted event is in the feed", || async {
        let feed = whole_feed(reader).await;
        let open = all.iter().filter(|id| !feed.contains_key(*id)).count();
        if open == 0 { Ok(()) } else { Err(format!("{open} are not")) }
    })
    .await;
    let in_feed = whole_feed(reader).await;
    for subscribed @ (endpoint, subscription) in subscribed {
        let is_its = |event: &&Value| endpoint.of_type.is_none_or(|of_type| event["type"] == of_type);
        let ids: BTreeSet<String> = published.iter().filter(is_its).map(id_of).collect();
        let waited = in_time(|| async {
            let found = books(world, subscribed, &ids).await;
            if found.is_err() {
                // The whole topic is read: not all the time.
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            found.map_err(|open| open.len().to_string())
        })
        .await;
        let Ok(ledger) = waited else {
            let open = books(world, subscribed, &ids).await.err().unwrap_or_default();
            let open: Vec<&String> = open.iter().collect();
            panic!("{}: {}", endpoint.name, whereabouts(world, reader, *subscription, &open).await);
        };
        println!("{}: {} of {} delivered", endpoint.name, ledger.delivered.len(), ids.len());
        dead_letters_are_shown(world, *subscription, ledger.dead.len()).await;
        Ledger { in_feed: in_feed.clone(), ..ledger }.must_close();
    }
    let outcomes = outcomes(world).await;
    println!("{outcomes:?}");
    for outcome in ["delivered", "failed", "skipped", "put-back", "dead"] {
        assert!(outcomes.get(outcome).is_some_and(|count| *count > 0), "no {outcome} in {outcomes:?}");
    }
}
