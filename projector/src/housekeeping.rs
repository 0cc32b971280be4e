//! Partitions made ahead, closed by age, dropped when expired; filters of closed partitions; tombstones.

use event::Micros;
use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{config::Config, metrics::Metrics};

/// Runs a round now and then until `stop`. A round that fails is counted and tried again.
///
/// # Errors
/// Never; the signature is that of a part.
pub async fn run(
    config: Config,
    store: Store,
    metrics: Metrics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            done = round(&config, &store) => {
                if let Err(error) = done {
                    metrics.housekeeping_failed.inc();
                    tracing::warn!(error = format!("{:#}", anyhow::Error::new(error)), "housekeeping failed and is tried again");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(config.housekeeping) => {}
        }
    }
}

async fn round(config: &Config, store: &Store) -> Result<(), StoreError> {
    store.ensure_partitions().await?;
    let now = Micros::now();
    if store.close_old_partition(now, config.partition_age).await? {
        tracing::info!("a partition of events was closed because of its age");
    }
    while store.load_closed_identities().await? {}
    let dropped = store.drop_expired(now, config.retention).await?;
    if dropped > 0 {
        tracing::info!(dropped, "expired partitions of events were dropped");
    }
    store.drop_expired_days(config.attempts_retention, config.dead_retention).await?;
    store.purge_tombstones().await?;
    Ok(())
}
