//! Commits positions beside the loop, one request at a time, and reports one that was refused.
//!
//! The client's own asynchronous commit tells nobody when the broker refuses it, as it does in the middle of a rebalance: the
//! position then stays behind for ever. A commit that is waited for does say so, but the loop must not wait: so a thread does.
//! With one request at a time an older position never lands after a newer one.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use rdkafka::{consumer::BaseConsumer, error::KafkaError as ClientError};

use crate::{
    consumer::{CommitPoint, LoopContext, Place, Reports, commit},
    error::KafkaError,
};

type Points = Vec<(Place, CommitPoint)>;

/// Commits for one consumer. Lives on the loop's thread.
pub(crate) struct Committer {
    consumer: Arc<BaseConsumer<LoopContext>>,
    reports: Reports,
    to: Option<mpsc::Sender<Points>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread.
    pub(crate) fn new(
        consumer: &Arc<BaseConsumer<LoopContext>>,
        reports: &Reports,
    ) -> Result<Self, KafkaError> {
        let (to, points) = mpsc::channel::<Points>();
        let (theirs, results) = (Arc::clone(consumer), reports.clone());
        let thread = std::thread::Builder::new()
            .name("commits".to_owned())
            .spawn(move || {
                for points in points {
                    results.commit_ended(commit_points(&theirs, &points));
                }
            })
            .map_err(|error| KafkaError::Setup(error.to_string()))?;
        Ok(Self {
            consumer: Arc::clone(consumer),
            reports: reports.clone(),
            to: Some(to),
            thread: Some(thread),
        })
    }

    /// Whether a commit is on its way; then the next has to wait.
    pub(crate) fn is_busy(&self) -> bool {
        self.reports.is_committing()
    }

    /// Begins a commit. A refusal comes as [`Report::CommitFailed`](crate::consumer::Report::CommitFailed).
    pub(crate) fn begin(&self, points: Points) {
        self.reports.wait_for_commit();
        if let Some(to) = &self.to
            && !points.is_empty()
        {
            self.reports.commit_begins();
            if let Err(unsent) = to.send(points) {
                // The thread ends only by a panic; without it the loop commits itself.
                self.reports.commit_ended(commit_points(&self.consumer, &unsent.0));
            }
        }
    }

    /// Commits and waits for the answer.
    ///
    /// # Errors
    /// What the broker refused it with.
    pub(crate) fn commit(&self, points: &Points) -> Result<(), ClientError> {
        self.reports.wait_for_commit();
        commit_points(&self.consumer, points)
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.to = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that commits positions panicked");
        }
    }
}

fn commit_points(consumer: &BaseConsumer<LoopContext>, points: &Points) -> Result<(), ClientError> {
    commit(consumer, points.iter().map(|((topic, partition), point)| (&**topic, *partition, point)))
}
