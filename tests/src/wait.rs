//! Waiting for named conditions.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

/// Longest wait for a condition. Far above what any of them needs: it only ends a test that hangs.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Waits until `holds` gives a value; fails the test with the name and `state` when it does not within [`LIMIT`].
pub async fn until<T, F, Fut>(name: &str, holds: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    match in_time(holds).await {
        Ok(value) => value,
        Err(state) => panic!("waited in vain for: {name}; now: {state}"),
    }
}

/// Waits until `holds` gives a value; gives the last state when it does not within [`LIMIT`]: for who looks closer then.
///
/// # Errors
/// The last state.
pub async fn in_time<T, F, Fut>(mut holds: F) -> Result<T, String>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let end = Instant::now() + LIMIT;
    loop {
        match holds().await {
            Ok(value) => return Ok(value),
            Err(state) if Instant::now() >= end => return Err(state),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}
