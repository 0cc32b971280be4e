//! Reading a stretch of a feed: scan until the page is full or a bound is reached, asking for rights on the way.
//!
//! Refused events are left out and the position moves over them. Where the PDP gives no answer the page ends before that
//! event: no answer is not a no.

use std::time::Duration;

use access::{Caller, Decision, Question, Turn, question};
use event::{Event, Micros, Sequence};
use store::{FeedFilter, StoredEvent, Stretch};
use tokio::time::Instant;

use crate::{
    QueryApi,
    error::Refusal,
    waiting::{NoPlace, Place},
};

/// Whose rights a feed is read with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Asked for each event as an app feed's (contract §3.2).
    App,
    /// Asked for each event as the generic feed's.
    Generic,
    /// Asked for an app's event as an app feed's, for any other as the generic feed's, with the scope that it demands.
    ByResource,
    /// Given by a scope for the whole feed.
    Scope,
}

/// What to read.
pub struct Reading<'a> {
    /// Who reads.
    pub caller: &'a Caller,
    /// With which rights.
    pub rights: Rights,
    /// Which feed.
    pub filter: FeedFilter,
    /// From where.
    pub after: Sequence,
    /// Most events.
    pub size: i64,
    /// How long to wait for a first event.
    pub wait: Duration,
}

/// What was read.
#[derive(Debug)]
pub struct Page {
    /// The events, in sequence order.
    pub events: Vec<Event>,
    /// Where the first of them stands.
    pub first: Option<Sequence>,
    /// Where a reader goes on.
    pub position: Sequence,
    /// How many events were left out.
    pub refused: usize,
    /// Whether there may be more now.
    pub more: bool,
}

/// Most rows of a further look at a page whose readers may not see much of it.
const FURTHER_ROWS: i64 = 1_000;

/// How far the rows of one look were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// All of them.
    All,
    /// Until the page was full.
    Full,
    /// Until one about which the PDP gave no answer.
    Unknown,
}

impl Page {
    fn missing(&self, size: i64) -> i64 {
        size - i64::try_from(self.events.len()).unwrap_or(i64::MAX)
    }
}

impl QueryApi {
    /// Reads a page; waits for a first event when asked to, but not longer than the token lives.
    ///
    /// # Errors
    /// [`Refusal::Neighbour`] when the page would be empty because the PDP gave no answer, [`Refusal::CallerBusy`] when it would be because
    /// the caller asks for too much at once, [`Refusal::Store`], [`Refusal::TooManyWaiters`].
    pub async fn read(&self, reading: &Reading<'_>, turn: &mut Turn) -> Result<Page, Refusal> {
        let left = reading.caller.expires.0.saturating_sub(Micros::now().0);
        let until =
            Instant::now() + reading.wait.min(Duration::from_micros(u64::try_from(left).unwrap_or(0)));
        let mut after = reading.after;
        let mut place = if Instant::now() < until { self.place(&reading.filter)? } else { None };
        loop {
            let page = self.scan(reading, turn, after).await?;
            let waits =
                place.as_mut().filter(|_| page.events.is_empty() && !page.more && Instant::now() < until);
            let Some(place) = waits else {
                self.inner.metrics.pages.inc();
                self.inner.metrics.events.inc_by(u64::try_from(page.events.len()).unwrap_or(0));
                return Ok(page);
            };
            after = page.position;
            // Woken or not, the next look tells. The place is renewed before it: an event between the two wakes.
            turn.pause();
            tokio::time::timeout_at(until, place.woken()).await.ok();
            turn.resume().await;
            if !place.renew(&reading.filter) {
                return Ok(page);
            }
        }
    }

    /// A turn of this caller's. Taken before anything is asked for it.
    ///
    /// # Errors
    /// [`Refusal::CallerBusy`].
    pub async fn turn(&self, caller: &Caller) -> Result<Turn, Refusal> {
        let turn = self.inner.access.turn(caller).await;
        turn.map_err(|busy| {
            self.inner.metrics.busy_callers.inc();
            busy.into()
        })
    }

    /// A place to wait in; none while the process stops.
    fn place(&self, filter: &FeedFilter) -> Result<Option<Place<'_>>, Refusal> {
        match self.inner.waiting.register(filter) {
            Ok(place) => Ok(Some(place)),
            Err(NoPlace::Full) => Err(Refusal::TooManyWaiters),
            Err(NoPlace::Closed) => Ok(None),
        }
    }

    /// A stretch of the feed, without waiting.
    pub(crate) async fn scan(
        &self,
        reading: &Reading<'_>,
        turn: &mut Turn,
        after: Sequence,
    ) -> Result<Page, Refusal> {
        let _timer = self.inner.metrics.page_seconds.start_timer();
        let mut page = Page { events: Vec::new(), first: None, position: after, refused: 0, more: true };
        for look in 0..self.inner.config.scan_chunks {
            let head = self.inner.head.get(&self.inner.store).await?.last;
            let missing = page.missing(reading.size);
            let limit = if look == 0 { missing } else { missing.max(FURTHER_ROWS) };
            let stretch = Stretch { head, after: page.position, limit, scan: self.inner.config.scan_rows };
            let read = self.inner.store.page(&reading.filter, stretch).await?;
            match self.take(reading, turn, &read.rows, &mut page).await {
                Taken::All => page.position = read.scanned_to,
                Taken::Full => return Ok(page),
                Taken::Unknown => {
                    self.inner.metrics.unknown.inc();
                    return match page.events.is_empty() {
                        true if turn.is_over() => Err(Refusal::CallerBusy),
                        true => Err(Refusal::Neighbour("The PDP")),
                        false => Ok(page),
                    };
                }
            }
            page.more = read.more;
            if !read.more {
                return Ok(page);
            }
        }
        Ok(page)
    }

    /// Adds the permitted events; the position is after the last one that was decided on.
    async fn take(
        &self,
        reading: &Reading<'_>,
        turn: &mut Turn,
        rows: &[StoredEvent],
        page: &mut Page,
    ) -> Taken {
        let rows: Vec<(Sequence, Event)> = rows.iter().filter_map(decoded).collect();
        let decisions = self.decisions(reading, turn, &rows).await;
        for ((sequence, event), decision) in rows.into_iter().zip(decisions) {
            match decision {
                Decision::Permit => {
                    page.first.get_or_insert(sequence);
                    page.events.push(event);
                }
                Decision::Refuse => {
                    page.refused += 1;
                    self.inner.metrics.refused.inc();
                }
                Decision::Unknown => return Taken::Unknown,
            }
            page.position = sequence;
            if page.missing(reading.size) <= 0 {
                return Taken::Full;
            }
        }
        Taken::All
    }

    async fn decisions(
        &self,
        reading: &Reading<'_>,
        turn: &mut Turn,
        rows: &[(Sequence, Event)],
    ) -> Vec<Decision> {
        let ask: fn(&Caller, &Event) -> Question = match reading.rights {
            Rights::Scope => return vec![Decision::Permit; rows.len()],
            Rights::App => question::read_app,
            Rights::Generic => question::read_generic,
            Rights::ByResource => question::read_by_resource,
        };
        let questions = rows.iter().map(|(_, event)| ask(reading.caller, event)).collect();
        self.inner.access.decide_in(turn, questions).await
    }
}

fn decoded(row: &store::StoredEvent) -> Option<(Sequence, Event)> {
    match Event::stored(row.json.as_bytes()) {
        Ok(event) => Some((row.sequence, event)),
        Err(wrong) => {
            tracing::error!(sequence = row.sequence.0, %wrong, "a stored event cannot be read");
            None
        }
    }
}
