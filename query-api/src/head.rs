//! Wakes readers who wait for an event.
//!
//! One part a process looks at the head while anybody waits, reads the new rows once, and wakes only readers who may wait for
//! one of them. It never skips: rows it cannot look at (too many, unreadable, or the database was away) wake everybody, who
//! then look for themselves. A reader takes its place first and reads afterwards, so an event between the two wakes it.

use std::time::Duration;

use event::{Event, Sequence};
use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::waiting::Waiting;

/// Most rows looked at in one round; more wake everybody.
const ROWS_MAX: i64 = 2_000;
/// Time between two looks while the database does not answer.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Watches until `stop`, then wakes everybody: a stop waits for no reader.
///
/// # Errors
/// Never; the signature is that of a part.
pub async fn watch(
    waiting: &Waiting,
    store: &Store,
    poll: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    stop.run_until_cancelled(keep_watching(waiting, store, poll)).await;
    waiting.close();
    Ok(())
}

async fn keep_watching(waiting: &Waiting, store: &Store, poll: Duration) {
    let mut seen = None;
    loop {
        waiting.somebody().await;
        match look(waiting, store, seen).await {
            Ok(now) => {
                seen = Some(now);
                tokio::time::sleep(poll).await;
            }
            Err(error) => {
                tracing::debug!(%error, "the head cannot be looked at");
                seen = None;
                // They find out for themselves, and tell their clients.
                waiting.wake_all();
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

/// One look; without an earlier one everybody is woken.
async fn look(waiting: &Waiting, store: &Store, seen: Option<Sequence>) -> Result<Sequence, StoreError> {
    let head = store.feed_head().await?.last;
    let Some(seen) = seen.filter(|seen| (0..ROWS_MAX).contains(&(head.0 - seen.0))) else {
        waiting.wake_all();
        return Ok(head);
    };
    if head > seen {
        let rows = store.with_subjects_between(seen, head, ROWS_MAX).await?;
        let parsed = |(json, subject): (String, _)| Ok((Event::stored(json.as_bytes())?, subject));
        let events: Result<Vec<_>, event::Violations> = rows.into_iter().map(parsed).collect();
        match events {
            Ok(events) => waiting.wake(&events),
            Err(_) => waiting.wake_all(),
        }
    }
    Ok(head)
}
