//! Two dispatchers and a rebalance in the middle: nothing is lost.

use std::collections::BTreeSet;

use platform_tests::{
    client::generic,
    ledger::Ledger,
    wait::until,
    world::{ALL, World},
};
use tokio::task::JoinSet;

use crate::probe;

const EVENTS: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_that_joins_and_leaves_under_load_loses_nothing() {
    let world = World::new("rebalance").await;
    let first = world.start(ALL).await;
    let client = world.client(first.address());
    let names: Vec<String> = (0..5).map(|n| format!("balanced-{n}")).collect();
    for name in &names {
        client.subscribe_and_wait(&world.receiver.url(name)).await;
    }
    probe::changes_are_in_force(&world, &client).await;
    let mut publishing = JoinSet::new();
    let publisher = client.clone();
    let (progress, done) = tokio::sync::watch::channel(0);
    publishing.spawn(async move {
        let mut accepted = BTreeSet::new();
        for n in 0..EVENTS {
            let id = format!("event-{n}");
            if publisher.publish(&generic(&id, &format!("/party/{}", n % 50))).await.unwrap() == 200 {
                accepted.insert(id);
            }
            progress.send_replace(n);
        }
        accepted
    });
    let reached = |count: usize| {
        let mut done = done.clone();
        async move { *done.wait_for(|n| *n >= count).await.unwrap() }
    };
    reached(50).await;
    let second = world.start("dispatcher").await;
    until("the second dispatcher matches", || async {
        let matched = second.metric("dispatcher_matched_events_total");
        let is_over = *done.borrow() + 1 == EVENTS;
        if matched > 0.0 || is_over { Ok(()) } else { Err("it does not".to_owned()) }
    })
    .await;
    second.stop().await;
    let accepted = publishing.join_next().await.unwrap().unwrap();
    assert_eq!(accepted.len(), EVENTS);
    probe::everything_is_stored(&world).await;
    let in_feed = probe::in_feed(&client).await;
    for name in &names {
        until("every event is delivered", || async {
            let delivered = probe::delivered(&world, name);
            let open = accepted.iter().filter(|id| !delivered.contains_key(*id)).count();
            if open == 0 { Ok(()) } else { Err(format!("{open} are not at {name}")) }
        })
        .await;
        let delivered = probe::delivered(&world, name);
        Ledger { published: accepted.clone(), in_feed: in_feed.clone(), delivered, dead: 0 }.must_close();
    }
    first.stop().await;
}
