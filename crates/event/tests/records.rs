//! `schemas/records.md` names the headers and members that the code writes, all of them, in their order.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails at the line that is wrong")]

use event::{
    AttemptOutcome, AttemptRecord, DeliveryHeaders, DeliveryId, DeliveryKind, EventIdentity, MatchHeaders,
    Micros, SubscriptionId, SubscriptionMark,
};

/// The names in the first column of the table under a heading that starts like this.
fn table(heading: &str) -> Vec<String> {
    let text = include_str!("../../../schemas/records.md");
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn the_headers_of_a_delivery_are_those_of_the_document() {
    let subscription = SubscriptionId(1);
    let headers = DeliveryHeaders {
        subscription,
        position: 1,
        mark: Some(SubscriptionMark(1)),
        endpoint_revision: Some(1),
        delivery: DeliveryId::of(subscription, EventIdentity(1)),
        attempt: 1,
        put_backs: 1,
        created: Micros(1),
        first_failure: Some(Micros(1)),
        last_outcome: Some("x".into()),
        kind: DeliveryKind::Event,
        traceparent: Some("x".into()),
        reason: Some("x".into()),
    };
    let pairs = headers.to_pairs();
    let written: Vec<&str> = pairs.iter().map(|(name, _)| *name).collect();
    assert_eq!(table("deliveries, "), written);
    let read = DeliveryHeaders::from_pairs(pairs.iter().map(|(name, value)| (*name, value.as_bytes())));
    assert_eq!(read, Ok(headers));
}

#[test]
fn the_headers_of_an_event_that_waits_to_be_matched_are_those_of_the_document() {
    let headers = MatchHeaders {
        unit: "/party/1".into(),
        created: Micros(1),
        subject: Some("/party/1".into()),
        traceparent: Some("x".into()),
    };
    let written: Vec<&str> = headers.to_pairs().iter().map(|(name, _)| *name).collect();
    assert_eq!(table("Records of kind `match`"), written);
}

#[test]
fn the_members_of_an_attempt_are_those_of_the_document() {
    let record = AttemptRecord {
        delivery: "x".into(),
        subscription: 1,
        mark: Some("x".into()),
        endpoint_revision: Some(1),
        kind: DeliveryKind::Event,
        event_id: "x".into(),
        event_source: "x".into(),
        event_type: "x".into(),
        resource: "x".into(),
        attempt: 1,
        outcome: AttemptOutcome::PutBack,
        status: Some(200),
        duration_ms: 1,
        at: "x".into(),
        next_due: Some("x".into()),
        detail: Some("x".into()),
    };
    let json = serde_json::to_string(&record).unwrap();
    let places: Vec<usize> =
        table("delivery-attempts").iter().map(|name| json.find(&format!("\"{name}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(members.len(), places.len());
    assert_eq!(serde_json::from_str::<AttemptRecord>(&json).unwrap(), record);
    for outcome in ["delivered", "failed", "skipped", "put-back", "dropped", "dead"] {
        let read: AttemptOutcome = serde_json::from_value(outcome.into()).unwrap();
        assert_eq!(read.name(), outcome);
        assert!(include_str!("../../../schemas/records.md").contains(&format!("`{outcome}`")), "{outcome}");
    }
}
