//! A webhook receiver on loopback that records what it gets and answers by script.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{HeaderMap, StatusCode, header};
use tokio::{net::TcpListener, task::JoinHandle};

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// When.
    pub at: Instant,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What it was answered.
    pub answered: u16,
}

impl Received {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The id of the event in the body.
    pub fn event_id(&self) -> String {
        self.json()["id"].as_str().unwrap_or_default().to_owned()
    }

    /// Whether it is the event that validates a subscription.
    pub fn is_validation(&self) -> bool {
        self.json()["type"] == "platform.events.validatesubscription"
    }
}

/// How an endpoint answers: scripted statuses first, then the usual one. Validation events are always answered 200.
#[derive(Clone, Debug)]
pub struct Script {
    /// Statuses of the next requests.
    pub next: VecDeque<u16>,
    /// The status afterwards.
    pub usual: u16,
    /// `Retry-After` of every refusal.
    pub retry_after: Option<String>,
    /// How long an answer takes.
    pub takes: Duration,
}

impl Default for Script {
    fn default() -> Self {
        Self { next: VecDeque::new(), usual: 200, retry_after: None, takes: Duration::ZERO }
    }
}

#[derive(Default)]
struct Endpoints {
    received: BTreeMap<String, Vec<Received>>,
    /// How often each event id was answered with a success, by endpoint.
    delivered: BTreeMap<String, BTreeMap<String, usize>>,
    scripts: HashMap<String, Script>,
    open: HashMap<String, usize>,
    most_open: usize,
}

/// A request that is not answered yet, nor given up by who sent it.
struct Open {
    endpoints: Arc<Mutex<Endpoints>>,
    name: String,
}

impl Open {
    fn new(endpoints: Arc<Mutex<Endpoints>>, name: String) -> Self {
        {
            let mut all = endpoints.lock().unwrap();
            *all.open.entry(name.clone()).or_default() += 1;
            all.most_open = all.most_open.max(all.open.values().sum());
        }
        Self { endpoints, name }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        *self.endpoints.lock().unwrap().open.get_mut(&self.name).unwrap() -= 1;
    }
}

impl Endpoints {
    fn keep(&mut self, name: String, request: Received) {
        if request.answered < 300 && !request.is_validation() {
            *self.delivered.entry(name.clone()).or_default().entry(request.event_id()).or_default() += 1;
        }
        self.received.entry(name).or_default().push(request);
    }
}

/// A running receiver. It stops when dropped.
pub struct Receiver {
    address: SocketAddr,
    endpoints: Arc<Mutex<Endpoints>>,
    server: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    /// Starts on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endpoints: Arc<Mutex<Endpoints>> = Arc::default();
        let routes = Router::new().route("/{name}", post(receive)).with_state(Arc::clone(&endpoints));
        let server = tokio::runtime::Handle::current().spawn(async move {
            axum::serve(listener, routes).await.unwrap();
        });
        Self { address, endpoints, server }
    }

    fn lock(&self) -> MutexGuard<'_, Endpoints> {
        self.endpoints.lock().unwrap()
    }

    /// The address of an endpoint.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// Sets how an endpoint answers from now on.
    pub fn script(&self, name: &str, script: Script) {
        self.lock().scripts.insert(name.to_owned(), script);
    }

    /// All requests to an endpoint but validations, in order of arrival.
    pub fn events(&self, name: &str) -> Vec<Received> {
        let endpoints = self.lock();
        let received = endpoints.received.get(name).cloned().unwrap_or_default();
        received.into_iter().filter(|request| !request.is_validation()).collect()
    }

    /// Requests to an endpoint that are neither answered nor given up.
    pub fn open(&self, name: &str) -> usize {
        self.lock().open.get(name).copied().unwrap_or_default()
    }

    /// The most requests that were open at one time, to all endpoints.
    pub fn most_open(&self) -> usize {
        self.lock().most_open
    }

    /// The validations that came to an endpoint.
    pub fn validations(&self, name: &str) -> usize {
        let endpoints = self.lock();
        endpoints
            .received
            .get(name)
            .map_or(0, |all| all.iter().filter(|request| request.is_validation()).count())
    }

    /// How often each event id was answered with a success at an endpoint.
    pub fn delivered(&self, name: &str) -> BTreeMap<String, usize> {
        self.lock().delivered.get(name).cloned().unwrap_or_default()
    }
}

async fn receive(
    State(endpoints): State<Arc<Mutex<Endpoints>>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let _open = Open::new(Arc::clone(&endpoints), name.clone());
    let mut request = Received { at: Instant::now(), headers, body, answered: 200 };
    let mut script = Script::default();
    if !request.is_validation()
        && let Some(own) = endpoints.lock().unwrap().scripts.get_mut(&name)
    {
        request.answered = own.next.pop_front().unwrap_or(own.usual);
        (script.takes, script.retry_after) = (own.takes, own.retry_after.clone());
    }
    let status = StatusCode::from_u16(request.answered).unwrap();
    endpoints.lock().unwrap().keep(name, request);
    if !script.takes.is_zero() {
        tokio::time::sleep(script.takes).await;
    }
    match script.retry_after.filter(|_| !status.is_success()) {
        Some(after) => (status, [(header::RETRY_AFTER, after)]).into_response(),
        None => status.into_response(),
    }
}
