//! Partitions of `events`: created ahead, closed by size or age, dropped when their newest row has expired.

use std::time::Duration;

use event::{Micros, Sequence};
use sqlx::types::time::OffsetDateTime;

use crate::{error::StoreError, feed::FeedHead, pool::Store};

/// Days of attempts and dead letters created ahead.
const DAYS_AHEAD: u32 = 3;
const DAY: Duration = Duration::from_secs(86_400);
/// Events are never dropped earlier, whatever the settings say.
pub const RETENTION_MIN: Duration = Duration::from_secs(90 * 86_400);

impl Store {
    /// Creates the partition of the head, the one after it, and the coming days of the delivery tables.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ensure_partitions(&self) -> Result<(), StoreError> {
        let head = self.feed_head().await?;
        for number in [head.partition_of(head.last.0 + 1), head.partition_of(head.last.0 + 1) + 1] {
            self.create_partition(number).await?;
        }
        let today = OffsetDateTime::now_utc().date();
        for day in (0..=DAYS_AHEAD).map(|ahead| today + DAY * ahead) {
            for parent in ["delivery_attempt", "dead_letter"] {
                sqlx::query(include_str!("../sql/day_create.sql"))
                    .bind(parent)
                    .bind(day)
                    .execute(&self.pool)
                    .await?;
            }
        }
        Ok(())
    }

    async fn create_partition(&self, number: i64) -> Result<(), StoreError> {
        sqlx::query(include_str!("../sql/partition_create.sql")).bind(number).execute(&self.pool).await?;
        Ok(())
    }

    /// The numbers of the partitions that exist, ascending.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn partitions(&self) -> Result<Vec<i64>, StoreError> {
        Ok(sqlx::query_scalar(include_str!("../sql/partitions.sql")).fetch_all(&self.pool).await?)
    }

    /// Drops closed partitions whose newest row is older than the retention, which is at least [`RETENTION_MIN`]; how many. A
    /// partition that is being read is left for the next round.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn drop_expired(&self, now: Micros, retention: Duration) -> Result<usize, StoreError> {
        let retention = retention.max(RETENTION_MIN);
        let head = self.feed_head().await?;
        let open = head.partition_of(head.last.0 + 1);
        let mut dropped = 0;
        for number in self.partitions().await?.into_iter().take_while(|number| *number < open) {
            let newest = self.newest_of_partition(&head, number).await?;
            if newest.is_some_and(|(_, newest)| now.since(newest) < retention) {
                break;
            }
            let gone: bool = sqlx::query_scalar(include_str!("../sql/partition_drop.sql"))
                .bind(number)
                .fetch_one(&self.pool)
                .await?;
            dropped += usize::from(gone);
        }
        self.drop_filters_but_of(&self.partitions().await?).await?;
        Ok(dropped)
    }

    pub(crate) async fn newest_of_partition(
        &self,
        head: &FeedHead,
        number: i64,
    ) -> Result<Option<(Sequence, Micros)>, StoreError> {
        let newest: Option<(i64, OffsetDateTime)> =
            sqlx::query_as(include_str!("../sql/newest_of_partition.sql"))
                .bind(number * head.partition_size)
                .bind((number + 1) * head.partition_size)
                .fetch_optional(&self.pool)
                .await?;
        Ok(newest.map(|(sequence, registered)| (Sequence(sequence), Micros::from_time(registered))))
    }

    /// Drops days of attempts and dead letters that have expired.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn drop_expired_days(&self, attempts: Duration, dead: Duration) -> Result<(), StoreError> {
        let today = OffsetDateTime::now_utc().date();
        for (parent, kept) in [("delivery_attempt", attempts), ("dead_letter", dead)] {
            sqlx::query(include_str!("../sql/day_drop.sql"))
                .bind(parent)
                .bind(today - kept)
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }

    /// Closes the partition of the head when it is older than `age`: the head jumps to the next boundary.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn close_old_partition(&self, now: Micros, age: Duration) -> Result<bool, StoreError> {
        let head = self.feed_head().await?;
        let first = head.partition_of(head.last.0 + 1) * head.partition_size;
        let empty = head.last.0 < first.max(1);
        if empty || now.since(head.partition_opened) < age {
            return Ok(false);
        }
        self.leap(head.last).await?;
        self.ensure_partitions().await?;
        Ok(true)
    }
}
