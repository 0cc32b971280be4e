//! What a ledger loop is opened with, and what it hands out.

use std::{collections::BTreeSet, sync::mpsc as sync_mpsc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};

use crate::{error::LoopError, record::Record};

/// How much may be unfinished at once.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Records.
    pub records: usize,
    /// Bytes, as [`Record::weight`] counts them.
    pub bytes: usize,
}

/// What a loop reads.
#[derive(Clone, Debug)]
pub enum Source {
    /// These topics (short names), shared with the other members of the group.
    Group(Vec<&'static str>),
    /// The partitions of one topic that another loop's assignment names; no group membership.
    Follow {
        /// The topic's short name.
        topic: &'static str,
        /// [`LedgerLoop::assignment`] of the loop to follow.
        partitions: watch::Receiver<BTreeSet<i32>>,
    },
}

/// How a loop reads.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// The group, without prefix; see [`crate::groups`].
    pub group: &'static str,
    /// What to read.
    pub source: Source,
    /// Bounds in all.
    pub budget: Budget,
    /// Bound a partition, in records; at the bound only that partition is paused.
    pub per_partition: Option<usize>,
    /// How long nothing may settle while records are in hand; beyond it the loop ends: health is progress. Nothing for a loop
    /// whose records wait by design.
    pub stalled_after: Option<Duration>,
}

/// A running loop.
#[derive(Debug)]
pub struct LedgerLoop {
    /// Records in the order of their partition. Closed after a stop.
    pub records: mpsc::Receiver<Work>,
    /// The partitions that are ours now (of the first topic).
    pub assignment: watch::Receiver<BTreeSet<i32>>,
    /// How it ended.
    pub ended: oneshot::Receiver<Result<(), LoopError>>,
}

/// A record in hand.
#[derive(Debug)]
pub struct Work {
    /// The record.
    pub record: Record,
    /// What settles it.
    pub settle: Settle,
}

/// Settles one record. Dropping it instead leaves the record unfinished: the position never passes it, and it comes again.
#[derive(Debug)]
#[must_use = "a record that is never settled holds the position of its partition"]
pub struct Settle {
    pub(crate) place: usize,
    pub(crate) offset: i64,
    pub(crate) epoch: u64,
    pub(crate) weight: usize,
    pub(crate) done: bool,
    pub(crate) to: sync_mpsc::Sender<Settled>,
}

#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) place: usize,
    pub(crate) offset: i64,
    pub(crate) epoch: u64,
    pub(crate) weight: usize,
    pub(crate) done: bool,
}

impl Settle {
    /// The record is finished: delivered, or on another topic, acknowledged.
    pub fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        let Self { place, offset, epoch, weight, done, .. } = *self;
        // A loop that is gone has nothing left to commit.
        self.to.send(Settled { place, offset, epoch, weight, done }).ok();
    }
}
