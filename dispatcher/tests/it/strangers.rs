//! Endpoints that are met for the first time and hang.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use crate::harness::{Harness, PATIENCE, event_of};

const WINDOW: Duration = Duration::from_millis(500);
/// Events for the healthy endpoint in a window: 200 a second.
const EACH: u64 = 100;
const WINDOWS: u64 = 16;

/// Receivers that take connections and never answer, each on an address of its own.
async fn hanging(count: u8, network: u8) -> Vec<TcpListener> {
    let mut all = Vec::new();
    for host in 1..=count {
        all.push(TcpListener::bind((std::net::Ipv4Addr::new(127, 0, network, host), 0)).await.unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_hang_leave_the_permits_to_those_that_have_answered() {
    let mut harness = Harness::prepare(&[("PUSH_IN_FLIGHT", "32")]).await;
    let healthy = harness.altinn.webhook("healthy");
    harness.subscribe_to("healthy", &healthy.url).await;
    let mut strangers = hanging(1, 1).await;
    let dead = strangers[0].local_addr().unwrap();
    for path in 0..200 {
        harness.subscribe_to("sick", &format!("http://{dead}/{path}")).await;
    }
    for network in 2..4 {
        for listener in hanging(150, network).await {
            harness.subscribe_to("sick", &format!("http://{}/", listener.local_addr().unwrap())).await;
            strangers.push(listener);
        }
    }
    harness.run().await;
    harness.publish(&event_of("healthy", "first")).await;
    healthy.wait_for(1, PATIENCE).await.unwrap();
    let mut late = 0;
    for window in 1..=WINDOWS {
        let end = Instant::now() + WINDOW;
        if window % 4 == 1 {
            harness.publish(&event_of("sick", &format!("{window}"))).await;
        }
        for number in 0..EACH {
            harness.publish(&event_of("healthy", &format!("{window}-{number}"))).await;
        }
        tokio::time::sleep_until(end.into()).await;
        let behind = (window * EACH + 1).saturating_sub(healthy.count());
        late += u64::from(behind > EACH);
    }
    assert!(late <= 1 + WINDOWS / 10, "{late} of {WINDOWS} windows were late");
    healthy.wait_for(WINDOWS * EACH + 1, PATIENCE).await.unwrap();
    // A validation comes through as well.
    let new = harness.create("/org/ttd", &harness.altinn.webhook("new").url).await;
    harness.validate(&new).await;
    harness.altinn.webhook("new").wait_for(1, PATIENCE).await.unwrap();
    drop(strangers);
    harness.life.shutdown().await.unwrap();
}
