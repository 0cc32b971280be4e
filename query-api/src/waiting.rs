//! The readers who wait for an event, by what they wait for. Nothing here waits or reads.
//!
//! A reader's place is its own until it drops it, so a client that goes away leaves nothing behind.

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

/// All waiting readers, at most as many as it was made for; a reader of many subjects counts once for each.
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
    /// Keys of places that are taken; who was woken and looks keeps its place.
    places: usize,
    next: u64,
    closed: bool,
}

/// Stands under each of its keys; the first that fits wakes it.
#[derive(Clone)]
struct Reader {
    filter: Arc<FeedFilter>,
    wake: CancellationToken,
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
    pub fn renew(&mut self, filter: &FeedFilter) -> bool {
        let reader = Reader { filter: Arc::new(filter.clone()), wake: CancellationToken::new() };
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
        readers.places -= self.keys.len();
        self.waiting.counted(&readers);
    }
}

/// What a reader waits for: its subjects, else its resource.
fn keys_of(filter: &FeedFilter) -> Vec<String> {
    if filter.subjects.is_empty() {
        vec![filter.resource.as_deref().map(resource_key).unwrap_or_default()]
    } else {
        filter.subjects.iter().map(|subject| subject_key(subject)).collect()
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
        let keys = keys_of(filter);
        if readers.places + keys.len() > self.most {
            return Err(NoPlace::Full);
        }
        readers.places += keys.len();
        readers.next += 1;
        let number = readers.next;
        self.counted(&readers);
        drop(readers);
        let mut place = Place { waiting: self, keys, number, woken: CancellationToken::new() };
        if place.renew(filter) { Ok(place) } else { Err(NoPlace::Closed) }
    }

    /// Wakes who may wait for one of these events; each comes with its canonical subject.
    pub fn wake(&self, events: &[(Event, Option<String>)]) {
        let mut readers = self.lock();
        for (event, subject) in events {
            let subject = subject.as_deref();
            for key in [Some(resource_key(event.resource())), subject.map(subject_key)].into_iter().flatten()
            {
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
    for (_, reader) in same.extract_if(|_, reader| may_match(&reader.filter, event, subject)) {
        reader.wake.cancel();
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
        let all = waiting.register(&filter("a", None)).unwrap();
        let mut mine = waiting.register(&filter("a", Some("/party/1"))).unwrap();
        let other = waiting.register(&filter("b", Some("/party/1"))).unwrap();
        waiting.wake(&[event("a", "/party/1")]);
        assert!(is_woken(&all) && is_woken(&mine) && !is_woken(&other));
        assert!(mine.renew(&filter("a", Some("/party/1"))) && !is_woken(&mine));
        assert_eq!(waiting.gauge.get(), 3, "who was woken keeps its place");
    }

    #[test]
    fn a_reader_of_many_subjects_is_woken_by_each_and_counts_for_each() {
        let waiting = waiting(3);
        let subjects = ["/party/1", "/party/2"].map(str::to_owned).to_vec();
        let both = FeedFilter { subjects, ..FeedFilter::default() };
        let mut place = waiting.register(&both).unwrap();
        for subject in ["/party/1", "/party/2"] {
            waiting.wake(&[event("a", "/party/3")]);
            assert!(!is_woken(&place));
            waiting.wake(&[event("a", subject)]);
            assert!(is_woken(&place) && place.renew(&both));
        }
        assert_eq!(waiting.register(&both).err(), Some(NoPlace::Full));
        drop(place);
        assert!(waiting.is_empty() && waiting.lock().places == 0);
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
        assert!(is_woken(&place));
        assert!(!place.renew(&filter("a", None)));
        drop(place);
        assert_eq!(waiting.register(&filter("a", None)).err(), Some(NoPlace::Closed));
        assert_eq!(waiting.gauge.get(), 0);
    }
}
