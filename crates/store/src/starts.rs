//! Which groups have started, and where a projection goes on when a person says so.

use crate::{error::StoreError, pool::Store};

impl Store {
    /// The (group, topic) that have started on this platform, by short names.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn groups_started(&self) -> Result<Vec<(String, String)>, StoreError> {
        Ok(sqlx::query_as(include_str!("../sql/groups_started.sql")).fetch_all(&self.pool).await?)
    }

    /// Takes note that these (group, topic) have started; safe to repeat.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn mark_started(&self, started: &[(&str, &str)]) -> Result<(), StoreError> {
        let (groups, topics): (Vec<&str>, Vec<&str>) = started.iter().copied().unzip();
        sqlx::query(include_str!("../sql/group_start_insert.sql"))
            .bind(groups)
            .bind(topics)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Moves the stored position of one partition from one offset to another.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when it has moved since, [`StoreError::Unavailable`].
    pub async fn set_position(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        to: i64,
    ) -> Result<(), StoreError> {
        let moved = sqlx::query(include_str!("../sql/position_set.sql"))
            .bind(topic)
            .bind(partition)
            .bind(from)
            .bind(to)
            .execute(&self.pool)
            .await?;
        if moved.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Stale) }
    }
}
