//! Which changes of subscriptions are in force: every running dispatcher writes down the position up to which it holds them.
//!
//! A dispatcher lives for [`LEASE`] after it last wrote, by the database's clock. What all that live hold is in force: one that
//! starts later loads everything before it judges anything.

use std::time::Duration;

use uuid::Uuid;

use crate::{error::StoreError, pool::Store};

/// How long a dispatcher counts as live after it last wrote what it holds.
pub const LEASE: Duration = Duration::from_secs(5);

/// What every dispatcher that lives holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held(Option<i64>);

impl Held {
    /// Nothing is known to be held.
    pub const NOTHING: Self = Self(Some(0));

    /// Whether the change at this position is in force. It is where no dispatcher lives: the next one loads it.
    pub fn covers(self, position: i64) -> bool {
        self.0.is_none_or(|held| held >= position)
    }
}

impl Store {
    /// Writes down that a dispatcher lives and holds every change up to `position`. A position that does not belong to the
    /// server's history, or lies beyond its last change, is written as 0: the dispatcher lives and holds nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn hold_changes(
        &self,
        dispatcher: Uuid,
        position: i64,
        timeline: i64,
    ) -> Result<(), StoreError> {
        let hold = sqlx::query(include_str!("../sql/dispatcher_hold.sql"))
            .bind(dispatcher)
            .bind(position)
            .bind(timeline)
            .execute(&self.pool);
        self.answered(async { Ok(hold.await.map(|_| ())?) }).await
    }

    /// What every dispatcher that lives holds now. Read it after the change that is asked about.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn held_everywhere(&self) -> Result<Held, StoreError> {
        let smallest = sqlx::query_scalar(include_str!("../sql/dispatcher_held.sql"))
            .bind(i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX))
            .fetch_one(&self.pool);
        Ok(Held(self.answered(async { Ok(smallest.await?) }).await?))
    }

    /// A dispatcher ends in order: nobody has to wait for it any more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_dispatcher(&self, dispatcher: Uuid) -> Result<(), StoreError> {
        let forget =
            sqlx::query(include_str!("../sql/dispatcher_forget.sql")).bind(dispatcher).execute(&self.pool);
        self.answered(async { Ok(forget.await.map(|_| ())?) }).await
    }

    /// Removes the rows of dispatchers that have ended without a word.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn purge_dispatchers(&self) -> Result<u64, StoreError> {
        let purge = sqlx::query(include_str!("../sql/dispatcher_purge.sql")).execute(&self.pool);
        self.answered(async { Ok(purge.await?.rows_affected()) }).await
    }
}
