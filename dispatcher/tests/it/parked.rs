//! What can never be delivered is parked, and nothing is passed over before it is.

use event::{DeliveryHeaders, DeliveryId, Micros, Subscription, topics, topics::Topics};
use kafka_loop::{Outgoing, admin, groups};

use crate::harness::{Harness, PATIENCE, event, wait_until};

fn headers(subscription: &Subscription) -> DeliveryHeaders {
    DeliveryHeaders::first(
        subscription,
        DeliveryId::of(subscription.id, event("one").identity()),
        Micros::now(),
    )
}

/// Appends the largest delivery that the log takes; its value is no event.
async fn deliver_as_large_as_may_be(harness: &Harness, headers: &DeliveryHeaders) {
    let pairs = headers.to_pairs();
    let headers: Vec<(&str, &[u8])> = pairs.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let value = vec![b'x'; 2_000_000];
    for size in (0..value.len()).rev().step_by(8) {
        let value = &value[..size];
        let out =
            Outgoing { topic: topics::DELIVERIES, partition: None, key: b"key", value, headers: &headers };
        if harness.producer.send(out).await.is_ok() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_is_too_large_for_the_log_is_parked_without_its_value() {
    let harness = Harness::start(&[]).await;
    let dead = harness.reader(topics::DEAD);
    let known = harness.subscribe(&harness.altinn.webhook("hook").url).await;
    let headers = headers(&known);
    deliver_as_large_as_may_be(&harness, &headers).await;
    dead.wait_for(1).await;
    let letter = dead.records().remove(0);
    assert_eq!(letter.value.as_deref(), Some(&b"null"[..]));
    assert_eq!(letter.header("delivery"), Some(headers.delivery.to_string().as_bytes()));
    let reason = letter.header("reason").unwrap();
    assert!(reason.starts_with(b"too large for the log"), "{}", String::from_utf8_lossy(reason));
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
    assert!(harness.metric("dispatcher_too_large_total") > 0.0);
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_to_the_dead_letters_stops_the_offset() {
    let mut harness = Harness::prepare_with(&[], Topics::load().without(topics::DEAD)).await;
    let hook = harness.altinn.webhook("hook");
    let known = harness.subscribe(&hook.url).await;
    harness.run().await;
    harness.deliver(&headers(&known), b"garbage").await;
    let second = DeliveryHeaders { delivery: DeliveryId(2), ..headers(&known) };
    harness.deliver(&second, event("two").json().as_bytes()).await;
    hook.wait_for(1, PATIENCE).await.unwrap();
    wait_until("the append failed", || harness.metric("dispatcher_append_retries_total") > 0.0).await;
    // Both lie in the partition of their key.
    let lag = || admin::lag(&harness.kafka, groups::PUSH, topics::DELIVERIES);
    assert_eq!(lag().await.unwrap(), 2, "the position waits for the dead letter");
    harness.create_topics().await;
    let dead = harness.reader(topics::DEAD);
    dead.wait_for(1).await;
    assert_eq!(dead.records()[0].value.as_deref(), Some(&b"garbage"[..]));
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
    assert_eq!(hook.count(), 1);
    harness.life.shutdown().await.unwrap();
}
