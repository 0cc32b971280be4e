//! A webhook receiver that records what comes and answers by script. `POST /webhooks/{name}` receives, `GET` lists, `PUT` scripts.
//!
//! Each name is a receiver of its own, made when it is first used. The latest requests are kept, all are counted.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::watch;

use crate::Shared;

/// Receivers at once; beyond it nothing is received under new names.
const NAMES_MAX: usize = 10_000;
/// Steps of one script.
const STEPS_MAX: usize = 10_000;

/// One request that came.
#[derive(Clone, Debug)]
pub struct Received {
    /// When.
    pub at: SystemTime,
    /// With which headers.
    pub headers: HeaderMap,
    /// With which body.
    pub body: Bytes,
    /// The status it was answered with; none when it hangs.
    pub status: Option<u16>,
}

impl Received {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; null when it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// How one request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Reply {
    /// With this status.
    pub status: u16,
    /// After this many milliseconds.
    pub latency_ms: u64,
    /// With `Retry-After`, in seconds.
    pub retry_after_s: Option<u32>,
    /// Never, until the sender goes away.
    pub hang: bool,
}

impl Default for Reply {
    fn default() -> Self {
        Self { status: 200, latency_ms: 0, retry_after_s: None, hang: false }
    }
}

impl Reply {
    /// With a status, at once.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Never.
    pub fn hang() -> Self {
        Self { hang: true, ..Self::default() }
    }

    /// The same, later.
    #[must_use]
    pub fn after(mut self, latency: Duration) -> Self {
        self.latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// The same with `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

/// What a test waited for did not come in time.
#[derive(Debug)]
pub struct NotSeen {
    /// The webhook.
    pub name: String,
    /// What came instead.
    pub received: Vec<Received>,
}

impl fmt::Display for NotSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "webhook {} received {} request(s) and not what was waited for:",
            self.name,
            self.received.len()
        )?;
        for received in self.received.iter().rev().take(20) {
            write!(f, "\n  {:?} {}", received.status, String::from_utf8_lossy(&received.body))?;
        }
        Ok(())
    }
}

impl std::error::Error for NotSeen {}

/// One receiver. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where it receives.
    pub url: String,
    name: String,
    shared: Arc<Receiver>,
}

#[derive(Debug)]
struct Receiver {
    state: Mutex<Recorded>,
    count: watch::Sender<u64>,
    keep: usize,
}

#[derive(Debug, Default)]
struct Recorded {
    requests: VecDeque<Received>,
    script: VecDeque<Reply>,
    always: Reply,
}

impl Webhook {
    /// The latest requests, oldest first.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.state().requests.iter().cloned().collect()
    }

    /// How many requests came since the start or the last [`Webhook::clear`].
    pub fn count(&self) -> u64 {
        *self.shared.count.borrow()
    }

    /// Forgets what came; the script stays.
    pub fn clear(&self) {
        self.shared.state().requests.clear();
        self.shared.count.send_replace(0);
    }

    /// The next requests are answered so, in this order; those after them as [`Webhook::always`] says.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.state().script.extend(replies.into_iter().take(STEPS_MAX));
    }

    /// How requests are answered when no script is left.
    pub fn always(&self, reply: Reply) {
        self.shared.state().always = reply;
    }

    /// Waits until what came satisfies a condition.
    ///
    /// # Errors
    /// [`NotSeen`] with what came, when it takes longer than `patience`.
    pub async fn wait_until(
        &self,
        patience: Duration,
        mut condition: impl FnMut(&[Received]) -> bool,
    ) -> Result<Vec<Received>, NotSeen> {
        let mut count = self.shared.count.subscribe();
        let met = async {
            loop {
                count.borrow_and_update();
                let requests = self.requests();
                if condition(&requests) || count.changed().await.is_err() {
                    return requests;
                }
            }
        };
        let seen = tokio::time::timeout(patience, met).await;
        seen.map_err(|_late| NotSeen { name: self.name.clone(), received: self.requests() })
    }

    /// Waits until at least this many requests came.
    ///
    /// # Errors
    /// [`NotSeen`] with what came, when it takes longer than `patience`.
    pub async fn wait_for(&self, number: u64, patience: Duration) -> Result<Vec<Received>, NotSeen> {
        let mut count = self.shared.count.subscribe();
        let seen = tokio::time::timeout(patience, count.wait_for(|count| *count >= number)).await;
        match seen {
            Ok(_) => Ok(self.requests()),
            Err(_late) => Err(NotSeen { name: self.name.clone(), received: self.requests() }),
        }
    }
}

impl Receiver {
    fn state(&self) -> MutexGuard<'_, Recorded> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request and says how to answer it.
    fn record(&self, headers: HeaderMap, body: Bytes) -> Reply {
        let mut state = self.state();
        let reply = state.script.pop_front().unwrap_or(state.always);
        if state.requests.len() >= self.keep {
            state.requests.pop_front();
        }
        let status = (!reply.hang).then_some(reply.status);
        state.requests.push_back(Received { at: SystemTime::now(), headers, body, status });
        drop(state);
        self.count.send_modify(|count| *count += 1);
        reply
    }
}

pub(crate) struct Webhooks {
    base_url: String,
    keep: usize,
    by_name: Mutex<HashMap<String, Arc<Receiver>>>,
}

impl Webhooks {
    pub(crate) fn new(base_url: &str, keep: usize) -> Self {
        Self { base_url: base_url.to_owned(), keep, by_name: Mutex::default() }
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<String, Arc<Receiver>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, name: &str) -> Webhook {
        let made = || {
            Arc::new(Receiver {
                state: Mutex::default(),
                count: watch::Sender::new(0),
                keep: self.keep.max(1),
            })
        };
        let shared = Arc::clone(self.by_name().entry(name.to_owned()).or_insert_with(made));
        Webhook { url: format!("{}/webhooks/{name}", self.base_url), name: name.to_owned(), shared }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.by_name().keys().cloned().collect();
        names.sort_unstable();
        names
    }

    fn has_room_for(&self, name: &str) -> bool {
        let by_name = self.by_name();
        by_name.contains_key(name) || by_name.len() < NAMES_MAX
    }
}

pub(crate) async fn receive(
    State(state): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !state.webhooks.has_room_for(&name) {
        return (StatusCode::INSUFFICIENT_STORAGE, "too many webhooks").into_response();
    }
    let reply = state.webhooks.get(&name).shared.record(headers, body);
    if reply.hang {
        return std::future::pending().await;
    }
    if reply.latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(reply.latency_ms)).await;
    }
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = status.into_response();
    if let Some(seconds) = reply.retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The latest requests as JSON.
pub(crate) async fn list(State(state): State<Shared>, Path(name): Path<String>) -> Json<Value> {
    if !state.webhooks.has_room_for(&name) {
        return Json(json!({"count": 0, "requests": []}));
    }
    let webhook = state.webhooks.get(&name);
    let requests: Vec<_> = webhook.requests().iter().map(shown).collect();
    Json(json!({ "count": webhook.count(), "requests": requests }))
}

fn shown(received: &Received) -> Value {
    let headers: serde_json::Map<_, _> = received
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
        .collect();
    let body = serde_json::from_slice(&received.body)
        .unwrap_or_else(|_not_json| json!(String::from_utf8_lossy(&received.body)));
    let at = OffsetDateTime::from(received.at).format(&Rfc3339).unwrap_or_default();
    json!({"at": at, "status": received.status, "headers": headers, "body": body})
}

/// `PUT` with `[{"status": 500}, {"hang": true}, {"status": 503, "retryAfterS": 60}]`: how the next requests are answered.
pub(crate) async fn script(
    State(state): State<Shared>,
    Path(name): Path<String>,
    Json(replies): Json<Vec<Reply>>,
) -> StatusCode {
    if !state.webhooks.has_room_for(&name) {
        return StatusCode::INSUFFICIENT_STORAGE;
    }
    state.webhooks.get(&name).script(replies);
    StatusCode::NO_CONTENT
}

pub(crate) async fn names(State(state): State<Shared>) -> Json<Vec<String>> {
    Json(state.webhooks.names())
}
