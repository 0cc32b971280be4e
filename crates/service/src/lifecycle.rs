//! Starts named parts, stops them in order, says which one died.
//!
//! A process is a handful of parts (an HTTP server, a Kafka loop, a poller). Each is spawned here under a name and a [`Stage`].
//! Invariants:
//!
//! * A part that ends while nobody asked for a stop ends the process, with an error: no silent zombies.
//! * Stopping has an order: readiness off, then stage by stage in the order of [`Stage`]; each stage is told to stop, then
//!   awaited for at most its budget. What did not end by then is aborted and named.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// When a part is told to stop, relative to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Takes new work from outside: stops first.
    Http,
    /// Works through Kafka or polls a store.
    Loops,
    /// What the loops hand their results to: stops last.
    Output,
}

impl Stage {
    const ORDER: [Self; 3] = [Self::Http, Self::Loops, Self::Output];

    /// How long a stage may take to stop before it is cut.
    const fn budget(self) -> Duration {
        match self {
            Self::Http => Duration::from_secs(10),
            Self::Loops => Duration::from_secs(25),
            Self::Output => Duration::from_secs(10),
        }
    }
}

/// A part ended by itself, failed, or had to be cut.
#[derive(Debug, thiserror::Error)]
pub enum Died {
    /// It returned without an error while it was still needed.
    #[error("{0} ended while it was still needed")]
    Ended(&'static str),
    /// It returned an error.
    #[error("{0} failed")]
    Failed(&'static str, #[source] anyhow::Error),
    /// It panicked.
    #[error("{0} panicked")]
    Panicked(&'static str),
    /// It did not stop within the budget of its stage.
    #[error("{0} did not stop in time and was cut")]
    Cut(String),
}

/// The life of one process (or of one platform in a test). Clones share it.
#[derive(Clone)]
pub struct Lifecycle {
    inner: Arc<Inner>,
}

struct Inner {
    stages: Mutex<BTreeMap<Stage, Parts>>,
    stopping: AtomicBool,
    first_death: watch::Sender<Option<Arc<Died>>>,
    stop_requested: CancellationToken,
    readiness: Mutex<BTreeMap<&'static str, bool>>,
    decisive: Mutex<Option<&'static str>>,
}

struct Parts {
    token: CancellationToken,
    tasks: JoinSet<&'static str>,
    names: Vec<&'static str>,
}

impl Default for Parts {
    fn default() -> Self {
        Self { token: CancellationToken::new(), tasks: JoinSet::new(), names: Vec::new() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle").field("not_ready", &self.not_ready()).finish_non_exhaustive()
    }
}

impl Lifecycle {
    /// A life with no parts yet.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                stages: Mutex::default(),
                stopping: AtomicBool::new(false),
                first_death: watch::Sender::new(None),
                stop_requested: CancellationToken::new(),
                readiness: Mutex::default(),
                decisive: Mutex::default(),
            }),
        }
    }

    /// Starts a part. `run` gets the token that tells it to stop; it must return soon after.
    pub fn spawn<F, Fut>(&self, stage: Stage, name: &'static str, run: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let mut stages = lock(&self.inner.stages);
        let parts = stages.entry(stage).or_default();
        let work = run(parts.token.clone());
        let guard = DeathGuard { name, life: self.clone(), told: false };
        parts.names.push(name);
        parts.tasks.spawn(async move {
            let mut guard = guard;
            let result = work.await;
            guard.finished(result);
            name
        });
    }

    /// A named condition that must hold before the process is ready. It starts as not ready.
    pub fn readiness(&self, name: &'static str) -> Ready {
        lock(&self.inner.readiness).insert(name, false);
        Ready { name, life: self.clone() }
    }

    /// The names of the conditions that do not hold; empty means ready. A stopping process is not ready.
    pub fn not_ready(&self) -> Vec<&'static str> {
        let mut missing: Vec<_> =
            lock(&self.inner.readiness).iter().filter(|(_, ready)| !**ready).map(|(name, _)| *name).collect();
        if self.is_stopping() {
            missing.push("stopping");
        }
        missing
    }

    /// From now on this condition alone decides whether the process takes requests; the others are told beside it.
    pub fn is_decided_by(&self, name: &'static str) {
        *lock(&self.inner.decisive) = Some(name);
    }

    /// Whether the process takes requests: it is not stopping, and what decides holds.
    pub fn takes_requests(&self) -> bool {
        let missing = self.not_ready();
        match *lock(&self.inner.decisive) {
            Some(name) => !self.is_stopping() && !missing.contains(&name),
            None => missing.is_empty(),
        }
    }

    /// Whether no part has died.
    pub fn is_alive(&self) -> bool {
        self.inner.first_death.borrow().is_none()
    }

    /// Whether a stop has begun.
    pub fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::Acquire)
    }

    /// Asks for an orderly stop from anywhere; [`Lifecycle::wait`] then returns.
    pub fn request_stop(&self) {
        self.inner.stop_requested.cancel();
    }

    /// Waits until a stop is asked for or a part dies.
    pub async fn wait(&self) {
        let mut death = self.inner.first_death.subscribe();
        tokio::select! {
            () = self.inner.stop_requested.cancelled() => {}
            _ = death.wait_for(Option::is_some) => {}
        }
    }

    /// Stops every stage in order.
    ///
    /// # Errors
    /// The first part that had died before, or failed or had to be cut on the way down.
    pub async fn shutdown(&self) -> Result<(), Arc<Died>> {
        self.inner.stopping.store(true, Ordering::Release);
        for stage in Stage::ORDER {
            let parts = lock(&self.inner.stages).remove(&stage);
            if let Some(parts) = parts {
                self.stop_stage(stage, parts).await;
            }
        }
        match &*self.inner.first_death.borrow() {
            Some(died) => Err(Arc::clone(died)),
            None => Ok(()),
        }
    }

    async fn stop_stage(&self, stage: Stage, mut parts: Parts) {
        parts.token.cancel();
        let mut left = parts.names.clone();
        let all = async {
            while let Some(ended) = parts.tasks.join_next().await {
                left.retain(|name| ended.as_ref().map_or(true, |ended| name != ended));
            }
        };
        if tokio::time::timeout(stage.budget(), all).await.is_err() {
            tracing::error!(stage = ?stage, parts = ?left, "parts did not stop in time and are cut");
            self.record(Died::Cut(left.join(", ")));
            parts.tasks.shutdown().await;
        }
    }

    fn record(&self, died: Died) {
        self.inner.first_death.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some(Arc::new(died));
            }
            is_first
        });
    }
}

/// Tells the life when its part ends, also by a panic.
struct DeathGuard {
    name: &'static str,
    life: Lifecycle,
    told: bool,
}

impl DeathGuard {
    fn finished(&mut self, result: anyhow::Result<()>) {
        self.told = true;
        match result {
            Ok(()) if self.life.is_stopping() => {}
            Ok(()) => self.life.record(Died::Ended(self.name)),
            Err(error) => {
                tracing::error!(part = self.name, error = format!("{error:#}"), "a part failed");
                self.life.record(Died::Failed(self.name, error));
            }
        }
    }
}

impl Drop for DeathGuard {
    fn drop(&mut self) {
        if !self.told && !self.life.is_stopping() {
            self.life.record(Died::Panicked(self.name));
        }
    }
}

/// A readiness condition that its owner switches.
#[derive(Clone, Debug)]
pub struct Ready {
    name: &'static str,
    life: Lifecycle,
}

impl Ready {
    /// States whether the condition holds now.
    pub fn set(&self, ready: bool) {
        lock(&self.life.inner.readiness).insert(self.name, ready);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stages_stop_in_order() {
        let life = Lifecycle::new();
        let log = Arc::new(Mutex::new(Vec::new()));
        for (stage, name) in [(Stage::Output, "out"), (Stage::Http, "http"), (Stage::Loops, "loop")] {
            let log = Arc::clone(&log);
            life.spawn(stage, name, |stop| async move {
                stop.cancelled().await;
                lock(&log).push(name);
                Ok(())
            });
        }
        life.shutdown().await.unwrap();
        assert_eq!(*lock(&log), ["http", "loop", "out"]);
    }

    #[tokio::test]
    async fn a_part_that_ends_early_ends_the_process() {
        let life = Lifecycle::new();
        life.spawn(Stage::Loops, "short", |_| async { Ok(()) });
        life.wait().await;
        assert!(!life.is_alive());
        let died = life.shutdown().await.unwrap_err();
        assert_eq!(died.to_string(), "short ended while it was still needed");
    }

    #[tokio::test]
    async fn a_part_that_panics_is_named() {
        let life = Lifecycle::new();
        life.spawn(Stage::Loops, "clumsy", |_| async { panic!("on purpose") });
        life.wait().await;
        assert_eq!(life.shutdown().await.unwrap_err().to_string(), "clumsy panicked");
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_does_not_stop_is_cut_and_named() {
        let life = Lifecycle::new();
        life.spawn(Stage::Loops, "stubborn", |_| std::future::pending());
        assert_eq!(
            life.shutdown().await.unwrap_err().to_string(),
            "stubborn did not stop in time and was cut"
        );
    }

    #[tokio::test]
    async fn readiness_waits_for_every_condition() {
        let life = Lifecycle::new();
        let (a, b) = (life.readiness("a"), life.readiness("b"));
        a.set(true);
        assert_eq!(life.not_ready(), ["b"]);
        assert!(!life.takes_requests());
        b.set(true);
        assert!(life.not_ready().is_empty());
        assert!(life.takes_requests());
    }

    #[tokio::test]
    async fn where_one_condition_decides_the_others_are_only_told() {
        let life = Lifecycle::new();
        let (a, _b) = (life.readiness("a"), life.readiness("b"));
        life.is_decided_by("a");
        assert!(!life.takes_requests());
        a.set(true);
        assert!(life.takes_requests());
        assert_eq!(life.not_ready(), ["b"]);
        life.shutdown().await.unwrap();
        assert!(!life.takes_requests(), "a process that stops takes no requests");
    }
}
