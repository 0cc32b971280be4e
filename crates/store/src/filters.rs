//! The filters of closed partitions (see [`crate::identities`]): made once, stored, loaded by every process that looks identities
//! up.
//!
//! A closed partition never changes, so neither does its filter. It is loaded in the order of the partitions: everything below
//! the first partition whose filter is not there is covered.

use uuid::Uuid;

use crate::{error::StoreError, feed::FeedHead, identities::Bloom, pool::Store};

/// Sequence numbers whose identities are read with one statement: far below the limit of time that a statement has.
const READ_AT_ONCE: i64 = 100_000;
/// How the bits of a filter are chosen. Another way of choosing them is another number, so that neither reads the other's.
const FORMAT: i16 = 1;

/// What to do about a filter that is not stored yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Make it from the partition, and store it.
    Make,
    /// Wait until another process has made it.
    Wait,
}

impl Store {
    /// Loads the filter of one closed partition that is not loaded yet; false when there is none that can be loaded now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn load_next_filter(&self, absent: Absent) -> Result<bool, StoreError> {
        let head = self.feed_head().await?;
        let present = self.partitions().await?;
        self.closed.retain(&present);
        let loaded = self.closed.numbers();
        let open = head.partition_of(head.last.0 + 1);
        let next = present.into_iter().find(|number| *number < open && !loaded.contains(number));
        self.closed.set_covered_below(next.unwrap_or(open) * head.partition_size);
        let Some(number) = next else { return Ok(false) };
        let bloom = match (self.stored_filter(number).await?, absent) {
            (Some(bloom), _) => bloom,
            (None, Absent::Make) => self.make_filter(&head, number).await?,
            (None, Absent::Wait) => return Ok(false),
        };
        self.closed.add(number, bloom);
        Ok(true)
    }

    /// How many closed partitions have their filter in memory.
    pub fn filters_loaded(&self) -> usize {
        self.closed.numbers().len()
    }

    async fn stored_filter(&self, number: i64) -> Result<Option<Bloom>, StoreError> {
        let bytes: Option<Vec<u8>> = sqlx::query_scalar(include_str!("../sql/identity_filter.sql"))
            .bind(number)
            .bind(FORMAT)
            .fetch_optional(&self.pool)
            .await?;
        Ok(bytes.and_then(|bytes| Bloom::from_bytes(&bytes)))
    }

    async fn make_filter(&self, head: &FeedHead, number: i64) -> Result<Bloom, StoreError> {
        let bloom = self.bloom_of(head, number).await?;
        sqlx::query(include_str!("../sql/identity_filter_insert.sql"))
            .bind(number)
            .bind(FORMAT)
            .bind(bloom.to_bytes())
            .execute(&self.pool)
            .await?;
        Ok(bloom)
    }

    async fn bloom_of(&self, head: &FeedHead, number: i64) -> Result<Bloom, StoreError> {
        let start = number * head.partition_size;
        let end = self.newest_of_partition(head, number).await?.map_or(start, |(newest, _)| newest.0 + 1);
        let mut bloom = Bloom::with_room(u64::try_from(end - start).unwrap_or(0));
        let mut first = start;
        while first < end {
            let next = end.min(first + READ_AT_ONCE);
            let identities: Vec<Uuid> =
                sqlx::query_scalar(include_str!("../sql/identities_of_partition.sql"))
                    .bind(first)
                    .bind(next)
                    .fetch_all(&self.pool)
                    .await?;
            identities.iter().for_each(|identity| bloom.add(identity.as_u128()));
            first = next;
        }
        Ok(bloom)
    }

    /// Drops the filters of partitions that are gone.
    pub(crate) async fn drop_filters_but_of(&self, present: &[i64]) -> Result<(), StoreError> {
        sqlx::query(include_str!("../sql/identity_filters_drop.sql"))
            .bind(present)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
