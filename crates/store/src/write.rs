//! A batch of events and its positions, in one transaction.
//!
//! The row lock on `feed_head` is taken first and held to the commit: sequence numbers are allocated, rows become visible and
//! duplicates are looked for in the same order by everybody. That is why the look-up for duplicates needs no retry.

use std::{borrow::Cow, collections::HashMap};

use event::{Event, EventIdentity, Micros, Sequence};
use sqlx::{Postgres, Row, Transaction, types::time::OffsetDateTime};
use uuid::Uuid;

use crate::{error::StoreError, pool::Store};

/// An event with where it came from.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// Its canonical subject, when it has one.
    pub subject: Option<String>,
    /// The partition of `events` it was read from.
    pub kafka_partition: i32,
    /// Its offset there.
    pub kafka_offset: i64,
}

/// One partition's step: from the offset that must be stored to the one that shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The partition.
    pub partition: i32,
    /// The next offset as it must be stored now.
    pub expected: i64,
    /// The next offset afterwards.
    pub next: i64,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    /// New rows.
    pub stored: u64,
    /// Events that were there already, or twice in the batch.
    pub repeated: u64,
    /// Those of them whose content differs.
    pub conflicts: Vec<Conflict>,
    /// The newest sequence number now.
    pub head: i64,
    /// Whether the database's timeline had changed: readers may see events again.
    pub leapt: bool,
}

/// An event that was there already with other content: the places of both on the log, as (partition, offset).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The one that is kept.
    pub kept: (i32, i64),
    /// The one that came later and is dropped.
    pub dropped: (i32, i64),
}

/// What is stored under an identity.
struct Known<'e> {
    json: Cow<'e, str>,
    place: (i32, i64),
}

pub(crate) struct Head {
    pub(crate) last: i64,
    pub(crate) registered: Micros,
    timeline: i64,
    timeline_now: i64,
    partition_size: i64,
    now: Micros,
}

type Tx<'t> = Transaction<'t, Postgres>;

impl Store {
    /// Writes the events that are new, in the order of the batch, and moves the positions of `topic`.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when a position is not the expected one (nothing is written), [`StoreError::Data`] when a value
    /// cannot be stored, [`StoreError::Unavailable`].
    pub async fn write_batch(
        &self,
        topic: &str,
        events: &[NewEvent],
        advances: &[Advance],
    ) -> Result<BatchOutcome, StoreError> {
        self.answered(self.write(topic, events, advances)).await
    }

    async fn write(
        &self,
        topic: &str,
        events: &[NewEvent],
        advances: &[Advance],
    ) -> Result<BatchOutcome, StoreError> {
        let identities: Vec<EventIdentity> = events.iter().map(|new| new.event.identity()).collect();
        let mut tx = self.pool.begin().await?;
        let head = lock_head(&mut tx).await?;
        advance(&mut tx, topic, advances).await?;
        let known = self.known(&mut tx, &identities).await?;
        let (fresh, mut outcome) = sort_out(events, &identities, known);
        let leapt = head.has_new_timeline();
        let base = if leapt { head.after_failover() } else { head.last };
        let registered = head.registered.max(head.now);
        let last = base + i64::try_from(fresh.len()).unwrap_or(0);
        if !fresh.is_empty() {
            make_room(&mut tx, &head, base + 1, last).await?;
            insert(&mut tx, base, registered, &fresh).await?;
        }
        if !fresh.is_empty() || leapt {
            set_head(&mut tx, last, registered, head.timeline_now).await?;
        }
        tx.commit().await?;
        outcome.head = last;
        outcome.leapt = leapt;
        Ok(outcome)
    }

    /// Moves the head to the next partition, unless it has moved on from `seen`.
    pub(crate) async fn leap(&self, seen: Sequence) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let head = lock_head(&mut tx).await?;
        if head.last == seen.0 {
            let last =
                if head.has_new_timeline() { head.after_failover() } else { head.next_boundary(head.last) };
            set_head(&mut tx, last, head.registered.max(head.now), head.timeline_now).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Where each partition of a topic starts: the stored position, or the given one (the oldest kept offset) without any.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn start_positions(
        &self,
        topic: &str,
        oldest: &[(i32, i64)],
    ) -> Result<Vec<(i32, i64)>, StoreError> {
        let (partitions, offsets): (Vec<i32>, Vec<i64>) = oldest.iter().copied().unzip();
        let starts = sqlx::query_as(include_str!("../sql/start_position.sql"))
            .bind(topic)
            .bind(partitions)
            .bind(offsets)
            .fetch_all(&self.pool);
        self.answered(async { Ok(starts.await?) }).await
    }

    /// The stored position of each partition of a topic.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn positions(&self, topic: &str) -> Result<Vec<(i32, i64)>, StoreError> {
        Ok(sqlx::query_as(include_str!("../sql/positions.sql")).bind(topic).fetch_all(&self.pool).await?)
    }

    /// Which of these identities are stored already, with their events.
    async fn known(
        &self,
        tx: &mut Tx<'_>,
        identities: &[EventIdentity],
    ) -> Result<HashMap<u128, Known<'static>>, StoreError> {
        let mut places = HashMap::new();
        for (asked, first) in self.closed.questions(identities) {
            let rows = sqlx::query(include_str!("../sql/find_identities.sql"))
                .bind(asked)
                .bind(first)
                .fetch_all(&mut **tx)
                .await?;
            for row in rows {
                let identity = row.try_get::<Uuid, _>(0)?.as_u128();
                places.insert(row.try_get::<i64, _>(1)?, (identity, (row.try_get(2)?, row.try_get(3)?)));
            }
        }
        if places.is_empty() {
            return Ok(HashMap::new());
        }
        let sequences: Vec<i64> = places.keys().copied().collect();
        let rows = sqlx::query(include_str!("../sql/events_by_sequence.sql"))
            .bind(sequences)
            .fetch_all(&mut **tx)
            .await?;
        let mut known = HashMap::with_capacity(rows.len());
        for row in rows {
            if let Some((identity, place)) = places.get(&row.try_get::<i64, _>(0)?) {
                let json = Cow::Owned(row.try_get::<String, _>(1)?);
                known.insert(*identity, Known { json, place: *place });
            }
        }
        Ok(known)
    }
}

impl Head {
    /// Whether the database is another one than the one that wrote the head: a standby that took over, or a restored copy.
    const fn has_new_timeline(&self) -> bool {
        self.timeline != self.timeline_now
    }

    /// The last number before the partition after the one that holds `sequence + 1`.
    const fn next_boundary(&self, sequence: i64) -> i64 {
        ((sequence + 1) / self.partition_size + 1) * self.partition_size - 1
    }

    /// The other database may have given numbers that this one never saw: at least a whole partition is left out, so that no
    /// reader's cursor is ahead of what comes now.
    const fn after_failover(&self) -> i64 {
        self.next_boundary(self.last + self.partition_size)
    }
}

pub(crate) async fn lock_head(tx: &mut Tx<'_>) -> Result<Head, StoreError> {
    let row = sqlx::query(include_str!("../sql/head_lock.sql")).fetch_one(&mut **tx).await?;
    Ok(Head {
        last: row.try_get(0)?,
        registered: Micros::from_time(row.try_get(1)?),
        timeline: row.try_get(2)?,
        partition_size: row.try_get(3)?,
        timeline_now: row.try_get(4)?,
        now: Micros::from_time(row.try_get(5)?),
    })
}

async fn set_head(tx: &mut Tx<'_>, last: i64, registered: Micros, timeline: i64) -> Result<(), StoreError> {
    sqlx::query(include_str!("../sql/head_set.sql"))
        .bind(last)
        .bind(registered.to_time())
        .bind(timeline)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Moves positions; all of them must stand where they are expected.
pub(crate) async fn advance(tx: &mut Tx<'_>, topic: &str, advances: &[Advance]) -> Result<(), StoreError> {
    let partitions: Vec<i32> = advances.iter().map(|step| step.partition).collect();
    let expected: Vec<i64> = advances.iter().map(|step| step.expected).collect();
    let next: Vec<i64> = advances.iter().map(|step| step.next).collect();
    let moved = sqlx::query(include_str!("../sql/advance.sql"))
        .bind(topic)
        .bind(partitions)
        .bind(expected)
        .bind(next)
        .execute(&mut **tx)
        .await?;
    if usize::try_from(moved.rows_affected()) == Ok(advances.len()) { Ok(()) } else { Err(StoreError::Stale) }
}

/// Creates the partitions that a batch needs and that housekeeping has not made yet.
async fn make_room(tx: &mut Tx<'_>, head: &Head, first: i64, last: i64) -> Result<(), StoreError> {
    let before = head.last / head.partition_size;
    for number in first / head.partition_size..=last / head.partition_size {
        if number != before || head.last == 0 {
            sqlx::query(include_str!("../sql/partition_create.sql")).bind(number).execute(&mut **tx).await?;
        }
    }
    Ok(())
}

/// The events that are new, in order, and what became of the others.
fn sort_out<'e>(
    events: &'e [NewEvent],
    identities: &[EventIdentity],
    mut known: HashMap<u128, Known<'e>>,
) -> (Vec<(&'e NewEvent, EventIdentity)>, BatchOutcome) {
    let mut fresh = Vec::with_capacity(events.len());
    let mut outcome = BatchOutcome::default();
    for (new, identity) in events.iter().zip(identities) {
        let place = (new.kafka_partition, new.kafka_offset);
        match known.get(&identity.0) {
            None => {
                known.insert(identity.0, Known { json: Cow::Borrowed(new.event.json()), place });
                fresh.push((new, *identity));
            }
            Some(stored) => {
                outcome.repeated += 1;
                if stored.json != new.event.json() {
                    outcome.conflicts.push(Conflict { kept: stored.place, dropped: place });
                }
            }
        }
    }
    outcome.stored = u64::try_from(fresh.len()).unwrap_or(0);
    (fresh, outcome)
}

async fn insert(
    tx: &mut Tx<'_>,
    base: i64,
    registered: Micros,
    fresh: &[(&NewEvent, EventIdentity)],
) -> Result<(), StoreError> {
    let column =
        |read: fn(&Event) -> &str| fresh.iter().map(|(new, _)| read(&new.event)).collect::<Vec<&str>>();
    let optional =
        |read: fn(&NewEvent) -> Option<&str>| fresh.iter().map(|(new, _)| read(new)).collect::<Vec<_>>();
    let identities: Vec<Uuid> = fresh.iter().map(|(_, identity)| Uuid::from_u128(identity.0)).collect();
    let hashes: Vec<i64> = fresh.iter().map(|(new, _)| new.event.id_hash()).collect();
    let times: Vec<Option<OffsetDateTime>> =
        fresh.iter().map(|(new, _)| new.event.time().map(Micros::to_time)).collect();
    let partitions: Vec<i32> = fresh.iter().map(|(new, _)| new.kafka_partition).collect();
    let alternatives: Vec<Option<String>> = fresh
        .iter()
        .map(|(new, _)| new.event.alternative_subject().map(event::subject::alternative))
        .collect();
    let offsets: Vec<i64> = fresh.iter().map(|(new, _)| new.kafka_offset).collect();
    sqlx::query(include_str!("../sql/insert_events.sql"))
        .bind(base)
        .bind(registered.to_time())
        .bind(identities)
        .bind(hashes)
        .bind(times)
        .bind(partitions)
        .bind(offsets)
        .bind(column(Event::event_type))
        .bind(column(Event::source))
        .bind(column(Event::resource))
        .bind(optional(|new| new.subject.as_deref()))
        .bind(alternatives)
        .bind(optional(|new| new.event.resource_instance()))
        .bind(column(Event::json))
        .execute(&mut **tx)
        .await?;
    Ok(())
}
