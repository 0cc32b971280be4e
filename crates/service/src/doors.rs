//! The doors: how connections come in, how long they may stay, and how they end. Every port of a process is served here.
//!
//! One task owns a port: it accepts, counts, looks at every connection once in a while, and waits for their ends. A connection is a task
//! of its own that leaves signs of life (`pulse`); there is no timer of a request. Invariants:
//!
//! * There are never more connections than may be, in all and of one address; beyond it new ones are closed and the old ones live.
//! * Whoever makes us wait (for a head, a body, for room to write) is waited for within a bound.
//! * No error of accepting ends the loop.
//! * An answer that was given before its request was read whole arrives: a small rest of the body is dropped first, and the connection
//!   lives; else the answer says that the connection ends, and what comes still is read and dropped, within bounds.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{body::Body, extract::Request, response::Response};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

mod book;
mod hand;
mod metrics;
mod pulse;
mod settings;
mod stream;

pub use metrics::{DoorMetrics, PortMetrics};
pub use settings::{DoorSettings, body_timeout};

use book::Book;
use hand::{Served, Streams};
use pulse::Pulse;
use stream::Watched;

/// Largest head of a request, in bytes; over HTTP/2 counted as RFC 9113 §6.5.2 does.
const HEAD_MAX: u32 = 64 * 1024;
/// Requests at once on one connection, over HTTP/2.
const STREAMS_MAX: u32 = 100;
/// Streams that a peer may reset before we saw them, and that we may reset for its errors, before its connection is closed.
const RESETS_MAX: usize = 20;
const OWN_RESETS_MAX: usize = 128;
/// How often a peer is asked whether it is there, over HTTP/2, and how long its answer may take.
const PING: Duration = Duration::from_secs(20);
/// Bytes of an answer that wait in us for a peer, a stream of HTTP/2.
const SEND_BUFFER: usize = 128 * 1024;
/// How long those that make us wait are waited for when we stop: less than the stage of the life cycle has.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// First and longest pause after an error of accepting.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The door of one port.
#[derive(Clone, Debug)]
pub struct Door {
    /// Its bounds.
    pub settings: DoorSettings,
    /// Its series.
    pub metrics: PortMetrics,
}

/// Answers every request that comes in at `listener` with `answer`, until `stop`; then finishes the requests in hand. Each request
/// knows its peer, as [`axum::extract::ConnectInfo`].
///
/// # Errors
/// None: no fault of a connection or of accepting ends it.
pub async fn serve<A, F>(
    listener: TcpListener,
    door: Door,
    answer: A,
    stop: CancellationToken,
) -> anyhow::Result<()>
where
    A: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut tick = tokio::time::interval(door.settings.look_every());
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut keeper = Keeper::new(door, answer, &stop);
    let mut pause = Pause::default();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = keeper.connections.join_next_with_id() => keeper.ended(ended),
            _ = tick.tick() => keeper.look(),
            accepted = pause.then(&listener) => match accepted {
                Ok((stream, peer)) => {
                    pause = Pause::default();
                    keeper.open(stream, peer);
                }
                Err(error) => keeper.failed(&error, &mut pause),
            },
        }
    }
    drop(listener);
    let patience = Instant::now() + STOP_WAIT;
    loop {
        tokio::select! {
            ended = keeper.connections.join_next_with_id() => match ended {
                Some(ended) => keeper.ended(ended),
                None => return Ok(()),
            },
            _ = tick.tick() => {
                keeper.look();
                if Instant::now() >= patience {
                    keeper.book.end_those_we_wait_for();
                }
            }
        }
    }
}

/// Who has one address of IPv6 has its whole /64; an address of IPv4 in one of IPv6 is that.
pub fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// What a port's task works with.
struct Keeper<'s, A> {
    door: Door,
    answer: A,
    stop: &'s CancellationToken,
    server: Arc<auto::Builder<Streams>>,
    connections: JoinSet<()>,
    book: Book,
}

type Ended = Result<(tokio::task::Id, ()), tokio::task::JoinError>;

impl<'s, A, F> Keeper<'s, A>
where
    A: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    fn new(door: Door, answer: A, stop: &'s CancellationToken) -> Self {
        let book = Book::new(door.settings.clone(), door.metrics.clone());
        Self { door, answer, stop, server: Arc::new(server()), connections: JoinSet::new(), book }
    }

    fn open(&mut self, stream: TcpStream, peer: std::net::SocketAddr) {
        let household = household(peer.ip());
        if let Err(reason) = self.book.admits(peer.ip(), household) {
            self.door.metrics.refused(reason);
            return;
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        let (pulse, rest) = (Arc::new(Pulse::default()), self.stop.child_token());
        let served = Served { answer: self.answer.clone(), peer, pulse: Arc::clone(&pulse) };
        let stream = Watched::new(stream, Arc::clone(&pulse));
        let connection = connection(Arc::clone(&self.server), stream, served, rest.clone());
        let task = self.connections.spawn(connection);
        self.book.enter(household, pulse, rest, task);
    }

    fn ended(&mut self, ended: Ended) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!("a connection panicked");
                }
                error.id()
            }
        };
        self.book.strike(id);
    }

    fn look(&mut self) {
        self.book.look(Instant::now());
    }

    fn failed(&self, error: &io::Error, pause: &mut Pause) {
        // A client that went away before it was accepted is no reason to wait.
        if is_of_one_connection(error) {
            return;
        }
        self.door.metrics.accept_failed();
        *pause = pause.longer(Instant::now());
        tracing::warn!(%error, pause = ?pause.long, open = self.book.len(), "no connection can be accepted");
    }
}

/// How one connection is served, whichever version of HTTP its client speaks.
fn server() -> auto::Builder<Streams> {
    let mut server = auto::Builder::new(Streams);
    server.http1().max_buf_size(HEAD_MAX as usize);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(OWN_RESETS_MAX)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    server
}

/// Serves a connection until it ends; `rest` asks it to end with the requests that it has in hand.
async fn connection<A, F>(
    server: Arc<auto::Builder<Streams>>,
    stream: Watched,
    served: Served<A>,
    rest: CancellationToken,
) where
    A: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), served));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = rest.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection broke off");
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    [ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted].contains(&error.kind())
}

/// How long nothing is accepted, after errors in a row.
#[derive(Clone, Copy, Default)]
struct Pause {
    long: Duration,
    until: Option<Instant>,
}

impl Pause {
    fn longer(self, now: Instant) -> Self {
        let long = (self.long * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        Self { long, until: Some(now + long) }
    }

    async fn then(&self, listener: &TcpListener) -> io::Result<(TcpStream, std::net::SocketAddr)> {
        if let Some(until) = self.until {
            tokio::time::sleep_until(until.into()).await;
        }
        listener.accept().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_in_a_row_are_waited_for_longer_up_to_a_bound() {
        let now = Instant::now();
        let mut pause = Pause::default();
        let mut longs = Vec::new();
        for _ in 0..9 {
            pause = pause.longer(now);
            longs.push(u64::try_from(pause.long.as_millis()).unwrap());
        }
        assert_eq!(longs, [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
    }

    #[test]
    fn a_household_is_an_address_or_a_network_of_addresses() {
        for (address, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(household(address.parse().unwrap()).to_string(), expected);
        }
    }
}
