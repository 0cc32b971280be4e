//! Two dispatchers and a rebalance in the middle: nothing is lost.

use std::collections::BTreeSet;

use event::topics::DELIVERIES;
use kafka_loop::whole;
use platform_tests::{
    client::{Client, generic},
    ledger::Ledger,
    receiver::Receiver,
    wait::until,
    world::{ALL, World},
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::probe;

/// Publishes until the stop, and tells how many; the ids that were accepted.
async fn publish(
    client: Client,
    progress: watch::Sender<usize>,
    stop: CancellationToken,
) -> BTreeSet<String> {
    let mut accepted = BTreeSet::new();
    while !stop.is_cancelled() {
        let n = accepted.len();
        let id = format!("event-{n}");
        assert_eq!(client.publish(&generic(&id, &format!("/party/{}", n % 50))).await.unwrap(), 200);
        accepted.insert(id);
        progress.send_replace(n + 1);
    }
    accepted
}

async fn partitions_with_deliveries(world: &World) -> BTreeSet<i32> {
    let deliveries = whole::read(&world.kafka(), DELIVERIES).await.unwrap();
    deliveries.iter().map(|record| record.partition).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_that_joins_and_leaves_under_load_loses_nothing() {
    joins_and_leaves(World::new("rebalance").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_that_joins_and_leaves_groups_that_the_broker_keeps_loses_nothing() {
    let mut world = World::new("keptgroups").await;
    world.set("KAFKA_CLIENT_SETTINGS", "group.protocol=consumer");
    joins_and_leaves(world).await;
}

async fn joins_and_leaves(world: World) {
    let first = world.start(ALL).await;
    let client = world.client(first.address());
    // Deliveries are keyed by the receiver's address. So many receivers that every partition has some.
    let mut receivers = Vec::new();
    while partitions_with_deliveries(&world).await.len() < 3 {
        let receiver = Receiver::start().await;
        client.subscribe_and_wait(&receiver.url("balanced")).await;
        receivers.push(receiver);
    }
    probe::changes_are_in_force(&world, &client).await;
    let (progress, published) = watch::channel(0);
    let stop = CancellationToken::new();
    let mut publishing = JoinSet::new();
    publishing.spawn(publish(client.clone(), progress, stop.clone()));
    let more = async |count: usize| {
        let mut published = published.clone();
        let goal = *published.borrow() + count;
        published.wait_for(|published| *published >= goal).await.unwrap();
    };
    more(100).await;
    let second = world.start("dispatcher").await;
    for metric in ["dispatcher_matched_events_total", "dispatcher_attempts_total"] {
        until("the second dispatcher has its share", || async {
            if second.metric(metric) > 0.0 { Ok(()) } else { Err(format!("none in {metric}")) }
        })
        .await;
    }
    more(100).await;
    second.stop().await;
    more(300).await;
    stop.cancel();
    let accepted = publishing.join_next().await.unwrap().unwrap();
    assert!(accepted.len() >= 500);
    probe::everything_is_stored(&world).await;
    let in_feed = probe::in_feed(&client).await;
    for receiver in &receivers {
        let delivered = || {
            let mut delivered = receiver.delivered("balanced");
            delivered.retain(|id, _| accepted.contains(id));
            delivered
        };
        until("every event is delivered", || async {
            let open = accepted.len() - delivered().len();
            if open == 0 { Ok(()) } else { Err(format!("{open} are not")) }
        })
        .await;
        let (published, in_feed) = (accepted.clone(), in_feed.clone());
        Ledger { published, in_feed, delivered: delivered(), ..Ledger::default() }.must_close();
    }
    first.stop().await;
}
