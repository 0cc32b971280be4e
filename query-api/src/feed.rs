//! Reading a stretch of a feed: scan until the page is full or a bound is reached, asking for rights on the way.
//!
//! Refused events are left out and the position moves over them. Where the PDP gives no answer the page ends before that
//! event: no answer is not a no.

use std::time::Duration;

use access::{Caller, Decision, Question, question};
use event::{Event, Sequence, resource};
use store::{FeedFilter, Stretch};
use tokio::time::Instant;

use crate::{QueryApi, cursor, error::Refusal, query::Query};

/// Whose rights a feed is read with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Asked for each event as an app feed's (contract §3.2).
    App,
    /// Asked for each event as the generic feed's.
    Generic,
    /// Asked for an app's event as an app feed's, for any other as the generic feed's.
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
    /// Where a reader goes on.
    pub position: Sequence,
    /// Whether there may be more now.
    pub more: bool,
}

impl QueryApi {
    /// Reads a page; waits for a first event when asked to.
    ///
    /// # Errors
    /// [`Refusal::Neighbour`] when the page would be empty because the PDP gave no answer, [`Refusal::Store`],
    /// [`Refusal::TooManyWaiters`].
    pub async fn read(&self, mut reading: Reading<'_>) -> Result<Page, Refusal> {
        let until = Instant::now() + reading.wait;
        loop {
            let woken = if reading.wait.is_zero() {
                None
            } else {
                Some(self.inner.head.register(&reading.filter).ok_or(Refusal::TooManyWaiters)?)
            };
            let timer = self.inner.metrics.page_seconds.start_timer();
            let page = self.scan(&reading).await?;
            timer.observe_duration();
            let Some(woken) =
                woken.filter(|_| page.events.is_empty() && !page.more && Instant::now() < until)
            else {
                self.inner.metrics.pages.inc();
                self.inner.metrics.events.inc_by(u64::try_from(page.events.len()).unwrap_or(0));
                return Ok(page);
            };
            reading.after = page.position;
            self.inner.metrics.waiting.inc();
            // Woken or not, the next look tells.
            drop(tokio::time::timeout_at(until, woken).await);
            self.inner.metrics.waiting.dec();
        }
    }

    async fn scan(&self, reading: &Reading<'_>) -> Result<Page, Refusal> {
        let mut page = Page { events: Vec::new(), position: reading.after, more: true };
        for _ in 0..self.inner.config.scan_chunks {
            let head = self.inner.store.feed_head().await?.last;
            let found = i64::try_from(page.events.len()).unwrap_or(i64::MAX);
            let stretch = Stretch {
                head,
                after: page.position,
                limit: reading.size - found,
                scan: self.inner.config.scan_rows,
            };
            let read = self.inner.store.page(&reading.filter, stretch).await?;
            let rows: Vec<(Sequence, Event)> = read.rows.iter().filter_map(decoded).collect();
            let answered = self.permitted(reading, rows, &mut page).await;
            if !answered {
                self.inner.metrics.unknown.inc();
                return if page.events.is_empty() { Err(Refusal::Neighbour("The PDP")) } else { Ok(page) };
            }
            page.position = read.scanned_to;
            page.more = read.more;
            if !read.more || i64::try_from(page.events.len()).is_ok_and(|found| found >= reading.size) {
                return Ok(page);
            }
        }
        Ok(page)
    }

    /// Adds the permitted events; false when one had no answer, with the position before it.
    async fn permitted(&self, reading: &Reading<'_>, rows: Vec<(Sequence, Event)>, page: &mut Page) -> bool {
        let ask: fn(&Caller, &Event) -> Question = match reading.rights {
            Rights::Scope => {
                page.events.extend(rows.into_iter().map(|(_, event)| event));
                return true;
            }
            Rights::App => question::read_app,
            Rights::Generic => question::read_generic,
            Rights::ByResource => by_resource,
        };
        let questions = rows.iter().map(|(_, event)| ask(reading.caller, event)).collect();
        let decisions = self.inner.access.decide(questions).await;
        for ((sequence, event), decision) in rows.into_iter().zip(decisions) {
            match decision {
                Decision::Permit => page.events.push(event),
                Decision::Refuse => self.inner.metrics.refused.inc(),
                Decision::Unknown => return false,
            }
            page.position = sequence;
        }
        true
    }

    /// Where `after` stands: from the start, a cursor, or an event's id, which may still be on its way to the store.
    ///
    /// # Errors
    /// [`Refusal::Gone`] when it is not in the feed, [`Refusal::Wrong`] for a damaged cursor.
    pub async fn position(&self, query: &Query, filter: &FeedFilter) -> Result<Sequence, Refusal> {
        let after = query.get("after").unwrap_or("0");
        if after == "0" || after == "1" {
            return Ok(Sequence(0));
        }
        if let Some(read) = cursor::decode(after, filter) {
            let position = read.map_err(|error| match error {
                cursor::CursorError::Damaged => Refusal::wrong("after", "is a damaged cursor"),
                cursor::CursorError::OtherFilter => {
                    Refusal::wrong("after", "is a cursor of a feed with another filter; start with after=0")
                }
            })?;
            let oldest = self.inner.store.oldest().await?;
            return match oldest {
                Some(oldest) if position.0 > 0 && position.0 + 1 < oldest.0 => Err(self.gone(filter).await),
                Some(_) | None => Ok(position),
            };
        }
        let until = Instant::now() + self.inner.config.unknown_after_wait;
        loop {
            if let Some(position) = self.inner.store.sequence_of_id(after).await? {
                return Ok(position);
            }
            if Instant::now() >= until {
                return Err(self.gone(filter).await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn gone(&self, filter: &FeedFilter) -> Refusal {
        let (oldest, head) = (self.inner.store.oldest().await, self.inner.store.feed_head().await);
        match (oldest, head) {
            (Ok(oldest), Ok(head)) => {
                let before_oldest = Sequence(oldest.map_or(0, |oldest| oldest.0 - 1));
                Refusal::Gone(cursor::encode(before_oldest, filter), cursor::encode(head.last, filter))
            }
            (Err(error), _) | (_, Err(error)) => error.into(),
        }
    }
}

fn by_resource(caller: &Caller, event: &Event) -> Question {
    if event.resource().starts_with(resource::APP_PREFIX) {
        question::read_app(caller, event)
    } else {
        question::read_generic(caller, event)
    }
}

fn decoded(row: &store::StoredEvent) -> Option<(Sequence, Event)> {
    match Event::parse(row.json.as_bytes()) {
        Ok(event) => Some((row.sequence, event)),
        Err(wrong) => {
            tracing::error!(sequence = row.sequence.0, %wrong, "a stored event cannot be read");
            None
        }
    }
}
