//! Room for pages: the bytes of all events that are read or written out at once in this process.
//!
//! A look takes room for the most it may read, and gives back what it did not need. A page keeps its own until its last byte is written
//! or its reader has gone.

use std::{sync::Arc, time::Duration};

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Refusal;

/// How long a look waits for room.
const WAIT: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

/// What a page holds.
#[derive(Debug, Default)]
pub struct Held(Option<OwnedSemaphorePermit>);

impl Room {
    /// Room for so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// Takes so many bytes more.
    ///
    /// # Errors
    /// [`Refusal::TooManyPages`] when there is no room in time.
    pub async fn take(&self, held: &mut Held, bytes: usize) -> Result<(), Refusal> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let more = tokio::time::timeout(WAIT, Arc::clone(&self.0).acquire_many_owned(bytes)).await;
        let Ok(Ok(more)) = more else { return Err(Refusal::TooManyPages) };
        match &mut held.0 {
            Some(held) => held.merge(more),
            None => held.0 = Some(more),
        }
        Ok(())
    }
}

impl Held {
    /// Gives back all but so many bytes.
    pub fn keep(&mut self, bytes: usize) {
        let rest = self.0.as_mut().and_then(|held| held.split(held.num_permits().saturating_sub(bytes)));
        drop(rest);
    }

    /// The body of an answer, which holds its room until it is written.
    pub fn with(self, text: String) -> Bytes {
        Bytes::from_owner(Kept { text, _held: self })
    }
}

struct Kept {
    text: String,
    _held: Held,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_held_until_a_body_has_gone() {
        let room = Room::new(100);
        let mut held = Held::default();
        room.take(&mut held, 80).await.unwrap();
        held.keep(50);
        assert_eq!(room.0.available_permits(), 50);
        held.keep(60);
        assert_eq!(room.0.available_permits(), 50, "nothing more is taken");
        room.take(&mut held, 10).await.unwrap();
        let body = held.with("text".to_owned());
        let part = body.slice(1..2);
        assert!(matches!(room.take(&mut Held::default(), 60).await, Err(Refusal::TooManyPages)));
        drop(body);
        assert_eq!(room.0.available_permits(), 40);
        drop(part);
        assert_eq!(room.0.available_permits(), 100);
    }
}
