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

#[tokio::test(flavor = "multi_thread")]
async fn one_callers_waiting_readers_leave_places_to_others() {
    let world = World::new(&[("FEED_WAITERS_PER_CALLER", "1")]).await;
    let (token, target) = (world.ttd(), path(25));
    let unit = world.altinn.enterprise_token(None, "311783777", &["altinn:events.subscribe"]);
    let second = async {
        world.until(WAITING, 1.0).await;
        let answer = world.get(&token, &path(20)).await;
        assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));
        let others = async {
            world.until(WAITING, 2.0).await;
            world.put([generic(RESOURCE, "e", 1)]).await;
        };
        tokio::join!(world.get(&unit, &target), others).0
    };
    let (first, other) = tokio::join!(world.get(&token, &target), second);
    assert_eq!(first.ids(), ["e"]);
    assert_eq!(other.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_for_an_unknown_position_look_together() {
    let world = World::new(&[("FEED_UNKNOWN_AFTER_WAIT_MS", "2000"), ("FEED_HEAD_POLL_MS", "5")]).await;
    let (token, target) = (world.ttd(), format!("{GENERIC}?resource={RESOURCE}&after=nobody-knows-it"));
    let waiting = futures::future::join_all((0..10).map(|_| world.get(&token, &target)));
    let others = async {
        world.until(WAITING, 10.0).await;
        for n in 0..100 {
            world.put([generic(RESOURCE, &format!("other{n}"), 1)]).await;
        }
    };
    let (answers, ()) = tokio::join!(waiting, others);
    assert!(answers.iter().all(|answer| answer.status == StatusCode::GONE));
    // Before and after each has its place, at the end, and when the first look at the head wakes everybody.
    let looks = world.metric("query_api_looks_for_ids_total");
    assert!(looks <= 60.0, "{looks} looks for ten readers");
}
