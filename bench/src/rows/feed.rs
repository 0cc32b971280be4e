//! Pages of 100: eight readers of party feeds and eight of an app's feed, each walking its feed from its start, again and again.
//!
//! Limit: the same walks as bare SQL through a pool of the same size.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use platform_tests::world::World;
use sqlx::Row as _;
use store::Store;
use tokio::task::JoinSet;

use super::{ROUNDS, Rounds, cpu_since};
use crate::{
    cpu,
    load::{self, Connection},
    report::{Aim, Row},
    sample::{self, FIRST_PARTY},
    world::{Bench, Filler, stored, token},
};

const READERS: usize = 16;
const PARTIES: usize = 20;
const EVENTS: usize = 20_000;
const PAGE: i64 = 100;
const TIME: Duration = Duration::from_secs(3);
const WARM: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut world = bench.world("feed").await?;
    // All readers are one caller here.
    world.set("READS_PER_SECOND_PER_CALLER", "1000000");
    fill(&world).await?;
    let (store, token) = (Arc::new(world.store()), token(&world));
    let warm = Box::pin(both(&world, &store, &token, WARM)).await?;
    // A permit that counts for a millisecond is cold at every page.
    world.set("PERMIT_TTL_MS", "1");
    let cold = Box::pin(both(&world, &store, &token, Duration::from_millis(500))).await?;
    Ok(vec![
        warm.row("feed: pages of 100, 16 readers", "pages/s").aim(Aim::RatioAtLeast(0.5)),
        cold.row("feed: the same, every page asks the PDP", "pages/s"),
    ])
}

async fn fill(world: &World) -> anyhow::Result<()> {
    let running = world.start("projector").await;
    let mut filler = Filler::new(world.producer());
    for number in 0..EVENTS {
        filler.event(&sample::event(sample::APP, "f", number, number / 4 % PARTIES)?).await?;
    }
    filler.finish().await?;
    stored(&world.store(), i64::try_from(EVENTS)?, PATIENCE).await?;
    running.stop().await;
    // As after a while in production.
    world.store().execute_for_test("vacuum analyze events".to_owned()).await?;
    Ok(())
}

async fn both(world: &World, store: &Arc<Store>, token: &str, warm: Duration) -> anyhow::Result<Rounds> {
    let running = world.start("query-api").await;
    let address = running.address();
    over_http(address, token, warm).await?;
    over_sql(store, Duration::from_millis(500)).await?;
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        let before = cpu::used();
        let rate = over_sql(store, TIME).await?;
        rounds.limit_cpu.push(cpu_since(before, rate * TIME.as_secs_f64()));
        rounds.limit.push(rate);
        let before = cpu::used();
        let rate = over_http(address, token, TIME).await?;
        rounds.ours_cpu.push(cpu_since(before, rate * TIME.as_secs_f64()));
        rounds.ours.push(rate);
    }
    running.stop().await;
    Ok(rounds)
}

fn party(reader: usize) -> Option<usize> {
    reader.is_multiple_of(2).then_some(FIRST_PARTY + reader % PARTIES)
}

async fn over_http(address: SocketAddr, token: &str, time: Duration) -> anyhow::Result<f64> {
    let (started, mut readers) = (Instant::now(), JoinSet::new());
    for reader in 0..READERS {
        let token = token.to_owned();
        let first = match party(reader) {
            Some(party) => format!("/events/api/v1/app/party?party={party}&after=0&size={PAGE}"),
            None => format!("/events/api/v1/app/ttd/apps-test?after=0&size={PAGE}"),
        };
        readers.spawn(async move {
            let (mut connection, mut path, mut pages) = (Connection::open(address).await?, first.clone(), 0);
            while started.elapsed() < time {
                let answer = connection.ask(&load::get(&path, &token)).await?.successful()?;
                if answer.body == "[]" {
                    path.clone_from(&first);
                    continue;
                }
                pages += 1;
                let next = answer.header("next").context("a page without `next`")?;
                let at = next.find("/events").context("`next` has a path")?;
                next.get(at..).unwrap_or_default().clone_into(&mut path);
            }
            anyhow::Ok(pages)
        });
    }
    pages_a_second(readers, started).await
}

const BY_SUBJECT: &str = "select sequence, registered, event from events where subject = $1 and sequence > $2 order by sequence limit $3";
const BY_RESOURCE: &str = "select sequence, registered, event from events where resource = $1 and sequence > $2 order by sequence limit $3";

async fn over_sql(store: &Arc<Store>, time: Duration) -> anyhow::Result<f64> {
    let (started, mut readers) = (Instant::now(), JoinSet::new());
    for reader in 0..READERS {
        let store = Arc::clone(store);
        let (statement, key) = match party(reader) {
            Some(party) => (BY_SUBJECT, format!("/party/{party}")),
            None => (BY_RESOURCE, sample::APP.to_owned()),
        };
        readers.spawn(async move {
            let (mut after, mut pages) = (0_i64, 0);
            while started.elapsed() < time {
                let query = sqlx::query(statement).bind(&key).bind(after).bind(PAGE);
                let rows = query.fetch_all(store.pool()).await?;
                let mut bytes = 0;
                for row in &rows {
                    after = row.try_get(0)?;
                    bytes += row.try_get::<&str, _>(2)?.len();
                }
                if bytes == 0 {
                    after = 0;
                } else {
                    pages += 1;
                }
            }
            anyhow::Ok(pages)
        });
    }
    pages_a_second(readers, started).await
}

async fn pages_a_second(
    mut readers: JoinSet<anyhow::Result<usize>>,
    started: Instant,
) -> anyhow::Result<f64> {
    let mut pages = 0;
    while let Some(reader) = readers.join_next().await {
        pages += reader??;
    }
    Ok(pages as f64 / started.elapsed().as_secs_f64())
}
