//! The stream of a connection: it leaves signs of life, and where it is closed before all was read it drops what comes still, because
//! a socket with unread bytes is reset when it is closed, and the reset takes the answer away from the peer.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::pulse::Pulse;

/// Bytes that are dropped at most after the answer.
const DROPPED_MAX: usize = 8 * 1024 * 1024;
/// Bytes that are dropped in one read.
const DROPPED_AT_ONCE: usize = 16 * 1024;

/// See the module.
pub(super) struct Watched {
    stream: TcpStream,
    pulse: Arc<Pulse>,
    dropped: Option<usize>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse, dropped: None }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.pulse.written.fetch_add(bytes as u64, Relaxed);
        }
        let is_blocked = written.is_pending();
        if self.pulse.is_blocked.load(Relaxed) != is_blocked {
            self.pulse.is_blocked.store(is_blocked, Relaxed);
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.pulse.read.fetch_add((buffer.filled().len() - before) as u64, Relaxed);
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Says that nothing more comes from us; then drops what comes from the peer, where it may be in the middle of a request, until the
    /// peer has closed, too. How long that lasts is bounded by who reads the pulse.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.dropped.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.dropped = Some(0);
        }
        if !self.pulse.leaves_unread() {
            return Poll::Ready(Ok(()));
        }
        self.pulse.lingers.store(true, Relaxed);
        let mut bytes = [0; DROPPED_AT_ONCE];
        while self.dropped.is_some_and(|dropped| dropped < DROPPED_MAX) {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    self.dropped = self.dropped.map(|dropped| dropped + buffer.filled().len());
                }
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
