//! Waiting for an event.

use std::time::{Duration, Instant};

use http::StatusCode;

use crate::world::{GENERIC, RESOURCE, World, generic};

const WAITING: &str = "query_api_waiting";

fn path(wait: u32) -> String {
    format!("{GENERIC}?resource={RESOURCE}&after=0&wait={wait}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_reader_is_answered_when_its_event_comes() {
    let world = World::new(&[]).await;
    let token = world.ttd();
    let publishing = async {
        world.until(WAITING, 1.0).await;
        world.put([generic("urn:altinn:resource:other", "x", 1)]).await;
        let put = Instant::now();
        world.put([generic(RESOURCE, "mine", 1)]).await;
        put
    };
    let target = path(20);
    let (page, put) = tokio::join!(world.get(&token, &target), publishing);
    assert_eq!(page.ids(), ["mine"]);
    assert!(put.elapsed() < Duration::from_secs(5), "woken after {:?}", put.elapsed());
    assert_eq!(world.metric(WAITING), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_without_an_event_ends_with_an_empty_page() {
    let world = World::new(&[]).await;
    let started = Instant::now();
    let page = world.get(&world.ttd(), &path(1)).await;
    assert!(page.ids().is_empty() && page.next().is_empty() && !page.header("feed-cursor").is_empty());
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_nobody_who_waits() {
    let world = World::new(&[]).await;
    let token = world.ttd();
    let started = Instant::now();
    let stopping = async {
        world.until(WAITING, 1.0).await;
        world.life.shutdown().await.unwrap();
    };
    let target = path(30);
    let (page, ()) = tokio::join!(world.get(&token, &target), stopping);
    assert!(page.ids().is_empty());
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_waiting_readers_than_allowed_are_told_to_come_back() {
    let world = World::new(&[("FEED_WAITERS_MAX", "1")]).await;
    let token = world.ttd();
    let second = async {
        world.until(WAITING, 1.0).await;
        let answer = world.get(&token, &path(20)).await;
        world.put([generic(RESOURCE, "e", 1)]).await;
        answer
    };
    let target = path(20);
    let (first, second) = tokio::join!(world.get(&token, &target), second);
    assert_eq!(first.ids(), ["e"]);
    assert_eq!((second.status, second.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_leaves_nothing_behind() {
    let world = World::new(&[]).await;
    let token = world.ttd();
    let target = path(20);
    tokio::select! {
        page = world.get(&token, &target) => panic!("answered without an event: {page:?}"),
        () = world.until(WAITING, 1.0) => {}
    }
    assert_eq!(world.metric(WAITING), 0.0);
}
