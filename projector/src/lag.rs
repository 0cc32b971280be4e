//! How far the projector is behind: records of each topic that no projector has stored yet, whoever owns their partitions.

use std::{collections::BTreeMap, time::Duration};

use event::topics;
use kafka_loop::{KafkaSettings, admin};
use store::Store;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// The topics that are projected.
pub const TOPICS: [&str; 3] = [topics::EVENTS, topics::ATTEMPTS, topics::DEAD];
/// Time between two looks, and the longest one.
const EVERY: Duration = Duration::from_secs(10);

/// Looks until `stop`. After a look that fails there is no value: nobody knows it.
///
/// # Errors
/// Never; the signature is that of a part.
pub async fn watch(
    kafka: KafkaSettings,
    store: Store,
    metrics: Metrics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let looking = async {
        loop {
            for topic in TOPICS {
                let look = tokio::time::timeout(EVERY, lag(&kafka, &store, topic)).await;
                show(&metrics, topic, look.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time"))));
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    stop.run_until_cancelled(looking).await.unwrap_or(Ok(()))
}

fn show(metrics: &Metrics, topic: &str, lag: anyhow::Result<i64>) {
    match lag {
        Ok(records) => metrics.lag.with_label_values(&[topic]).set(records),
        Err(error) => {
            tracing::debug!(topic, error = format!("{error:#}"), "the lag is not known");
            // Absent before the first answer already.
            metrics.lag.remove_label_values(&[topic]).ok();
        }
    }
}

async fn lag(kafka: &KafkaSettings, store: &Store, topic: &str) -> anyhow::Result<i64> {
    // Stored first: what is stored between the two looks is not counted as ahead.
    let stored: BTreeMap<i32, i64> = store.positions(topic).await?.into_iter().collect();
    let ends = admin::end_offsets(kafka, topic).await?;
    Ok(behind(&stored, &ends))
}

/// Partitions that no projector has started count whole.
fn behind(stored: &BTreeMap<i32, i64>, ends: &BTreeMap<i32, i64>) -> i64 {
    ends.iter().map(|(partition, end)| (end - stored.get(partition).copied().unwrap_or(0)).max(0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_that_nobody_knows_is_absent() {
        let registry = service::prometheus::Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let shown = || registry.gather().iter().any(|family| family.name() == "projector_lag_records");
        assert!(!shown(), "nobody has looked yet");
        show(&metrics, topics::EVENTS, Ok(0));
        assert!(shown());
        show(&metrics, topics::EVENTS, Err(anyhow::anyhow!("no answer")));
        assert!(!shown());
    }

    #[test]
    fn the_lag_is_what_stands_between_the_stored_positions_and_the_ends() {
        let stored = BTreeMap::from([(0, 5), (1, 7)]);
        let ends = BTreeMap::from([(0, 9), (1, 7), (2, 3)]);
        assert_eq!(behind(&stored, &ends), 7);
    }
}
