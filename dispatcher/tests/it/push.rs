use event::{
    AttemptOutcome, DeliveryHeaders, DeliveryId, DeliveryKind, Micros, Subscription, SubscriptionId, topics,
};
use kafka_loop::groups;
use local_altinn::Reply;

use crate::harness::{Harness, PATIENCE, event, wait_until};

fn headers(subscription: &Subscription, kind: DeliveryKind) -> DeliveryHeaders {
    DeliveryHeaders {
        subscription: subscription.id,
        position: subscription.position,
        mark: Some(subscription.mark),
        endpoint_revision: None,
        delivery: DeliveryId::of(subscription.id, event("one").identity()),
        attempt: 0,
        put_backs: 0,
        created: Micros::now(),
        first_failure: None,
        last_outcome: None,
        kind,
        traceparent: None,
        reason: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_that_is_behind_with_its_subscriptions_neither_drops_nor_misdirects() {
    let harness = Harness::start(&[("SUBSCRIPTIONS_POLL_MS", "3000")]).await;
    let hook = harness.altinn.webhook("hook");
    let known = harness.subscribe(&hook.url).await;
    // The view knows nothing of it yet, and is behind this position.
    harness.deliver(&headers(&known, DeliveryKind::Event), event("one").json().as_bytes()).await;
    let received = hook.wait_for(1, PATIENCE).await.unwrap();
    let id = DeliveryId::of(known.id, event("one").identity()).to_string();
    assert_eq!(received[0].header("webhook-id"), Some(id.as_str()));
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_is_gone_gets_nothing_and_the_log_says_so() {
    let mut harness = Harness::prepare(&[]).await;
    let hook = harness.altinn.webhook("hook");
    let gone = harness.subscribe(&hook.url).await;
    harness.store.delete_subscription(gone.id).await.unwrap();
    harness.run().await;
    let attempts = harness.reader(topics::ATTEMPTS);
    harness.deliver(&headers(&gone, DeliveryKind::Event), event("one").json().as_bytes()).await;
    attempts.wait_for(1).await;
    let attempt = attempts.attempts().remove(0);
    assert_eq!(
        (attempt.outcome, attempt.detail.as_deref()),
        (AttemptOutcome::Dropped, Some("subscription-gone"))
    );
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
    assert_eq!(hook.count(), 0);
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_names_no_event_that_its_subscriber_may_not_receive() {
    let mut harness = Harness::prepare(&[]).await;
    let hook = harness.altinn.webhook("hook");
    let refused = harness.subscribe(&hook.url).await;
    harness.altinn.pdp().revoke_all();
    harness.run().await;
    let attempts = harness.reader(topics::ATTEMPTS);
    harness.deliver(&headers(&refused, DeliveryKind::Event), event("secret").json().as_bytes()).await;
    attempts.wait_for(1).await;
    let record = attempts.records().remove(0);
    let text = String::from_utf8(record.value.unwrap()).unwrap();
    assert!(text.contains("not-permitted"), "{text}");
    for told in ["secret", "ttd.example.com", "test.happened", "50001337", "eventId"] {
        assert!(!text.contains(told), "{told} stands in {text}");
    }
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
    assert_eq!(hook.count(), 0);
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validation_goes_to_a_subscription_that_is_not_validated() {
    let harness = Harness::start(&[]).await;
    let hook = harness.altinn.webhook("hook");
    let new = harness.create("/org/ttd", &hook.url).await;
    let attempts = harness.reader(topics::ATTEMPTS);
    let body = br#"{"specversion":"1.0","id":"v1","source":"https://x/subscriptions/1","type":"platform.events.validatesubscription"}"#;
    harness.deliver(&headers(&new, DeliveryKind::Validation), body).await;
    let received = hook.wait_for(1, PATIENCE).await.unwrap();
    assert_eq!(received[0].body, &body[..]);
    attempts.wait_for(1).await;
    let attempt = attempts.attempts().remove(0);
    assert_eq!((attempt.outcome, attempt.kind), (AttemptOutcome::Delivered, DeliveryKind::Validation));
    assert_eq!((attempt.event_id.as_str(), attempt.status), ("v1", Some(200)));
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_no_deliveries_are_parked_with_the_reason() {
    let harness = Harness::start(&[]).await;
    let dead = harness.reader(topics::DEAD);
    let hook = harness.altinn.webhook("hook");
    let known = harness.subscribe(&hook.url).await;
    harness.deliver(&headers(&known, DeliveryKind::Event), b"garbage").await;
    let no_headers = kafka_loop::Outgoing {
        topic: topics::DELIVERIES,
        partition: None,
        key: b"key",
        value: b"value",
        headers: &[],
    };
    harness.producer.send(no_headers).await.unwrap();
    dead.wait_for(2).await;
    for record in dead.records() {
        assert!(record.header("reason").is_some_and(|reason| reason.starts_with(b"unreadable")));
    }
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_endpoint_holds_nobody_else() {
    let mut harness = Harness::prepare(&[("PUSH_IN_FLIGHT", "8"), ("PUSH_SLOW_AFTER_MS", "200")]).await;
    let (hangs, well) = (harness.altinn.webhook("hangs"), harness.altinn.webhook("well"));
    hangs.always(Reply::hang());
    harness.subscribe(&hangs.url).await;
    harness.subscribe(&well.url).await;
    harness.run().await;
    for number in 0..300 {
        harness.publish(&event(&format!("event{number}"))).await;
    }
    well.wait_for(300, PATIENCE).await.unwrap();
    assert!(hangs.count() <= 32, "{} at once", hangs.count());
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_dispatchers_and_one_that_leaves_lose_nothing() {
    let mut harness = Harness::prepare(&[]).await;
    let hook = harness.altinn.webhook("hook");
    hook.always(Reply::status(200).after(std::time::Duration::from_millis(5)));
    harness.subscribe(&hook.url).await;
    harness.run().await;
    let second = harness.another().await;
    for number in 0..400 {
        harness.publish(&event(&format!("event{number}"))).await;
        if number == 200 {
            second.shutdown().await.unwrap();
        }
    }
    let ids = || -> std::collections::BTreeSet<String> {
        hook.requests().iter().map(|request| request.json()["id"].as_str().unwrap().to_owned()).collect()
    };
    wait_until("every event arrived", || ids().len() == 400).await;
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_comes_twice_starts_one_chain() {
    let mut harness = Harness::prepare(&[]).await;
    let hook = harness.altinn.webhook("hook");
    let known = harness.subscribe(&hook.url).await;
    harness.run().await;
    for _ in 0..3 {
        harness.deliver(&headers(&known, DeliveryKind::Event), event("one").json().as_bytes()).await;
    }
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
    assert_eq!(hook.count(), 1);
    let unknown = Subscription { id: SubscriptionId(known.id.0 + 1_000), ..known };
    harness.deliver(&headers(&unknown, DeliveryKind::Event), event("one").json().as_bytes()).await;
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
    assert_eq!(hook.count(), 1);
    harness.life.shutdown().await.unwrap();
}
