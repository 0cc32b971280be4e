//! Endpoints that are slower than their events.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use event::{AttemptOutcome, topics, topics::TIERS};
use kafka_loop::whole;
use local_altinn::{Reply, Webhook};

use crate::harness::{Harness, PATIENCE, Reader, event_of};

/// So many seconds of the design in one; a slow endpoint takes 80 a second.
fn settings(divisor: &'static str) -> [(&'static str, &'static str); 3] {
    [
        ("RETRY_DELAY_DIVISOR", divisor),
        ("PUSH_IN_FLIGHT_PER_ENDPOINT", "8"),
        ("PUSH_QUEUE_PER_ENDPOINT", "16"),
    ]
}
const TAKES: Duration = Duration::from_millis(100);
/// How often the receivers are looked at.
const WINDOW: Duration = Duration::from_millis(500);

/// A healthy receiver and slow ones, and how much each had got at the end of each window.
struct Watched {
    healthy: Webhook,
    slow: Vec<Webhook>,
    windows: Vec<(u64, Vec<u64>)>,
    /// Events for the healthy one so far.
    published: u64,
    /// How far it was behind at the end of each window.
    behind: Vec<u64>,
}

impl Watched {
    async fn new(harness: &mut Harness, slow: usize) -> Self {
        let healthy = harness.altinn.webhook("healthy");
        harness.subscribe_to("healthy", &healthy.url).await;
        let mut all = Vec::new();
        for number in 0..slow {
            let hook = harness.altinn.webhook(&format!("slow{number}"));
            hook.always(Reply::status(200).after(TAKES));
            harness.subscribe_to("slow", &hook.url).await;
            all.push(hook);
        }
        harness.run().await;
        Self { healthy, slow: all, windows: Vec::new(), published: 0, behind: Vec::new() }
    }

    /// One window: so many events for the slow ones, and 25 for the healthy one.
    async fn window(&mut self, harness: &Harness, slow: std::ops::Range<usize>) {
        let end = Instant::now() + WINDOW;
        for number in slow {
            harness.publish(&event_of("slow", &format!("{number}"))).await;
        }
        for number in 0..25 {
            harness.publish(&event_of("healthy", &format!("{}-{number}", self.published))).await;
        }
        self.published += 25;
        tokio::time::sleep_until(end.into()).await;
        self.behind.push(self.published - self.healthy.count().min(self.published));
        self.windows.push((self.healthy.count(), self.slow.iter().map(Webhook::count).collect()));
    }

    /// Windows in which a slow endpoint got nothing although it had not got all.
    fn idle(&self, all: u64) -> usize {
        let idle = |pair: &[(u64, Vec<u64>)]| {
            let (before, after) = (&pair[0].1, &pair[1].1);
            before.iter().zip(after).filter(|(before, after)| before == after && **after < all).count()
        };
        self.windows.windows(2).map(idle).sum()
    }

    /// In nearly all windows the healthy one was less than a window behind.
    fn healthy_was_as_it_was(&self) {
        let late = self.behind.iter().filter(|behind| **behind > 25).count();
        assert!(late <= 1 + self.behind.len() / 10, "{:?}", self.behind);
    }
}

/// Every record of the tiers costs one more on `deliveries.due`. How many there are, and the most of one delivery.
async fn put_back_records(harness: &Harness) -> (usize, usize) {
    let mut of: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for (topic, _) in TIERS {
        for record in whole::read(&harness.kafka, topic).await.unwrap() {
            *of.entry(record.header("delivery").unwrap().to_vec()).or_default() += 1;
        }
    }
    (of.values().sum(), of.values().max().copied().unwrap_or(0))
}

fn most_put_backs_logged(attempts: &Reader) -> usize {
    let mut of: BTreeMap<String, usize> = BTreeMap::new();
    for attempt in attempts.attempts() {
        *of.entry(attempt.delivery).or_default() += usize::from(attempt.outcome == AttemptOutcome::PutBack);
    }
    of.into_values().max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_keeps_a_slow_endpoint_busy_and_leaves_its_neighbour_as_it_was() {
    const BURST: usize = 1_200;
    let mut harness = Harness::prepare(&settings("40")).await;
    let mut watched = Watched::new(&mut harness, 1).await;
    let attempts = harness.reader(topics::ATTEMPTS);
    let until = Instant::now() + 4 * PATIENCE;
    watched.window(&harness, 0..BURST).await;
    while watched.slow[0].count() < BURST as u64 {
        assert!(Instant::now() < until, "{:?}", watched.windows);
        watched.window(&harness, 0..0).await;
    }
    let idle = watched.idle(BURST as u64);
    assert!(idle <= 1 + watched.windows.len() / 10, "{idle} windows idle: {:?}", watched.windows);
    watched.healthy_was_as_it_was();
    let (records, most) = put_back_records(&harness).await;
    assert!(most <= 10 && records <= 4 * BURST, "{records} records, {most} of one delivery");
    assert!(records > 0, "it was put back");
    assert_eq!(most_put_backs_logged(&attempts), 1, "once a delivery");
    harness.life.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steady_overload_costs_a_bounded_number_of_records_and_a_restart_changes_nothing() {
    const WINDOWS: usize = 16;
    const EACH: usize = 60;
    let mut harness = Harness::prepare(&settings("10")).await;
    let mut watched = Watched::new(&mut harness, 3).await;
    let attempts = harness.reader(topics::ATTEMPTS);
    let until = Instant::now() + 4 * PATIENCE;
    for window in 0..WINDOWS {
        watched.window(&harness, window * EACH..(window + 1) * EACH).await;
        if window == WINDOWS / 2 {
            harness.life.shutdown().await.unwrap();
            harness.run().await;
        }
    }
    let all = (WINDOWS * EACH) as u64;
    while watched.slow.iter().any(|hook| hook.count() < all) {
        assert!(Instant::now() < until, "{:?}", watched.windows);
        watched.window(&harness, 0..0).await;
    }
    let idle = watched.idle(all);
    assert!(idle <= 3 + 3 * watched.windows.len() / 10, "{idle} windows idle: {:?}", watched.windows);
    watched.healthy_was_as_it_was();
    let (records, most) = put_back_records(&harness).await;
    let deliveries = 3 * WINDOWS * EACH;
    assert!(most <= 10 && records <= 4 * deliveries, "{records} records for {deliveries}, {most} of one");
    assert_eq!(most_put_backs_logged(&attempts), 1, "once a delivery");
    harness.life.shutdown().await.unwrap();
}
