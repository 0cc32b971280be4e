//! How much one caller may have at once: requests in hand, questions about rights under way, and requests a second.
//!
//! A caller is who a token speaks for: all tokens of an organisation are one, a supplier by delegation is another, and all who come
//! without a token are one together.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moka::future::Cache;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use crate::{caller::Caller, settings::AccessSettings};

/// Callers that are counted; beyond it those that came least are forgotten.
const CALLERS_MAX: u64 = 100_000;
/// Who has not come for so long starts anew. Longer than any request takes.
const FORGOTTEN: Duration = Duration::from_secs(120);
/// How long a request waits for its turn: a turn may end a moment after its answer was read.
const WAIT: Duration = Duration::from_millis(250);
/// Requests that may come at once after a pause, in seconds of the rate.
const BURST_S: u32 = 2;

/// The caller has as much in hand as it may have, or comes too often; later is fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the caller has too much in hand or comes too often")]
pub struct CallerBusy;

/// See the module.
pub(crate) struct Callers {
    at_once: usize,
    questions: usize,
    per_second: u32,
    seen: Cache<String, Arc<Bounds>>,
}

struct Bounds {
    requests: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    rate: Mutex<Rate>,
}

/// One of the requests that a caller may have at once; dropping it gives it back.
pub struct Turn {
    caller: Arc<str>,
    bounds: Arc<Bounds>,
    held: Option<OwnedSemaphorePermit>,
    over: bool,
}

impl Callers {
    pub(crate) fn new(settings: &AccessSettings) -> Self {
        Self {
            at_once: settings.reads_per_caller,
            questions: settings.questions_per_caller,
            per_second: settings.reads_per_second,
            seen: Cache::builder().max_capacity(CALLERS_MAX).time_to_idle(FORGOTTEN).build(),
        }
    }

    pub(crate) async fn turn(&self, caller: &Caller) -> Result<Turn, CallerBusy> {
        let name = name_of(caller);
        let bounds = self.seen.get_with(name.clone(), async { Arc::new(self.bounds()) }).await;
        if !bounds.rate.lock().unwrap_or_else(PoisonError::into_inner).takes(Instant::now()) {
            return Err(CallerBusy);
        }
        let held = timeout(WAIT, Arc::clone(&bounds.requests).acquire_owned()).await;
        let Ok(Ok(held)) = held else { return Err(CallerBusy) };
        Ok(Turn { caller: name.into(), bounds, held: Some(held), over: false })
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            requests: Arc::new(Semaphore::new(self.at_once)),
            questions: Arc::new(Semaphore::new(self.questions)),
            rate: Mutex::new(Rate::new(self.per_second, Instant::now())),
        }
    }
}

impl Turn {
    /// Whose it is, for other bounds by caller.
    pub fn caller(&self) -> &Arc<str> {
        &self.caller
    }

    /// Lets others of the caller's go on, while this one waits for an event.
    pub fn pause(&mut self) {
        self.held = None;
    }

    /// Goes on after a pause, when its turn comes.
    pub async fn resume(&mut self) {
        if self.held.is_none() {
            self.held = Arc::clone(&self.bounds.requests).acquire_owned().await.ok();
        }
    }

    /// Whether questions were left out because the caller had as many under way as it may have.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Room for so many questions more.
    pub(crate) fn questions(&mut self, count: usize) -> Option<OwnedSemaphorePermit> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.bounds.questions).try_acquire_many_owned(count).ok();
        self.over |= room.is_none();
        room
    }
}

fn name_of(caller: &Caller) -> String {
    let who = caller.consumer().or_else(|| caller.party_id.map(|party| format!("/party/{party}")));
    let who = who.unwrap_or_default();
    match &caller.supplier {
        Some(supplier) if caller.is_by_delegation() => format!("{who} by {supplier}"),
        Some(_) | None => who,
    }
}

/// A bucket that fills with time. Pure: moments come as arguments.
struct Rate {
    per_second: u32,
    left: f64,
    at: Instant,
}

impl Rate {
    fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, left: f64::from(per_second.saturating_mul(BURST_S)), at: now }
    }

    fn takes(&mut self, now: Instant) -> bool {
        let came = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(self.per_second);
        self.left = (self.left + came).min(f64::from(self.per_second.saturating_mul(BURST_S)));
        self.at = now;
        let takes = self.left >= 1.0;
        if takes {
            self.left -= 1.0;
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_lets_a_burst_through_and_then_so_many_a_second() {
        let start = Instant::now();
        let mut rate = Rate::new(10, start);
        let mut takes = |seconds: f64| rate.takes(start + Duration::from_secs_f64(seconds));
        assert_eq!((0..100).filter(|_| takes(0.0)).count(), 20);
        assert_eq!((0..100).filter(|_| takes(0.5)).count(), 5);
        assert_eq!((0..100).filter(|_| takes(1_000.0)).count(), 20, "a pause saves up no more than a burst");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_its_turns_and_questions_and_takes_none_from_others() {
        let callers = Callers::new(&AccessSettings {
            reads_per_caller: 2,
            questions_per_caller: 3,
            ..AccessSettings::local("http://127.0.0.1:9")
        });
        let (one, other) = (Caller::anonymous(), Caller::named_for_test("urn:altinn:userid", "7"));
        let mut turns = [callers.turn(&one).await.ok().unwrap(), callers.turn(&one).await.ok().unwrap()];
        assert_eq!(callers.turn(&one).await.err(), Some(CallerBusy));
        assert!(callers.turn(&other).await.is_ok());
        turns[0].pause();
        let third = callers.turn(&one).await;
        assert!(third.is_ok(), "who waits has no turn");
        drop(third);
        turns[0].resume().await;
        assert_eq!(callers.turn(&one).await.err(), Some(CallerBusy));
        let room = turns[0].questions(3);
        assert!(room.is_some() && turns[1].questions(1).is_none());
        assert_eq!((turns[0].is_over(), turns[1].is_over()), (false, true));
        drop(room);
        assert!(turns[1].questions(3).is_some());
    }
}
