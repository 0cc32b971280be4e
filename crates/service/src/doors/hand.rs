//! A request in hand: its body, its answer, and the signs that they leave.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderValue, Version, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::pulse::Pulse;

/// Largest piece of an answer that is handed over at once: what the peer has not taken stays ours to count.
const PIECE_MAX: usize = 64 * 1024;
/// Bytes that are dropped at most of a body that nobody wanted, before its answer, and how long they may take. Where that does not
/// suffice the connection ends with the answer.
const LEFT_MAX: u64 = 64 * 1024;
const LEFT_WAIT: Duration = Duration::from_secs(1);
/// Longest time of one request over HTTP/2, its answer included. Its stream may be starved while others of its connection flow.
const STREAM_MAX: Duration = Duration::from_secs(300);

/// What answers the requests of one connection.
pub(super) struct Served<A> {
    pub(super) answer: A,
    pub(super) peer: SocketAddr,
    pub(super) pulse: Arc<Pulse>,
}

impl<A, F> hyper::service::Service<Request<Incoming>> for Served<A>
where
    A: Fn(Request) -> F,
    F: Future<Output = Response> + Send + 'static,
{
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let hand = Hand::take(&self.pulse, request.version());
        let waits = request.headers().contains_key(header::EXPECT);
        let mut request = request.map(|body| Asked::body(body, &self.pulse));
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let answer = (self.answer)(request);
        Box::pin(async move {
            let mut answer = answer.await;
            // The client would take the connection for one that it may use again.
            if hand.pulse.left_unread.load(Relaxed) && !is_dropped(&hand.pulse, waits).await {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer.map(|body| Answer::new(body, hand)))
        })
    }
}

/// Reads what is left of the body of a request to its end, within bounds, unless the client waits to be asked for it; whether that was
/// all.
async fn is_dropped(pulse: &Pulse, waits: bool) -> bool {
    let Some(mut left) = pulse.take_left().filter(|_| !waits) else { return false };
    let mut bytes = 0;
    let dropping = async {
        while bytes + left.size_hint().lower() <= LEFT_MAX {
            match poll_fn(|context| Pin::new(&mut left).poll_frame(context)).await {
                Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(_)) => return false,
                None => return true,
            }
        }
        false
    };
    let is_dropped = tokio::time::timeout(LEFT_WAIT, dropping).await == Ok(true);
    pulse.left_unread.store(!is_dropped, Relaxed);
    is_dropped
}

/// Counts a request while it is there.
struct Hand {
    pulse: Arc<Pulse>,
    owes: bool,
}

impl Hand {
    fn take(pulse: &Arc<Pulse>, version: Version) -> Self {
        pulse.requests.fetch_add(1, Relaxed);
        pulse.in_hand.fetch_add(1, Relaxed);
        // The one before was read to its end after all.
        pulse.left_unread.store(false, Relaxed);
        if version == Version::HTTP_2 {
            pulse.is_http2.store(true, Relaxed);
        }
        Self { pulse: Arc::clone(pulse), owes: false }
    }

    /// Whether the peer has to take what is there, before more is asked of the answer.
    fn owes(&mut self, owes: bool) {
        match (self.owes, owes) {
            (false, true) => _ = self.pulse.owed.fetch_add(1, Relaxed),
            (true, false) => _ = self.pulse.owed.fetch_sub(1, Relaxed),
            (false, false) | (true, true) => {}
        }
        self.owes = owes;
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.owes(false);
        if self.pulse.left_unread.load(Relaxed) {
            drop(self.pulse.take_left());
        }
        self.pulse.at_rest.store(self.pulse.read.load(Relaxed), Relaxed);
        self.pulse.in_hand.fetch_sub(1, Relaxed);
    }
}

/// The body of a request.
struct Asked {
    body: Option<Incoming>,
    is_read: bool,
    pulse: Arc<Pulse>,
}

impl Asked {
    fn body(body: Incoming, pulse: &Arc<Pulse>) -> Body {
        if body.is_end_stream() {
            return Body::empty();
        }
        pulse.bodies.fetch_add(1, Relaxed);
        Body::new(Self { body: Some(body), is_read: false, pulse: Arc::clone(pulse) })
    }
}

impl http_body::Body for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        self.is_read = matches!(polled, Poll::Ready(None)) || self.is_end_stream();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Incoming::size_hint).unwrap_or_default()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.pulse.bodies.fetch_sub(1, Relaxed);
        if let Some(body) = self.body.take().filter(|_| !self.is_read && !self.pulse.is_http2.load(Relaxed)) {
            self.pulse.leave(body);
        }
    }
}

/// The body of an answer, in pieces.
pub(super) struct Answer {
    body: Body,
    rest: Bytes,
    hand: Hand,
}

impl Answer {
    fn new(body: Body, mut hand: Hand) -> Self {
        hand.owes(!body.is_end_stream());
        Self { body, rest: Bytes::new(), hand }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let polled = Pin::new(&mut self.body).poll_frame(context);
            self.hand.owes(matches!(polled, Poll::Ready(Some(_))));
            match polled {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other @ (Poll::Pending | Poll::Ready(None | Some(Err(_)))) => return other,
            }
        }
        let length = self.rest.len().min(PIECE_MAX);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}

/// Runs the requests of HTTP/2, each within its time.
#[derive(Clone, Copy)]
pub(super) struct Streams;

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    #[allow(clippy::disallowed_methods, reason = "a stream ends with its connection, which waits for it")]
    fn execute(&self, stream: F) {
        tokio::spawn(async move { tokio::time::timeout(STREAM_MAX, stream).await.is_ok() });
    }
}
