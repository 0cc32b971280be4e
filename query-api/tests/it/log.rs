//! The delivery log.

use event::{AttemptOutcome, AttemptRecord, DeliveryKind, Event, Micros, SubscriptionId, topics};
use http::StatusCode;
use local_altinn::Mode;
use serde_json::Value;
use store::{Advance, AttemptRow, NewSubscription};

use crate::world::{APP, RESOURCE, World, generic, of_app};

const OWN: i64 = 50_001_337;
const ANOTHER: i64 = 50_001_338;

async fn subscription(world: &World, consumer: &str) -> SubscriptionId {
    let new = NewSubscription {
        endpoint: "https://hooks.example.no/a".to_owned(),
        source_filter: None,
        resource_filter: Some(APP.to_owned()),
        subject_filter: None,
        subject_sent: None,
        type_filter: None,
        include_subunits: false,
        consumer: consumer.to_owned(),
        created_by: consumer.to_owned(),
    };
    world.store.create_subscription(&new).await.unwrap().0.id
}

fn attempt(subscription: SubscriptionId, kind: DeliveryKind, event: &Event) -> AttemptRecord {
    AttemptRecord {
        delivery: "00".to_owned(),
        subscription: subscription.0,
        mark: None,
        endpoint_revision: None,
        kind,
        event_id: event.id().to_owned(),
        event_source: event.source().to_owned(),
        event_type: event.event_type().to_owned(),
        resource: event.resource().to_owned(),
        attempt: 1,
        outcome: AttemptOutcome::Failed,
        status: Some(500),
        duration_ms: 1,
        at: "2026-05-01T00:00:00Z".to_owned(),
        next_due: None,
        detail: None,
    }
}

/// Stores attempts as the projector does; the newest is the last.
async fn log(world: &World, attempts: &[AttemptRecord]) {
    world.store.start_positions(topics::ATTEMPTS, &[(0, 0)]).await.unwrap();
    let rows: Vec<AttemptRow> = (0..)
        .zip(attempts)
        .map(|(kafka_offset, attempt)| AttemptRow {
            at: Micros::parse_rfc3339(&attempt.at).unwrap(),
            subscription: SubscriptionId(attempt.subscription),
            mark: attempt.subscription_mark(),
            kafka_partition: 0,
            kafka_offset,
            record: serde_json::to_string(attempt).unwrap(),
        })
        .collect();
    let step = Advance { partition: 0, expected: 0, next: i64::try_from(rows.len()).unwrap() };
    world.store.write_attempts(topics::ATTEMPTS, &rows, &[step]).await.unwrap();
}

/// The id of the event of each attempt, the oldest first.
async fn shown(world: &World, token: &str, subscription: SubscriptionId) -> Vec<Value> {
    let path = format!("/events/api/v1/subscriptions/{subscription}/attempts");
    let answer = world.get(token, &path).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let attempts = answer.json()["attempts"].as_array().unwrap().clone();
    for attempt in &attempts {
        let told = ["eventId", "eventSource", "eventType"].map(|name| attempt.get(name).is_some());
        assert!(told == [true; 3] || told == [false; 3], "{attempt}");
        assert_eq!((&attempt["status"], &attempt["outcome"]), (&500.into(), &"failed".into()));
    }
    attempts.iter().rev().map(|attempt| attempt["eventId"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_of_an_event_only_to_those_who_may_read_it() {
    let world = World::new(&[]).await;
    let of_party = |id: &str, party: i64| of_app(id, party, "app.instance.created", "2026-05-01T00:00:00Z");
    let (own, another, not_stored) =
        (of_party("own", OWN), of_party("another", ANOTHER), of_party("not-stored", OWN));
    let of_resource = generic(RESOURCE, "of-resource", OWN);
    world.put([own.clone(), another.clone(), of_resource.clone()]).await;
    let mine = subscription(&world, "/user/1337").await;
    let event = |event: &Event| attempt(mine, DeliveryKind::Event, event);
    let validation = attempt(mine, DeliveryKind::Validation, &generic(RESOURCE, "validation", 1));
    log(
        &world,
        &[event(&own), event(&another), event(&not_stored), event(&of_resource), validation, event(&own)],
    )
    .await;
    let (told, hidden) = (Value::from("own"), Value::Null);
    let expected =
        [told.clone(), hidden.clone(), hidden.clone(), hidden.clone(), "validation".into(), told.clone()];
    assert_eq!(shown(&world, &world.person(), mine).await, expected);
    world.altinn.pdp().revoke_all();
    let stranger = world.altinn.personal_token(1_337, 1, &[]);
    let expected = [&hidden, &hidden, &hidden, &hidden, &"validation".into(), &hidden].map(Value::clone);
    assert_eq!(shown(&world, &stranger, mine).await, expected, "rights are those of now, of this token");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_say_is_not_told() {
    let world = World::new(&[]).await;
    let event = generic(RESOURCE, "e", OWN);
    world.put([event.clone()]).await;
    let of_ttd = subscription(&world, "/org/ttd").await;
    log(&world, &[attempt(of_ttd, DeliveryKind::Event, &event)]).await;
    world.altinn.pdp().set(Mode::Fail(500));
    assert_eq!(shown(&world, &world.ttd(), of_ttd).await, [Value::Null]);
    let no_scope = world.altinn.enterprise_token(Some("ttd"), "991825827", &[]);
    world.altinn.pdp().set(Mode::Answer);
    assert_eq!(shown(&world, &no_scope, of_ttd).await, [Value::Null], "the generic feed takes a scope");
    let until = std::time::Instant::now() + crate::world::PATIENCE;
    while shown(&world, &world.ttd(), of_ttd).await != [Value::from("e")] {
        assert!(std::time::Instant::now() < until, "a neighbour that answers again is asked again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_deleted_subscription_stays_with_its_owner() {
    let world = World::new(&[]).await;
    let gone = subscription(&world, "/org/ttd").await;
    let validation = attempt(gone, DeliveryKind::Validation, &generic(RESOURCE, "validation", 1));
    log(&world, &[validation]).await;
    world.store.delete_subscription(gone).await.unwrap();
    let aged = async |days: u32| {
        let aged = format!("update subscription set deleted = now() - interval '{days} days'");
        world.store.execute_for_test(aged).await.unwrap();
        world.store.purge_tombstones().await.unwrap()
    };
    assert_eq!(aged(99).await, 0, "it tells whose the log is");
    assert_eq!(shown(&world, &world.ttd(), gone).await, [Value::from("validation")]);
    let path = format!("/events/api/v1/subscriptions/{gone}/attempts");
    assert_eq!(world.get(&world.person(), &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(aged(101).await, 1);
    assert_eq!(world.get(&world.ttd(), &path).await.status, StatusCode::NOT_FOUND);
}
