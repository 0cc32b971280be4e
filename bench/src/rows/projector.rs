//! From a full topic to committed rows, the look-up of duplicates included.
//!
//! Limit: binary COPY of the same rows into the same table with the same indexes, in transactions of the same size, encoded before.

use std::time::{Duration, Instant};

use event::{Event, Micros};
use sqlx::postgres::PgPoolCopyExt;
use store::Store;

use super::{ROUNDS, Rounds, cpu_since};
use crate::{
    cpu,
    report::{Aim, Row},
    sample,
    world::{Bench, Filler, stored},
};

const EVENTS: usize = 40_000;
const PARTIES: usize = 1_000;
/// As many as the projector stores in one transaction.
const BATCH: usize = 2_000;
const PATIENCE: Duration = Duration::from_secs(60);
const COPY: &str = "copy events (sequence, identity, id_hash, registered, time, kafka_partition, kafka_offset, type, source, \
                    resource, subject, alternative_subject, instance, event) from stdin with (format binary)";
/// Microseconds from 1970 to 2000, where Postgres starts.
const EPOCH: i64 = 946_684_800_000_000;

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let events: Vec<Event> = (0..EVENTS)
        .map(|number| sample::event(sample::APP, "p", number, number % PARTIES))
        .collect::<Result<_, _>>()?;
    let mut rounds = Rounds::default();
    for round in 0..ROUNDS {
        let world = bench.world(&format!("copy{round}")).await?;
        let before = cpu::used();
        rounds.limit.push(copy(&world.store(), &events).await?);
        rounds.limit_cpu.push(cpu_since(before, EVENTS as f64));
        let (rate, cpu) = project(bench, &format!("project{round}"), &events).await?;
        rounds.ours.push(rate);
        rounds.ours_cpu.push(cpu);
    }
    Ok(vec![rounds.row("projector: full topic to rows", "events/s").aim(Aim::RatioAtLeast(0.7))])
}

/// Events a second and CPU seconds for 10,000, from the first batch that is there.
async fn project(bench: &Bench, name: &str, events: &[Event]) -> anyhow::Result<(f64, f64)> {
    let world = bench.world(name).await?;
    let mut filler = Filler::new(world.producer());
    for event in events {
        filler.event(event).await?;
    }
    filler.finish().await?;
    let store = world.store();
    let running = world.start("projector").await;
    stored(&store, 1, PATIENCE).await?;
    let (started, before) = (Instant::now(), cpu::used());
    let first = store.feed_head().await?.last.0;
    let all = i64::try_from(events.len())?;
    stored(&store, all, PATIENCE).await?;
    let count = (all - first) as f64;
    let figures = (count / started.elapsed().as_secs_f64(), cpu_since(before, count));
    running.stop().await;
    Ok(figures)
}

async fn copy(store: &Store, events: &[Event]) -> anyhow::Result<f64> {
    let registered = Micros::now();
    let mut rows = events.iter().zip(1_i64..).peekable();
    let mut batches = Vec::new();
    while rows.peek().is_some() {
        let mut bytes = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        for (event, sequence) in rows.by_ref().take(BATCH) {
            encode(event, sequence, registered, &mut bytes);
        }
        bytes.extend((-1_i16).to_be_bytes());
        batches.push(bytes);
    }
    let started = Instant::now();
    for batch in batches {
        let mut copy = store.pool().copy_in_raw(COPY).await?;
        copy.send(batch).await?;
        copy.finish().await?;
    }
    Ok(events.len() as f64 / started.elapsed().as_secs_f64())
}

fn encode(event: &Event, sequence: i64, registered: Micros, bytes: &mut Vec<u8>) {
    let time = event.time().map(|time| (time.0 - EPOCH).to_be_bytes());
    let subject = event.canonical_subject();
    let fields: [Option<&[u8]>; 14] = [
        Some(&sequence.to_be_bytes()),
        Some(&event.identity().0.to_be_bytes()),
        Some(&event.id_hash().to_be_bytes()),
        Some(&(registered.0 - EPOCH).to_be_bytes()),
        time.as_ref().map(<[u8; 8]>::as_slice),
        Some(&0_i32.to_be_bytes()),
        Some(&sequence.to_be_bytes()),
        Some(event.event_type().as_bytes()),
        Some(event.source().as_bytes()),
        Some(event.resource().as_bytes()),
        subject.as_deref().map(str::as_bytes),
        event.alternative_subject().map(str::as_bytes),
        event.resource_instance().map(str::as_bytes),
        Some(event.json().as_bytes()),
    ];
    bytes.extend(14_i16.to_be_bytes());
    for field in fields {
        let length = field.map_or(-1, |field| i32::try_from(field.len()).unwrap_or(i32::MAX));
        bytes.extend(length.to_be_bytes());
        bytes.extend(field.unwrap_or_default());
    }
}
