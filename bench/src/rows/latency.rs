//! From the publish of one event to its 2xx, to a waiting reader of the feed, and to its webhook: all services in this process, at
//! a rate far below what they can do. And the webhooks of healthy endpoints while 10 of 100 do not answer.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::task::JoinSet;

use crate::{
    figures::quantile,
    load::{self, Connection},
    report::{Aim, Row},
    sample,
    sink::{ENDPOINTS, Sink},
    world::{Bench, subscribe, token},
};

const CONNECTIONS: usize = 8;
const ROUNDS: usize = 3;
const TIME: Duration = Duration::from_secs(12);
/// Nobody looks at these.
const WARM: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(20);
const HANGING: usize = 10;

/// When each event of a round got where, in microseconds from the round's start; 0 is never.
struct Trace {
    run: String,
    started: Instant,
    events: Vec<[AtomicU64; 4]>,
}

#[derive(Clone, Copy)]
enum Step {
    Sent,
    Answered,
    InFeed,
    AtWebhook,
}

impl Trace {
    fn new(run: String, events: usize) -> Arc<Self> {
        let events = (0..events).map(|_| Default::default()).collect();
        Arc::new(Self { run, started: Instant::now(), events })
    }

    fn mark(&self, number: usize, step: Step) {
        let now = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let Some(place) = self.events.get(number).and_then(|event| event.get(step as usize)) {
            // The first time counts.
            place.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).unwrap_or_default();
        }
    }

    fn at(&self, number: usize, step: Step) -> u64 {
        let place = self.events.get(number).and_then(|event| event.get(step as usize));
        place.map_or(0, |place| place.load(Ordering::Relaxed))
    }

    /// Milliseconds from the publish to a step, of the events to endpoints from `endpoint` on.
    fn times(&self, step: Step, endpoint: usize) -> Vec<f64> {
        (0..self.events.len())
            .filter(|number| number % ENDPOINTS >= endpoint)
            .map(|number| self.at(number, step).saturating_sub(self.at(number, Step::Sent)) as f64 / 1_000.0)
            .collect()
    }

    fn missing(&self, step: Step, endpoint: usize) -> usize {
        (0..self.events.len())
            .filter(|number| number % ENDPOINTS >= endpoint && self.at(*number, step) == 0)
            .count()
    }
}

struct Setting {
    address: SocketAddr,
    token: String,
    sink: Sink,
}

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (world, sink) = (bench.world("latency").await?, Sink::start().await?);
    subscribe(&world, &sink).await?;
    let running = world.start(platform_tests::world::ALL).await;
    let setting = Setting { address: running.address(), token: token(&world), sink };
    setting.round("warm", 200, WARM, 0).await?;
    let slow = vec![setting.round("slow", 50, TIME, 0).await?];
    let (mut healthy, mut hanging) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        healthy.push(setting.round(&format!("all{round}"), 200, TIME, 0).await?);
        hanging.push(setting.round(&format!("hang{round}"), 200, TIME, HANGING).await?);
    }
    running.stop().await;
    let mut rows = rows_at(50, &slow);
    rows.extend(rows_at(200, &healthy));
    let p99 = |traces: &[Arc<Trace>]| -> Vec<f64> {
        traces.iter().map(|trace| quantile(&trace.times(Step::AtWebhook, HANGING), 0.99)).collect()
    };
    rows.push(
        Row::beside(
            "healthy endpoints while 10 of 100 hang, 200/s, p99",
            "ms",
            &p99(&hanging),
            &p99(&healthy),
        )
        .aim(Aim::RatioAtMost(1.1)),
    );
    Ok(rows)
}

fn rows_at(rate: usize, traces: &[Arc<Trace>]) -> Vec<Row> {
    let steps =
        [("2xx", Step::Answered), ("waiting feed reader", Step::InFeed), ("webhook", Step::AtWebhook)];
    let mut rows = Vec::new();
    for (name, step) in steps {
        for (quantile_name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let rounds: Vec<f64> =
                traces.iter().map(|trace| quantile(&trace.times(step, 0), share)).collect();
            let row = Row::alone(format!("publish → {name}, {rate}/s, {quantile_name}"), "ms", &rounds);
            rows.push(match (rate, step, quantile_name) {
                (200, Step::AtWebhook, "p50") => row.aim(Aim::AtMost(5.0)),
                (200, Step::AtWebhook, "p99") => row.aim(Aim::AtMost(20.0)),
                (200, Step::InFeed, "p50") => row.aim(Aim::AtMost(30.0)),
                (200, Step::InFeed, "p99") => row.aim(Aim::AtMost(60.0)),
                _ => row,
            });
        }
    }
    rows
}

impl Setting {
    /// Publishes at a rate while a reader waits at the feed and the first so many endpoints hang.
    async fn round(
        &self,
        run: &str,
        rate: usize,
        time: Duration,
        hanging: usize,
    ) -> anyhow::Result<Arc<Trace>> {
        let mut reader = Connection::open(self.address).await?;
        let cursor = self.newest(&mut reader).await?;
        self.sink.hang(hanging);
        let trace = Trace::new(run.to_owned(), rate * usize::try_from(time.as_secs())?);
        let at_sink = Arc::clone(&trace);
        self.sink.listen(move |body| {
            if let Some(number) = sample::number_in(body, &at_sink.run) {
                at_sink.mark(number, Step::AtWebhook);
            }
        });
        let (mut reading, mut publishing) = (JoinSet::new(), JoinSet::new());
        reading.spawn(read(reader, self.token.clone(), cursor, Arc::clone(&trace)));
        for worker in 0..CONNECTIONS {
            publishing.spawn(publish(self.address, self.token.clone(), Arc::clone(&trace), (worker, rate)));
        }
        while let Some(worker) = publishing.join_next().await {
            worker??;
        }
        let end = Instant::now() + PATIENCE;
        loop {
            let missing = (trace.missing(Step::InFeed, 0), trace.missing(Step::AtWebhook, hanging));
            if missing == (0, 0) {
                break;
            }
            anyhow::ensure!(Instant::now() < end, "{run}: missing in feed and at webhooks: {missing:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Lets those go that hang; they are through before the next round starts.
        self.sink.hang(0);
        while trace.missing(Step::AtWebhook, 0) > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(trace)
    }

    /// The cursor at the end of the feed.
    async fn newest(&self, reader: &mut Connection) -> anyhow::Result<String> {
        let mut cursor = "0".to_owned();
        loop {
            let answer = reader.ask(&feed_request(&cursor, 0, &self.token)).await?.successful()?;
            answer.header("feed-cursor").context("a page has a cursor")?.clone_into(&mut cursor);
            if answer.body == "[]" {
                return Ok(cursor);
            }
        }
    }
}

fn feed_request(cursor: &str, wait: u32, token: &str) -> Vec<u8> {
    let resource = sample::GENERIC;
    let path = format!("/events/api/v1/events?resource={resource}&after={cursor}&size=1000&wait={wait}");
    load::get(&path, token)
}

async fn read(
    mut reader: Connection,
    token: String,
    mut cursor: String,
    trace: Arc<Trace>,
) -> anyhow::Result<()> {
    while trace.missing(Step::InFeed, 0) > 0 {
        let answer = reader.ask(&feed_request(&cursor, 30, &token)).await?.successful()?;
        answer.header("feed-cursor").context("a page has a cursor")?.clone_into(&mut cursor);
        for event in answer.body.split("\"specversion\"").skip(1) {
            if let Some(number) = sample::number_in(event, &trace.run) {
                trace.mark(number, Step::InFeed);
            }
        }
    }
    Ok(())
}

async fn publish(
    address: SocketAddr,
    token: String,
    trace: Arc<Trace>,
    (worker, rate): (usize, usize),
) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await?;
    for number in (worker..trace.events.len()).step_by(CONNECTIONS) {
        let event = sample::json(sample::GENERIC, &trace.run, number, number % ENDPOINTS);
        let request = load::post("/events/api/v1/events", &token, "application/cloudevents+json", &event);
        let turn = trace.started + Duration::from_secs_f64(number as f64 / rate as f64);
        tokio::time::sleep_until(turn.into()).await;
        trace.mark(number, Step::Sent);
        connection.ask(&request).await?.successful()?;
        trace.mark(number, Step::Answered);
    }
    Ok(())
}
