//! The end of a part: what is in hand may finish within a grace, then the loop commits and leaves.

use std::{future::Future, time::Duration};

use kafka_loop::LoopError;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// How long work in hand may take after a stop. The stage is given 25 s in all, and the loops wait 20 s.
const GRACE: Duration = Duration::from_secs(10);

/// Lets work finish; false when it was cut.
pub(crate) async fn within_grace(work: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(GRACE, work).await.is_ok()
}

/// Runs work that ends by itself after a stop; cuts it when it does not.
pub(crate) async fn until_grace_is_over(stop: &CancellationToken, work: impl Future<Output = ()>) {
    let over = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = work => {}
        () = over => tracing::warn!("work in hand is cut; it comes again"),
    }
}

/// Waits for a loop's own end.
///
/// # Errors
/// What the loop failed with.
pub(crate) async fn ended(ended: oneshot::Receiver<Result<(), LoopError>>) -> anyhow::Result<()> {
    match ended.await {
        Ok(result) => Ok(result?),
        Err(_) => Err(LoopError::Thread("it went away without a word".to_owned()).into()),
    }
}
