//! The order of first attempts, and rights that take long.

use event::{DeliveryHeaders, DeliveryId, Event, Micros, Subscription};
use local_altinn::{Mode, Webhook};

use crate::harness::{Harness, PATIENCE, event_about, wait_until};

/// One delivery of an event about this party, as a matcher writes it.
async fn deliver(harness: &Harness, to: &Subscription, party: u32) {
    let event = event_about(&format!("{party}"), party.into());
    let headers = DeliveryHeaders::first(to, DeliveryId::of(to.id, event.identity()), Micros::now());
    harness.deliver(&headers, event.json().as_bytes()).await;
}

fn ids(hook: &Webhook) -> Vec<u32> {
    let event = |body: &[u8]| Event::parse(body).unwrap().id().parse().unwrap();
    hook.requests().iter().map(|request| event(&request.body)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_attempts_start_in_order_also_when_rights_take_long_now_and_then() {
    const ROUNDS: u32 = 8;
    let mut harness = Harness::prepare(&[("PUSH_IN_FLIGHT_PER_ENDPOINT", "1")]).await;
    let hook = harness.altinn.webhook("hook");
    let subscription = harness.subscribe(&hook.url).await;
    harness.run().await;
    for round in 0..ROUNDS {
        // Each event is of another publisher and about another party, so each asks a question of its own.
        let asked = harness.altinn.pdp().requests();
        harness.altinn.pdp().set(Mode::Late(std::time::Duration::from_millis(400)));
        deliver(&harness, &subscription, round * 3).await;
        wait_until("the PDP was asked", || harness.altinn.pdp().requests() > asked).await;
        harness.altinn.pdp().set(Mode::Answer);
        for number in 1..3 {
            deliver(&harness, &subscription, round * 3 + number).await;
        }
    }
    hook.wait_for(u64::from(ROUNDS) * 3, PATIENCE).await.unwrap();
    assert_eq!(ids(&hook), (0..ROUNDS * 3).collect::<Vec<_>>());
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_rights_take_long_no_other_lane_waits_and_what_has_no_answer_is_put_back() {
    let mut harness = Harness::prepare(&[("RETRY_DELAY_DIVISOR", "100")]).await;
    let (waits, goes) = (harness.altinn.webhook("waits"), harness.altinn.webhook("goes"));
    let (first, second) = (harness.subscribe(&waits.url).await, harness.subscribe(&goes.url).await);
    harness.run().await;
    let asked = harness.altinn.pdp().requests();
    harness.altinn.pdp().set(Mode::Hang);
    deliver(&harness, &first, 1).await;
    wait_until("the PDP was asked", || harness.altinn.pdp().requests() > asked).await;
    harness.altinn.pdp().set(Mode::Answer);
    deliver(&harness, &second, 2).await;
    goes.wait_for(1, PATIENCE).await.unwrap();
    assert_eq!(waits.count(), 0, "it is pending");
    waits.wait_for(1, PATIENCE).await.unwrap();
    assert_eq!((ids(&waits), ids(&goes)), (vec![1], vec![2]));
    harness.life.shutdown().await.unwrap();
}
