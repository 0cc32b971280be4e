//! Publishing, one by one and in batches, rights warm in the cache.
//!
//! Limits: the same HTTP server with a bare parse and the same acknowledgement; a bare producer with a window of 10,000.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, routing::post, serve::ListenerExt};
use event::{Event, topics};
use http::StatusCode;
use kafka_loop::{Outgoing, Producer};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{net::TcpListener, task::JoinSet};

use super::{ROUNDS, Rounds, cpu_since};
use crate::{
    cpu,
    figures::{median, quantile},
    load::{self, Requests},
    report::{Aim, Row},
    sample,
    world::{Bench, Filler, token},
};

const CONNECTIONS: usize = 64;
const BATCH_CONNECTIONS: usize = 32;
const BATCH: usize = 100;
const TIME: Duration = Duration::from_secs(3);
/// Long enough for the broker to have compiled what it does.
const WARM: Duration = Duration::from_secs(3);
/// Different events that are sent, round and round: identities cost ingest nothing.
const EVENTS: usize = 20_000;
const PARTIES: usize = 100;

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let world = bench.world("ingest").await?;
    let running = world.start("ingest").await;
    let (address, token) = (running.address(), token(&world));
    let bodies: Vec<String> =
        (0..EVENTS).map(|number| sample::json(sample::GENERIC, "i", number, number % PARTIES)).collect();
    let mut rows = one_by_one(address, world.producer(), &requests(&bodies, &token)).await?;
    rows.push(batches(address, world.producer(), &bodies, &token).await?);
    running.stop().await;
    Ok(rows)
}

fn requests(bodies: &[String], token: &str) -> Requests {
    let path = "/events/api/v1/events";
    let request = |body: &String| load::post(path, token, "application/cloudevents+json", body);
    Arc::new(bodies.iter().map(request).collect())
}

async fn one_by_one(
    address: SocketAddr,
    producer: Producer,
    requests: &Requests,
) -> anyhow::Result<Vec<Row>> {
    let mut servers = JoinSet::new();
    let bare = bare_server(producer, &mut servers).await?;
    for side in [bare, address] {
        load::as_fast_as_answered(side, requests, CONNECTIONS, WARM).await?;
    }
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        let before = cpu::used();
        let rate = load::as_fast_as_answered(bare, requests, CONNECTIONS, TIME).await?;
        rounds.limit_cpu.push(cpu_since(before, rate * TIME.as_secs_f64()));
        rounds.limit.push(rate);
        let before = cpu::used();
        let rate = load::as_fast_as_answered(address, requests, CONNECTIONS, TIME).await?;
        rounds.ours_cpu.push(cpu_since(before, rate * TIME.as_secs_f64()));
        rounds.ours.push(rate);
    }
    let half = median(&rounds.limit) / 2.0;
    let (mut ours, mut limit) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        limit.push(quantile(&load::at_a_rate(bare, requests, (CONNECTIONS, half), TIME).await?, 0.99));
        ours.push(quantile(&load::at_a_rate(address, requests, (CONNECTIONS, half), TIME).await?, 0.99));
    }
    Ok(vec![
        rounds.row("publish one by one, 64 connections", "events/s").aim(Aim::RatioAtLeast(0.5)),
        Row::beside("publish one by one at half of the limit's rate, p99", "ms", &ours, &limit)
            .aim(Aim::AtMost(10.0)),
    ])
}

/// What a publisher sends, at its barest.
#[derive(Deserialize)]
struct Bare<'a> {
    #[serde(borrow)]
    subject: &'a str,
    #[serde(borrow, rename = "data")]
    _data: &'a RawValue,
}

async fn bare_server(producer: Producer, servers: &mut JoinSet<()>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap_or_default());
    let routes = Router::new().route("/events/api/v1/events", post(bare)).with_state(producer);
    servers.spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            eprintln!("bench: the bare server stopped: {error}");
        }
    });
    Ok(address)
}

async fn bare(State(producer): State<Producer>, body: Bytes) -> StatusCode {
    let Ok(event) = serde_json::from_slice::<Bare<'_>>(&body) else { return StatusCode::BAD_REQUEST };
    let out = Outgoing {
        topic: topics::EVENTS,
        partition: None,
        key: event.subject.as_bytes(),
        value: &body,
        headers: &[],
    };
    match producer.send(out).await {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn batches(
    address: SocketAddr,
    producer: Producer,
    bodies: &[String],
    token: &str,
) -> anyhow::Result<Row> {
    let (path, media_type) = ("/events/api/v1/events", "application/cloudevents-batch+json");
    let request = |batch: &[String]| load::post(path, token, media_type, &format!("[{}]", batch.join(",")));
    let requests: Requests = Arc::new(bodies.chunks(BATCH).map(request).collect());
    let events: Vec<Event> = bodies
        .iter()
        .map(|body| Event::parse(body.as_bytes()).map_err(|wrong| anyhow::anyhow!("{wrong}")))
        .collect::<Result<_, _>>()?;
    let records: Vec<(String, &str)> = events.iter().map(|event| (event.kafka_key(), event.json())).collect();
    load::as_fast_as_answered(address, &requests, BATCH_CONNECTIONS, WARM).await?;
    bare_producer(&producer, &records, WARM).await?;
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        let before = cpu::used();
        let rate = bare_producer(&producer, &records, TIME).await?;
        rounds.limit_cpu.push(cpu_since(before, rate * TIME.as_secs_f64()));
        rounds.limit.push(rate);
        let before = cpu::used();
        let rate =
            load::as_fast_as_answered(address, &requests, BATCH_CONNECTIONS, TIME).await? * BATCH as f64;
        rounds.ours_cpu.push(cpu_since(before, rate * TIME.as_secs_f64()));
        rounds.ours.push(rate);
    }
    Ok(rounds.row("publish in batches of 100, 32 connections", "events/s").aim(Aim::RatioAtLeast(0.4)))
}

async fn bare_producer(
    producer: &Producer,
    records: &[(String, &str)],
    time: Duration,
) -> anyhow::Result<f64> {
    let (mut filler, mut sent) = (Filler::new(producer.clone()), 0_usize);
    let started = Instant::now();
    for (key, value) in records.iter().cycle() {
        let out = Outgoing {
            topic: topics::EVENTS,
            partition: None,
            key: key.as_bytes(),
            value: value.as_bytes(),
            headers: &[("content-type", b"application/cloudevents+json")],
        };
        filler.append(out).await?;
        sent += 1;
        if sent.is_multiple_of(1_000) && started.elapsed() > time {
            break;
        }
    }
    filler.finish().await?;
    Ok(sent as f64 / started.elapsed().as_secs_f64())
}
