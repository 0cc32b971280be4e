//! Subscriptions. Every change takes a new position from a one-row head, so that the order of positions is the order of
//! commits, and a reader who follows positions misses no change.

use std::time::Duration;

use event::{EventIdentity, Micros, Proof, Subscription, SubscriptionId, SubscriptionMark, address::called};
use sqlx::{
    Postgres, Row, Transaction,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use uuid::Uuid;

use crate::{error::StoreError, pool::Store};

/// What a consumer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSubscription {
    /// The webhook address, byte for byte.
    pub endpoint: String,
    /// Base of the sources.
    pub source_filter: Option<String>,
    /// The resource; stored in lower case.
    pub resource_filter: Option<String>,
    /// The canonical subject.
    pub subject_filter: Option<String>,
    /// The subject as it was asked for, where that is an organisation's number; the table lets in nothing else.
    pub subject_sent: Option<String>,
    /// The type.
    pub type_filter: Option<String>,
    /// Whether events about sub-units count.
    pub include_subunits: bool,
    /// Who receives.
    pub consumer: String,
    /// Who creates it.
    pub created_by: String,
}

/// What one look at the changes tells; all of it at one moment.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The position of the newest change.
    pub head: i64,
    /// The history that the server writes now; a failover begins another.
    pub timeline: i64,
    /// Subscriptions as they are after their changes, tombstones included, in the order of positions.
    pub changed: Vec<Subscription>,
}

impl NewSubscription {
    /// What makes two subscriptions the same (contract §6.2); of the endpoint what is really called, of the subject whom it means.
    fn fingerprint(&self) -> Uuid {
        let filters = [&self.source_filter, &self.resource_filter, &self.subject_filter, &self.type_filter];
        let filters: Vec<String> = filters
            .iter()
            .map(|filter| filter.as_ref().map_or_else(String::new, |text| format!("={text}")))
            .collect();
        let filters = format!("{}\u{0}{}", filters.join("\u{0}"), self.include_subunits);
        Uuid::from_u128(EventIdentity::of(&self.consumer, &called(&self.endpoint), &filters).0)
    }
}

fn subscription(row: &PgRow) -> Result<Subscription, StoreError> {
    Ok(Subscription {
        id: SubscriptionId(row.try_get(0)?),
        position: row.try_get(1)?,
        endpoint: row.try_get(2)?,
        source_filter: row.try_get(3)?,
        resource_filter: row.try_get(4)?,
        subject_filter: row.try_get(5)?,
        type_filter: row.try_get(6)?,
        include_subunits: row.try_get(7)?,
        consumer: row.try_get(8)?,
        created_by: row.try_get(9)?,
        created: Micros::from_time(row.try_get(10)?),
        validated: row.try_get(11)?,
        paused: row.try_get(12)?,
        deleted: row.try_get(13)?,
        validated_position: row.try_get(14)?,
        mark: SubscriptionMark(row.try_get::<Uuid, _>(15)?.as_u128()),
        endpoint_revision: row.try_get(16)?,
        subject_sent: row.try_get(17)?,
    })
}

fn subscriptions(rows: &[PgRow]) -> Result<Vec<Subscription>, StoreError> {
    rows.iter().map(subscription).collect()
}

async fn next_position(tx: &mut Transaction<'_, Postgres>) -> Result<i64, StoreError> {
    let last: i64 =
        sqlx::query_scalar(include_str!("../sql/subscription_head_lock.sql")).fetch_one(&mut **tx).await?;
    sqlx::query(include_str!("../sql/subscription_head_set.sql")).bind(last + 1).execute(&mut **tx).await?;
    Ok(last + 1)
}

impl Store {
    /// As [`Store::create_subscription_up_to`], without a limit.
    ///
    /// # Errors
    /// [`StoreError::Data`], [`StoreError::Unavailable`].
    pub async fn create_subscription(
        &self,
        new: &NewSubscription,
    ) -> Result<(Subscription, bool), StoreError> {
        let made = self.create_subscription_up_to(new, i64::MAX).await?;
        Ok(made.expect("there is no limit"))
    }

    /// Creates a subscription, or finds the one that is the same; true when it is new. Nothing when its consumer has `most` others.
    ///
    /// # Errors
    /// [`StoreError::Data`], [`StoreError::Unavailable`].
    pub async fn create_subscription_up_to(
        &self,
        new: &NewSubscription,
        most: i64,
    ) -> Result<Option<(Subscription, bool)>, StoreError> {
        let lowered = new.resource_filter.as_ref().map(|filter| filter.to_lowercase());
        let new = NewSubscription { resource_filter: lowered, ..new.clone() };
        self.answered(self.insert_or_find(&new, most)).await
    }

    async fn insert_or_find(
        &self,
        new: &NewSubscription,
        most: i64,
    ) -> Result<Option<(Subscription, bool)>, StoreError> {
        let fingerprint = new.fingerprint();
        let mut tx = self.pool.begin().await?;
        // The lock comes first: two equal requests at once must not both find nothing, and none counts what another adds.
        let position = next_position(&mut tx).await?;
        let found = sqlx::query(include_str!("../sql/subscription_by_fingerprint.sql"))
            .bind(fingerprint)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(row) = found {
            tx.rollback().await?;
            return Ok(Some((subscription(&row)?, false)));
        }
        let has: i64 = sqlx::query_scalar(include_str!("../sql/subscription_count.sql"))
            .bind(&new.consumer)
            .bind(most)
            .fetch_one(&mut *tx)
            .await?;
        if has >= most {
            return Ok(None);
        }
        let row = sqlx::query(include_str!("../sql/subscription_insert.sql"))
            .bind(position)
            .bind(fingerprint)
            .bind(&new.endpoint)
            .bind(&new.source_filter)
            .bind(&new.resource_filter)
            .bind(&new.subject_filter)
            .bind(&new.type_filter)
            .bind(new.include_subunits)
            .bind(&new.consumer)
            .bind(&new.created_by)
            .bind(&new.subject_sent)
            .fetch_one(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Some((subscription(&row)?, true)))
    }

    /// A subscription, or the tombstone that it has left.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>, StoreError> {
        let row =
            sqlx::query(include_str!("../sql/subscription_get.sql")).bind(id.0).fetch_optional(&self.pool);
        self.answered(async { Ok(row.await?) }).await?.as_ref().map(subscription).transpose()
    }

    /// A consumer's subscriptions by id, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn subscriptions_of(
        &self,
        consumer: &str,
        limit: i64,
    ) -> Result<Vec<Subscription>, StoreError> {
        let rows = sqlx::query(include_str!("../sql/subscription_list.sql"))
            .bind(consumer)
            .bind(limit)
            .fetch_all(&self.pool);
        subscriptions(&self.answered(async { Ok(rows.await?) }).await?)
    }

    /// Deletes a subscription: a tombstone stays for readers of changes. The position of the change; none when there was no
    /// subscription.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn delete_subscription(&self, id: SubscriptionId) -> Result<Option<i64>, StoreError> {
        self.answered(self.change(|position| {
            sqlx::query(include_str!("../sql/subscription_delete.sql")).bind(id.0).bind(position)
        }))
        .await
    }

    /// Marks a subscription as validated. The position of the change; none when it is gone or was validated before, and when
    /// another subscription or another endpoint has answered.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn set_validated(&self, proof: Proof) -> Result<Option<i64>, StoreError> {
        self.answered(self.change(|position| {
            sqlx::query(include_str!("../sql/subscription_validate.sql"))
                .bind(proof.subscription.0)
                .bind(position)
                .bind(Uuid::from_u128(proof.mark.0))
                .bind(proof.endpoint_revision)
        }))
        .await
    }

    async fn change(
        &self,
        statement: impl FnOnce(i64) -> Query<'static, Postgres, PgArguments> + Send,
    ) -> Result<Option<i64>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let position = next_position(&mut tx).await?;
        let changed = statement(position).execute(&mut *tx).await?.rows_affected();
        if changed == 0 {
            tx.rollback().await?;
            return Ok(None);
        }
        tx.commit().await?;
        Ok(Some(position))
    }

    /// At most `limit` changes after a position. Fewer than that are all that there are, up to [`Changes::head`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn subscription_changes(&self, after: i64, limit: i64) -> Result<Changes, StoreError> {
        let rows = sqlx::query(include_str!("../sql/subscription_changes.sql"))
            .bind(after)
            .bind(limit)
            .fetch_all(&self.pool);
        let rows = self.answered(async { Ok(rows.await?) }).await?;
        let head = rows.first().ok_or(StoreError::Unavailable(sqlx::Error::RowNotFound))?;
        let (last, timeline) = (head.try_get("last")?, head.try_get("timeline")?);
        // Without a change the head comes alone.
        let is_change = head.try_get::<Option<i64>, _>(0)?.is_some();
        let changed = if is_change { subscriptions(&rows)? } else { Vec::new() };
        Ok(Changes { head: last, timeline, changed })
    }

    /// Takes up to `limit` subscriptions that wait for their validation for longer than `older_than` and were tried fewer than
    /// `most` times; each counts as tried now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn take_unvalidated(
        &self,
        older_than: Duration,
        most: i32,
        limit: i64,
    ) -> Result<Vec<Subscription>, StoreError> {
        let rows = sqlx::query(include_str!("../sql/subscription_unvalidated.sql"))
            .bind(i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX))
            .bind(most)
            .bind(limit)
            .fetch_all(&self.pool);
        subscriptions(&self.answered(async { Ok(rows.await?) }).await?)
    }

    /// Removes tombstones older than 100 days, by when nothing is left of which they tell the owner.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn purge_tombstones(&self) -> Result<u64, StoreError> {
        let purge = sqlx::query(include_str!("../sql/subscription_purge.sql")).execute(&self.pool);
        self.answered(async { Ok(purge.await?.rows_affected()) }).await
    }
}
