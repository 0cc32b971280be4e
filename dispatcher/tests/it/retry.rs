use event::{AttemptOutcome, topics};
use kafka_loop::groups;
use local_altinn::Reply;

use crate::harness::{Harness, PATIENCE, event, wait_until};

/// The whole ladder, 34 h 46 min, in about six seconds.
const QUICK: (&str, &str) = ("RETRY_DELAY_DIVISOR", "20000");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_twelfth_attempt_may_still_arrive() {
    let mut harness = Harness::prepare(&[QUICK]).await;
    let hook = harness.altinn.webhook("hook");
    hook.script((0..11).map(|_| Reply::status(500)));
    harness.subscribe(&hook.url).await;
    harness.run().await;
    let attempts = harness.reader(topics::ATTEMPTS);
    harness.publish(&event("one")).await;
    let received = hook.wait_for(12, PATIENCE).await.unwrap();
    attempts.wait_for(12).await;
    let log: Vec<(u8, AttemptOutcome)> = attempts.attempts().iter().map(|a| (a.attempt, a.outcome)).collect();
    let mut expect: Vec<_> = (1..12).map(|attempt| (attempt, AttemptOutcome::Failed)).collect();
    expect.push((12, AttemptOutcome::Delivered));
    assert_eq!(log, expect);
    let ids: std::collections::BTreeSet<_> =
        received.iter().map(|request| request.header("webhook-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 1, "one delivery id over all attempts");
    for (pair, tier) in received.windows(2).zip(topics::ladder()) {
        let waited = pair[1].at.duration_since(pair[0].at).unwrap();
        assert!(waited >= topics::TIERS[tier].1 / 20_000, "{waited:?} before the attempt after tier {tier}");
    }
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_twelfth_failure_ends_in_the_dead_letters() {
    let mut harness = Harness::prepare(&[QUICK]).await;
    let hook = harness.altinn.webhook("hook");
    hook.always(Reply::status(503));
    harness.subscribe(&hook.url).await;
    harness.run().await;
    let (attempts, dead) = (harness.reader(topics::ATTEMPTS), harness.reader(topics::DEAD));
    harness.publish(&event("one")).await;
    dead.wait_for(1).await;
    attempts.wait_for(12).await;
    let last = attempts.attempts().pop().unwrap();
    assert_eq!((last.attempt, last.outcome, last.status), (12, AttemptOutcome::Dead, Some(503)));
    let letter = dead.records().remove(0);
    assert_eq!(letter.header("reason"), Some(&b"the last attempt was answered 503"[..]));
    assert_eq!(letter.header("attempt"), Some(&b"12"[..]));
    assert_eq!(letter.value.as_deref(), Some(event("one").json().as_bytes()));
    assert_eq!(hook.count(), 12);
    harness.drained(groups::TIERS, topics::TIERS[9].0).await;
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_keeps_failing_is_probed_and_the_rest_is_skipped() {
    let settings = [("RETRY_DELAY_DIVISOR", "200"), ("CIRCUIT_FAILURES", "3")];
    let mut harness = Harness::prepare(&settings).await;
    let hook = harness.altinn.webhook("hook");
    hook.always(Reply::status(500).after(std::time::Duration::from_millis(100)));
    harness.subscribe(&hook.url).await;
    harness.run().await;
    let attempts = harness.reader(topics::ATTEMPTS);
    for number in 0..40 {
        harness.publish(&event(&format!("event{number}"))).await;
    }
    wait_until("some were skipped", || {
        attempts.attempts().iter().any(|attempt| attempt.outcome == AttemptOutcome::Skipped)
    })
    .await;
    hook.always(Reply::status(200));
    let delivered = || attempts.attempts().iter().filter(|a| a.outcome == AttemptOutcome::Delivered).count();
    wait_until("all were delivered", || delivered() == 40).await;
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_on_a_tier_survives_the_dispatcher() {
    let mut harness = Harness::prepare(&[("RETRY_DELAY_DIVISOR", "10")]).await;
    let hook = harness.altinn.webhook("hook");
    hook.script([Reply::status(500)]);
    harness.subscribe(&hook.url).await;
    harness.run().await;
    harness.publish(&event("one")).await;
    hook.wait_for(1, PATIENCE).await.unwrap();
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
    harness.life.shutdown().await.unwrap();
    harness.run().await;
    hook.wait_for(2, PATIENCE).await.unwrap();
    harness.life.shutdown().await.unwrap();
}
