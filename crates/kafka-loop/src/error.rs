//! What goes wrong with the log, by what its owner should do about it.

use crate::starts::mended_by;

/// The log could not be reached or refused a request.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// A client could not be set up: a setting is wrong.
    #[error("the Kafka client cannot be set up: {0}")]
    Setup(String),
    /// The brokers did not answer within the bound.
    #[error("Kafka at {brokers} does not answer: {reason}")]
    Unreachable {
        /// The bootstrap list that was tried.
        brokers: String,
        /// What the client said.
        reason: String,
    },
    /// The brokers refused.
    #[error("Kafka refused {what}: {reason}")]
    Refused {
        /// What was asked.
        what: String,
        /// What the broker said.
        reason: String,
    },
}

/// A loop ended. Every variant means: end the process and start again from the committed positions.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// The group has no position on a partition.
    #[error("group {group} has no position on {topic}/{partition}. {}", mended_by(.group))]
    NoPosition {
        /// The group, without prefix.
        group: String,
        /// The topic, with its prefix.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// A position of the group is not within what a topic keeps: its records have expired, or the log has lost its end.
    #[error("a position of group {group} is outside of what its topic keeps ({reason}). {}", mended_by(.group))]
    Outside {
        /// The group, without prefix.
        group: String,
        /// What the client said.
        reason: String,
    },
    /// The client reported an error from which it does not recover.
    #[error("the consumer of group {group} failed: {reason}")]
    Consumer {
        /// The group, with its prefix.
        group: String,
        /// What the client said.
        reason: String,
    },
    /// No broker has answered for so long, whatever was tried, that a new process has to try.
    #[error("group {group} has heard nothing from Kafka for {silent:?}")]
    OutOfTouch {
        /// The group, with its prefix.
        group: String,
        /// Since when nothing was heard.
        silent: std::time::Duration,
    },
    /// There is work in hand that has been unfinished for so long that it never will be.
    #[error("group {group} has work in hand that is unfinished after {waited:?}")]
    Stalled {
        /// The group, without prefix.
        group: &'static str,
        /// Since when it was unfinished.
        waited: std::time::Duration,
    },
    /// A record was dropped unfinished while its partition was ours: its position would stay there for ever.
    #[error(
        "group {group} dropped an unfinished record of {topic}, partition {partition}, at offset {offset}"
    )]
    Dropped {
        /// The group, with prefix.
        group: String,
        /// The topic, with prefix.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where the record stands.
        offset: i64,
    },
    /// The handler gave up.
    #[error("the handler gave up")]
    Handler(#[source] anyhow::Error),
    /// The loop's thread could not be started or panicked.
    #[error("the loop's thread ended: {0}")]
    Thread(String),
}

/// A record was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too many records wait for their acknowledgement. Safe to repeat later.
    #[error("the producer's queue is full")]
    QueueFull,
    /// The record is larger than the broker takes. Repeating is useless.
    #[error("the record is too large for the log")]
    TooLarge,
    /// No acknowledgement within the bound. The record may still arrive; repeating gives a second copy.
    #[error("the log did not acknowledge in time")]
    Timeout,
    /// The broker or the client said no.
    #[error("the log refused the record: {0}")]
    Broker(String),
}

impl AppendError {
    /// Whether the same record may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::QueueFull | Self::Timeout | Self::Broker(_) => true,
            Self::TooLarge => false,
        }
    }
}
