//! Partitions made ahead, closed by age, dropped when expired; filters of closed partitions; tombstones.
//!
//! Every step is tried in every round, whatever became of the others: a filter that cannot be loaded must not keep expired
//! partitions alive. Many projectors may do this at the same time.

use std::future::Future;

use event::Micros;
use service::telemetry::chain;
use store::{Absent, Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{config::Config, metrics::Metrics};

/// Runs a round now and then until `stop`. A step that fails is counted and tried again in the next round.
///
/// # Errors
/// Never; the signature is that of a part.
pub async fn run(
    config: Config,
    store: Store,
    metrics: Metrics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let rounds = async {
        loop {
            Box::pin(round(&config, &store, &metrics)).await;
            tokio::time::sleep(config.housekeeping).await;
        }
    };
    stop.run_until_cancelled(rounds).await.unwrap_or(Ok(()))
}

async fn round(config: &Config, store: &Store, metrics: &Metrics) {
    let now = Micros::now();
    step(metrics, "partitions ahead", store.ensure_partitions()).await;
    let closed = step(metrics, "closing by age", store.close_old_partition(now, config.partition_age)).await;
    if closed == Some(true) {
        tracing::info!("a partition of events was closed because of its age");
    }
    let dropped = step(metrics, "expired partitions", store.drop_expired(now, config.retention)).await;
    if let Some(dropped) = dropped.filter(|dropped| *dropped > 0) {
        tracing::info!(dropped, "expired partitions of events were dropped");
    }
    let days = store.drop_expired_days(config.attempts_retention, config.dead_retention);
    step(metrics, "expired days", days).await;
    step(metrics, "expired tombstones", store.purge_tombstones()).await;
    step(metrics, "old refusals", store.purge_refusals()).await;
    step(metrics, "dispatchers that are gone", store.purge_dispatchers()).await;
    while step(metrics, "filters of closed partitions", store.load_next_filter(Absent::Make)).await
        == Some(true)
    {}
}

async fn step<T>(
    metrics: &Metrics,
    name: &'static str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Option<T> {
    match work.await {
        Ok(done) => Some(done),
        Err(error) => {
            metrics.housekeeping_failed.inc();
            tracing::warn!(
                step = name,
                error = chain(&error),
                "a step of housekeeping failed and is tried again"
            );
            None
        }
    }
}
