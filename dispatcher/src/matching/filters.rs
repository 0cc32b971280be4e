//! Keeps the filters of closed partitions loaded, so that a batch of events is looked up in the newest partition only. They are
//! made and stored by the projector; what is not stored yet is looked up.

use std::{sync::Arc, time::Duration};

use store::{Absent, Store};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(10);

/// Loads until `stop`. A look that fails is made again.
///
/// # Errors
/// Never; the signature is that of a part.
pub(crate) async fn keep(store: Store, metrics: Arc<Metrics>, stop: CancellationToken) -> anyhow::Result<()> {
    let rounds = async {
        loop {
            let loaded = store.load_next_filter(Absent::Wait).await;
            if let Err(error) = &loaded {
                tracing::debug!(%error, "the filters of closed partitions are not to be had");
            }
            metrics.filters.set(i64::try_from(store.filters_loaded()).unwrap_or(i64::MAX));
            if !matches!(loaded, Ok(true)) {
                tokio::time::sleep(EVERY).await;
            }
        }
    };
    stop.run_until_cancelled(rounds).await.unwrap_or(Ok(()))
}
