//! Guarantee 9: bounded everything. What a client can fill is filled, and what an endpoint can hold is held: no more is taken in
//! than the bound, and who comes then is told when to come again.

use std::time::Duration;

use platform_tests::{
    client::{Client, generic},
    receiver::Script,
    wait::until,
    world::{ALL, RESOURCE, Running, World},
};
use reqwest::StatusCode;
use serde_json::json;

use crate::probe;

#[tokio::test(flavor = "multi_thread")]
async fn bounded_everything() {
    let mut world = World::new("bounds").await;
    world.set("FEED_WAITERS_MAX", "2");
    world.set("FEED_WAITERS_PER_CALLER", "1");
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    what_is_published_is_bounded(&client).await;
    what_is_asked_for_is_bounded(&world, &client).await;
    who_waits_is_bounded(&world, &platform, &client).await;
    platform.stop().await;
}

async fn what_is_published_is_bounded(client: &Client) {
    let mut large = generic("large", "/party/1");
    large["data"] = "x".repeat(70_000).into();
    assert_eq!(client.publish(&large).await.unwrap(), StatusCode::PAYLOAD_TOO_LARGE);
    let batch = |count| (0..count).map(|n| generic(&format!("{n}"), "/party/1")).collect::<Vec<_>>();
    let by_bytes = client.publish_batch(&batch(10_000)).await;
    assert_eq!(by_bytes.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let by_count = batch(1_001);
    assert!(serde_json::to_string(&by_count).unwrap().len() < 1 << 20, "it is not refused for its bytes");
    assert_eq!(client.publish_batch(&by_count).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // As many as may be, and more than a page holds.
    assert_eq!(client.publish_batch(&batch(1_000)).await.status(), 200);
    assert_eq!(client.publish(&generic("one-more", "/party/1")).await.unwrap(), 200);
}

async fn what_is_asked_for_is_bounded(world: &World, client: &Client) {
    probe::everything_is_stored(world).await;
    let page = client.page("0", 5_000).await;
    assert_eq!((page.status, page.events.len()), (StatusCode::OK, 1_000));
    let resource = format!("/events/api/v1/events?resource={RESOURCE}&after=0");
    let refused = client.get(&resource).header("x-large", "x".repeat(1 << 20)).send().await;
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status() == 431));
    let body = json!({"endPoint": world.receiver.url("x"), "resourceFilter": "x".repeat(100_000)});
    let large = client.post("/events/api/v1/subscriptions").json(&body).send().await.unwrap();
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

/// Two readers wait, one a caller: the bounds. A second of the same caller is told 429, a third caller 503.
async fn who_waits_is_bounded(world: &World, platform: &Running, client: &Client) {
    let end = client.page("0", 1_000).await.cursor.unwrap();
    let end = client.page(&end, 1_000).await.cursor.unwrap();
    let path = format!("/events/api/v1/events?resource={RESOURCE}&after={end}&wait=30");
    let wait = |client: &Client| client.get(&path).send();
    let other = |org: &str, number: &str| {
        let token = world.altinn.enterprise_token(Some(org), number, &["altinn:events.subscribe"]);
        Client::new(platform.address(), token)
    };
    let waiting = async |count: f64| {
        until("readers wait", || async {
            let now = platform.metric("query_api_waiting");
            if now == count { Ok(()) } else { Err(now.to_string()) }
        })
        .await;
    };
    let is_refused = async |client: &Client, status: u16| {
        let before = platform.metric("query_api_waiting");
        let refused = wait(client).await.unwrap();
        assert_eq!(refused.status(), status);
        assert!(refused.headers().contains_key("retry-after"), "{refused:?}");
        assert_eq!(platform.metric("query_api_waiting"), before, "who is refused takes no place");
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(wait(client));
    waiting(1.0).await;
    is_refused(client, 429).await;
    tasks.spawn(wait(&other("skd", "974761076")));
    waiting(2.0).await;
    is_refused(&other("digdir", "991825827"), 503).await;
    // What went away gives its place back.
    tasks.shutdown().await;
    waiting(0.0).await;
    tasks.spawn(wait(client));
    waiting(1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_on_their_way_and_what_waits_are_bounded_over_all_endpoints() {
    const ENDPOINTS: usize = 45;
    const EACH: usize = 20;
    const LANE: usize = 8;
    let (quick, slow) = (4, 16);
    // Besides these there are 16 for validations; a send that gets slow leaves its place in the quick pool to another one.
    let sends = 2 * quick + slow + 16;
    let mut world = World::new("bounds_push").await;
    for (name, value) in [
        ("PUSH_IN_FLIGHT", quick),
        ("PUSH_SLOW_IN_FLIGHT", slow),
        ("PUSH_QUEUE_PER_ENDPOINT", LANE),
        ("PUSH_SLOW_AFTER_MS", 1_000),
        ("PUSH_TIMEOUT_MS", 3_600_000),
    ] {
        world.set(name, &value.to_string());
    }
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    let names: Vec<String> = (0..ENDPOINTS).map(|n| format!("endpoint-{n}")).collect();
    let takes = |takes| Script { takes, ..Script::default() };
    // At this pace an endpoint takes in 15 s, divided as the delays are, less than the least that a lane holds.
    for name in &names {
        world.receiver.script(name, takes(Duration::from_millis(70)));
        client.subscribe_and_wait(&world.receiver.url(name)).await;
    }
    // The validations, which tell nothing of an endpoint's pace.
    let before = platform.metric_of("dispatcher_attempts_total", "delivered");
    assert_eq!(client.publish(&generic("first", "/party/1")).await.unwrap(), 200);
    until("each endpoint has answered well", || async {
        let answered = platform.metric_of("dispatcher_attempts_total", "delivered") - before;
        if answered >= ENDPOINTS as f64 { Ok(()) } else { Err(answered.to_string()) }
    })
    .await;
    for name in &names {
        world.receiver.script(name, takes(Duration::from_secs(3_600)));
    }
    for n in 0..EACH {
        assert_eq!(client.publish(&generic(&n.to_string(), "/party/1")).await.unwrap(), 200);
    }
    let open = || names.iter().map(|name| world.receiver.open(name)).sum::<usize>();
    let held = (sends + ENDPOINTS * LANE) as f64;
    until("all is on its way, or waits, or was put back", || async {
        let fresh = platform.metric_of("dispatcher_waiting", "fresh");
        assert!(fresh <= (ENDPOINTS * LANE) as f64, "{fresh} wait");
        let put_back = platform.metric("dispatcher_put_back_total");
        let is_full = open() == sends && put_back >= (ENDPOINTS * EACH) as f64 - held;
        if is_full { Ok(()) } else { Err(format!("{} open, {fresh} wait, {put_back} put back", open())) }
    })
    .await;
    assert!(world.receiver.most_open() <= sends, "{} were open at once", world.receiver.most_open());
}
