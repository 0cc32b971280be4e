//! A receiver of webhooks: 100 endpoints, each a port of its own, as real endpoints are hosts of their own.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use http::{HeaderMap, StatusCode};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

/// How many endpoints there are.
pub(crate) const ENDPOINTS: usize = 100;

/// What came since the last [`Sink::clear`].
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// When the first request came.
    pub(crate) first: Option<Instant>,
    /// When the last delivery came for the first time.
    pub(crate) last_new: Option<Instant>,
    /// All requests that were answered.
    pub(crate) requests: usize,
    /// How often each delivery came.
    pub(crate) deliveries: HashMap<String, u32>,
}

type Listener = Box<dyn Fn(&str) + Send + Sync>;

struct Shared {
    seen: Mutex<Seen>,
    listener: Mutex<Option<Arc<Listener>>>,
    hanging: watch::Sender<usize>,
}

/// The endpoints. They stop when dropped.
pub(crate) struct Sink {
    /// Their addresses.
    pub(crate) addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    _servers: JoinSet<()>,
}

#[derive(Clone)]
struct Endpoint {
    number: usize,
    shared: Arc<Shared>,
}

impl Sink {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            listener: Mutex::default(),
            hanging: watch::Sender::new(0),
        });
        let (mut addresses, mut servers) = (Vec::new(), JoinSet::new());
        for number in 0..ENDPOINTS {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.push(listener.local_addr()?);
            let endpoint = Endpoint { number, shared: Arc::clone(&shared) };
            let routes = Router::new().route("/hook", post(receive)).with_state(endpoint);
            servers.spawn(async move {
                if let Err(error) = axum::serve(listener, routes).await {
                    eprintln!("bench: an endpoint stopped: {error}");
                }
            });
        }
        Ok(Self { addresses, shared, _servers: servers })
    }

    /// The webhook addresses.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.addresses.iter().map(|address| format!("http://{address}/hook")).collect()
    }

    /// Forgets what came.
    pub(crate) fn clear(&self) {
        *self.seen() = Seen::default();
    }

    /// What came so far.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the body of each request to this from now on.
    pub(crate) fn listen(&self, listener: impl Fn(&str) + Send + Sync + 'static) {
        *self.shared.listener.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Arc::new(Box::new(listener)));
    }

    /// The first so many endpoints answer nothing until this is called with fewer.
    pub(crate) fn hang(&self, endpoints: usize) {
        self.shared.hanging.send_replace(endpoints);
    }

    /// Waits until so many different deliveries came.
    pub(crate) async fn until(&self, deliveries: usize, most: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + most;
        loop {
            let came = self.seen().deliveries.len();
            if came >= deliveries {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < end, "{came} of {deliveries} deliveries came in {most:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Deliveries a second, between the first and the last.
    pub(crate) fn rate(&self) -> f64 {
        let seen = self.seen();
        match (seen.first, seen.last_new) {
            (Some(first), Some(last)) if last > first => {
                (seen.deliveries.len() - 1) as f64 / (last - first).as_secs_f64()
            }
            _ => 0.0,
        }
    }
}

async fn receive(State(endpoint): State<Endpoint>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let shared = &endpoint.shared;
    let now = Instant::now();
    if endpoint.number < *shared.hanging.borrow() {
        let mut hanging = shared.hanging.subscribe();
        // The sender lives as long as the endpoints.
        hanging.wait_for(|hanging| endpoint.number >= *hanging).await.map(|_| ()).unwrap_or_default();
    }
    let listener = shared.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(listener) = listener {
        listener(std::str::from_utf8(&body).unwrap_or_default());
    }
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.requests += 1;
    seen.first.get_or_insert(now);
    let times = seen.deliveries.entry(id.to_owned()).or_default();
    *times += 1;
    if *times == 1 {
        seen.last_new = Some(now);
    }
    StatusCode::OK
}
