//! What a dispatcher says it holds, and that it holds it.

use std::time::Duration;

use event::{DeliveryHeaders, DeliveryId, Micros, Subscription, topics};
use kafka_loop::groups;
use local_altinn::{Mode, Reply};
use tokio::task::JoinSet;

use crate::harness::{Harness, PATIENCE, event, wait_until};

/// No poll but those that something asks for.
const NEVER: (&str, &str) = ("SUBSCRIPTIONS_POLL_MS", "3600000");

/// The delivery of an event to a subscription, as it was when it matched.
fn matched(subscription: &Subscription, id: &str) -> DeliveryHeaders {
    DeliveryHeaders::first(subscription, DeliveryId::of(subscription.id, event(id).identity()), Micros::now())
}

/// What the rows of dispatchers have said, in this order, from now on.
async fn record_what_is_held(harness: &Harness) {
    for statement in [
        "create table said (number bigserial, position bigint)",
        "create function record_held() returns trigger language plpgsql as $$
            begin insert into said (position) values (new.position); return new; end $$",
        "create trigger records after insert or update on dispatcher for each row execute function record_held()",
    ] {
        harness.store.execute_for_test(statement.to_owned()).await.unwrap();
    }
}

async fn said(harness: &Harness) -> Vec<i64> {
    harness.store.numbers_for_test("select position from said order by number".to_owned()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_says_what_it_holds_and_takes_its_word_back_when_it_ends_in_order() {
    let harness = Harness::start(&[]).await;
    let nobody_lives = async || harness.store.held_everywhere().await.unwrap().covers(i64::MAX);
    assert!(!nobody_lives().await, "a dispatcher that is ready has its row");
    let new = harness.create("/org/ttd", "https://example.com/hook").await;
    harness.in_force(new.position).await;
    assert!(!harness.store.held_everywhere().await.unwrap().covers(new.position + 1));
    harness.life.shutdown().await.unwrap();
    assert!(nobody_lives().await, "a change would wait for a dispatcher that is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_beside_the_start_is_known_before_the_first_judgement() {
    let mut harness = Harness::prepare(&[NEVER]).await;
    let hook = harness.altinn.webhook("hook");
    let gone = harness.subscribe(&hook.url).await;
    // As soon as the row stands: it was called in force by others a moment before.
    let delete = format!(
        "create function deletes() returns trigger language plpgsql as $$ begin
            update subscription_head set last = {position} where last < {position};
            update subscription set deleted = now(), position = {position} where id = {id} and deleted is null;
            return new; end $$",
        position = gone.position + 1,
        id = gone.id,
    );
    let trigger = "create trigger deletes after insert on dispatcher for each row execute function deletes()";
    for statement in [delete, trigger.to_owned()] {
        harness.store.execute_for_test(statement).await.unwrap();
    }
    harness.deliver(&matched(&gone, "one"), event("one").json().as_bytes()).await;
    harness.run().await;
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
    assert_eq!(hook.count(), 0, "it was deleted before this dispatcher joined");
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_that_loads_anew_holds_nothing_until_its_new_view_stands() {
    let mut harness = Harness::prepare(&[]).await;
    let many =
        "insert into subscription (position, fingerprint, endpoint, include_subunits, consumer, created_by)
        select n, gen_random_uuid(), 'https://example.com/' || n, false, '/org/ttd', '/org/ttd'
        from generate_series(1, 2500) n";
    for statement in [many, "update subscription_head set last = 2500"] {
        harness.store.execute_for_test(statement.to_owned()).await.unwrap();
    }
    record_what_is_held(&harness).await;
    harness.run().await;
    assert!(said(&harness).await.iter().all(|position| *position == 2_500), "the first load stands unseen");
    // The database has lost the newest change.
    let lost = "with last as (delete from subscription where position = 2500)
        update subscription_head set last = 2499";
    harness.store.execute_for_test(lost.to_owned()).await.unwrap();
    harness.in_force(2_499).await;
    let until = std::time::Instant::now() + PATIENCE;
    while said(&harness).await.last() != Some(&2_499) {
        assert!(std::time::Instant::now() < until, "{:?}", said(&harness).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut said = said(&harness).await;
    said.dedup();
    assert_eq!(said, [2_500, 0, 2_499]);
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_stuck_counts_as_gone_and_is_not_ready_until_it_is_answered() {
    let harness = Harness::start(&[]).await;
    harness.store.execute_for_test("create table released ()".to_owned()).await.unwrap();
    let lock = "do $$ begin
            lock table subscription in access exclusive mode;
            while not exists (select from released) loop perform pg_sleep(0.02); end loop;
        end $$";
    let mut locking = JoinSet::new();
    let store = harness.store.clone();
    locking.spawn(async move { store.execute_for_test(lock.to_owned()).await });
    harness.in_force(i64::MAX).await;
    wait_until("the dispatcher is not ready", || harness.life.not_ready() == ["dispatcher"]).await;
    harness.store.execute_for_test("insert into released default values".to_owned()).await.unwrap();
    locking.join_next().await.unwrap().unwrap().unwrap();
    wait_until("the dispatcher is ready again", || harness.life.not_ready().is_empty()).await;
    let new = harness.create("/org/ttd", "https://example.com/hook").await;
    assert!(!harness.store.held_everywhere().await.unwrap().covers(i64::MAX), "it lives again");
    harness.in_force(new.position).await;
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_to_a_subscription_that_was_deleted_while_rights_were_asked() {
    let mut harness = Harness::prepare(&[("PUSH_IN_FLIGHT_PER_ENDPOINT", "1")]).await;
    (harness.access.permit_ttl, harness.access.timeout) = (Duration::from_millis(1), Duration::from_secs(60));
    let hook = harness.altinn.webhook("hook");
    // So long that the rights of the second are asked about again when its turn comes.
    hook.script([Reply::status(200).after(Duration::from_millis(5_500))]);
    let gone = harness.subscribe(&hook.url).await;
    harness.run().await;
    for id in ["first", "second"] {
        harness.deliver(&matched(&gone, id), event(id).json().as_bytes()).await;
    }
    hook.wait_for(1, PATIENCE).await.unwrap();
    wait_until("both were judged", || harness.altinn.pdp().requests() >= 1).await;
    let attempts = harness.reader(topics::ATTEMPTS);
    harness.altinn.pdp().set(Mode::Late(Duration::from_secs(8)));
    let asked = harness.altinn.pdp().requests();
    wait_until("rights are asked again", || harness.altinn.pdp().requests() > asked).await;
    let deleted = harness.store.delete_subscription(gone.id).await.unwrap().unwrap();
    harness.in_force(deleted).await;
    assert_eq!(hook.count(), 1, "rights are not answered yet");
    attempts.wait_for(2).await;
    let details: Vec<_> = attempts.attempts().into_iter().map(|attempt| attempt.detail).collect();
    assert_eq!(details, [None, Some("subscription-gone".to_owned())]);
    assert_eq!(hook.count(), 1, "the deletion was in force");
    harness.life.shutdown().await.unwrap();
}
