//! Guarantee 2: the feed has no gaps and no waiting room.

use std::collections::BTreeSet;

use platform_tests::{
    client::generic,
    world::{ALL, World},
};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_has_no_gaps() {
    let world = World::new("gaps").await;
    let first = world.start(ALL).await;
    let second = world.start("projector").await;
    let client = world.client(first.address());
    let mut publishers = JoinSet::new();
    for publisher in 0..8 {
        let client = client.clone();
        publishers.spawn(async move {
            let mut published = BTreeSet::new();
            for n in 0..100 {
                let id = format!("{publisher}-{n}");
                let status = client.publish(&generic(&id, &format!("/party/{}", n % 7))).await.unwrap();
                assert_eq!(status, 200);
                published.insert(id);
            }
            published
        });
    }
    let (mut after, mut seen, mut published) = ("0".to_owned(), Vec::new(), BTreeSet::new());
    while published.len() < 800 || seen.len() < 800 {
        while let Some(done) = publishers.try_join_next() {
            published.extend(done.unwrap());
        }
        let page = client.page(&after, 13).await;
        assert_eq!(page.status, 200);
        seen.extend(page.events.iter().map(|event| event["id"].as_str().unwrap().to_owned()));
        after = page.cursor.unwrap();
        assert!(seen.len() <= 800, "an event came twice");
    }
    assert_eq!(seen.iter().cloned().collect::<BTreeSet<_>>(), published);
    let stored =
        world.store().rows_between(event::Sequence(0), event::Sequence(i64::MAX), 10_000).await.unwrap();
    let stored: Vec<String> = stored
        .iter()
        .map(|row| {
            serde_json::from_str::<serde_json::Value>(&row.json).unwrap()["id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(seen, stored, "the reader saw another order than the sequence");
    second.stop().await;
    first.stop().await;
}
