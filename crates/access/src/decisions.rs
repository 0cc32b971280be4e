//! Answers to questions about rights: remembered for a short while, asked for once.
//!
//! * The key of an answer is a digest of the whole question less event id and session id ([`crate::question`]), so the party is
//!   in it: a permit for one party never serves another.
//! * Obligations are kept with the answer and compared with each asker's authentication level.
//! * Permits count for at most a minute, refusals for at most five seconds; *no answer* is never remembered. What is indeterminate
//!   alone counts as long as a refusal, where others were answered since; else it is no answer.
//! * One request is in flight per key: who asks the same meanwhile waits for it. It runs in a task of its own, so an asker that
//!   goes away takes no answer from others.
//! * Misses of one ask go out together, at most [`CHUNK`] a request.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use moka::{Expiry, future::Cache};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::task::TaskTracker;

use crate::{
    callers::Turn,
    metrics::AccessMetrics,
    outcome::{Decision, Outcome},
    pdp::Pdp,
    question::{Question, QuestionKey},
};

/// Questions of one multi-decision request.
pub(crate) const CHUNK: usize = 100;
/// Answers that are remembered; about 20 MB.
const REMEMBERED_MAX: u64 = 100_000;
/// Keys that are asked about at once; beyond it the answer is [`Decision::Unknown`].
const IN_FLIGHT_MAX: usize = 20_000;

/// Outcomes of one chunk, once they are there.
type Flight = watch::Receiver<Option<Arc<HashMap<QuestionKey, Outcome>>>>;

/// See the module. Clones share everything.
#[derive(Clone)]
pub(crate) struct Decisions {
    inner: Arc<Inner>,
}

struct Inner {
    pdp: Pdp,
    remembered: Cache<QuestionKey, Outcome>,
    in_flight: Mutex<HashMap<QuestionKey, Flight>>,
    tasks: TaskTracker,
    metrics: AccessMetrics,
}

struct Lifetimes {
    permit: Duration,
    refusal: Duration,
}

impl Expiry<QuestionKey, Outcome> for Lifetimes {
    fn expire_after_create(&self, _: &QuestionKey, outcome: &Outcome, _: Instant) -> Option<Duration> {
        Some(match outcome {
            Outcome::Permit(_) => self.permit,
            Outcome::Refuse | Outcome::Indeterminate { .. } => self.refusal,
            Outcome::Unknown => Duration::ZERO,
        })
    }

    fn expire_after_update(
        &self,
        key: &QuestionKey,
        outcome: &Outcome,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, outcome, now)
    }
}

impl Decisions {
    pub(crate) fn new(pdp: Pdp, permit: Duration, refusal: Duration, metrics: AccessMetrics) -> Self {
        let remembered =
            Cache::builder().max_capacity(REMEMBERED_MAX).expire_after(Lifetimes { permit, refusal }).build();
        let in_flight = Mutex::default();
        Self { inner: Arc::new(Inner { pdp, remembered, in_flight, tasks: TaskTracker::new(), metrics }) }
    }

    /// The decisions, in the order of the questions. What must be asked for a caller counts in its turn; where that has no room for it,
    /// nothing is asked and what is not remembered is unknown.
    pub(crate) async fn decide(&self, questions: Vec<Question>, turn: Option<&mut Turn>) -> Vec<Decision> {
        let mut decisions = vec![Decision::Unknown; questions.len()];
        let mut misses = Vec::new();
        for (question, decision) in questions.into_iter().zip(&mut decisions) {
            if let Some(answer) = question.answer {
                *decision = answer;
                continue;
            }
            let key = question.key();
            match self.inner.remembered.get(&key).await {
                Some(outcome) => *decision = self.fold(outcome, &question),
                None => misses.push(Miss { key, question, decision }),
            }
        }
        let room = room_for(&misses, turn);
        if let Some(room) = room.filter(|_| !misses.is_empty()) {
            self.ask(misses, room).await;
        }
        self.inner.metrics.count(&decisions);
        decisions
    }

    async fn ask(&self, misses: Vec<Miss<'_>>, room: Room) {
        let (flights, mine) = self.board(&misses);
        for chunk in mine {
            self.launch(chunk, Arc::clone(&room));
        }
        for miss in misses {
            let outcome = match flights.get(&miss.key) {
                Some(flight) => land(flight.clone(), miss.key).await,
                None => Outcome::Unknown,
            };
            *miss.decision = self.fold(outcome, &miss.question);
        }
    }

    /// What an outcome is for who asked.
    fn fold(&self, outcome: Outcome, question: &Question) -> Decision {
        let decision = outcome.decision_for(question.purpose, question.level);
        if outcome.is_indeterminate() && decision == Decision::Refuse {
            self.inner.metrics.indeterminate_refusals.inc();
        }
        decision
    }

    /// Joins flights that are under way and prepares chunks for the other keys; each key is in one flight.
    fn board(&self, misses: &[Miss<'_>]) -> (HashMap<QuestionKey, Flight>, Vec<Chunk>) {
        let mut flights: HashMap<QuestionKey, Flight> = HashMap::new();
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut in_flight = self.inner.in_flight();
        for miss in misses {
            if flights.contains_key(&miss.key) {
                continue;
            }
            if let Some(flight) = in_flight.get(&miss.key) {
                flights.insert(miss.key, flight.clone());
                continue;
            }
            if in_flight.len() >= IN_FLIGHT_MAX {
                continue;
            }
            if chunks.last().is_none_or(|chunk| chunk.questions.len() >= CHUNK) {
                chunks.push(Chunk::default());
            }
            if let Some(chunk) = chunks.last_mut() {
                chunk.questions.push((miss.key, miss.question.clone()));
                let flight = chunk.landed.subscribe();
                in_flight.insert(miss.key, flight.clone());
                flights.insert(miss.key, flight);
            }
        }
        (flights, chunks)
    }

    /// The caller's room is taken until all its questions were answered, also when the caller goes away.
    fn launch(&self, chunk: Chunk, room: Room) {
        let inner = Arc::clone(&self.inner);
        let clearing = Clearing {
            inner: Arc::clone(&self.inner),
            keys: chunk.questions.iter().map(|(key, _)| *key).collect(),
        };
        self.inner.tasks.spawn(async move {
            let questions: Vec<_> = chunk.questions.iter().map(|(_, question)| question).collect();
            let outcomes = inner.pdp.ask(&questions).await;
            let mut landed = HashMap::with_capacity(questions.len());
            for ((key, _), outcome) in chunk.questions.iter().zip(outcomes) {
                if is_worth_remembering(outcome) {
                    inner.remembered.insert(*key, outcome).await;
                }
                landed.insert(*key, outcome);
            }
            drop((clearing, room));
            chunk.landed.send_replace(Some(Arc::new(landed)));
        });
    }
}

impl Inner {
    fn in_flight(&self) -> MutexGuard<'_, HashMap<QuestionKey, Flight>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a caller's questions take of what it may have under way; nothing for who has no bound.
type Room = Arc<Option<OwnedSemaphorePermit>>;

fn room_for(misses: &[Miss<'_>], turn: Option<&mut Turn>) -> Option<Room> {
    let Some(turn) = turn.filter(|_| !misses.is_empty()) else { return Some(Arc::default()) };
    let keys: HashSet<QuestionKey> = misses.iter().map(|miss| miss.key).collect();
    turn.questions(keys.len()).map(|room| Arc::new(Some(room)))
}

fn is_worth_remembering(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Permit(_) | Outcome::Refuse => true,
        Outcome::Indeterminate { beside_answers } => beside_answers,
        Outcome::Unknown => false,
    }
}

/// A question without a remembered answer, and where its decision goes.
struct Miss<'a> {
    key: QuestionKey,
    question: Question,
    decision: &'a mut Decision,
}

/// Questions that go out in one request.
struct Chunk {
    questions: Vec<(QuestionKey, Question)>,
    landed: watch::Sender<Option<Arc<HashMap<QuestionKey, Outcome>>>>,
}

impl Default for Chunk {
    fn default() -> Self {
        Self { questions: Vec::new(), landed: watch::Sender::new(None) }
    }
}

/// Takes the keys of a flight off the board when it ends in whatever way.
struct Clearing {
    inner: Arc<Inner>,
    keys: Vec<QuestionKey>,
}

impl Drop for Clearing {
    fn drop(&mut self) {
        let mut in_flight = self.inner.in_flight();
        for key in &self.keys {
            in_flight.remove(key);
        }
    }
}

/// Waits for a flight; one that crashed brings no answer.
async fn land(mut flight: Flight, key: QuestionKey) -> Outcome {
    match flight.wait_for(Option::is_some).await {
        Ok(landed) => {
            landed.as_ref().and_then(|outcomes| outcomes.get(&key)).copied().unwrap_or(Outcome::Unknown)
        }
        Err(_crashed) => Outcome::Unknown,
    }
}
