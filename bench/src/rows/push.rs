//! Deliveries from a full topic to a sink with 100 endpoints: from `deliveries`, and the whole way from `events`.
//!
//! Limit: a bare client that sends the same requests with as many on their way. The dispatcher runs in this process for the rates,
//! where both sides share the machine in the same way, and as a child process for its CPU seconds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use event::{Event, Subscription};
use platform_tests::{process::Process, world::World};
use tokio::task::JoinSet;

use super::{ROUNDS, Rounds, cpu_since};
use crate::{
    cpu,
    report::{Aim, Row},
    sample,
    sink::{ENDPOINTS, Sink},
    world::{Bench, Filler, subscribe},
};

const DELIVERIES: usize = 20_000;
/// As many as the dispatcher has on their way, and to one endpoint (PUSH_IN_FLIGHT, PUSH_IN_FLIGHT_PER_ENDPOINT).
const IN_FLIGHT: usize = 512;
const IN_FLIGHT_PER_ENDPOINT: usize = 32;
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the dispatcher finds its work.
#[derive(Clone, Copy)]
enum From {
    Deliveries,
    Events,
}

struct Setting {
    world: World,
    sink: Sink,
    subscriptions: Vec<Subscription>,
}

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (world, sink) = (bench.world("push").await?, Sink::start().await?);
    let subscriptions = subscribe(&world, &sink).await?;
    let mut setting = Setting { world, sink, subscriptions };
    // The broker compiles what it does often.
    setting.here(From::Events, &events("warm")?).await?;
    let (mut stage, mut whole) = (Rounds::default(), Rounds::default());
    for round in 0..ROUNDS {
        let events = events(&format!("s{round}"))?;
        let (rate, cpu) = setting.bare(&events).await?;
        for rounds in [&mut stage, &mut whole] {
            rounds.limit.push(rate);
            rounds.limit_cpu.push(cpu);
        }
        let (rate, cpu) = setting.here(From::Deliveries, &events).await?;
        stage.ours.push(rate);
        stage.ours_cpu.push(cpu);
        let (rate, cpu) = setting.here(From::Events, &self::events(&format!("w{round}"))?).await?;
        whole.ours.push(rate);
        whole.ours_cpu.push(cpu);
    }
    let mut services = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for (at, from) in [From::Deliveries, From::Events].into_iter().enumerate() {
            let used = setting.beside(from, &events(&format!("c{at}{round}"))?).await?;
            services.get_mut(at).context("there are two")?.push(used);
        }
    }
    let [of_stage, of_whole] = services;
    // A permit that counts for a millisecond is cold at every delivery.
    setting.world.set("PERMIT_TTL_MS", "1");
    let cold = setting.here(From::Deliveries, &events("cold")?).await?;
    let cpu = |name, rounds: &[f64]| Row::alone(name, "CPU s per 10,000", rounds).aim(Aim::AtMost(2.0));
    Ok(vec![
        stage.row("push: full `deliveries` to the sink", "deliveries/s").aim(Aim::RatioAtLeast(0.4)),
        whole.row("push: full `events` to the sink", "deliveries/s").aim(Aim::RatioAtLeast(0.15)),
        cpu("push: the dispatcher, from `deliveries`", &of_stage),
        cpu("push: the dispatcher, from `events`", &of_whole),
        Row::alone("push: full `deliveries`, every one asks the PDP", "deliveries/s", &[cold.0]),
    ])
}

fn events(run: &str) -> anyhow::Result<Vec<Event>> {
    (0..DELIVERIES).map(|number| sample::event(sample::GENERIC, run, number, number % ENDPOINTS)).collect()
}

impl Setting {
    async fn fill(&self, from: From, events: &[Event]) -> anyhow::Result<()> {
        let mut filler = Filler::new(self.world.producer());
        for (event, subscription) in events.iter().zip(self.subscriptions.iter().cycle()) {
            match from {
                From::Events => filler.event(event).await?,
                From::Deliveries => filler.delivery(subscription, event).await?,
            }
        }
        filler.finish().await
    }

    /// The dispatcher in this process: deliveries a second, and CPU seconds of everything.
    async fn here(&self, from: From, events: &[Event]) -> anyhow::Result<(f64, f64)> {
        self.fill(from, events).await?;
        self.sink.clear();
        let before = cpu::used();
        let running = self.world.start("dispatcher").await;
        self.sink.until(events.len(), PATIENCE).await?;
        let figures = (self.sink.rate(), cpu_since(before, events.len() as f64));
        running.stop().await;
        Ok(figures)
    }

    /// The dispatcher beside this process: its own CPU seconds for 10,000, start and group join included.
    async fn beside(&self, from: From, events: &[Event]) -> anyhow::Result<f64> {
        self.fill(from, events).await?;
        self.sink.clear();
        let mut process = Process::start(&self.world, "dispatcher").await;
        self.sink.until(events.len(), PATIENCE).await?;
        let used = cpu::used().services / events.len() as f64 * 10_000.0;
        process.terminate().await;
        Ok(used)
    }

    /// The same requests from a bare client.
    async fn bare(&self, events: &[Event]) -> anyhow::Result<(f64, f64)> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(IN_FLIGHT_PER_ENDPOINT)
            .build()?;
        let requests: Vec<(String, String, Bytes)> = events
            .iter()
            .zip(self.subscriptions.iter().cycle())
            .map(|(event, subscription)| {
                let delivery = sample::delivery(subscription, event).delivery.to_string();
                (subscription.endpoint.clone(), delivery, Bytes::copy_from_slice(event.json().as_bytes()))
            })
            .collect();
        self.sink.clear();
        let before = cpu::used();
        let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
        let mut workers = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (client, requests, next) = (client.clone(), Arc::clone(&requests), Arc::clone(&next));
            workers.spawn(async move {
                while let Some((url, delivery, body)) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let request = client
                        .post(url)
                        .header("content-type", "application/json; charset=utf-8")
                        .header("webhook-id", delivery)
                        .header("webhook-timestamp", "1772366400")
                        .body(body.clone());
                    request.send().await?.error_for_status()?.bytes().await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(worker) = workers.join_next().await {
            worker??;
        }
        Ok((self.sink.rate(), cpu_since(before, events.len() as f64)))
    }
}
