use std::{collections::BTreeSet, time::Duration};

use event::{AttemptOutcome, Micros, topics};
use kafka_loop::groups;
use local_altinn::Mode;
use store::{Absent, Advance, NewEvent};

use crate::harness::{Harness, PATIENCE, event, event_about, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_arrives_once_at_every_subscription_that_it_matches() {
    let mut harness = Harness::prepare(&[]).await;
    let hooks = ["a", "b", "not-validated"].map(|name| harness.altinn.webhook(name));
    for hook in &hooks[..2] {
        harness.subscribe(&hook.url).await;
    }
    harness.create("/org/ttd", &hooks[2].url).await;
    harness.run().await;
    let attempts = harness.reader(topics::ATTEMPTS);
    let published = event("one");
    harness.publish(&published).await;
    for hook in &hooks[..2] {
        let received = hook.wait_for(1, PATIENCE).await.unwrap();
        assert_eq!(received[0].body, published.json().as_bytes());
        assert_eq!(received[0].header("content-type"), Some("application/json; charset=utf-8"));
    }
    attempts.wait_for(2).await;
    harness.publish(&published).await;
    harness.publish(&event("two")).await;
    attempts.wait_for(4).await;
    harness.drained(groups::MATCH, topics::EVENTS).await;
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
    assert_eq!(hooks.map(|hook| hook.count()), [2, 2, 0], "the repeated event was pushed once");
    let outcomes: BTreeSet<_> = attempts.attempts().iter().map(|attempt| attempt.outcome.name()).collect();
    assert_eq!(outcomes, BTreeSet::from([AttemptOutcome::Delivered.name()]));
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_alone_loads_the_filters_of_closed_partitions_that_a_projector_has_stored() {
    let mut harness = Harness::prepare(&[]).await;
    let first = event("one");
    let stored = NewEvent { subject: None, event: first.clone(), kafka_partition: 1, kafka_offset: 77 };
    let step = Advance { partition: 1, expected: 0, next: 78 };
    harness.store.start_positions(topics::EVENTS, &[(1, 0)]).await.unwrap();
    harness.store.write_batch(topics::EVENTS, &[stored], &[step]).await.unwrap();
    let days = |days: u64| Duration::from_secs(days * 86_400);
    assert!(harness.store.close_old_partition(Micros::now().plus(days(8)), days(7)).await.unwrap());
    harness.another_store().load_next_filter(Absent::Make).await.unwrap();
    let hook = harness.altinn.webhook("hook");
    harness.subscribe(&hook.url).await;
    harness.run().await;
    wait_until("the filter is loaded", || harness.store.filters_loaded() == 1).await;
    harness.publish(&first).await;
    harness.publish(&event("two")).await;
    hook.wait_for(1, PATIENCE).await.unwrap();
    harness.drained(groups::MATCH, topics::EVENTS).await;
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
    assert_eq!(hook.count(), 1, "the filter tells that the first may be stored, and it is");
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_decoded_and_who_may_not_receive_hold_nothing_up() {
    let mut harness = Harness::prepare(&[]).await;
    let (hook, other) = (harness.altinn.webhook("hook"), harness.altinn.webhook("other"));
    harness.subscribe(&hook.url).await;
    let refused = harness.subscribe_as("/org/nobody", &other.url).await;
    harness.run().await;
    let attempts = harness.reader(topics::ATTEMPTS);
    harness.publish_raw("key", b"garbage").await;
    harness.publish_raw("key", b"").await;
    harness.publish_raw("key", b"{\"specversion\":\"1.0\"}").await;
    harness.publish(&event("one")).await;
    hook.wait_for(1, PATIENCE).await.unwrap();
    harness.drained(groups::MATCH, topics::EVENTS).await;
    assert_eq!(other.count(), 0);
    for id in ["two", "three"] {
        harness.publish(&event(id)).await;
    }
    hook.wait_for(3, PATIENCE).await.unwrap();
    attempts.wait_for(4).await;
    harness.drained(groups::MATCH, topics::EVENTS).await;
    let told: Vec<_> =
        attempts.attempts().into_iter().filter(|attempt| attempt.subscription == refused.id.0).collect();
    assert_eq!(told.len(), 1, "who is refused is told so once a minute: {told:?}");
    assert_eq!(
        (told[0].refusal(), told[0].attempt, told[0].event_id.as_str()),
        (Some("not-permitted"), 0, "")
    );
    assert_eq!(other.count(), 0);
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_about_rights_is_not_a_no() {
    let mut harness = Harness::prepare(&[("RETRY_DELAY_DIVISOR", "50")]).await;
    let hook = harness.altinn.webhook("hook");
    harness.subscribe(&hook.url).await;
    harness.altinn.pdp().set(Mode::Fail(500));
    harness.run().await;
    let attempts = harness.reader(topics::ATTEMPTS);
    harness.publish(&event("one")).await;
    attempts.wait_for(1).await;
    let first = attempts.attempts().remove(0);
    assert_eq!(first.outcome, AttemptOutcome::PutBack);
    assert!(
        first.event_id.is_empty(),
        "the log names an event about whose rights nobody could say: {first:?}"
    );
    harness.altinn.pdp().set(Mode::Answer);
    hook.wait_for(1, PATIENCE).await.unwrap();
    wait_until("it was delivered", || {
        attempts.attempts().last().is_some_and(|attempt| attempt.outcome == AttemptOutcome::Delivered)
    })
    .await;
    let last = attempts.attempts().pop().unwrap();
    assert_eq!(last.event_id, "one");
    assert_eq!(last.attempt, 1, "putting back used up no attempt");
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_indeterminate_is_put_back_at_match_and_push_and_only_a_no_drops() {
    let mut harness = Harness::prepare(&[("RETRY_DELAY_DIVISOR", "50")]).await;
    let hook = harness.altinn.webhook("hook");
    harness.subscribe(&hook.url).await;
    harness.run().await;
    let attempts = harness.reader(topics::ATTEMPTS);
    harness.publish(&event_about("answered", 1)).await;
    hook.wait_for(1, PATIENCE).await.unwrap();
    // One policy is broken, or all are: a delivery can wait for either.
    let pdp = harness.altinn.pdp();
    pdp.break_resource("ttd-altinn-events-automated-tests");
    harness.publish(&event_about("one policy", 2)).await;
    attempts.wait_for(2).await;
    pdp.break_all(true);
    harness.publish(&event_about("all policies", 3)).await;
    attempts.wait_for(3).await;
    harness.drained(groups::MATCH, topics::EVENTS).await;
    let outcomes: Vec<_> = attempts.attempts()[1..].iter().map(|attempt| attempt.outcome).collect();
    assert!(outcomes.iter().all(|outcome| *outcome == AttemptOutcome::PutBack), "{outcomes:?}");
    pdp.mend_resource("ttd-altinn-events-automated-tests");
    pdp.break_all(false);
    hook.wait_for(3, PATIENCE).await.unwrap();
    pdp.revoke_all();
    harness.publish(&event_about("a no", 4)).await;
    harness.drained(groups::MATCH, topics::EVENTS).await;
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
    assert_eq!(hook.count(), 3);
    harness.life.shutdown().await.unwrap();
}
