//! Where a reader starts: from the oldest event, from a cursor, or after an event that it names by its id.

use access::Turn;
use event::{Micros, Sequence};
use store::FeedFilter;
use tokio::time::Instant;

use crate::{
    QueryApi,
    cursor::{self, CursorError},
    error::Refusal,
    feed::Reading,
    query::Query,
    waiting::Awaited,
};

/// Events of one id in a feed that are asked about.
const SAME_ID_MAX: usize = 16;

/// The feed in which an id is a position: what else a reader leaves out is no part of it.
fn place_of(filter: &FeedFilter) -> FeedFilter {
    let FeedFilter { resource, subjects, alternative_subject, instance, .. } = filter.clone();
    FeedFilter { resource, subjects, alternative_subject, instance, ..FeedFilter::default() }
}

impl QueryApi {
    /// Where `after` stands: from the start, a cursor, or an event's id, which may still be on its way to the store. An id counts
    /// within the reader's own feed alone, as the id of an event that it may read now: what others publish moves nobody, and tells
    /// nobody what there is elsewhere. `0` is always the start; `1`, and a text that looks like a cursor and is none of this feed, are ids where the feed has them.
    ///
    /// # Errors
    /// [`Refusal::Gone`] when it is not in the feed, [`Refusal::Wrong`] for a damaged cursor, those of [`QueryApi::may_read`].
    pub async fn position(
        &self,
        query: &Query,
        reading: &Reading<'_>,
        turn: &mut Turn,
    ) -> Result<Sequence, Refusal> {
        let filter = &reading.filter;
        let after = query.get("after").unwrap_or("0");
        if after == "0" {
            return self.start(filter).await;
        }
        let cursor = cursor::decode(after, filter);
        if let Some(Ok(position)) = cursor {
            return self.kept(position, filter).await;
        }
        if cursor.is_none() && after != "1" {
            return self.position_of_event(after, reading, turn).await;
        }
        if let Some(position) = self.look_for(after, reading, turn).await? {
            return Ok(position);
        }
        match cursor {
            Some(Err(CursorError::Damaged)) => Err(Refusal::wrong("after", "is a damaged cursor")),
            Some(Err(CursorError::OtherFilter)) => {
                Err(Refusal::wrong("after", "is a cursor of a feed with another filter; start with after=0"))
            }
            Some(Ok(_)) | None => self.start(filter).await,
        }
    }

    /// Before the oldest event that the reader wants.
    async fn start(&self, filter: &FeedFilter) -> Result<Sequence, Refusal> {
        match filter.registered_from {
            Some(from) => self.before_registered(from).await,
            None => Ok(Sequence(0)),
        }
    }

    /// A cursor's position, unless events after it have expired.
    async fn kept(&self, position: Sequence, filter: &FeedFilter) -> Result<Sequence, Refusal> {
        let head = self.inner.head.get(&self.inner.store).await?;
        // Nothing expires in the partition that is being filled, where nearly all readers are.
        if position.0 >= head.partition_of(head.last.0.saturating_add(1)) * head.partition_size {
            return Ok(position);
        }
        let oldest = self.inner.store.oldest().await?;
        let is_expired =
            oldest.is_some_and(|oldest| position.0 > 0 && position.0.saturating_add(1) < oldest.0);
        if is_expired { Err(self.gone(filter).await) } else { Ok(position) }
    }

    /// Waits for an event that may be on its way: the one look at the head of the feed for all who wait tells when it has come.
    async fn position_of_event(
        &self,
        id: &str,
        reading: &Reading<'_>,
        turn: &mut Turn,
    ) -> Result<Sequence, Refusal> {
        let filter = &reading.filter;
        let until = Instant::now() + self.inner.config.unknown_after_wait;
        if let Some(position) = self.look_for(id, reading, turn).await? {
            return Ok(position);
        }
        // A process that stops knows nothing about the event: that is not told as gone.
        let place = self.place(turn, Awaited::Place(id.to_owned(), place_of(filter)))?;
        let mut place = place.ok_or(Refusal::TooManyWaiters)?;
        loop {
            // The place first, then the look: an event between the two wakes.
            if let Some(position) = self.look_for(id, reading, turn).await? {
                return Ok(position);
            }
            if Instant::now() >= until {
                return Err(self.gone(filter).await);
            }
            turn.pause();
            tokio::time::timeout_at(until, place.woken()).await.ok();
            turn.resume().await;
            if !place.renew() {
                return Err(Refusal::TooManyWaiters);
            }
        }
    }

    /// The oldest event of that id in the feed that the reader may read now.
    async fn look_for(
        &self,
        id: &str,
        reading: &Reading<'_>,
        turn: &mut Turn,
    ) -> Result<Option<Sequence>, Refusal> {
        self.inner.metrics.looks_for_ids.inc();
        let mut after = Sequence(-1);
        for _ in 0..SAME_ID_MAX {
            let found = self.inner.store.event_of_id(id, &reading.filter, after).await?;
            let Some((sequence, event)) = found else { break };
            if self.may_read(reading.caller, reading.rights, turn, &event).await? {
                return Ok(Some(sequence));
            }
            after = sequence;
        }
        Ok(None)
    }

    async fn gone(&self, filter: &FeedFilter) -> Refusal {
        let (oldest, head) = (self.inner.store.oldest().await, self.inner.store.feed_head().await);
        match (oldest, head) {
            (Ok(oldest), Ok(head)) => {
                let before_oldest = Sequence(oldest.map_or(head.last.0, |oldest| oldest.0 - 1));
                Refusal::Gone(cursor::encode(before_oldest, filter), cursor::encode(head.last, filter))
            }
            (Err(error), _) | (_, Err(error)) => error.into(),
        }
    }

    /// The last position before everything that was registered at `from` or later, by halving: registrations rise with the
    /// sequence, so that a poller does not scan what it has read long ago.
    async fn before_registered(&self, from: Micros) -> Result<Sequence, Refusal> {
        let head = self.inner.store.feed_head().await?;
        if head.registered < from {
            return Ok(head.last);
        }
        let oldest = self.inner.store.oldest().await?;
        let mut low = oldest.map_or(head.last.0, |oldest| oldest.0 - 1);
        let mut high = head.last.0;
        while low < high {
            let middle = low + (high - low) / 2;
            let next = self.inner.store.rows_between(Sequence(middle), head.last, 1).await?;
            match next.first() {
                Some(row) if row.registered < from => low = row.sequence.0,
                Some(_) | None => high = middle,
            }
        }
        Ok(Sequence(low))
    }
}
