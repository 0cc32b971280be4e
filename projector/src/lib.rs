//! Kafka → Postgres.
//!
//! In the order a record meets them: [`decode`] reads it, [`project`] turns a batch into one transaction, [`reject`] parks what
//! can never be stored. [`history`] does the same for attempts and dead letters, [`housekeeping`] makes and drops partitions.
//!
//! Rows and positions are written in the same transaction, so every event is stored exactly once, and a projector that lost its
//! partition without knowing fails instead of writing twice.

use anyhow::Context;
use event::topics;
use kafka_loop::{BatchOptions, KafkaSettings, Producer, groups, run_batches};
use service::{
    lifecycle::{Lifecycle, Stage},
    prometheus::Registry,
};
use store::Store;

pub mod config;
pub mod decode;
pub mod history;
pub mod housekeeping;
pub mod metrics;
pub mod positions;
pub mod project;
pub mod reject;

pub use config::Config;
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

/// Starts the three loops and the housekeeping.
///
/// # Errors
/// When a metric is registered twice.
pub fn start(
    config: Config,
    Needs { kafka, store, producer, registry, life }: Needs<'_>,
) -> anyhow::Result<()> {
    let metrics = Metrics::register(registry).context("the projector's metrics cannot be registered")?;
    let events = project::Events::new(store.clone(), producer, metrics.clone());
    let options = |group, topic| BatchOptions {
        group,
        topic,
        max_records: config.batch_records,
        max_bytes: config.batch_bytes,
        max_wait: config.batch_wait,
    };
    spawn(life, kafka, "projector of events", options(groups::PROJECTOR, topics::EVENTS), events);
    let attempts = history::Attempts::new(store.clone(), metrics.clone());
    spawn(life, kafka, "projector of attempts", options(groups::ATTEMPTS, topics::ATTEMPTS), attempts);
    let dead = history::Dead::new(store.clone(), metrics.clone());
    spawn(life, kafka, "projector of dead letters", options(groups::DEAD, topics::DEAD), dead);
    life.spawn(Stage::Loops, "projector housekeeping", move |stop| {
        housekeeping::run(config, store, metrics, stop)
    });
    Ok(())
}

fn spawn(
    life: &Lifecycle,
    kafka: &KafkaSettings,
    name: &'static str,
    options: BatchOptions,
    handler: impl kafka_loop::BatchHandler,
) {
    let kafka = kafka.clone();
    life.spawn(Stage::Loops, name, move |stop| async move {
        run_batches(&kafka, &options, handler, stop).await.map_err(anyhow::Error::new)
    });
}
