//! The retry ladder from outside: twelve attempts, then the dead letters.

use std::time::Duration;

use event::topics::{DEAD, MAX_ATTEMPTS, TIERS, ladder};
use kafka_loop::whole;
use platform_tests::{
    client::{Client, generic},
    receiver::{Received, Script},
    wait::until,
    world::{ALL, RESOURCE, World},
};
use serde_json::{Value, json};

use crate::probe;

/// The whole ladder, 34 h 46 min, in about six seconds.
const DIVISOR: u32 = 20_000;
/// The broker's append time has whole milliseconds.
const GRAIN: Duration = Duration::from_millis(2);

async fn world(name: &str) -> World {
    let mut world = World::new(name).await;
    world.set("RETRY_DELAY_DIVISOR", &DIVISOR.to_string());
    // A circuit that opens turns attempts into skipped ones; that is another test.
    world.set("CIRCUIT_FAILURES", "1000");
    world
}

async fn subscribe(world: &World, client: &Client, endpoint: &str) -> i64 {
    let body = json!({
        "endPoint": world.receiver.url(endpoint), "resourceFilter": RESOURCE, "subjectFilter": "/ladder",
    });
    let id = client.subscribe_with(&body).await;
    client.validated(id).await;
    id
}

fn failing(times: usize, usual: u16) -> Script {
    Script { next: vec![500; times].into(), usual, ..Script::default() }
}

/// The log of a subscription once it has all twelve attempts.
async fn whole_log(client: &Client, subscription: i64) -> Vec<Value> {
    until("the log has twelve attempts", || async {
        let attempts = probe::attempts(client, subscription).await;
        if attempts.len() == usize::from(MAX_ATTEMPTS) {
            Ok(attempts)
        } else {
            Err(format!("{} are there", attempts.len()))
        }
    })
    .await
}

async fn dead_letters(client: &Client, subscription: i64) -> Vec<Value> {
    let answer = client.get(&format!("/events/api/v1/subscriptions/{subscription}/attempts")).send().await;
    let body: Value = answer.unwrap().json().await.unwrap();
    body["deadLetters"].as_array().unwrap().clone()
}

fn assert_delays(received: &[Received]) {
    for (step, pair) in received.windows(2).enumerate() {
        let waited = pair[1].at.duration_since(pair[0].at) + GRAIN;
        let delay = TIERS[ladder()[step]].1 / DIVISOR;
        assert!(waited >= delay, "attempt {} came {waited:?} after the one before, not {delay:?}", step + 2);
    }
}

/// All attempts have one id, which the log calls the delivery.
fn assert_one_delivery(received: &[Received], log: &[Value]) {
    for request in received {
        assert_eq!(request.headers["webhook-id"], received[0].headers["webhook-id"]);
        assert_eq!(request.body, received[0].body);
    }
    for attempt in log {
        assert_eq!(attempt["delivery"], received[0].headers["webhook-id"].to_str().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_attempts_with_the_ladders_delays_then_delivered_or_a_dead_letter() {
    let world = world("ladder").await;
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    world.receiver.script("recovers", failing(11, 200));
    world.receiver.script("stays-away", failing(0, 503));
    let recovers = subscribe(&world, &client, "recovers").await;
    let stays_away = subscribe(&world, &client, "stays-away").await;
    probe::changes_are_in_force(&world, &client).await;
    assert_eq!(client.publish(&generic("climber", "/ladder")).await.unwrap(), 200);

    let log = whole_log(&client, recovers).await;
    let received = world.receiver.events("recovers");
    assert_eq!(received.len(), 12);
    assert_delays(&received);
    assert_one_delivery(&received, &log);
    for (index, attempt) in log.iter().enumerate() {
        let last = index == 11;
        assert_eq!(attempt["attempt"], index + 1);
        assert_eq!(attempt["outcome"], if last { "delivered" } else { "failed" }, "{attempt}");
        assert_eq!(attempt["status"], if last { 200 } else { 500 });
        assert_eq!(attempt["eventId"], "climber");
        assert_eq!(attempt.get("nextDue").is_some(), !last, "{attempt}");
    }
    assert!(dead_letters(&client, recovers).await.is_empty());

    let log = whole_log(&client, stays_away).await;
    let received = world.receiver.events("stays-away");
    assert_eq!(received.len(), 12);
    assert_delays(&received);
    assert_one_delivery(&received, &log);
    assert_eq!(log[10]["outcome"], "failed");
    assert_eq!((&log[11]["outcome"], &log[11]["status"]), (&json!("dead"), &json!(503)));
    let letter = until("the dead letter is in the log", || async {
        dead_letters(&client, stays_away).await.pop().ok_or_else(|| "none".to_owned())
    })
    .await;
    assert_eq!(letter["delivery"], log[11]["delivery"]);
    assert_eq!(letter["attempts"], 12);
    assert_eq!(letter["reason"], "the last attempt was answered 503");

    let dead = whole::read(&world.kafka(), DEAD).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].value.as_deref(), Some(&received[0].body[..]));
    assert_eq!(dead[0].header("attempt"), Some(&b"12"[..]));
    assert_eq!(dead[0].header("subscription"), Some(stays_away.to_string().as_bytes()));
    assert_eq!(dead[0].header("reason"), Some(&b"the last attempt was answered 503"[..]));
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_for_a_longer_wait_gets_the_next_longer_tier() {
    let world = world("retryafter").await;
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    world.receiver.script("asks", Script { retry_after: Some("1".to_owned()), ..failing(1, 200) });
    let subscription = subscribe(&world, &client, "asks").await;
    probe::changes_are_in_force(&world, &client).await;
    assert_eq!(client.publish(&generic("patient", "/ladder")).await.unwrap(), 200);
    let log = until("the second attempt is in the log", || async {
        let attempts = probe::attempts(&client, subscription).await;
        if attempts.len() == 2 { Ok(attempts) } else { Err(format!("{attempts:?}")) }
    })
    .await;
    assert_eq!((&log[0]["attempt"], &log[0]["outcome"]), (&json!(1), &json!("failed")));
    assert_eq!(
        (&log[1]["attempt"], &log[1]["outcome"]),
        (&json!(2), &json!("delivered")),
        "the number rises by one"
    );
    let received = world.receiver.events("asks");
    let waited = received[1].at.duration_since(received[0].at) + GRAIN;
    // The first tier would be half a millisecond; the shortest one above a second is that of six hours.
    assert!(waited >= TIERS[8].1 / DIVISOR, "{waited:?}");
    platform.stop().await;
}
