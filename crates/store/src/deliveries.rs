//! What happened to deliveries: attempts and dead letters, written in batches with their positions.

use event::{DeliveryId, Micros, SubscriptionId, SubscriptionMark};
use sqlx::{Row, types::time::OffsetDateTime};
use uuid::Uuid;

use crate::{
    error::StoreError,
    pool::Store,
    write::{Advance, advance},
};

/// An attempt as it came from `delivery-attempts`.
#[derive(Clone, Debug)]
pub struct AttemptRow {
    /// When it ended.
    pub at: Micros,
    /// Whose it was.
    pub subscription: SubscriptionId,
    /// Whose, should the number be given again.
    pub mark: Option<SubscriptionMark>,
    /// Where it came from.
    pub kafka_partition: i32,
    /// Where it came from.
    pub kafka_offset: i64,
    /// The JSON of [`event::AttemptRecord`].
    pub record: String,
}

/// A dead letter as it came from `deliveries.dead`.
#[derive(Clone, Debug)]
pub struct DeadRow {
    /// When it died.
    pub at: Micros,
    /// Whose it was.
    pub subscription: SubscriptionId,
    /// Whose, should the number be given again.
    pub mark: Option<SubscriptionMark>,
    /// Its delivery.
    pub delivery: DeliveryId,
    /// Why.
    pub reason: String,
    /// Attempts made.
    pub attempts: i32,
    /// Where it came from.
    pub kafka_partition: i32,
    /// Where it came from.
    pub kafka_offset: i64,
    /// The event.
    pub event: String,
}

/// A dead letter as its owner sees it, without its event.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// When it died.
    pub at: Micros,
    /// Its delivery.
    pub delivery: DeliveryId,
    /// Why.
    pub reason: String,
    /// Attempts made.
    pub attempts: i32,
}

fn uuid(mark: SubscriptionMark) -> Uuid {
    Uuid::from_u128(mark.0)
}

impl Store {
    /// Writes attempts and moves the positions of `topic`, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Stale`], [`StoreError::Data`], [`StoreError::Unavailable`].
    pub async fn write_attempts(
        &self,
        topic: &str,
        rows: &[AttemptRow],
        advances: &[Advance],
    ) -> Result<(), StoreError> {
        self.answered(self.insert_attempts(topic, rows, advances)).await
    }

    async fn insert_attempts(
        &self,
        topic: &str,
        rows: &[AttemptRow],
        advances: &[Advance],
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        advance(&mut tx, topic, advances).await?;
        sqlx::query(include_str!("../sql/insert_attempts.sql"))
            .bind(rows.iter().map(|row| row.at.to_time()).collect::<Vec<OffsetDateTime>>())
            .bind(rows.iter().map(|row| row.subscription.0).collect::<Vec<i64>>())
            .bind(rows.iter().map(|row| row.kafka_partition).collect::<Vec<i32>>())
            .bind(rows.iter().map(|row| row.kafka_offset).collect::<Vec<i64>>())
            .bind(rows.iter().map(|row| row.record.as_str()).collect::<Vec<&str>>())
            .bind(rows.iter().map(|row| row.mark.map(uuid)).collect::<Vec<Option<Uuid>>>())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Writes dead letters and moves the positions of `topic`, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Stale`], [`StoreError::Data`], [`StoreError::Unavailable`].
    pub async fn write_dead(
        &self,
        topic: &str,
        rows: &[DeadRow],
        advances: &[Advance],
    ) -> Result<(), StoreError> {
        self.answered(self.insert_dead(topic, rows, advances)).await
    }

    async fn insert_dead(
        &self,
        topic: &str,
        rows: &[DeadRow],
        advances: &[Advance],
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        advance(&mut tx, topic, advances).await?;
        sqlx::query(include_str!("../sql/insert_dead.sql"))
            .bind(rows.iter().map(|row| row.at.to_time()).collect::<Vec<OffsetDateTime>>())
            .bind(rows.iter().map(|row| row.subscription.0).collect::<Vec<i64>>())
            .bind(rows.iter().map(|row| Uuid::from_u128(row.delivery.0)).collect::<Vec<Uuid>>())
            .bind(rows.iter().map(|row| row.reason.as_str()).collect::<Vec<&str>>())
            .bind(rows.iter().map(|row| row.attempts).collect::<Vec<i32>>())
            .bind(rows.iter().map(|row| row.kafka_partition).collect::<Vec<i32>>())
            .bind(rows.iter().map(|row| row.kafka_offset).collect::<Vec<i64>>())
            .bind(rows.iter().map(|row| row.event.as_str()).collect::<Vec<&str>>())
            .bind(rows.iter().map(|row| row.mark.map(uuid)).collect::<Vec<Option<Uuid>>>())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The newest attempts of a subscription, as JSON of [`event::AttemptRecord`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn attempts_of(
        &self,
        subscription: SubscriptionId,
        mark: SubscriptionMark,
        limit: i64,
    ) -> Result<Vec<String>, StoreError> {
        let records = sqlx::query_scalar(include_str!("../sql/attempts_of.sql"))
            .bind(subscription.0)
            .bind(uuid(mark))
            .bind(limit)
            .fetch_all(&self.pool);
        self.answered(async { Ok(records.await?) }).await
    }

    /// The newest dead letters of a subscription.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn dead_letters_of(
        &self,
        subscription: SubscriptionId,
        mark: SubscriptionMark,
        limit: i64,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let rows = sqlx::query(include_str!("../sql/dead_of.sql"))
            .bind(subscription.0)
            .bind(uuid(mark))
            .bind(limit)
            .fetch_all(&self.pool);
        let rows = self.answered(async { Ok(rows.await?) }).await?;
        rows.iter()
            .map(|row| {
                Ok(DeadLetter {
                    at: Micros::from_time(row.try_get(0)?),
                    delivery: DeliveryId(row.try_get::<Uuid, _>(1)?.as_u128()),
                    reason: row.try_get(2)?,
                    attempts: row.try_get(3)?,
                })
            })
            .collect()
    }
}
