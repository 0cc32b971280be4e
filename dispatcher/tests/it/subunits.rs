use std::cell::Cell;

use event::{Draft, Event, topics};
use kafka_loop::{groups, whole};
use local_altinn::{Mode, Webhook};
use store::NewSubscription;

use crate::harness::{Harness, PATIENCE, RESOURCE, event, wait_until};

const MAIN_UNIT: &str = "/party/51000002";
const SUB_UNIT: &str = "/party/51000003";
const SUB_UNIT_URN: &str = "urn:altinn:organization:identifier-no:312601931";

/// A validated subscription, and where its deliveries go.
async fn subscribe(harness: &Harness, subject: &str, include_subunits: bool) -> Webhook {
    let hook =
        harness.altinn.webhook(&format!("hook-{}-{include_subunits}", subject.replace(['/', ':'], "-")));
    let new = NewSubscription {
        endpoint: hook.url.clone(),
        source_filter: None,
        resource_filter: Some(RESOURCE.to_owned()),
        subject_filter: Some(subject.to_owned()),
        subject_sent: None,
        type_filter: None,
        include_subunits,
        consumer: "/org/ttd".to_owned(),
        created_by: "/org/ttd".to_owned(),
    };
    let (made, _) = harness.store.create_subscription(&new).await.unwrap();
    harness.store.set_validated(made.proof()).await.unwrap();
    hook
}

fn about(id: &str, subject: &str, alternative: &str) -> Event {
    let mut draft = Draft::new();
    for (name, value) in [
        ("specversion", "1.0"),
        ("id", id),
        ("source", "https://ttd.example.com/source"),
        ("type", "test.happened"),
        ("subject", subject),
        ("alternativesubject", alternative),
        ("resource", RESOURCE),
    ] {
        draft.set_text(name, value);
    }
    draft.validate().unwrap()
}

fn about_sub_unit(id: &str) -> Event {
    about(id, SUB_UNIT, "/organisation/312601931")
}

/// The ids of the events that arrived, in order of their text.
fn ids(hook: &Webhook) -> Vec<String> {
    let bodies = hook.requests().into_iter().map(|request| Event::parse(&request.body).unwrap());
    let mut ids: Vec<String> = bodies.map(|event| event.id().to_owned()).collect();
    ids.sort_unstable();
    ids
}

async fn all_done(harness: &Harness) {
    harness.drained(groups::MATCH, topics::EVENTS).await;
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_sub_unit_reaches_those_of_its_main_unit_that_include_sub_units() {
    let mut harness = Harness::prepare(&[]).await;
    let including = subscribe(&harness, MAIN_UNIT, true).await;
    let not_including = subscribe(&harness, MAIN_UNIT, false).await;
    let of_sub_unit = subscribe(&harness, SUB_UNIT, false).await;
    let of_sub_unit_including = subscribe(&harness, SUB_UNIT, true).await;
    harness.run().await;
    harness.publish(&about_sub_unit("one")).await;
    harness.publish_about(SUB_UNIT, &about("two", SUB_UNIT_URN, "")).await;
    harness.publish(&about("three", MAIN_UNIT, "/organisation/311783777")).await;
    all_done(&harness).await;
    assert_eq!(ids(&including), ["one", "three", "two"], "in whatever spelling");
    assert_eq!(ids(&not_including), ["three"]);
    assert_eq!(ids(&of_sub_unit), ["one", "two"]);
    assert_eq!(ids(&of_sub_unit_including), ["one", "two"]);
    // The main unit of two parties, and the party that "two" names by its number.
    assert_eq!(harness.altinn.register().requests(), 3, "each once");
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_register_is_silent_only_the_subscriptions_of_main_units_wait() {
    let mut harness = Harness::prepare(&[("RETRY_DELAY_DIVISOR", "50")]).await;
    let main_unit = subscribe(&harness, MAIN_UNIT, true).await;
    let sub_unit = subscribe(&harness, SUB_UNIT, false).await;
    let person = subscribe(&harness, "/party/50001337", false).await;
    harness.altinn.register().set(Mode::Fail(500));
    harness.run().await;
    harness.publish(&about_sub_unit("one")).await;
    sub_unit.wait_for(1, PATIENCE).await.unwrap();
    harness.publish(&event("two")).await;
    person.wait_for(1, PATIENCE).await.unwrap();
    harness.drained(groups::MATCH, topics::EVENTS).await;
    let asked = harness.altinn.register().requests();
    wait_until("Register is asked again", || harness.altinn.register().requests() > asked + 1).await;
    assert_eq!(main_unit.count(), 0);
    harness.altinn.register().set(Mode::Answer);
    main_unit.wait_for(1, PATIENCE).await.unwrap();
    all_done(&harness).await;
    assert_eq!([&main_unit, &sub_unit, &person].map(Webhook::count), [1, 1, 1]);
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_waits_for_register_survives_the_dispatcher() {
    let mut harness = Harness::prepare(&[("RETRY_DELAY_DIVISOR", "50")]).await;
    let main_unit = subscribe(&harness, MAIN_UNIT, true).await;
    harness.altinn.register().set(Mode::Hang);
    harness.run().await;
    harness.publish(&about_sub_unit("one")).await;
    wait_until("Register was asked", || harness.altinn.register().requests() > 0).await;
    harness.life.shutdown().await.unwrap();
    assert_eq!(main_unit.count(), 0);
    harness.altinn.register().set(Mode::Answer);
    harness.run().await;
    main_unit.wait_for(1, PATIENCE).await.unwrap();
    all_done(&harness).await;
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn register_is_not_asked_when_no_subscription_includes_sub_units() {
    let mut harness = Harness::prepare(&[]).await;
    let main_unit = subscribe(&harness, MAIN_UNIT, false).await;
    let sub_unit = subscribe(&harness, SUB_UNIT, false).await;
    harness.run().await;
    harness.publish(&about_sub_unit("one")).await;
    sub_unit.wait_for(1, PATIENCE).await.unwrap();
    all_done(&harness).await;
    assert_eq!((main_unit.count(), harness.altinn.register().requests()), (0, 0));
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_unit_is_found_by_the_subject_and_never_by_the_alternative_subject() {
    let mut harness = Harness::prepare(&[]).await;
    let main_unit = subscribe(&harness, "/party/50000003", true).await;
    harness.run().await;
    // 314000110 is a sub-unit of 50000003, and not the party that the event is about.
    harness.publish(&about("one", "/party/50000002", "/organisation/314000110")).await;
    harness.publish(&about("two", "/party/50000004", "/org/testorg")).await;
    harness.publish(&about("three", "/party/50000004", "")).await;
    main_unit.wait_for(1, PATIENCE).await.unwrap();
    all_done(&harness).await;
    assert_eq!(ids(&main_unit), ["two"]);
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_register_stops_matching_for_nobody_else() {
    // More events wait than the match loop may have in hand, and than may wait for Register.
    const EVENTS: u64 = 1_500;
    // 512, and what one batch may add.
    const HELD_MAX: f64 = 562.0;
    let settings = [("RETRY_DELAY_DIVISOR", "50"), ("MATCH_BUDGET_RECORDS", "1000"), ("MATCH_BATCH", "50")];
    let mut harness = Harness::prepare(&settings).await;
    let main_unit = subscribe(&harness, MAIN_UNIT, true).await;
    let person = subscribe(&harness, "/party/50001337", false).await;
    harness.altinn.register().set(Mode::Hang);
    harness.run().await;
    for n in 0..EVENTS {
        harness.publish(&about_sub_unit(&n.to_string())).await;
    }
    for id in ["a", "b", "c"] {
        harness.publish(&event(id)).await;
    }
    let most_held = Cell::new(0.0_f64);
    wait_until("what is about others arrives", || {
        most_held.set(harness.metric("dispatcher_main_units_awaited").max(most_held.get()));
        person.count() >= 3
    })
    .await;
    assert!(most_held.get() <= HELD_MAX, "{} events wait for Register at once", most_held.get());
    harness.drained(groups::MATCH, topics::EVENTS).await;
    assert_eq!(main_unit.count(), 0);
    harness.altinn.register().set(Mode::Answer);
    wait_until("all have reached the main unit", || main_unit.count() >= EVENTS).await;
    all_done(&harness).await;
    let mut expected: Vec<String> = (0..EVENTS).map(|n| n.to_string()).collect();
    expected.sort_unstable();
    assert_eq!(ids(&main_unit), expected, "each once");
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_main_unit_stays_unknown_for_three_days_is_parked_as_a_match() {
    // Three days are a quarter of a second.
    let mut harness = Harness::prepare(&[("RETRY_DELAY_DIVISOR", "1000000")]).await;
    let main_unit = subscribe(&harness, MAIN_UNIT, true).await;
    harness.altinn.register().set(Mode::Hang);
    harness.run().await;
    let published = about_sub_unit("one");
    harness.publish(&published).await;
    harness.drained(groups::MATCH, topics::EVENTS).await;
    harness.drained(groups::PUSH, topics::DUE).await;
    let parked = whole::read(&harness.kafka, topics::REJECTED).await.unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].value.as_deref(), Some(published.json().as_bytes()));
    assert_eq!(parked[0].key, published.kafka_key().as_bytes());
    let header = |name: &str| String::from_utf8(parked[0].header(name).unwrap_or_default().to_vec()).unwrap();
    assert_eq!(["reason", "kind", "unit"].map(header), ["unit-unknown", "match", SUB_UNIT]);
    assert_eq!(main_unit.count(), 0);
    harness.life.shutdown().await.unwrap();
}
