//! The delivery log says what was settled, also where a process died before its commit said so. A process that is cut off is left
//! here in each state in which a kill between two appends leaves it.

use event::{
    AttemptOutcome, AttemptRecord, DeliveryHeaders, DeliveryId, Micros, Subscription, topics, topics::Topics,
};
use kafka_loop::{Outgoing, groups, whole};
use local_altinn::{Reply, Webhook};

use crate::harness::{Harness, PATIENCE, event, wait_until};

fn headers(subscription: &Subscription, number: u128) -> DeliveryHeaders {
    DeliveryHeaders::first(subscription, DeliveryId(number), Micros::now())
}

/// Appends what a dispatcher told about the first attempt at a delivery before it died.
async fn tell(harness: &Harness, headers: &DeliveryHeaders, outcome: AttemptOutcome) {
    let record = AttemptRecord {
        delivery: headers.delivery.to_string(),
        subscription: headers.subscription.0,
        mark: None,
        endpoint_revision: None,
        kind: headers.kind,
        event_id: String::new(),
        event_source: String::new(),
        event_type: String::new(),
        resource: String::new(),
        attempt: 1,
        outcome,
        status: None,
        duration_ms: 1,
        at: Micros::now().to_rfc3339(),
        next_due: None,
        detail: None,
    };
    let (key, value) = (headers.subscription.to_string(), serde_json::to_vec(&record).unwrap());
    let out = Outgoing {
        topic: topics::ATTEMPTS,
        partition: None,
        key: key.as_bytes(),
        value: &value,
        headers: &[],
    };
    harness.producer.send(out).await.unwrap();
}

async fn deliver(harness: &Harness, headers: &DeliveryHeaders) {
    let id = format!("event{}", headers.delivery.0);
    harness.deliver(headers, event(&id).json().as_bytes()).await;
}

/// The deliveries that came.
fn came(hook: &Webhook) -> Vec<DeliveryId> {
    let ids = hook.requests().into_iter().map(|request| request.header("webhook-id").unwrap().to_owned());
    let mut ids: Vec<DeliveryId> = ids.map(|id| id.parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

async fn done(harness: &Harness) {
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
    harness.drained(groups::PUSH, topics::DUE).await;
}

/// A dispatcher has delivered one, committed it, and is gone.
async fn one_delivered() -> (Harness, Webhook, Subscription) {
    let mut harness = Harness::prepare(&[("RETRY_DELAY_DIVISOR", "100")]).await;
    let hook = harness.altinn.webhook("hook");
    let known = harness.subscribe(&hook.url).await;
    harness.run().await;
    deliver(&harness, &headers(&known, 1)).await;
    hook.wait_for(1, PATIENCE).await.unwrap();
    done(&harness).await;
    harness.life.shutdown().await.unwrap();
    (harness, hook, known)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_says_was_settled_is_not_sent_again_and_what_was_put_back_is() {
    let (mut harness, hook, known) = one_delivered().await;
    let told = [
        AttemptOutcome::Delivered,
        AttemptOutcome::PutBack,
        AttemptOutcome::Failed,
        AttemptOutcome::Skipped,
        AttemptOutcome::Dropped,
        AttemptOutcome::Dead,
    ];
    for (number, outcome) in (2..).zip(told) {
        let headers = headers(&known, number);
        deliver(&harness, &headers).await;
        tell(&harness, &headers, outcome).await;
    }
    deliver(&harness, &headers(&known, 9)).await;
    harness.run().await;
    done(&harness).await;
    // The second was put back, and of the ninth nothing was told.
    assert_eq!(came(&hook), [1, 3, 9].map(DeliveryId));
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_said_before_a_second_crash_still_counts_after_it() {
    let (mut harness, hook, known) = one_delivered().await;
    hook.always(Reply::hang());
    // The first hangs, so the position stays before the one of which the log tells.
    for number in [2, 3] {
        deliver(&harness, &headers(&known, number)).await;
    }
    tell(&harness, &headers(&known, 3), AttemptOutcome::Delivered).await;
    for _ in 0..2 {
        let before = hook.count();
        harness.run().await;
        hook.wait_for(before + 1, PATIENCE).await.unwrap();
        harness.life.shutdown().await.unwrap();
    }
    hook.always(Reply::status(200));
    harness.run().await;
    done(&harness).await;
    assert_eq!(came(&hook), [1, 2, 2, 2].map(DeliveryId), "the third was delivered");
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_the_tiers_record_and_the_attempt_loses_no_retry() {
    let settings = [("RETRY_DELAY_DIVISOR", "100")];
    let mut harness = Harness::prepare_with(&settings, Topics::load().without(topics::ATTEMPTS)).await;
    let hook = harness.altinn.webhook("hook");
    hook.script([Reply::status(500)]);
    let known = harness.subscribe(&hook.url).await;
    harness.run().await;
    deliver(&harness, &headers(&known, 1)).await;
    hook.wait_for(1, PATIENCE).await.unwrap();
    // The retry comes although nothing could be told of the first attempt.
    hook.wait_for(2, PATIENCE).await.unwrap();
    wait_until("the append of an attempt failed", || harness.metric("dispatcher_append_retries_total") > 0.0)
        .await;
    harness.life.shutdown().await.unwrap();
    harness.create_topics().await;
    harness.run().await;
    done(&harness).await;
    let attempts = whole::read(&harness.kafka, topics::ATTEMPTS).await.unwrap();
    assert!(!attempts.is_empty(), "the attempts are told now");
    // Nobody knew that the first attempt and its retry were made: each may be repeated once.
    assert!((2..=4).contains(&hook.count()), "{} sends", hook.count());
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_before_the_tiers_record_is_on_the_log_sends_again() {
    let (tier, _) = topics::TIERS[0];
    let settings = [("RETRY_DELAY_DIVISOR", "100")];
    let mut harness = Harness::prepare_with(&settings, Topics::load().without(tier)).await;
    let hook = harness.altinn.webhook("hook");
    hook.script([Reply::status(500)]);
    let known = harness.subscribe(&hook.url).await;
    harness.run().await;
    deliver(&harness, &headers(&known, 1)).await;
    hook.wait_for(1, PATIENCE).await.unwrap();
    wait_until("the append failed", || harness.metric("dispatcher_append_retries_total") > 0.0).await;
    harness.life.shutdown().await.unwrap();
    let told = whole::read(&harness.kafka, topics::ATTEMPTS).await.unwrap();
    assert_eq!(told.len(), 0, "an attempt is told only after its retry is on the log");
    harness.create_topics().await;
    harness.run().await;
    done(&harness).await;
    assert_eq!(hook.count(), 2);
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_back_for_three_days_is_told_as_dead_only_when_its_letter_is_on_the_log() {
    // Three days are a quarter of a second.
    let settings = [("RETRY_DELAY_DIVISOR", "1000000")];
    let mut harness = Harness::prepare_with(&settings, Topics::load().without(topics::DEAD)).await;
    let hook = harness.altinn.webhook("hook");
    let not_validated = harness.create("/org/ttd", &hook.url).await;
    harness.run().await;
    let created = Micros(Micros::now().0 - 1_000_000);
    deliver(&harness, &DeliveryHeaders { created, ..headers(&not_validated, 1) }).await;
    wait_until("the append failed", || harness.metric("dispatcher_append_retries_total") > 0.0).await;
    harness.life.shutdown().await.unwrap();
    assert_eq!(whole::read(&harness.kafka, topics::ATTEMPTS).await.unwrap().len(), 0);
    harness.create_topics().await;
    harness.run().await;
    done(&harness).await;
    assert_eq!(whole::read(&harness.kafka, topics::DEAD).await.unwrap().len(), 1);
    harness.life.shutdown().await.unwrap();
}
