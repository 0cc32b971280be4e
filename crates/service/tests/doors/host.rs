//! A port behind the doors, and clients who speak to it byte by byte.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request},
    routing::{get, post},
};
use bytes::BytesMut;
use http::StatusCode;
use service::{
    descriptors,
    doors::{self, Door, DoorMetrics, DoorSettings},
    prometheus::Registry,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any test takes.
pub(crate) const LONG: Duration = Duration::from_secs(600);
/// Bytes of the answer at `/page`.
pub(crate) const PAGE: usize = 4 * 1024 * 1024;
/// Largest body that `/take` takes.
pub(crate) const TAKEN_MAX: usize = 64 * 1024;

pub(crate) const GET: &str = "GET /small HTTP/1.1\r\nhost: x\r\n\r\n";

/// A port, and what it tells.
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    /// Requests at `/wait` are answered when they get a permit.
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) registry: Registry,
    serving: JoinSet<anyhow::Result<()>>,
}

/// Nobody is refused, and nothing is too slow.
pub(crate) fn patient() -> DoorSettings {
    DoorSettings {
        connections_max: 10_000,
        connections_per_address: 10_000,
        proxies: Vec::new(),
        head_timeout: LONG,
        body_timeout: LONG,
        idle_timeout: LONG,
        write_timeout: LONG,
    }
}

impl Host {
    pub(crate) fn start(settings: DoorSettings) -> Self {
        descriptors::raise();
        let socket = TcpSocket::new_v4().unwrap();
        // The kernel would take most of a page for a client that reads nothing.
        socket.set_send_buffer_size(16 * 1024).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(8_192).unwrap();
        let (address, registry) = (listener.local_addr().unwrap(), Registry::new());
        let (stop, gate) = (CancellationToken::new(), Arc::new(Semaphore::new(0)));
        let door = Door { settings, metrics: DoorMetrics::new(&registry).unwrap().port("public") };
        let routes = routes(Arc::clone(&gate));
        let answer = move |request: Request| {
            let answer = routes.clone().oneshot(request);
            async move { answer.await.unwrap_or_else(|never: Infallible| match never {}) }
        };
        let mut serving = JoinSet::new();
        serving.spawn(doors::serve(listener, door, answer, stop.clone()));
        Self { address, stop, gate, registry, serving }
    }

    /// A connection from 127.0.0.`last`.
    pub(crate) async fn connect(&self, last: u8) -> TcpStream {
        self.try_connect(last).await.unwrap()
    }

    pub(crate) async fn try_connect(&self, last: u8) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        // The kernel takes little for a client that does not read, and from one that writes while nobody reads.
        socket.set_recv_buffer_size(4 * 1024)?;
        socket.set_send_buffer_size(4 * 1024)?;
        socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
        socket.connect(self.address).await
    }

    /// A connection from 127.0.0.`last` on which this was sent.
    pub(crate) async fn said(&self, last: u8, text: &str) -> TcpStream {
        let mut stream = self.connect(last).await;
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// Status of a request on a connection of its own from 127.0.0.`last`; none when there was no answer.
    pub(crate) async fn asks(&self, last: u8, request: &str) -> Option<u16> {
        let mut stream = self.try_connect(last).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        answer(&mut stream).await.map(|(status, _)| status)
    }

    /// The value of a series of this name, of all that have these labels.
    pub(crate) fn metric(&self, name: &str, label: &str) -> usize {
        let families = self.registry.gather();
        let series = families.iter().filter(|family| family.name() == name);
        let own = series
            .flat_map(|family| family.get_metric())
            .filter(|metric| label.is_empty() || metric.get_label().iter().any(|pair| pair.value() == label));
        own.map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum::<f64>()
            as usize
    }

    pub(crate) fn open(&self) -> usize {
        self.metric("http_connections_open", "")
    }

    /// Waits for the end of serving, which nobody has to be cut for.
    pub(crate) async fn ended(mut self) {
        let ended = tokio::time::timeout(PATIENCE, self.serving.join_next()).await;
        ended.expect("serving ends").unwrap().unwrap().unwrap();
    }
}

fn routes(gate: Arc<Semaphore>) -> Router {
    let page = Bytes::from(vec![b'x'; PAGE]);
    Router::new()
        .route("/small", get(|| async { "ok" }))
        .route("/page", get(move || async move { page }))
        .route("/take", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/refuse", post(|| async { StatusCode::UNAUTHORIZED }))
        .route(
            "/wait",
            get(move || async move {
                gate.acquire().await.unwrap().forget();
                "waited"
            }),
        )
        .layer(DefaultBodyLimit::max(TAKEN_MAX))
}

/// Reads one answer: its status and the length of its body. None when it does not come whole.
pub(crate) async fn answer(stream: &mut TcpStream) -> Option<(u16, usize)> {
    let mut read = BytesMut::new();
    let (status, head, length) = loop {
        let told = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, _)) = told.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            break (head.get(9..12)?.parse().ok()?, head.len() + 4, length);
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    };
    while read.len() < head + length {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
    Some((status, length))
}

/// Bytes that come until the other side has closed.
pub(crate) async fn rest(stream: &mut TcpStream) -> usize {
    let (mut count, mut bytes) = (0, vec![0; 16 * 1024]);
    let reading = async {
        while let Ok(read @ 1..) = stream.read(&mut bytes).await {
            count += read;
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the other side closes");
    count
}

/// Whether the other side has closed, after whatever it says before.
pub(crate) async fn all_closed(streams: Vec<TcpStream>) -> usize {
    let mut closing = JoinSet::new();
    let count = streams.len();
    for mut stream in streams {
        closing.spawn(async move { rest(&mut stream).await });
    }
    while let Some(closed) = closing.join_next().await {
        closed.unwrap();
    }
    count
}

/// Waits until `holds`.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let holding = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let held = tokio::time::timeout(PATIENCE, holding).await;
    assert!(held.is_ok(), "it did not come to pass that {what}");
}
