//! The readers who wait, by what they wait for: an event of their feed, or the one event by whose id they say where they are. Nothing
//! here waits or reads.
//!
//! A reader's place is its own until it drops it, so a client that goes away leaves nothing behind. A reader takes one place, of those that
//! there are and of those that its caller may have; the subjects of all readers together are bounded, too.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use event::Event;
use service::prometheus::IntGauge;
use store::FeedFilter;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::interest::may_match;

/// All waiting readers.
pub struct Waiting {
    readers: Mutex<Readers>,
    /// Told when somebody comes.
    somebody: Notify,
    gauge: IntGauge,
    most: Most,
}

/// How many may wait.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// In all.
    pub readers: usize,
    /// Of one caller.
    pub per_caller: usize,
}

/// Subjects of all readers together, for each reader that there may be.
const SUBJECTS_A_READER: usize = 10;

#[derive(Default)]
struct Readers {
    by_key: HashMap<String, HashMap<u64, Reader>>,
    /// Places that are taken, by caller; who was woken and looks keeps its place.
    by_caller: HashMap<Arc<str>, usize>,
    places: usize,
    keys: usize,
    next: u64,
    closed: bool,
}

/// What a reader waits for.
#[derive(Clone, Debug)]
pub enum Awaited {
    /// An event of this feed.
    Event(FeedFilter),
    /// The event of this id in the feed that this filter stands in.
    Place(String, FeedFilter),
}

/// Stands under each of its keys; the first that fits wakes it.
#[derive(Clone)]
struct Reader {
    awaited: Arc<Awaited>,
    wake: CancellationToken,
}

/// Why a reader has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// As many wait as may.
    Full,
    /// As many of this caller's wait as may.
    CallerFull,
    /// The process stops: nobody would wake it.
    Closed,
}

/// A reader's place; dropping it gives it back. It is kept over any number of wakes.
pub struct Place<'w> {
    waiting: &'w Waiting,
    caller: Arc<str>,
    awaited: Arc<Awaited>,
    keys: Vec<String>,
    number: u64,
    woken: CancellationToken,
}

impl Place<'_> {
    /// Ends when the reader should look again, which it does after it has called [`Place::renew`].
    pub async fn woken(&mut self) {
        self.woken.cancelled().await;
    }

    /// Waits once more; false when the process stops.
    pub fn renew(&mut self) -> bool {
        let reader = Reader { awaited: Arc::clone(&self.awaited), wake: CancellationToken::new() };
        let mut readers = self.waiting.lock();
        if readers.closed {
            return false;
        }
        for key in &self.keys {
            readers.by_key.entry(key.clone()).or_default().insert(self.number, reader.clone());
        }
        drop(readers);
        self.woken = reader.wake;
        self.waiting.somebody.notify_one();
        true
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut readers = self.waiting.lock();
        for key in &self.keys {
            if let Some(same) = readers.by_key.get_mut(key) {
                same.remove(&self.number);
                if same.is_empty() {
                    readers.by_key.remove(key);
                }
            }
        }
        readers.leave(&self.caller, self.keys.len());
        self.waiting.counted(&readers);
    }
}

impl Awaited {
    /// Under which keys it is found: the id, else the subjects, else the resource.
    fn keys(&self) -> Vec<String> {
        match self {
            Self::Place(id, _) => vec![id_key(id)],
            Self::Event(filter) if filter.subjects.is_empty() => {
                vec![filter.resource.as_deref().map(resource_key).unwrap_or_default()]
            }
            Self::Event(filter) => filter.subjects.iter().map(|subject| subject_key(subject)).collect(),
        }
    }

    /// Whether this event may be what is waited for.
    fn may_be(&self, event: &Event, subject: Option<&str>) -> bool {
        match self {
            Self::Event(filter) => may_match(filter, event, subject),
            Self::Place(id, feed) => event.id() == id && may_match(feed, event, subject),
        }
    }
}

impl Readers {
    /// A place for one more of this caller's, with so many keys.
    fn enter(&mut self, caller: &Arc<str>, keys: usize, most: Most) -> Result<(), NoPlace> {
        if self.closed {
            return Err(NoPlace::Closed);
        }
        if self.places >= most.readers || self.keys + keys > most.readers * SUBJECTS_A_READER {
            return Err(NoPlace::Full);
        }
        if self.by_caller.get(caller).is_some_and(|taken| *taken >= most.per_caller) {
            return Err(NoPlace::CallerFull);
        }
        *self.by_caller.entry(Arc::clone(caller)).or_default() += 1;
        self.places += 1;
        self.keys += keys;
        self.next += 1;
        Ok(())
    }

    fn leave(&mut self, caller: &Arc<str>, keys: usize) {
        self.places -= 1;
        self.keys -= keys;
        if let Some(taken) = self.by_caller.get_mut(caller) {
            *taken -= 1;
            if *taken == 0 {
                self.by_caller.remove(caller);
            }
        }
    }
}

fn id_key(id: &str) -> String {
    format!("i{id}")
}

fn subject_key(subject: &str) -> String {
    format!("s{subject}")
}

fn resource_key(resource: &str) -> String {
    format!("r{resource}")
}

impl Waiting {
    /// Nobody waits yet. `gauge` tells how many do.
    pub fn new(most: Most, gauge: IntGauge) -> Self {
        Self { readers: Mutex::default(), somebody: Notify::new(), gauge, most }
    }

    fn lock(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self, readers: &Readers) {
        self.gauge.set(i64::try_from(readers.places).unwrap_or(i64::MAX));
    }

    /// A place for a reader of this caller's.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub fn register(&self, caller: &Arc<str>, awaited: Awaited) -> Result<Place<'_>, NoPlace> {
        let keys = awaited.keys();
        let mut readers = self.lock();
        readers.enter(caller, keys.len(), self.most)?;
        let number = readers.next;
        self.counted(&readers);
        drop(readers);
        let (caller, awaited) = (Arc::clone(caller), Arc::new(awaited));
        let mut place =
            Place { waiting: self, caller, awaited, keys, number, woken: CancellationToken::new() };
        if place.renew() { Ok(place) } else { Err(NoPlace::Closed) }
    }

    /// Wakes who may wait for one of these events; each comes with its canonical subject.
    pub fn wake(&self, events: &[(Event, Option<String>)]) {
        let mut readers = self.lock();
        for (event, subject) in events {
            let subject = subject.as_deref();
            let by =
                [Some(resource_key(event.resource())), Some(id_key(event.id())), subject.map(subject_key)];
            for key in by.into_iter().flatten() {
                wake_of(&mut readers, &key, event, subject);
            }
        }
    }

    /// Wakes everybody.
    pub fn wake_all(&self) {
        let all = std::mem::take(&mut self.lock().by_key);
        all.values().flat_map(HashMap::values).for_each(|reader| reader.wake.cancel());
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

fn wake_of(readers: &mut Readers, key: &str, event: &Event, subject: Option<&str>) {
    let Some(same) = readers.by_key.get_mut(key) else { return };
    for (_, reader) in same.extract_if(|_, reader| reader.awaited.may_be(event, subject)) {
        reader.wake.cancel();
    }
    if same.is_empty() {
        readers.by_key.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(readers: usize) -> Waiting {
        let most = Most { readers, per_caller: 2 };
        Waiting::new(most, IntGauge::new("waiting", "waiting").unwrap())
    }

    fn place<'w>(waiting: &'w Waiting, caller: &str, awaited: &FeedFilter) -> Result<Place<'w>, NoPlace> {
        waiting.register(&caller.into(), Awaited::Event(awaited.clone()))
    }

    fn filter(resource: &str, subject: Option<&str>) -> FeedFilter {
        FeedFilter {
            resource: Some(format!("urn:altinn:resource:{resource}")),
            subjects: subject.map(str::to_owned).into_iter().collect(),
            ..FeedFilter::default()
        }
    }

    fn event(resource: &str, subject: &str) -> (Event, Option<String>) {
        let json = format!(
            r#"{{"specversion":"1.0","id":"1","source":"https://x.no","type":"t","subject":"{subject}","resource":"urn:altinn:resource:{resource}"}}"#
        );
        (Event::parse(json.as_bytes()).unwrap(), Some(subject.to_owned()))
    }

    fn is_woken(place: &Place<'_>) -> bool {
        place.woken.is_cancelled()
    }

    #[test]
    fn only_readers_of_the_event_are_woken() {
        let waiting = waiting(10);
        let all = place(&waiting, "x", &filter("a", None)).unwrap();
        let mut mine = place(&waiting, "x", &filter("a", Some("/party/1"))).unwrap();
        let other = place(&waiting, "y", &filter("b", Some("/party/1"))).unwrap();
        waiting.wake(&[event("a", "/party/1")]);
        assert!(is_woken(&all) && is_woken(&mine) && !is_woken(&other));
        assert!(mine.renew() && !is_woken(&mine));
        assert_eq!(waiting.gauge.get(), 3, "who was woken keeps its place");
    }

    #[test]
    fn a_reader_of_many_subjects_is_woken_by_each_and_counts_once() {
        let waiting = waiting(3);
        let subjects = ["/party/1", "/party/2"].map(str::to_owned).to_vec();
        let both = FeedFilter { subjects, ..FeedFilter::default() };
        let mut reader = place(&waiting, "x", &both).unwrap();
        for subject in ["/party/1", "/party/2"] {
            waiting.wake(&[event("a", "/party/3")]);
            assert!(!is_woken(&reader));
            waiting.wake(&[event("a", subject)]);
            assert!(is_woken(&reader) && reader.renew());
        }
        assert_eq!(waiting.gauge.get(), 1);
        drop(reader);
        assert!(waiting.is_empty() && waiting.lock().places == 0 && waiting.lock().keys == 0);
    }

    #[test]
    fn a_reader_that_goes_away_gives_its_place_back() {
        let waiting = waiting(1);
        let reader = place(&waiting, "x", &filter("a", None)).unwrap();
        assert_eq!(place(&waiting, "x", &filter("a", None)).err(), Some(NoPlace::Full));
        drop(reader);
        assert!(
            waiting.is_empty() && waiting.lock().by_key.is_empty() && waiting.lock().by_caller.is_empty()
        );
        let woken = place(&waiting, "x", &filter("a", None)).unwrap();
        waiting.wake_all();
        drop(woken);
        assert!(
            place(&waiting, "x", &filter("a", None)).is_ok(),
            "a woken reader's place was given back twice"
        );
    }

    #[test]
    fn nobody_waits_where_nobody_wakes() {
        let waiting = waiting(1);
        let mut reader = place(&waiting, "x", &filter("a", None)).unwrap();
        waiting.close();
        assert!(is_woken(&reader));
        assert!(!reader.renew());
        drop(reader);
        assert_eq!(place(&waiting, "x", &filter("a", None)).err(), Some(NoPlace::Closed));
        assert_eq!(waiting.gauge.get(), 0);
    }

    #[test]
    fn a_caller_has_so_many_places_and_leaves_the_others_to_others() {
        let waiting = waiting(3);
        let both = [(); 2].map(|()| place(&waiting, "x", &filter("a", None)).unwrap());
        assert_eq!(place(&waiting, "x", &filter("b", None)).err(), Some(NoPlace::CallerFull));
        let other = place(&waiting, "y", &filter("a", None)).unwrap();
        assert_eq!(place(&waiting, "y", &filter("a", None)).err(), Some(NoPlace::Full));
        drop((both, other));
        assert!(place(&waiting, "x", &filter("b", None)).is_ok());
    }

    #[test]
    fn the_subjects_of_all_readers_are_bounded() {
        let waiting = waiting(2);
        let many = |count: i32| FeedFilter {
            subjects: (0..count).map(|party| format!("/party/{party}")).collect(),
            ..FeedFilter::default()
        };
        let first = place(&waiting, "x", &many(15));
        assert_eq!(place(&waiting, "y", &many(6)).err(), Some(NoPlace::Full));
        assert!(first.is_ok() && place(&waiting, "y", &many(5)).is_ok());
    }

    #[test]
    fn who_waits_for_a_place_is_woken_by_the_event_of_that_id_in_its_feed() {
        let waiting = waiting(2);
        let id_of = |id: &str, resource: &str| Awaited::Place(id.to_owned(), filter(resource, None));
        let mut reader = waiting.register(&"x".into(), id_of("1", "a")).unwrap();
        let other = waiting.register(&"x".into(), id_of("2", "a")).unwrap();
        waiting.wake(&[event("b", "/party/1")]);
        assert!(!is_woken(&reader), "an event of that id in another feed");
        waiting.wake(&[event("a", "/party/1")]);
        assert!(is_woken(&reader) && reader.renew() && !is_woken(&other));
    }
}
