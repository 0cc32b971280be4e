//! How one part of the stand-in answers: normally, badly, late or never; and how often it was asked.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::http::StatusCode;

/// How a part answers from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As it should.
    #[default]
    Answer,
    /// With this status and nothing else.
    Fail(u16),
    /// As it should, after this time.
    Late(Duration),
    /// Never, until the asker goes away.
    Hang,
    /// So many times as it should, then never.
    HangAfter(u64),
}

#[derive(Debug, Default)]
pub(crate) struct Switch {
    mode: Mutex<Mode>,
    count: AtomicU64,
    /// Requests since the mode was set.
    since: AtomicU64,
}

impl Switch {
    pub(crate) fn set(&self, mode: Mode) {
        self.since.store(0, Ordering::Relaxed);
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts a request and behaves as the mode says; an error is the status to answer with.
    pub(crate) async fn pass(&self) -> Result<(), StatusCode> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let since = self.since.fetch_add(1, Ordering::Relaxed);
        let mode = *self.mode.lock().unwrap_or_else(PoisonError::into_inner);
        match mode {
            Mode::Answer => Ok(()),
            Mode::HangAfter(answers) if since < answers => Ok(()),
            Mode::Fail(status) => {
                Err(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
            }
            Mode::Late(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Mode::Hang | Mode::HangAfter(_) => std::future::pending().await,
        }
    }
}
