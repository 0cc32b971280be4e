//! Wakes readers who wait for an event.
//!
//! One part a process looks at the head while anybody waits, reads the new rows once, and wakes only readers whose resource or
//! subject is among them. It never skips: rows it cannot look at (too many, or the database was away) wake everybody, who then
//! look for themselves. A reader registers first and reads afterwards, so an event between the two wakes it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use event::{Event, Sequence};
use store::{FeedFilter, Store, StoreError};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

/// Most rows looked at in one round; more wake everybody.
const ROWS_MAX: i64 = 2_000;

/// The waiting readers.
pub struct HeadWatch {
    waiting: Mutex<Waiting>,
    somebody: Notify,
    most: usize,
}

#[derive(Default)]
struct Waiting {
    by_key: HashMap<String, Vec<oneshot::Sender<()>>>,
    count: usize,
}

/// What a reader waits for: its subject, else its resource.
fn key(filter: &FeedFilter) -> String {
    match (&filter.subject, &filter.resource) {
        (Some(subject), _) => format!("s{subject}"),
        (None, Some(resource)) => format!("r{resource}"),
        (None, None) => String::new(),
    }
}

impl HeadWatch {
    /// Nobody waits yet; at most `most` may.
    pub fn new(most: usize) -> Self {
        Self { waiting: Mutex::default(), somebody: Notify::new(), most }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a reader; none when too many wait already.
    pub fn register(&self, filter: &FeedFilter) -> Option<oneshot::Receiver<()>> {
        let mut waiting = self.lock();
        if waiting.count >= self.most {
            // Readers that went away leave their places behind.
            waiting.by_key.retain(|_, readers| {
                readers.retain(|reader| !reader.is_closed());
                !readers.is_empty()
            });
            waiting.count = waiting.by_key.values().map(Vec::len).sum();
            if waiting.count >= self.most {
                return None;
            }
        }
        let (wake, woken) = oneshot::channel();
        waiting.by_key.entry(key(filter)).or_default().push(wake);
        waiting.count += 1;
        drop(waiting);
        self.somebody.notify_one();
        Some(woken)
    }

    fn wake(&self, keys: impl IntoIterator<Item = String>) {
        let mut waiting = self.lock();
        for key in keys {
            if let Some(readers) = waiting.by_key.remove(&key) {
                waiting.count -= readers.len();
                // A reader that went away does not need to be woken.
                for reader in readers {
                    reader.send(()).ok();
                }
            }
        }
    }

    fn wake_all(&self) {
        let keys: Vec<String> = self.lock().by_key.keys().cloned().collect();
        self.wake(keys);
    }

    fn nobody_waits(&self) -> bool {
        self.lock().count == 0
    }

    /// Watches until `stop`, then wakes everybody.
    ///
    /// # Errors
    /// Never; the signature is that of a part.
    pub async fn run(&self, store: &Store, poll: Duration, stop: CancellationToken) -> anyhow::Result<()> {
        let mut seen = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    self.wake_all();
                    return Ok(());
                }
                () = self.wait_for_readers(poll) => {}
            }
            match self.look(store, seen).await {
                Ok(now) => seen = Some(now),
                Err(error) => {
                    tracing::debug!(%error, "the head cannot be looked at");
                    seen = None;
                }
            }
        }
    }

    async fn wait_for_readers(&self, poll: Duration) {
        if self.nobody_waits() {
            self.somebody.notified().await;
        } else {
            tokio::time::sleep(poll).await;
        }
    }

    /// One look; without an earlier one everybody is woken.
    async fn look(&self, store: &Store, seen: Option<Sequence>) -> Result<Sequence, StoreError> {
        let head = store.feed_head().await?.last;
        let Some(seen) = seen.filter(|seen| head.0 - seen.0 < ROWS_MAX) else {
            self.wake_all();
            return Ok(head);
        };
        if head > seen {
            let rows = store.rows_between(seen, head, ROWS_MAX).await?;
            let mut keys: Vec<String> = Vec::with_capacity(rows.len() * 2);
            for row in rows {
                match Event::parse(row.json.as_bytes()) {
                    Ok(event) => {
                        keys.push(format!("r{}", event.resource()));
                        keys.extend(event.canonical_subject().map(|subject| format!("s{subject}")));
                    }
                    Err(_) => self.wake_all(),
                }
            }
            keys.sort_unstable();
            keys.dedup();
            self.wake(keys);
        }
        Ok(head)
    }
}
