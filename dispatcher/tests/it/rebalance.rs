//! Two dispatchers: what moves from one to the other is pushed by one of them.

use std::collections::BTreeMap;

use event::{DeliveryHeaders, DeliveryId, Micros, Subscription, topics};
use kafka_loop::{Outgoing, groups};
use local_altinn::{Reply, Webhook};

use crate::harness::{Harness, event, wait_until};

const IN_FLIGHT: usize = 32;
const HOOKS: usize = 8;
const EACH: usize = 2_500;

/// Appends deliveries to every subscription in turn.
async fn deliver_all(harness: &Harness, to: &[Subscription]) {
    let mut acks = Vec::new();
    for number in 0..EACH {
        let event = event(&format!("event{number}"));
        for subscription in to {
            let headers = DeliveryHeaders::first(
                subscription,
                DeliveryId::of(subscription.id, event.identity()),
                Micros::now(),
            );
            let pairs = headers.to_pairs();
            let headers: Vec<(&str, &[u8])> =
                pairs.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
            let key = subscription.endpoint.as_bytes();
            let value = event.json().as_bytes();
            let out = Outgoing { topic: topics::DELIVERIES, partition: None, key, value, headers: &headers };
            acks.push(harness.producer.enqueue(out).unwrap());
        }
    }
    for ack in acks {
        ack.await.unwrap();
    }
}

fn received(hooks: &[Webhook]) -> u64 {
    hooks.iter().map(Webhook::count).sum()
}

/// How many distinct deliveries came, and how many requests repeated one.
fn distinct_and_repeated(hooks: &[Webhook]) -> (usize, usize) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for request in hooks.iter().flat_map(Webhook::requests) {
        *counts.entry(request.header("webhook-id").unwrap().to_owned()).or_default() += 1;
    }
    (counts.len(), counts.values().sum::<usize>() - counts.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_that_joins_in_the_middle_repeats_at_most_the_sends_in_flight() {
    let (in_flight, many) = (IN_FLIGHT.to_string(), (HOOKS * EACH * 10).to_string());
    // Nothing is put back: all of it waits in the first dispatcher when the second comes.
    let settings = [("PUSH_IN_FLIGHT", &*in_flight), ("PUSH_QUEUE_PER_ENDPOINT", &*many)];
    let mut harness = Harness::prepare(&settings).await;
    let hooks: Vec<Webhook> = (0..HOOKS).map(|n| harness.altinn.webhook(&format!("hook{n}"))).collect();
    let mut to = Vec::new();
    for hook in &hooks {
        hook.always(Reply::status(200).after(std::time::Duration::from_millis(20)));
        to.push(harness.subscribe(&hook.url).await);
    }
    deliver_all(&harness, &to).await;
    harness.run().await;
    wait_until("the first is at work", || received(&hooks) > 500).await;
    let second = harness.another().await;
    wait_until("everything arrived", || received(&hooks) >= (HOOKS * EACH) as u64).await;
    harness.drained(groups::PUSH, topics::DELIVERIES).await;
    let (distinct, repeated) = distinct_and_repeated(&hooks);
    assert_eq!(distinct, HOOKS * EACH);
    assert!(repeated <= IN_FLIGHT, "{repeated} repeated");
    second.shutdown().await.unwrap();
    harness.life.shutdown().await.unwrap();
}
