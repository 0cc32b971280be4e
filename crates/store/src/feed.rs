//! Reading events: pages by key, the head, look-ups. A page never starts anew and never counts rows.

use event::{Event, EventIdentity, Micros, Sequence, id_hash};
use sqlx::{Row, ValueRef, postgres::PgRow};
use uuid::Uuid;

use crate::{error::StoreError, pages, pool::Store};

/// How far the feed has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedHead {
    /// The newest sequence number. Everything up to it is visible.
    pub last: Sequence,
    /// When it was registered.
    pub registered: Micros,
    /// The database's timeline.
    pub timeline: i64,
    /// Sequence numbers a partition holds.
    pub partition_size: i64,
    /// When the head's partition was opened.
    pub partition_opened: Micros,
}

impl FeedHead {
    /// The partition that holds a sequence number.
    pub const fn partition_of(&self, sequence: i64) -> i64 {
        sequence / self.partition_size
    }
}

/// What a feed selects. A resource or a subject must be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FeedFilter {
    /// Exactly this resource.
    pub resource: Option<String>,
    /// Any of these canonical subjects; empty for all subjects.
    pub subjects: Vec<String>,
    /// Exactly this alternative subject, in the spelling of [`event::subject::alternative`].
    pub alternative_subject: Option<String>,
    /// Any of these `LIKE` patterns; empty for all types.
    pub types: Vec<String>,
    /// Any of these `ILIKE` patterns; empty for all types.
    pub types_any_case: Vec<String>,
    /// Any of these `ILIKE` patterns; empty for all sources.
    pub sources_any_case: Vec<String>,
    /// The event's time, else the registration, is not before this.
    pub from: Option<Micros>,
    /// The event's time, else the registration, is not after this.
    pub to: Option<Micros>,
    /// The registration is not before this.
    pub registered_from: Option<Micros>,
    /// Exactly this instance.
    pub instance: Option<String>,
}

/// A row of the feed.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// Its place in the one order.
    pub sequence: Sequence,
    /// When it was stored.
    pub registered: Micros,
    /// The event as it was published.
    pub json: String,
}

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// The head as it was read before: nothing beyond it counts as read when the page ends early.
    pub head: Sequence,
    /// Read after this.
    pub after: Sequence,
    /// Most rows to return.
    pub limit: i64,
    /// Most rows of the leading column to look at.
    pub scan: i64,
    /// No row is returned after so many bytes of events.
    pub bytes: i64,
}

/// What a stretch holds.
#[derive(Clone, Debug)]
pub struct FeedPage {
    /// The rows that the filter selects, ascending.
    pub rows: Vec<StoredEvent>,
    /// How far was read: a reader goes on after it.
    pub scanned_to: Sequence,
    /// Whether there may be more rows after it now.
    pub more: bool,
}

fn stored(row: &PgRow) -> Result<StoredEvent, StoreError> {
    Ok(StoredEvent {
        sequence: Sequence(row.try_get(0)?),
        registered: Micros::from_time(row.try_get(1)?),
        json: row.try_get(2)?,
    })
}

fn some(list: &[String]) -> Option<&[String]> {
    if list.is_empty() { None } else { Some(list) }
}

impl FeedFilter {
    /// Whether rows of the leading column may be left out. The leading column is the subject if there is one, as the rarer.
    fn is_residual(&self) -> bool {
        let leading = if self.subjects.is_empty() {
            Self { resource: self.resource.clone(), ..Self::default() }
        } else {
            Self { subjects: self.subjects.clone(), ..Self::default() }
        };
        *self != leading
    }
}

/// Most rows that a look at many subjects takes: each subject may have to give so many.
const SCAN_OF_MANY: i64 = 1_000;

fn no_leading_column() -> StoreError {
    StoreError::Settings("a feed needs a resource or a subject".to_owned())
}

impl Store {
    /// The head.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn feed_head(&self) -> Result<FeedHead, StoreError> {
        let head = sqlx::query(include_str!("../sql/head.sql")).fetch_one(&self.pool);
        let row = self.answered(async { Ok(head.await?) }).await?;
        Ok(FeedHead {
            last: Sequence(row.try_get(0)?),
            registered: Micros::from_time(row.try_get(1)?),
            timeline: row.try_get(2)?,
            partition_size: row.try_get(3)?,
            partition_opened: Micros::from_time(row.try_get(4)?),
        })
    }

    /// The oldest sequence number that is kept; none when there are no events.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn oldest(&self) -> Result<Option<Sequence>, StoreError> {
        let oldest = sqlx::query_scalar(include_str!("../sql/oldest.sql")).fetch_optional(&self.pool);
        Ok(self.answered(async { Ok(oldest.await?) }).await?.map(Sequence))
    }

    /// The rows of a stretch that a filter selects.
    ///
    /// # Errors
    /// [`StoreError::Settings`] when the filter names neither resource nor subject, [`StoreError::Unavailable`].
    pub async fn page(&self, filter: &FeedFilter, stretch: Stretch) -> Result<FeedPage, StoreError> {
        let Stretch { head, after, limit, bytes, .. } = stretch;
        let looked_at = if filter.is_residual() || filter.subjects.len() > 1 {
            self.answered(self.look(filter, stretch)).await?
        } else {
            self.answered(self.take_all(filter, stretch)).await?
        };
        let full = i64::try_from(looked_at.len()) == Ok(limit);
        let mut rows = Vec::with_capacity(looked_at.len());
        let (mut newest, mut scan_ended) = (after, false);
        for row in &looked_at {
            newest = Sequence(row.try_get(0)?);
            scan_ended = row.try_get(3)?;
            // The last row that was looked at comes also when it was not selected, without its event.
            if row.try_get_raw(2)?.is_null() {
                continue;
            }
            rows.push(stored(row)?);
        }
        let weight: usize = rows.iter().map(|row: &StoredEvent| row.json.len()).sum();
        let cut = i64::try_from(weight).unwrap_or(i64::MAX) >= bytes;
        if full || scan_ended || cut {
            return Ok(FeedPage { rows, scanned_to: newest, more: true });
        }
        // The statement saw everything up to the head, which was read before it.
        Ok(FeedPage { rows, scanned_to: newest.max(head), more: false })
    }

    /// Every row of the leading column is selected.
    async fn take_all(&self, filter: &FeedFilter, stretch: Stretch) -> Result<Vec<PgRow>, StoreError> {
        let Stretch { after, limit, bytes, .. } = stretch;
        let (statement, leading) = match (filter.subjects.first(), &filter.resource) {
            (Some(subject), _) => (pages::ALL_OF_SUBJECT, subject),
            (None, Some(resource)) => (pages::ALL_OF_RESOURCE, resource),
            (None, None) => return Err(no_leading_column()),
        };
        let query = sqlx::query(statement).bind(leading).bind(after.0).bind(limit).bind(bytes);
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// Rows of the leading column are judged one by one. Of many subjects, each gives its next rows.
    async fn look(&self, filter: &FeedFilter, stretch: Stretch) -> Result<Vec<PgRow>, StoreError> {
        let Stretch { after, limit, .. } = stretch;
        let many = filter.subjects.len() > 1;
        let scan = if many { stretch.scan.min(SCAN_OF_MANY).max(limit) } else { stretch.scan };
        let resource = filter.resource.as_deref();
        let (query, resource) = match (filter.subjects.as_slice(), resource) {
            ([], Some(resource)) => (sqlx::query(pages::SELECTED_OF_RESOURCE).bind(resource), None),
            ([], None) => return Err(no_leading_column()),
            ([subject], _) => (sqlx::query(pages::SELECTED_OF_SUBJECT).bind(subject), resource),
            (subjects, _) => (sqlx::query(pages::SELECTED_OF_SUBJECTS).bind(subjects), resource),
        };
        Ok(query
            .bind(after.0)
            .bind(scan)
            .bind(limit)
            .bind(stretch.bytes)
            .bind(resource)
            .bind(filter.alternative_subject.as_deref())
            .bind(some(&filter.types))
            .bind(some(&filter.types_any_case))
            .bind(some(&filter.sources_any_case))
            .bind(filter.from.map(Micros::to_time))
            .bind(filter.to.map(Micros::to_time))
            .bind(filter.registered_from.map(Micros::to_time))
            .bind(filter.instance.as_deref())
            .fetch_all(&self.pool)
            .await?)
    }

    /// All rows after `after` up to `to`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn rows_between(
        &self,
        after: Sequence,
        to: Sequence,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = sqlx::query(include_str!("../sql/rows_between.sql"))
            .bind(after.0)
            .bind(to.0)
            .bind(limit)
            .fetch_all(&self.pool);
        self.answered(async { Ok(rows.await?) }).await?.iter().map(stored).collect()
    }

    /// The events after `after` up to `to`, at most `limit`, each with its canonical subject, for those who match them in memory.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn with_subjects_between(
        &self,
        after: Sequence,
        to: Sequence,
        limit: i64,
    ) -> Result<Vec<(String, Option<String>)>, StoreError> {
        let rows = sqlx::query(include_str!("../sql/with_subjects_between.sql"))
            .bind(after.0)
            .bind(to.0)
            .bind(limit)
            .fetch_all(&self.pool);
        let rows = self.answered(async { Ok(rows.await?) }).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// The alternative subject of the event at a place, if it is of that resource and has one; and the event, as it was published.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn alternative_subject_at(
        &self,
        place: Sequence,
        resource: &str,
    ) -> Result<Option<(String, String)>, StoreError> {
        let found = sqlx::query_as(include_str!("../sql/alternative_subject_at.sql"))
            .bind(place.0)
            .bind(resource)
            .fetch_optional(&self.pool);
        self.answered(async { Ok(found.await?) }).await
    }

    /// The oldest event of that id after a place in a feed: of its resource, subjects, alternative subject and instance. What else a
    /// reader leaves out is no part of a position.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn event_of_id(
        &self,
        id: &str,
        feed: &FeedFilter,
        after: Sequence,
    ) -> Result<Option<(Sequence, Event)>, StoreError> {
        let mut after = after.0;
        loop {
            let found = sqlx::query(include_str!("../sql/sequence_of_id.sql"))
                .bind(id_hash(id))
                .bind(after)
                .bind(feed.resource.as_deref())
                .bind(some(&feed.subjects))
                .bind(feed.alternative_subject.as_deref())
                .bind(feed.instance.as_deref())
                .fetch_optional(&self.pool);
            let Some(row) = self.answered(async { Ok(found.await?) }).await? else { return Ok(None) };
            after = row.try_get(0)?;
            let json: String = row.try_get(1)?;
            // Two ids may share a hash.
            if let Ok(event) = Event::stored(json.as_bytes())
                && event.id() == id
            {
                return Ok(Some((Sequence(after), event)));
            }
        }
    }

    /// Those of these events that are stored, as they were published.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn events_of(
        &self,
        events: &[EventIdentity],
    ) -> Result<Vec<(EventIdentity, String)>, StoreError> {
        let asked: Vec<Uuid> = events.iter().map(|identity| Uuid::from_u128(identity.0)).collect();
        let rows =
            sqlx::query(include_str!("../sql/events_of_identities.sql")).bind(asked).fetch_all(&self.pool);
        let rows = self.answered(async { Ok(rows.await?) }).await?;
        rows.iter()
            .map(|row| Ok((EventIdentity(row.try_get::<Uuid, _>(0)?.as_u128()), row.try_get(1)?)))
            .collect()
    }

    /// Which of these records are repeats: stored already from another place in the log.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn repeats(&self, records: &[(EventIdentity, i32, i64)]) -> Result<Vec<bool>, StoreError> {
        let identities: Vec<EventIdentity> = records.iter().map(|(identity, _, _)| *identity).collect();
        let mut stored = std::collections::HashMap::new();
        for (asked, first) in self.closed.questions(&identities) {
            let rows = sqlx::query(include_str!("../sql/find_identities.sql"))
                .bind(asked)
                .bind(first)
                .fetch_all(&self.pool)
                .await?;
            for row in rows {
                let place = (row.try_get::<i32, _>(2)?, row.try_get::<i64, _>(3)?);
                stored.insert(row.try_get::<Uuid, _>(0)?.as_u128(), place);
            }
        }
        Ok(records
            .iter()
            .map(|(identity, partition, offset)| {
                stored.get(&identity.0).is_some_and(|place| *place != (*partition, *offset))
            })
            .collect())
    }
}
