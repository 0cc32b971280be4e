//! The head of the feed as it was a moment ago, so that pages share one look at it.
//!
//! A page may go by an older head: it sees all rows that are there when it is read, and says of those up to the head that they
//! were all. See [`store::FeedPage`].

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use store::{FeedHead, Store, StoreError};

/// How long one look counts.
const AGE_MAX: Duration = Duration::from_millis(5);

/// The last look.
#[derive(Debug, Default)]
pub struct RecentHead(Mutex<Option<(Instant, FeedHead)>>);

impl RecentHead {
    /// The head, at most 5 ms old.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn get(&self, store: &Store) -> Result<FeedHead, StoreError> {
        let known = *self.last();
        if let Some((_, head)) = known.filter(|(at, _)| at.elapsed() <= AGE_MAX) {
            return Ok(head);
        }
        let asked = Instant::now();
        let head = store.feed_head().await?;
        *self.last() = Some((asked, head));
        Ok(head)
    }

    fn last(&self) -> MutexGuard<'_, Option<(Instant, FeedHead)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
