//! The delivery log of a subscription, for its creator: the newest attempts and dead letters, without events' bodies.
//!
//! What an attempt tells about its event is shown to those who may read that event now. Where they may not, where nobody can say,
//! or where the event is not stored (yet), the attempt stands there without it.

use std::collections::{HashMap, HashSet};

use access::{Authenticated, Caller, Decision, Turn, question};
use axum::{extract::State, response::Response};
use event::{AttemptRecord, DeliveryKind, Event, EventIdentity};
use http::StatusCode;
use serde::Serialize;
use service::json;
use store::DeadLetter;

use crate::{QueryApi, error::Refusal, router::PathParts};

/// Most attempts, and dead letters, of one look.
const ATTEMPTS_MAX: i64 = 200;
/// Events that are held at once to ask about them.
const EVENTS_AT_ONCE: usize = 50;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    attempts: Vec<AttemptRecord>,
    dead_letters: Vec<Dead>,
}

#[derive(Serialize)]
struct Dead {
    delivery: String,
    at: String,
    reason: String,
    attempts: i32,
}

/// GET: the log of a subscription of the caller's, also of one that is deleted, as long as it is kept.
pub async fn attempts(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    PathParts(id): PathParts<String>,
) -> Result<Response, Refusal> {
    let mut turn = api.turn(&caller).await?;
    let subscription = api.owned(&caller, &id).await?;
    let stored = api.inner.store.attempts_of(subscription.id, subscription.mark, ATTEMPTS_MAX).await?;
    let dead = api.inner.store.dead_letters_of(subscription.id, subscription.mark, ATTEMPTS_MAX).await?;
    let mut attempts: Vec<AttemptRecord> =
        stored.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    let readable = api.readable(&caller, &mut turn, attempts.iter().filter_map(event_of).collect()).await?;
    for attempt in &mut attempts {
        if event_of(attempt).is_some_and(|event| !readable.contains(&event)) {
            attempt.hide_event();
        }
    }
    Ok(json::answer(StatusCode::OK, &Log { attempts, dead_letters: dead.into_iter().map(shown).collect() }))
}

fn shown(letter: DeadLetter) -> Dead {
    let DeadLetter { at, delivery, reason, attempts } = letter;
    Dead { delivery: delivery.to_string(), at: at.to_rfc3339(), reason, attempts }
}

/// The event that an attempt tells about; none of a validation, which is ours.
fn event_of(attempt: &AttemptRecord) -> Option<EventIdentity> {
    let AttemptRecord { resource, event_source, event_id, .. } = attempt;
    (attempt.kind == DeliveryKind::Event).then(|| EventIdentity::of(resource, event_source, event_id))
}

impl QueryApi {
    /// Those of these events that are stored and that the caller may read now.
    async fn readable(
        &self,
        caller: &Caller,
        turn: &mut Turn,
        events: HashSet<EventIdentity>,
    ) -> Result<HashSet<EventIdentity>, Refusal> {
        let events: Vec<EventIdentity> = events.into_iter().collect();
        let mut readable = HashSet::new();
        for some in events.chunks(EVENTS_AT_ONCE) {
            let stored = self.inner.store.events_of(some).await?;
            let found: HashMap<EventIdentity, Event> = stored
                .into_iter()
                .filter_map(|(identity, json)| Some((identity, Event::stored(json.as_bytes()).ok()?)))
                .collect();
            let questions = found.values().map(|event| question::read_anywhere(caller, event)).collect();
            let decisions = self.inner.access.decide_in(turn, questions).await;
            let permitted = found.keys().zip(decisions).filter(|(_, decision)| *decision == Decision::Permit);
            readable.extend(permitted.map(|(identity, _)| *identity));
        }
        Ok(readable)
    }
}
