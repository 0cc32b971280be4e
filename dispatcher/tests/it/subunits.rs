use event::{Draft, Event, topics};
use kafka_loop::{admin, groups};
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
    let ids = |hook: &Webhook| {
        let bodies = hook.requests().into_iter().map(|request| Event::parse(&request.body).unwrap());
        let mut ids: Vec<String> = bodies.map(|event| event.id().to_owned()).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(&including), ["one", "three", "two"], "in whatever spelling");
    assert_eq!(ids(&not_including), ["three"]);
    assert_eq!(ids(&of_sub_unit), ["one", "two"]);
    assert_eq!(ids(&of_sub_unit_including), ["one", "two"]);
    assert_eq!(harness.altinn.register().requests(), 2, "each organisation once");
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_register_is_silent_only_the_subscriptions_of_main_units_wait() {
    let mut harness = Harness::prepare(&[]).await;
    let main_unit = subscribe(&harness, MAIN_UNIT, true).await;
    let sub_unit = subscribe(&harness, SUB_UNIT, false).await;
    let person = subscribe(&harness, "/party/50001337", false).await;
    harness.altinn.register().set(Mode::Fail(500));
    harness.run().await;
    harness.publish(&about_sub_unit("one")).await;
    sub_unit.wait_for(1, PATIENCE).await.unwrap();
    harness.publish(&event("two")).await;
    person.wait_for(1, PATIENCE).await.unwrap();
    wait_until("Register was asked again", || harness.altinn.register().requests() > 1).await;
    assert_eq!(main_unit.count(), 0);
    assert!(admin::lag(&harness.kafka, groups::MATCH, topics::EVENTS).await.unwrap() > 0);
    harness.altinn.register().set(Mode::Answer);
    main_unit.wait_for(1, PATIENCE).await.unwrap();
    all_done(&harness).await;
    assert_eq!([&main_unit, &sub_unit, &person].map(Webhook::count), [1, 1, 1]);
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_waits_for_register_survives_the_dispatcher() {
    let mut harness = Harness::prepare(&[]).await;
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
