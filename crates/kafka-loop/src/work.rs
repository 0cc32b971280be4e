//! What a ledger loop is opened with, and what it hands out.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    assignment::Assignment,
    books::{Books, InHand},
    error::LoopError,
    journal::Journal,
    record::Record,
};

/// How much may be unfinished at once.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Records.
    pub records: usize,
    /// Bytes, as [`Record::weight`] counts them.
    pub bytes: usize,
}

impl Budget {
    /// Whether either has come to that of another.
    pub(crate) const fn reaches(self, other: Self) -> bool {
        self.records >= other.records || self.bytes >= other.bytes
    }
}

/// What a loop reads.
#[derive(Clone, Debug)]
pub enum Source {
    /// These topics (short names), shared with the other members of the group.
    Group(Vec<&'static str>),
    /// The partitions of one topic that another loop holds of its own; no group membership. The other loop commits for both, in
    /// its group.
    Follow {
        /// The topic's short name.
        topic: &'static str,
        /// [`LedgerLoop::assignment`] of the loop to follow.
        of: Assignment,
    },
}

/// How a loop reads.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// The group, without prefix; see [`crate::groups`]. A follower names that of the loop it follows.
    pub group: &'static str,
    /// What to read.
    pub source: Source,
    /// Bounds in all.
    pub budget: Budget,
    /// Bound a partition, in records; at the bound only that partition is paused.
    pub per_partition: Option<usize>,
    /// How long a record may be unfinished; beyond it the loop ends: health is progress. Nothing for a loop whose records wait by
    /// design.
    pub stalled_after: Option<Duration>,
    /// The journal that says which records were finished, if there is one.
    pub journal: Option<Journal>,
}

/// A running loop.
#[derive(Debug)]
pub struct LedgerLoop {
    /// Records in the order of their partition. Closed after a stop.
    pub records: mpsc::Receiver<Work>,
    /// The partitions that are ours (of the first topic).
    pub assignment: Assignment,
    /// How far it is behind, about each second.
    pub progress: watch::Receiver<Progress>,
    /// How it ended.
    pub ended: oneshot::Receiver<Result<(), LoopError>>,
}

/// How far a loop is behind its oldest unfinished records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// For how long the oldest has been in hand; zero when nothing is.
    pub oldest: Duration,
    /// Offsets from the position of a partition to the last record that was taken; the most of any partition.
    pub span: i64,
}

/// A record in hand.
#[derive(Debug)]
pub struct Work {
    /// The record.
    pub record: Record,
    /// What settles it.
    pub settle: Settle,
}

/// Settles one record. Dropped instead, while its partition is ours and nobody has asked for a stop, it ends the loop: the
/// position would never pass the record, and nobody would know.
#[derive(Debug)]
#[must_use = "a record that is dropped unfinished ends its loop"]
pub struct Settle {
    books: Arc<Books>,
    in_hand: InHand,
    done: bool,
}

impl Settle {
    pub(crate) fn new(books: Arc<Books>, in_hand: InHand) -> Self {
        Self { books, in_hand, done: false }
    }

    /// Whether the record's partition is still ours. When it is not, the next owner reads the record again: nothing more is to be
    /// started for it, and dropping it is right.
    pub fn is_held(&self) -> bool {
        self.in_hand.hold.lasts()
    }

    /// The record is finished: delivered, or on another topic, acknowledged.
    pub fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        self.books.settle(&self.in_hand, self.done);
    }
}
