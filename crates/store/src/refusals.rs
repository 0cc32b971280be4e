//! Subscriptions whose events are refused: the newest refusal of each. Written by the projector, read by whoever shows a subscription.

use std::collections::HashMap;

use event::{Micros, SubscriptionId};
use sqlx::{Row, types::time::OffsetDateTime};

use crate::{error::StoreError, pool::Store};

/// An event that a subscription matched and may not receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When that was found.
    pub at: Micros,
    /// Why, as the delivery log has it.
    pub reason: String,
}

impl Store {
    /// Notes refusals; of each subscription the newest stays. Twice changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn note_refusals(&self, refusals: &[(SubscriptionId, Refusal)]) -> Result<(), StoreError> {
        let write = sqlx::query(include_str!("../sql/refusals_write.sql"))
            .bind(refusals.iter().map(|(subscription, _)| subscription.0).collect::<Vec<i64>>())
            .bind(refusals.iter().map(|(_, refusal)| refusal.at.to_time()).collect::<Vec<OffsetDateTime>>())
            .bind(refusals.iter().map(|(_, refusal)| refusal.reason.as_str()).collect::<Vec<&str>>())
            .execute(&self.pool);
        self.answered(async { Ok(write.await.map(|_| ())?) }).await
    }

    /// The newest refusals of these subscriptions that are not older than an hour.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn refusals_of(
        &self,
        subscriptions: &[SubscriptionId],
    ) -> Result<HashMap<SubscriptionId, Refusal>, StoreError> {
        let rows = sqlx::query(include_str!("../sql/refusals_of.sql"))
            .bind(subscriptions.iter().map(|subscription| subscription.0).collect::<Vec<i64>>())
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                let refusal = Refusal { at: Micros::from_time(row.try_get(1)?), reason: row.try_get(2)? };
                Ok((SubscriptionId(row.try_get(0)?), refusal))
            })
            .collect()
    }

    /// Forgets refusals older than a day.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn purge_refusals(&self) -> Result<u64, StoreError> {
        Ok(sqlx::query(include_str!("../sql/refusals_purge.sql")).execute(&self.pool).await?.rows_affected())
    }
}
