//! Partitions of `events`: created ahead, closed by size or age, dropped when their newest row has expired.

use std::time::Duration;

use event::Micros;
use futures::TryStreamExt;
use sqlx::types::time::OffsetDateTime;
use uuid::Uuid;

use crate::{error::StoreError, feed::FeedHead, identities::Bloom, pool::Store};

/// Days of attempts and dead letters created ahead.
const DAYS_AHEAD: i64 = 3;

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
        for ahead in 0..=DAYS_AHEAD {
            for parent in ["delivery_attempt", "dead_letter"] {
                sqlx::query(include_str!("../sql/day_create.sql"))
                    .bind(parent)
                    .bind(
                        today + Duration::from_secs(86_400).saturating_mul(u32::try_from(ahead).unwrap_or(0)),
                    )
                    .execute(&self.pool)
                    .await?;
            }
        }
        Ok(())
    }

    async fn create_partition(&self, number: i64) -> Result<(), StoreError> {
        let made =
            sqlx::query(include_str!("../sql/partition_create.sql")).bind(number).execute(&self.pool).await;
        match made {
            Ok(_) => Ok(()),
            // Another process was quicker.
            Err(error)
                if error.as_database_error().and_then(|e| e.code()).is_some_and(|code| code == "42P07") =>
            {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The numbers of the partitions that exist, ascending.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn partitions(&self) -> Result<Vec<i64>, StoreError> {
        Ok(sqlx::query_scalar(include_str!("../sql/partitions.sql")).fetch_all(&self.pool).await?)
    }

    /// Drops closed partitions whose newest row is older than the retention; how many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn drop_expired(&self, now: Micros, retention: Duration) -> Result<usize, StoreError> {
        let head = self.feed_head().await?;
        let open = head.partition_of(head.last.0 + 1);
        let mut dropped = 0;
        for number in self.partitions().await?.into_iter().take_while(|number| *number < open) {
            let newest: Option<OffsetDateTime> =
                sqlx::query_scalar(include_str!("../sql/newest_of_partition.sql"))
                    .bind(number * head.partition_size)
                    .bind((number + 1) * head.partition_size)
                    .fetch_optional(&self.pool)
                    .await?;
            if newest.is_some_and(|newest| now.since(Micros::from_time(newest)) < retention) {
                break;
            }
            sqlx::query(include_str!("../sql/partition_drop.sql")).bind(number).execute(&self.pool).await?;
            dropped += 1;
        }
        Ok(dropped)
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

    /// Loads the filter of one closed partition that has none yet; false when all have one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn load_closed_identities(&self) -> Result<bool, StoreError> {
        let head = self.feed_head().await?;
        let present = self.partitions().await?;
        self.closed.retain(&present);
        let loaded = self.closed.numbers();
        let open = head.partition_of(head.last.0 + 1);
        let Some(number) = present.iter().find(|number| **number < open && !loaded.contains(number)) else {
            self.closed.set_covered_below(open);
            return Ok(false);
        };
        let bloom = self.bloom_of(&head, *number).await?;
        self.closed.add(*number, bloom);
        Ok(true)
    }

    async fn bloom_of(&self, head: &FeedHead, number: i64) -> Result<Bloom, StoreError> {
        let mut bloom = Bloom::with_room(u64::try_from(head.partition_size).unwrap_or(0));
        let mut rows = sqlx::query_scalar::<_, Uuid>(include_str!("../sql/identities_of_partition.sql"))
            .bind(number * head.partition_size)
            .bind((number + 1) * head.partition_size)
            .fetch(&self.pool);
        while let Some(identity) = rows.try_next().await? {
            bloom.add(identity.as_u128());
        }
        Ok(bloom)
    }
}
