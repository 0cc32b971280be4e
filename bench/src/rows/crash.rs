//! `kill -9` of the dispatcher in the middle of 20,000 deliveries, and its restart at once.

use std::time::{Duration, Instant};

use event::topics;
use kafka_loop::{admin, groups};
use platform_tests::process::Process;

use super::ROUNDS;
use crate::{
    report::{Aim, Row},
    sample,
    sink::{ENDPOINTS, Sink},
    world::{Bench, Filler, subscribe},
};

const DELIVERIES: usize = 20_000;
/// Sends on their way at most (PUSH_IN_FLIGHT).
const IN_FLIGHT: f64 = 512.0;
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (world, sink) = (bench.world("crash").await?, Sink::start().await?);
    let subscriptions = subscribe(&world, &sink).await?;
    let (mut lost, mut repeated, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut filler = Filler::new(world.producer());
        for (number, subscription) in (0..DELIVERIES).zip(subscriptions.iter().cycle()) {
            let event = sample::event(sample::GENERIC, &format!("k{round}"), number, number % ENDPOINTS)?;
            filler.delivery(subscription, &event).await?;
        }
        filler.finish().await?;
        sink.clear();
        let mut process = Process::start(&world, "dispatcher").await;
        sink.until(DELIVERIES / 2, PATIENCE).await?;
        process.kill();
        let before = sink.seen().deliveries.len();
        anyhow::ensure!(before < DELIVERIES, "all deliveries were through before the kill");
        let restarted = Instant::now();
        process.restart(&world);
        // What never comes is counted, not waited for.
        sink.until(DELIVERIES, PATIENCE).await.unwrap_or_else(|error| eprintln!("bench: {error}"));
        let end = Instant::now() + PATIENCE;
        while admin::lag(&world.kafka(), groups::PUSH, topics::DELIVERIES).await? > 0 && Instant::now() < end
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        process.terminate().await;
        let seen = sink.seen();
        lost.push((DELIVERIES - seen.deliveries.len()) as f64);
        repeated.push((seen.requests - seen.deliveries.len()) as f64);
        seconds.push(seen.last_new.map_or(0.0, |last| last.duration_since(restarted).as_secs_f64()));
    }
    Ok(vec![
        Row::alone("kill -9 at half of 20,000 deliveries: lost", "deliveries", &lost).aim(Aim::AtMost(0.0)),
        Row::alone("kill -9: repeated", "deliveries", &repeated).aim(Aim::AtMost(IN_FLIGHT)),
        Row::alone("kill -9: from the restart to the last", "s", &seconds).aim(Aim::AtMost(10.0)),
    ])
}
