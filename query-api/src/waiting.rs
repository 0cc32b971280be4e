//! The readers who wait for an event, by what they wait for. Nothing here waits or reads.
//!
//! A reader's place is its own until it drops it, so a client that goes away leaves nothing behind.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use event::Event;
use service::prometheus::IntGauge;
use store::FeedFilter;
use tokio::sync::{Notify, oneshot};

use crate::interest::may_match;

/// All waiting readers, at most as many as it was made for.
pub struct Waiting {
    readers: Mutex<Readers>,
    /// Told when somebody comes.
    somebody: Notify,
    gauge: IntGauge,
    most: usize,
}

#[derive(Default)]
struct Readers {
    by_key: HashMap<String, HashMap<u64, Reader>>,
    /// Places that are taken; who was woken and looks keeps its place.
    places: usize,
    next: u64,
    closed: bool,
}

struct Reader {
    filter: FeedFilter,
    wake: oneshot::Sender<()>,
}

/// Why a reader has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// As many wait as may.
    Full,
    /// The process stops: nobody would wake it.
    Closed,
}

/// A reader's place; dropping it gives it back. It is kept over any number of wakes.
pub struct Place<'w> {
    waiting: &'w Waiting,
    key: String,
    number: u64,
    woken: oneshot::Receiver<()>,
}

impl Place<'_> {
    /// Ends when the reader should look again, which it does after it has called [`Place::renew`].
    pub async fn woken(&mut self) {
        // A sender that was dropped has woken, too.
        (&mut self.woken).await.ok();
    }

    /// Waits once more; false when the process stops.
    pub fn renew(&mut self, filter: &FeedFilter) -> bool {
        let (wake, woken) = oneshot::channel();
        let mut readers = self.waiting.lock();
        if readers.closed {
            return false;
        }
        let reader = Reader { filter: filter.clone(), wake };
        readers.by_key.entry(self.key.clone()).or_default().insert(self.number, reader);
        drop(readers);
        self.woken = woken;
        self.waiting.somebody.notify_one();
        true
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut readers = self.waiting.lock();
        if let Some(same) = readers.by_key.get_mut(&self.key) {
            same.remove(&self.number);
            if same.is_empty() {
                readers.by_key.remove(&self.key);
            }
        }
        readers.places -= 1;
        self.waiting.counted(&readers);
    }
}

/// What a reader waits for: its subject, else its resource.
fn key_of(filter: &FeedFilter) -> String {
    match (&filter.subject, &filter.resource) {
        (Some(subject), _) => subject_key(subject),
        (None, Some(resource)) => resource_key(resource),
        (None, None) => String::new(),
    }
}

fn subject_key(subject: &str) -> String {
    format!("s{subject}")
}

fn resource_key(resource: &str) -> String {
    format!("r{resource}")
}

impl Waiting {
    /// Nobody waits yet; at most `most` may. `gauge` tells how many do.
    pub fn new(most: usize, gauge: IntGauge) -> Self {
        Self { readers: Mutex::default(), somebody: Notify::new(), gauge, most }
    }

    fn lock(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self, readers: &Readers) {
        self.gauge.set(i64::try_from(readers.places).unwrap_or(i64::MAX));
    }

    /// A place for a reader of this feed.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub fn register(&self, filter: &FeedFilter) -> Result<Place<'_>, NoPlace> {
        let mut readers = self.lock();
        if readers.closed {
            return Err(NoPlace::Closed);
        }
        if readers.places >= self.most {
            return Err(NoPlace::Full);
        }
        readers.places += 1;
        readers.next += 1;
        let number = readers.next;
        self.counted(&readers);
        drop(readers);
        let (_, woken) = oneshot::channel();
        let mut place = Place { waiting: self, key: key_of(filter), number, woken };
        if place.renew(filter) { Ok(place) } else { Err(NoPlace::Closed) }
    }

    /// Wakes who may wait for one of these events.
    pub fn wake(&self, events: &[Event]) {
        let mut readers = self.lock();
        for event in events {
            let subject = event.canonical_subject().map(|subject| subject_key(&subject));
            for key in [Some(resource_key(event.resource())), subject].into_iter().flatten() {
                wake_of(&mut readers, &key, event);
            }
        }
    }

    /// Wakes everybody.
    pub fn wake_all(&self) {
        self.lock().by_key.clear();
    }

    /// Wakes everybody and takes nobody any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake_all();
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.lock().by_key.is_empty()
    }

    /// Ends when somebody waits.
    pub async fn somebody(&self) {
        while self.is_empty() {
            self.somebody.notified().await;
        }
    }
}

fn wake_of(readers: &mut Readers, key: &str, event: &Event) {
    let Some(same) = readers.by_key.get_mut(key) else { return };
    for (_, reader) in same.extract_if(|_, reader| may_match(&reader.filter, event)) {
        // Its place is dropped at this moment: it does not need to be woken.
        reader.wake.send(()).ok();
    }
    if same.is_empty() {
        readers.by_key.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(most: usize) -> Waiting {
        Waiting::new(most, IntGauge::new("waiting", "waiting").unwrap())
    }

    fn filter(resource: &str, subject: Option<&str>) -> FeedFilter {
        FeedFilter {
            resource: Some(format!("urn:altinn:resource:{resource}")),
            subject: subject.map(str::to_owned),
            ..FeedFilter::default()
        }
    }

    fn event(resource: &str, subject: &str) -> Event {
        let json = format!(
            r#"{{"specversion":"1.0","id":"1","source":"https://x.no","type":"t","subject":"{subject}","resource":"urn:altinn:resource:{resource}"}}"#
        );
        Event::parse(json.as_bytes()).unwrap()
    }

    fn is_woken(place: &mut Place<'_>) -> bool {
        place.woken.try_recv() != Err(oneshot::error::TryRecvError::Empty)
    }

    #[test]
    fn only_readers_of_the_event_are_woken() {
        let waiting = waiting(10);
        let mut all = waiting.register(&filter("a", None)).unwrap();
        let mut mine = waiting.register(&filter("a", Some("/party/1"))).unwrap();
        let mut other = waiting.register(&filter("b", Some("/party/1"))).unwrap();
        waiting.wake(&[event("a", "/party/1")]);
        assert!(is_woken(&mut all) && is_woken(&mut mine) && !is_woken(&mut other));
        assert!(mine.renew(&filter("a", Some("/party/1"))) && !is_woken(&mut mine));
        assert_eq!(waiting.gauge.get(), 3, "who was woken keeps its place");
    }

    #[test]
    fn a_reader_that_goes_away_gives_its_place_back() {
        let waiting = waiting(1);
        let place = waiting.register(&filter("a", None)).unwrap();
        assert_eq!(waiting.register(&filter("a", None)).err(), Some(NoPlace::Full));
        drop(place);
        assert!(waiting.is_empty() && waiting.lock().by_key.is_empty());
        let woken = waiting.register(&filter("a", None)).unwrap();
        waiting.wake_all();
        drop(woken);
        assert!(waiting.register(&filter("a", None)).is_ok(), "a woken reader's place was given back twice");
    }

    #[test]
    fn nobody_waits_where_nobody_wakes() {
        let waiting = waiting(1);
        let mut place = waiting.register(&filter("a", None)).unwrap();
        waiting.close();
        assert!(is_woken(&mut place));
        assert!(!place.renew(&filter("a", None)));
        drop(place);
        assert_eq!(waiting.register(&filter("a", None)).err(), Some(NoPlace::Closed));
        assert_eq!(waiting.gauge.get(), 0);
    }
}
