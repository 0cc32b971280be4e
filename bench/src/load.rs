//! A client that costs little: HTTP/1.1 over plain sockets, one request at a time a connection. What it saves is left to the
//! servers, which share the machine with it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// A connection and its last answer.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer; it lives until the next request.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    head: &'a str,
    pub(crate) body: &'a str,
}

impl Answer<'_> {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(self.head, name)
    }

    /// The answer, when it is a success.
    pub(crate) fn successful(self) -> anyhow::Result<Self> {
        anyhow::ensure!((200..300).contains(&self.status), "answered {}: {}", self.status, self.body);
        Ok(self)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(1 << 16) })
    }

    /// Sends a request and reads its whole answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.buffer.clear();
        self.stream.write_all(request).await?;
        let end = loop {
            self.read().await?;
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = std::str::from_utf8(self.buffer.get(..end).unwrap_or_default())?;
        let length: usize = header(head, "content-length").context("an answer without a length")?.parse()?;
        while self.buffer.len() < end + length {
            self.read().await?;
        }
        let text = std::str::from_utf8(&self.buffer)?;
        let (head, body) = text.split_at(end);
        let status = head.get(9..12).context("no HTTP answer")?.parse()?;
        Ok(Answer { status, head, body })
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        anyhow::ensure!(read > 0, "the server closed the connection");
        Ok(())
    }
}

/// A GET.
pub(crate) fn get(path: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n").into_bytes()
}

/// A POST.
pub(crate) fn post(path: &str, token: &str, media_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: {media_type}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Requests that are sent round and round.
pub(crate) type Requests = Arc<Vec<Vec<u8>>>;

/// Sends as fast as answers come; requests a second.
pub(crate) async fn as_fast_as_answered(
    address: SocketAddr,
    requests: &Requests,
    connections: usize,
    time: Duration,
) -> anyhow::Result<f64> {
    let (next, mut workers) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    let started = Instant::now();
    for _ in 0..connections {
        let (requests, next) = (Arc::clone(requests), Arc::clone(&next));
        workers.spawn(async move {
            let (mut connection, mut answered) = (Connection::open(address).await?, 0_usize);
            while started.elapsed() < time {
                let at = next.fetch_add(1, Ordering::Relaxed) % requests.len();
                let request = requests.get(at).context("requests are there")?;
                connection.ask(request).await?.successful()?;
                answered += 1;
            }
            anyhow::Ok(answered)
        });
    }
    let mut answered = 0;
    while let Some(worker) = workers.join_next().await {
        answered += worker??;
    }
    Ok(answered as f64 / started.elapsed().as_secs_f64())
}

/// Sends at a rate over that many connections; the times to the answers in milliseconds. A request whose turn came while its
/// connection waited for an answer counts from its turn.
pub(crate) async fn at_a_rate(
    address: SocketAddr,
    requests: &Requests,
    (connections, rate): (usize, f64),
    time: Duration,
) -> anyhow::Result<Vec<f64>> {
    let mut workers = JoinSet::new();
    let started = Instant::now();
    for worker in 0..connections {
        let requests = Arc::clone(requests);
        workers.spawn(async move {
            let (mut connection, mut times) = (Connection::open(address).await?, Vec::new());
            for number in (worker..).step_by(connections) {
                let turn = started + Duration::from_secs_f64(number as f64 / rate);
                if turn > started + time {
                    break;
                }
                let was_busy = Instant::now() > turn;
                tokio::time::sleep_until(turn.into()).await;
                let sent = if was_busy { turn } else { Instant::now() };
                let request = requests.get(number % requests.len()).context("requests are there")?;
                connection.ask(request).await?.successful()?;
                times.push(sent.elapsed().as_secs_f64() * 1_000.0);
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(worker) = workers.join_next().await {
        times.extend(worker??);
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::post};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn answers_are_read_whole_and_connections_are_used_again() {
        let routes = Router::new().route(
            "/",
            post(
                |body: String| async move { ([("next", "there")], format!("{body}{}", "x".repeat(100_000))) },
            ),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, routes).await });
        let mut connection = Connection::open(address).await.unwrap();
        for word in ["one", "two"] {
            let request = super::post("/", "token", "text/plain", word);
            let answer = connection.ask(&request).await.unwrap().successful().unwrap();
            assert!(answer.body.starts_with(word) && answer.body.len() == 100_003);
            assert_eq!(answer.header("Next"), Some("there"));
        }
        let wrong = get("/nowhere", "token");
        assert!(connection.ask(&wrong).await.unwrap().successful().is_err());
    }
}
