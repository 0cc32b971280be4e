//! In order: collect a batch, hand it over, and only when the handler has stored it commit and go on.
//!
//! One thread owns the consumer. While the handler stores one batch the next is collected, so that the log and the store work
//! at the same time; two batches are never stored at once. The handler stores its own positions with its data and says where
//! each partition starts ([`BatchHandler::positions`]); the position committed to Kafka is for lag tools, and never read. So none
//! is committed when partitions are taken away: the next owner commits where it starts.
//!
//! Bounds: one batch being stored and one being collected, each within [`BatchOptions`]. While a batch is stored for longer
//! than [`PATIENCE`] and the next one is full, the consumer is paused and polled, so that the group never expels us.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, Mutex, PoisonError, mpsc as sync_mpsc},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    collected::Collected,
    consumer::{CommitPoint, Member, Place, Report, Starts},
    error::LoopError,
    ledger_loop::PATIENCE,
    record::Record,
    settings::KafkaSettings,
};

/// Longest wait of one poll.
pub(crate) const POLL: Duration = Duration::from_millis(50);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How long the batch in hand may take to be stored after a stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// How a batch loop reads. A batch is handed over when any bound is reached.
#[derive(Clone, Debug)]
pub struct BatchOptions {
    /// The group, without prefix; see [`crate::groups`].
    pub group: &'static str,
    /// The topic's short name.
    pub topic: &'static str,
    /// Most records a batch.
    pub max_records: usize,
    /// Most bytes a batch, as [`Record::weight`] counts them.
    pub max_bytes: usize,
    /// Longest wait for more records after the first.
    pub max_wait: Duration,
    /// How long the handler may take over one call. Beyond it the loop ends: health is progress.
    pub stalled_after: Duration,
}

/// Why a handler did not store a batch.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// What it needs does not answer. The same batch is handed over again after a pause.
    #[error("the batch cannot be stored now")]
    Transient(#[source] anyhow::Error),
    /// The stored positions are not where this loop thought: the partitions start anew from [`BatchHandler::positions`].
    #[error("the positions moved")]
    Lost(#[source] anyhow::Error),
    /// It cannot go on.
    #[error("the batch can never be stored")]
    Fatal(#[source] anyhow::Error),
}

/// Stores batches.
pub trait BatchHandler: Send + 'static {
    /// Where each partition starts, given the oldest offset that it keeps: the stored position, or that one without any.
    fn positions(
        &mut self,
        oldest: Vec<(i32, i64)>,
    ) -> impl Future<Output = Result<Vec<(i32, i64)>, HandlerError>> + Send;

    /// Stores a batch. Records of one partition are in offset order; the batch is handed over again after
    /// [`HandlerError::Transient`].
    fn handle(&mut self, batch: Vec<Record>) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// Reads until `stop`, then waits for the batch in hand, commits and leaves.
///
/// # Errors
/// [`LoopError`]: end the process and start again from the stored positions.
pub async fn run_batches<H: BatchHandler>(
    settings: &KafkaSettings,
    options: &BatchOptions,
    handler: H,
    stop: CancellationToken,
) -> Result<(), LoopError> {
    let thread = |error: String| LoopError::Thread(error);
    let topics = vec![settings.topic(options.topic)];
    let member = Member::new(settings, options.group, options.group, topics, Starts::Told)
        .map_err(|error| thread(error.to_string()))?;
    let (end, ended) = oneshot::channel();
    let mut state = LoopState {
        member,
        topic: settings.topic(options.topic),
        options: options.clone(),
        handler: Arc::new(Mutex::new(Some(handler))),
        runtime: Handle::current(),
        stop,
        collected: Collected::default(),
        assigned: BTreeSet::new(),
        positioned: BTreeSet::new(),
        next: BTreeMap::new(),
        commit_again: None,
        paused: false,
    };
    std::thread::Builder::new()
        .name(options.group.to_owned())
        .spawn(move || end.send(state.run()).ok())
        .map_err(|error| thread(error.to_string()))?;
    ended.await.unwrap_or_else(|_| Err(thread("it panicked".to_owned())))
}

/// What the handler was asked on the runtime, and gives back with itself.
type Answer<H, T> = (H, Result<T, HandlerError>);

struct LoopState<H> {
    member: Member,
    topic: String,
    options: BatchOptions,
    handler: Arc<Mutex<Option<H>>>,
    runtime: Handle,
    stop: CancellationToken,
    collected: Collected,
    /// Partitions that came and whose start the handler has not said yet.
    assigned: BTreeSet<Place>,
    /// Partitions whose start the handler has said; only their records are kept.
    positioned: BTreeSet<Place>,
    /// The next offset to commit, a partition.
    next: BTreeMap<Place, i64>,
    /// When positions are committed again: a commit was refused, or was on its way.
    commit_again: Option<Instant>,
    paused: bool,
}

impl<H: BatchHandler> LoopState<H> {
    fn run(&mut self) -> Result<(), LoopError> {
        while !self.stop.is_cancelled() {
            self.collect(POLL)?;
            self.position_assigned()?;
            if self.commit_again.take_if(|due| Instant::now() >= *due).is_some() {
                self.commit();
            }
            let ready = self.collected.is_full(&self.options) || self.collected.left(&self.options).is_zero();
            if ready && !self.collected.records.is_empty() {
                self.store()?;
            }
        }
        // What was collected and not stored is read again by the next owner.
        let points = self.points();
        if let Err(error) = self.member.committer.commit(&points) {
            tracing::info!(group = self.member.group, %error, "positions were not committed; lag tools see the last that were");
        }
        Ok(())
    }

    /// Takes records until the batch is full, its time is up, or none came within `wait`.
    fn collect(&mut self, wait: Duration) -> Result<(), LoopError> {
        while !self.collected.is_full(&self.options) {
            let wait = wait.min(self.collected.left(&self.options));
            if !self.poll(wait)? {
                break;
            }
        }
        Ok(())
    }

    /// Polls once, and takes note at once of the partitions that came and went in it: a record is kept only of a partition that was
    /// ours without a break since the handler said where it starts. Whether there was a record.
    fn poll(&mut self, wait: Duration) -> Result<bool, LoopError> {
        let polled = self.member.poll(wait)?;
        self.note_reports();
        let came = polled.is_some();
        if let Some((place, record)) = polled
            && self.positioned.contains(&place)
        {
            self.collected.push(record);
        }
        Ok(came)
    }

    /// Hands the collected batch over until it is stored, lost or the loop must end; collects the next one meanwhile.
    fn store(&mut self) -> Result<(), LoopError> {
        let batch = std::mem::take(&mut self.collected).records;
        let ends: Vec<(i32, i64)> =
            batch.iter().map(|record| (record.partition, record.offset + 1)).collect();
        let topic: Arc<str> = Arc::from(self.topic.as_str());
        let mut backoff = BACKOFF_MIN;
        loop {
            let copy = batch.clone();
            match self.ask(|handler| Box::pin(handler.handle(copy)))? {
                Ok(()) => break,
                Err(HandlerError::Transient(error)) => {
                    tracing::warn!(
                        group = self.member.group,
                        error = format!("{error:#}"),
                        "a batch waits: what stores it does not answer"
                    );
                    self.rest(backoff)?;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                    if self.stop.is_cancelled() {
                        return Ok(());
                    }
                }
                Err(HandlerError::Lost(error)) => {
                    tracing::info!(
                        group = self.member.group,
                        error = format!("{error:#}"),
                        "the positions moved; partitions start anew"
                    );
                    return self.position(self.positioned.iter().cloned().collect());
                }
                Err(HandlerError::Fatal(error)) => return Err(LoopError::Handler(error)),
            }
        }
        for (partition, next) in ends {
            let place = (Arc::clone(&topic), partition);
            if self.positioned.contains(&place) {
                self.next.insert(place, next);
            }
        }
        self.commit();
        Ok(())
    }

    /// Asks the handler on the runtime and meanwhile collects; pauses when the next batch is full and the answer takes long.
    fn ask<T, F>(&mut self, question: F) -> Result<Result<T, HandlerError>, LoopError>
    where
        T: Send + 'static,
        F: for<'h> FnOnce(
                &'h mut H,
            )
                -> std::pin::Pin<Box<dyn Future<Output = Result<T, HandlerError>> + Send + 'h>>
            + Send
            + 'static,
    {
        let slot = Arc::clone(&self.handler);
        let take = || slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut handler) = take() else {
            return Err(LoopError::Thread("the handler was lost in a panic".to_owned()));
        };
        let (to, answer) = sync_mpsc::sync_channel::<Answer<H, T>>(1);
        self.runtime.spawn(async move {
            let result = question(&mut handler).await;
            // A loop that has ended does not ask again.
            to.send((handler, result)).ok();
        });
        let started = Instant::now();
        let (handler, result) = loop {
            let room = !self.collected.is_full(&self.options);
            let wait = if room && !self.paused { Duration::from_millis(1) } else { POLL };
            match answer.recv_timeout(if room { Duration::ZERO } else { wait }) {
                Ok(answer) => break answer,
                Err(sync_mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(LoopError::Thread("the handler panicked".to_owned()));
                }
                Err(sync_mpsc::RecvTimeoutError::Timeout) => self.keep_polling(started.elapsed(), room)?,
            }
            let waited = started.elapsed();
            if waited > self.options.stalled_after {
                return Err(LoopError::Stalled { group: self.options.group, waited });
            }
            if self.stop.is_cancelled() && waited > STOP_WITHIN {
                return Err(LoopError::Thread("the batch in hand was not stored in time".to_owned()));
            }
        };
        *self.handler.lock().unwrap_or_else(PoisonError::into_inner) = Some(handler);
        self.unpause();
        Ok(result)
    }

    fn keep_polling(&mut self, waited: Duration, room: bool) -> Result<(), LoopError> {
        if room && !self.paused {
            // A short wait: the answer is looked for between two polls.
            self.poll(Duration::from_millis(1))?;
        } else if waited > PATIENCE {
            self.paused = true;
            self.member.pause_all();
            self.poll(Duration::ZERO)?;
        }
        Ok(())
    }

    fn unpause(&mut self) {
        if std::mem::take(&mut self.paused) {
            self.member.resume_all(|_, _| false);
        }
    }

    /// Waits without taking records, serving callbacks.
    fn rest(&mut self, wait: Duration) -> Result<(), LoopError> {
        let until = Instant::now() + wait;
        self.paused = true;
        while Instant::now() < until && !self.stop.is_cancelled() {
            self.member.pause_all();
            self.poll(Duration::from_millis(20))?;
        }
        self.unpause();
        Ok(())
    }

    fn note_reports(&mut self) {
        for report in self.member.reports.take() {
            match report {
                Report::Assigned(places) => {
                    let places = self.let_go(places);
                    self.assigned.extend(places);
                }
                Report::Revoked(places) => {
                    for place in self.let_go(places) {
                        self.assigned.remove(&place);
                    }
                }
                Report::CommitFailed => self.commit_again = Some(Instant::now() + BACKOFF_MIN),
            }
        }
    }

    /// Forgets what is known of partitions that went, or that came anew.
    fn let_go(&mut self, places: Vec<(String, i32)>) -> Vec<Place> {
        self.collected.forget(&places.iter().map(|(_, partition)| *partition).collect());
        let places: Vec<Place> =
            places.into_iter().map(|(topic, partition)| (Arc::from(topic), partition)).collect();
        for place in &places {
            self.positioned.remove(place);
            self.next.remove(place);
        }
        places
    }

    /// Starts the partitions that came, also those that come while the handler is asked.
    fn position_assigned(&mut self) -> Result<(), LoopError> {
        while !self.assigned.is_empty() && !self.stop.is_cancelled() {
            let places = std::mem::take(&mut self.assigned);
            self.position(places.into_iter().collect())?;
        }
        Ok(())
    }

    /// Starts partitions where the handler says; what was collected of them is read again.
    fn position(&mut self, places: Vec<Place>) -> Result<(), LoopError> {
        if places.is_empty() {
            return Ok(());
        }
        self.collected.forget(&places.iter().map(|(_, partition)| *partition).collect());
        for place in &places {
            self.positioned.remove(place);
        }
        let named: Vec<_> = places.iter().map(|(topic, partition)| (topic.to_string(), *partition)).collect();
        let oldest = self.member.oldest(&named)?;
        if oldest.is_empty() {
            return Ok(());
        }
        let mut backoff = BACKOFF_MIN;
        let starts = loop {
            let oldest = oldest.clone();
            match self.ask(|handler| Box::pin(handler.positions(oldest)))? {
                Ok(starts) => break starts,
                Err(HandlerError::Transient(error) | HandlerError::Lost(error)) => {
                    tracing::warn!(
                        group = self.member.group,
                        error = format!("{error:#}"),
                        "partitions wait: their positions are not to be had"
                    );
                    self.rest(backoff)?;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                    if self.stop.is_cancelled() {
                        return Ok(());
                    }
                }
                Err(HandlerError::Fatal(error)) => return Err(LoopError::Handler(error)),
            }
        };
        self.begin(&places, &starts)
    }

    fn begin(&mut self, places: &[Place], starts: &[(i32, i64)]) -> Result<(), LoopError> {
        let ours: BTreeSet<(String, i32)> = self.member.assigned();
        let starts: Vec<(String, i32, i64)> = places
            .iter()
            // What came anew meanwhile is positioned next.
            .filter(|place| ours.contains(&(place.0.to_string(), place.1)) && !self.assigned.contains(*place))
            .filter_map(|(topic, partition)| {
                let (_, offset) = starts.iter().find(|(p, _)| p == partition)?;
                Some((topic.to_string(), *partition, *offset))
            })
            .collect();
        if !starts.is_empty() {
            self.member.start_at(&starts, true)?;
        }
        for (topic, partition, start) in starts {
            let place: Place = (Arc::from(topic), partition);
            // The client keeps a pause from before the partition was taken away.
            self.member.set_paused(&place, false);
            self.next.insert(place.clone(), start);
            self.positioned.insert(place);
        }
        self.commit();
        Ok(())
    }

    /// Commits beside the loop; with a commit on its way, soon after it.
    fn commit(&mut self) {
        let points = self.points();
        if self.member.committer.is_busy() {
            self.commit_again = Some(Instant::now());
        } else {
            self.member.committer.begin(points);
        }
    }

    fn points(&self) -> Vec<(Place, CommitPoint)> {
        let point = |offset: &i64| CommitPoint { offset: *offset, metadata: String::new() };
        self.next.iter().map(|(place, offset)| (place.clone(), point(offset))).collect()
    }
}
