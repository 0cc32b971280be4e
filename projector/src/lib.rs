//! Kafka → Postgres.
//!
//! In the order a record meets them: [`decode`] reads it, [`reject`] parks what can never be stored, [`projection`] turns a batch
//! into one transaction, [`kinds`] says what the rows of each topic are. [`housekeeping`] makes and drops partitions, [`lag`]
//! says how far we are behind.
//!
//! Rows and positions are written in the same transaction, so every event is stored exactly once, and a projector that lost its
//! partition without knowing fails instead of writing twice.

use anyhow::Context;
use kafka_loop::{BatchOptions, KafkaSettings, Producer, groups, run_batches};
use service::{
    lifecycle::{Lifecycle, Stage},
    prometheus::Registry,
};
use store::Store;

use crate::{
    kinds::{Attempts, Dead, Events},
    projection::{Kind, Projection},
};

pub mod config;
pub mod decode;
pub mod housekeeping;
pub mod kinds;
pub mod lag;
pub mod metrics;
pub mod positions;
pub mod projection;
pub mod reject;

pub use config::Config;

/// A batch takes milliseconds, and every statement has an end (`store`): beyond this a call never returns.
const STALLED: std::time::Duration = std::time::Duration::from_secs(180);
pub use metrics::Metrics;

/// What the projector works with.
pub struct Needs<'a> {
    /// Where the log is.
    pub kafka: &'a KafkaSettings,
    /// Where the rows go.
    pub store: Store,
    /// Where rejected records go.
    pub producer: Producer,
    /// Where its series are registered.
    pub registry: &'a Registry,
    /// What its parts live in.
    pub life: &'a Lifecycle,
}

/// Starts the three loops, the housekeeping and the watch on the lag.
///
/// # Errors
/// When a metric is registered twice.
pub fn start(config: Config, needs: Needs<'_>) -> anyhow::Result<()> {
    let metrics =
        Metrics::register(needs.registry).context("the projector's metrics cannot be registered")?;
    spawn::<Events>(&config, &needs, &metrics, ("projector of events", groups::PROJECTOR));
    spawn::<Attempts>(&config, &needs, &metrics, ("projector of attempts", groups::ATTEMPTS));
    spawn::<Dead>(&config, &needs, &metrics, ("projector of dead letters", groups::DEAD));
    let Needs { kafka, store, life, .. } = needs;
    let (lag_store, lag_metrics, kafka) = (store.clone(), metrics.clone(), kafka.clone());
    life.spawn(Stage::Loops, "projector lag", move |stop| lag::watch(kafka, lag_store, lag_metrics, stop));
    life.spawn(Stage::Loops, "projector housekeeping", move |stop| {
        housekeeping::run(config, store, metrics, stop)
    });
    Ok(())
}

fn spawn<K: Kind>(
    config: &Config,
    needs: &Needs<'_>,
    metrics: &Metrics,
    (name, group): (&'static str, &'static str),
) {
    let options = BatchOptions {
        group,
        topic: K::TOPIC,
        max_records: config.batch_records,
        max_bytes: config.batch_bytes,
        max_wait: config.batch_wait,
        stalled_after: STALLED,
    };
    let projection = Projection::<K>::new(needs.store.clone(), needs.producer.clone(), metrics.clone());
    let kafka = needs.kafka.clone();
    needs.life.spawn(Stage::Loops, name, move |stop| async move {
        run_batches(&kafka, &options, projection, stop).await.map_err(anyhow::Error::new)
    });
}
