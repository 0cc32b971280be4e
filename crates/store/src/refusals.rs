//! Subscriptions whose events are refused: the newest refusal of each. Written by the projector, read by whoever shows a subscription.

use std::collections::HashMap;

use event::{Micros, Subscription, SubscriptionId, SubscriptionMark};
use sqlx::{Row, types::time::OffsetDateTime};
use uuid::Uuid;

use crate::{error::StoreError, pool::Store};

/// An event that a subscription matched and may not receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Whose event.
    pub subscription: SubscriptionId,
    /// Whose, should the number be given again.
    pub mark: Option<SubscriptionMark>,
    /// When that was found.
    pub at: Micros,
    /// Why, as the delivery log has it.
    pub reason: String,
}

impl Store {
    /// Notes refusals; of each number the newest stays. Twice changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn note_refusals(&self, refusals: &[Refusal]) -> Result<(), StoreError> {
        let mark = |refusal: &Refusal| refusal.mark.map(|mark| Uuid::from_u128(mark.0));
        let write = sqlx::query(include_str!("../sql/refusals_write.sql"))
            .bind(refusals.iter().map(|refusal| refusal.subscription.0).collect::<Vec<i64>>())
            .bind(refusals.iter().map(mark).collect::<Vec<Option<Uuid>>>())
            .bind(refusals.iter().map(|refusal| refusal.at.to_time()).collect::<Vec<OffsetDateTime>>())
            .bind(refusals.iter().map(|refusal| refusal.reason.as_str()).collect::<Vec<&str>>())
            .execute(&self.pool);
        self.answered(async { Ok(write.await.map(|_| ())?) }).await
    }

    /// The newest refusals of these subscriptions that are not older than an hour.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn refusals_of(
        &self,
        subscriptions: &[Subscription],
    ) -> Result<HashMap<SubscriptionId, Refusal>, StoreError> {
        let mark = |subscription: &Subscription| Uuid::from_u128(subscription.mark.0);
        let rows = sqlx::query(include_str!("../sql/refusals_of.sql"))
            .bind(subscriptions.iter().map(|subscription| subscription.id.0).collect::<Vec<i64>>())
            .bind(subscriptions.iter().map(mark).collect::<Vec<Uuid>>())
            .fetch_all(&self.pool);
        let rows = self.answered(async { Ok(rows.await?) }).await?;
        rows.iter()
            .map(|row| {
                let subscription = SubscriptionId(row.try_get(0)?);
                let mark = row.try_get::<Option<Uuid>, _>(1)?.map(|mark| SubscriptionMark(mark.as_u128()));
                let (at, reason) = (Micros::from_time(row.try_get(2)?), row.try_get(3)?);
                Ok((subscription, Refusal { subscription, mark, at, reason }))
            })
            .collect()
    }

    /// Forgets refusals older than a day.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn purge_refusals(&self) -> Result<u64, StoreError> {
        let purge = sqlx::query(include_str!("../sql/refusals_purge.sql")).execute(&self.pool);
        self.answered(async { Ok(purge.await?.rows_affected()) }).await
    }
}
