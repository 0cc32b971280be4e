//! Connections to receivers: to addresses that passed ([`PublicNames`]), plain or with TLS, each with the beginning of the answer that
//! is awaited on it.
//!
//! The client library keeps nothing of an answer that it cannot read. What arrives is therefore remembered beside it, above TLS, from
//! the beginning of a request until the library has an answer, [`BEGINNING_MAX`] at most. Each request begins anew, also where nobody
//! waited for the answer before it: an old 200 must never stand for a new one.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    vec,
};

use futures::future::BoxFuture;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector, dns::Name},
    rt::TokioIo,
};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tower::{Service, util::MapResponse};

use crate::pushing::names::{NoAddress, PublicNames};

/// How much of an answer is remembered.
const BEGINNING_MAX: usize = 8 * 1_024;
/// What every request begins with. Where a later part of one begins so, too, an odd answer that came before it is forgotten.
const REQUEST: &[u8] = b"POST ";

/// Makes connections.
pub(super) type Connector =
    MapResponse<HttpsConnector<HttpConnector<PublicNames>>, fn(Stream) -> TokioIo<Heard>>;

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Connections by name to what these look-ups give, with TLS as it is set up.
pub(super) fn connector(names: PublicNames, tls: ClientConfig) -> Connector {
    let mut http = HttpConnector::new_with_resolver(names);
    http.set_nodelay(true);
    http.enforce_http(false);
    MapResponse::new(HttpsConnector::from((http, tls)), |stream| {
        TokioIo::new(Heard { stream: TokioIo::new(stream), beginning: Beginning::default() })
    })
}

impl Service<Name> for PublicNames {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = NoAddress;
    type Future = BoxFuture<'static, Result<Self::Response, NoAddress>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoAddress>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let names = self.clone();
        Box::pin(async move {
            let found = names.of(name.as_str()).await?;
            Ok(found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect::<Vec<_>>().into_iter())
        })
    }
}

/// What a connection's answer begins with. Clones are of the same connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Beginning(Arc<Mutex<Answer>>);

#[derive(Debug, Default)]
struct Answer {
    /// From the beginning of a request on; what comes unasked is no answer.
    awaited: bool,
    bytes: Vec<u8>,
}

impl Beginning {
    /// What came of the answer that is awaited; from then on it is not.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.lock()).bytes
    }

    /// Before bytes are written, whether that succeeds or not.
    fn writes(&self, bytes: &[u8]) {
        if bytes.starts_with(REQUEST) {
            *self.lock() = Answer { awaited: true, bytes: Vec::new() };
        }
    }

    fn came(&self, bytes: &[u8]) {
        let mut answer = self.lock();
        if answer.awaited {
            let room = BEGINNING_MAX.saturating_sub(answer.bytes.len());
            answer.bytes.extend(bytes.iter().take(room));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Answer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that remembers.
pub(super) struct Heard {
    stream: TokioIo<Stream>,
    beginning: Beginning,
}

impl Connection for Heard {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.beginning.clone())
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.beginning.came(buffer.filled().get(before..).unwrap_or_default());
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.beginning.writes(bytes);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.beginning.writes(bytes.first().map_or(&[], |part| part));
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"POST /hook HTTP/1.1\r\n\r\n";

    #[test]
    fn only_what_comes_after_a_request_is_remembered_and_not_all_of_it() {
        let beginning = Beginning::default();
        beginning.came(b"unasked");
        assert_eq!(beginning.take(), b"");
        beginning.writes(HEAD);
        beginning.came(b"HTTP/1.1 ");
        beginning.writes(b"the rest of the body");
        beginning.came(b"200 OK");
        assert_eq!(beginning.take(), b"HTTP/1.1 200 OK");
        beginning.came(b"the answer's body");
        assert_eq!(beginning.take(), b"");
        beginning.writes(HEAD);
        beginning.came(&[b'x'; BEGINNING_MAX - 1]);
        beginning.came(b"xx");
        assert_eq!(beginning.take(), [b'x'; BEGINNING_MAX]);
    }

    #[test]
    fn an_answer_that_nobody_waited_for_is_forgotten_when_the_next_request_begins() {
        let beginning = Beginning::default();
        beginning.writes(HEAD);
        beginning.came(b"HTTP/1.1 200 OK\r\n\r\n");
        beginning.writes(HEAD);
        assert_eq!(beginning.take(), b"");
    }
}
