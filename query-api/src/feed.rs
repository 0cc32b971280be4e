//! Reading a stretch of a feed: scan until the page is full or a bound is reached, asking for rights on the way.
//!
//! Refused events are left out and the position moves over them. Where the PDP gives no answer the page ends before that
//! event: no answer is not a no.

use std::time::Duration;

use access::{Caller, Decision, Question, Turn, question};
use event::{Event, Micros, Sequence};
use store::{FeedFilter, FeedPage, StoredEvent, Stretch};
use tokio::time::Instant;

use crate::{
    QueryApi,
    config::PAGE_BYTES_MAX,
    error::Refusal,
    room::Held,
    waiting::{Awaited, NoPlace, Place},
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

impl Rights {
    /// What is asked about an event; nothing where a scope gives all of them.
    fn question(self, caller: &Caller, event: &Event) -> Option<Question> {
        match self {
            Self::Scope => None,
            Self::App => Some(question::read_app(caller, event)),
            Self::Generic => Some(question::read_generic(caller, event)),
            Self::ByResource => Some(question::read_by_resource(caller, event)),
        }
    }
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
    /// What its events weigh.
    pub bytes: usize,
    /// The room that they take.
    pub held: Held,
}

/// More than any stored event has: so much is kept free for the last one of a page.
const EVENT_BYTES_MAX: usize = 80 * 1024;
/// What stands between two events.
const BETWEEN: usize = 2;
/// Most rows of a further look at a page whose readers may not see much of it.
const FURTHER_ROWS: i64 = 1_000;
/// How many times as many rows are looked at where none of the last ones could be shown.
const FURTHER: i64 = 8;

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
    /// Nothing was read yet.
    pub(crate) fn at(position: Sequence) -> Self {
        Self {
            events: Vec::new(),
            first: None,
            position,
            refused: 0,
            more: true,
            bytes: 0,
            held: Held::default(),
        }
    }

    fn missing(&self, size: i64) -> i64 {
        size - i64::try_from(self.events.len()).unwrap_or(i64::MAX)
    }

    /// Whether another event may not fit.
    fn is_heavy(&self) -> bool {
        self.bytes + EVENT_BYTES_MAX > PAGE_BYTES_MAX
    }

    /// Rows of the next look, after one of `last` rows: as many as are missing, and where some were refused, as many more as that takes by
    /// what was seen so far.
    fn rows_needed(&self, size: i64, last: i64) -> i64 {
        let (missing, shown) = (self.missing(size), i64::try_from(self.events.len()).unwrap_or(i64::MAX));
        let refused = i64::try_from(self.refused).unwrap_or(i64::MAX);
        let rows = match shown {
            0 => last.saturating_mul(FURTHER),
            _ => missing.saturating_mul(shown.saturating_add(refused)) / shown,
        };
        rows.clamp(missing, missing.max(FURTHER_ROWS))
    }

    /// With no more room than it needs.
    fn settled(mut self) -> Self {
        self.held.keep(self.bytes);
        self
    }
}

impl QueryApi {
    /// Reads a page; waits for a first event when asked to, but not longer than the token lives.
    ///
    /// # Errors
    /// When nothing could be decided: [`Refusal::Neighbour`] because the PDP gave no answer, [`Refusal::CallerBusy`] because the caller asks
    /// for too much at once. [`Refusal::Store`], [`Refusal::TooManyWaiters`], [`Refusal::TooManyPages`].
    pub async fn read(&self, reading: &Reading<'_>, turn: &mut Turn) -> Result<Page, Refusal> {
        let left = reading.caller.expires.0.saturating_sub(Micros::now().0);
        let until =
            Instant::now() + reading.wait.min(Duration::from_micros(u64::try_from(left).unwrap_or(0)));
        let mut after = reading.after;
        let mut place = if Instant::now() < until {
            self.place(turn, Awaited::Event(reading.filter.clone()))?
        } else {
            None
        };
        loop {
            let page = match self.scan(reading, turn, after).await {
                // What was decided before stays decided: the reader goes on after it.
                Err(Refusal::Neighbour(_) | Refusal::CallerBusy) if after != reading.after => Page::at(after),
                read => read?,
            };
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
            if !place.renew() {
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
    ///
    /// # Errors
    /// [`Refusal::TooManyWaiters`], [`Refusal::CallerBusy`].
    pub(crate) fn place(&self, turn: &Turn, awaited: Awaited) -> Result<Option<Place<'_>>, Refusal> {
        match self.inner.waiting.register(turn.caller(), awaited) {
            Ok(place) => Ok(Some(place)),
            Err(NoPlace::Full) => Err(Refusal::TooManyWaiters),
            Err(NoPlace::CallerFull) => {
                self.inner.metrics.busy_callers.inc();
                Err(Refusal::CallerBusy)
            }
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
        let mut page = Page::at(after);
        let mut rows = 0;
        for _ in 0..self.inner.config.scan_chunks {
            rows = page.rows_needed(reading.size, rows);
            let read = match self.look(reading, turn, &mut page, rows).await {
                Err(Refusal::TooManyPages | Refusal::CallerBusy) if page.position != after => break,
                read => read?,
            };
            match self.take(reading, turn, &read.rows, &mut page).await {
                Taken::All => page.position = read.scanned_to,
                Taken::Full => break,
                Taken::Unknown if page.position == after => return Err(self.no_answer(turn)),
                Taken::Unknown => {
                    self.inner.metrics.unknown.inc();
                    page.more = true;
                    break;
                }
            }
            page.more = read.more;
            if !read.more || page.is_heavy() {
                break;
            }
        }
        Ok(page.settled())
    }

    /// Nothing could be decided.
    fn no_answer(&self, turn: &Turn) -> Refusal {
        self.inner.metrics.unknown.inc();
        if turn.is_over() { Refusal::CallerBusy } else { Refusal::Neighbour("The PDP") }
    }

    /// Whether this caller may read this event now.
    ///
    /// # Errors
    /// [`Refusal::Neighbour`] or [`Refusal::CallerBusy`] when nobody can say.
    pub(crate) async fn may_read(
        &self,
        caller: &Caller,
        rights: Rights,
        turn: &mut Turn,
        event: &Event,
    ) -> Result<bool, Refusal> {
        let Some(question) = rights.question(caller, event) else { return Ok(true) };
        match self.inner.access.decide_in(turn, vec![question]).await.first() {
            Some(Decision::Permit) => Ok(true),
            Some(Decision::Refuse) => Ok(false),
            Some(Decision::Unknown) | None => Err(self.no_answer(turn)),
        }
    }

    /// One look into the store: no more rows than wanted, and no more bytes than the page has left.
    async fn look(
        &self,
        reading: &Reading<'_>,
        turn: &Turn,
        page: &mut Page,
        rows: i64,
    ) -> Result<FeedPage, Refusal> {
        let left = PAGE_BYTES_MAX.saturating_sub(page.bytes);
        let most = left.min(usize::try_from(rows).unwrap_or(left).saturating_mul(EVENT_BYTES_MAX));
        let room = self.inner.room.take(&mut page.held, turn.caller(), most).await;
        if matches!(room, Err(Refusal::CallerBusy)) {
            self.inner.metrics.busy_callers.inc();
        }
        room?;
        let bytes = i64::try_from(left.saturating_sub(EVENT_BYTES_MAX)).unwrap_or(i64::MAX);
        let head = self.inner.head.get(&self.inner.store).await?.last;
        let stretch = Stretch {
            head,
            after: page.position,
            limit: rows,
            scan: self.inner.config.scan_rows,
            bytes: bytes.max(1),
        };
        let read = self.inner.store.page(&reading.filter, stretch).await?;
        let weight: usize = read.rows.iter().map(|row| row.json.len()).sum();
        page.held.keep(page.bytes + weight);
        Ok(read)
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
                    page.bytes += event.json().len() + BETWEEN;
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
        let ask = |(_, event): &(Sequence, Event)| reading.rights.question(reading.caller, event);
        match rows.iter().map(ask).collect() {
            Some(questions) => self.inner.access.decide_in(turn, questions).await,
            None => vec![Decision::Permit; rows.len()],
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_look_is_as_large_as_what_is_missing_takes() {
        let event =
            br#"{"specversion":"1.0","id":"1","source":"s","type":"t","resource":"urn:altinn:resource:r"}"#;
        for (size, shown, refused, last, expected) in [
            (50, 0, 0, 0, 50),
            (1_000, 0, 0, 0, 1_000),
            // Nothing could be shown so far.
            (2, 0, 2, 2, 16),
            (50, 0, 400, 400, 1_000),
            // Every second one could.
            (50, 25, 25, 50, 50),
            (50, 49, 49, 50, 2),
            // All of them: the rest weighed too much, or was not looked at.
            (50, 10, 0, 50, 40),
            (2, 1, 999, 1_000, 1_000),
        ] {
            let mut page = Page::at(Sequence(0));
            page.events = vec![Event::stored(event).unwrap(); shown];
            page.refused = refused;
            let case = (size, shown, refused, last);
            assert_eq!(page.rows_needed(size, last), expected, "{case:?}");
        }
    }
}
