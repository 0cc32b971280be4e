//! Room for pages: the bytes of all events that are read or written out at once in this process.
//!
//! A look takes room for the most it may read, and gives back what it did not need. A page keeps its own until its last byte is written
//! or its reader has gone. One caller has an eighth of the room at most, and always room for one page.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use access::Turn;
use axum::body::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::{config::PAGE_BYTES_MAX, error::Refusal};

/// How long a look waits for room.
const WAIT: Duration = Duration::from_secs(1);
/// Of how many parts of the room one caller may have one.
const PARTS: usize = 8;

/// See the module.
#[derive(Debug)]
pub struct Room {
    all: Arc<Semaphore>,
    of_one: usize,
    /// The part of each caller that holds something.
    parts: Mutex<HashMap<Arc<str>, Weak<Semaphore>>>,
}

/// What a page holds: of the room, and of its caller's part.
#[derive(Debug, Default)]
pub struct Held(Option<[OwnedSemaphorePermit; 2]>);

impl Room {
    /// Room for so many bytes.
    pub fn new(bytes: usize) -> Self {
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        let of_one = (bytes / PARTS).max(PAGE_BYTES_MAX);
        Self { all: Arc::new(Semaphore::new(bytes)), of_one, parts: Mutex::default() }
    }

    /// Takes so many bytes more for a caller.
    ///
    /// # Errors
    /// [`Refusal::CallerBusy`] when the caller's part has no room in time, [`Refusal::TooManyPages`] when nobody has.
    pub async fn take(&self, held: &mut Held, caller: &Arc<str>, bytes: usize) -> Result<(), Refusal> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let until = Instant::now() + WAIT;
        let part = timeout_at(until, self.part_of(caller).acquire_many_owned(bytes)).await;
        let Ok(Ok(part)) = part else { return Err(Refusal::CallerBusy) };
        let all = timeout_at(until, Arc::clone(&self.all).acquire_many_owned(bytes)).await;
        let Ok(Ok(all)) = all else { return Err(Refusal::TooManyPages) };
        match &mut held.0 {
            Some([of_all, of_part]) => {
                of_all.merge(all);
                of_part.merge(part);
            }
            None => held.0 = Some([all, part]),
        }
        Ok(())
    }

    fn part_of(&self, caller: &Arc<str>) -> Arc<Semaphore> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = parts.get(caller).and_then(Weak::upgrade) {
            return part;
        }
        parts.retain(|_, part| part.strong_count() > 0);
        let part = Arc::new(Semaphore::new(self.of_one));
        parts.insert(Arc::clone(caller), Arc::downgrade(&part));
        part
    }
}

impl Held {
    /// Gives back all but so many bytes.
    pub fn keep(&mut self, bytes: usize) {
        for held in self.0.iter_mut().flatten() {
            drop(held.split(held.num_permits().saturating_sub(bytes)));
        }
    }

    /// The body of an answer, which holds its room and its caller's turn until it is written.
    pub fn with(self, text: String, turn: Turn) -> Bytes {
        Bytes::from_owner(Kept { text, _held: self, _turn: turn })
    }
}

struct Kept {
    text: String,
    _held: Held,
    _turn: Turn,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = PAGE_BYTES_MAX;

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_a_part_of_the_room_and_others_the_rest() {
        let room = Room::new(3 * PAGE);
        let [one, other, third]: [Arc<str>; 3] = ["one".into(), "other".into(), "third".into()];
        let mut held = Held::default();
        room.take(&mut held, &one, PAGE).await.unwrap();
        held.keep(50);
        assert_eq!(room.all.available_permits(), 3 * PAGE - 50);
        held.keep(60);
        assert_eq!(room.all.available_permits(), 3 * PAGE - 50, "nothing more is taken");
        room.take(&mut held, &one, PAGE - 50).await.unwrap();
        assert!(matches!(room.take(&mut Held::default(), &one, 1).await, Err(Refusal::CallerBusy)));
        let mut others = [Held::default(), Held::default()];
        room.take(&mut others[0], &other, PAGE).await.unwrap();
        room.take(&mut others[1], &third, PAGE).await.unwrap();
        assert!(matches!(room.take(&mut Held::default(), &"x".into(), 1).await, Err(Refusal::TooManyPages)));
        drop(held);
        room.take(&mut Held::default(), &one, PAGE).await.unwrap();
    }

    #[test]
    fn a_part_is_an_eighth_or_a_page() {
        assert_eq!(Room::new(800 * PAGE).of_one, 100 * PAGE);
        assert_eq!(Room::new(PAGE).of_one, PAGE);
    }
}
