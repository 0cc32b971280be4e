//! Reading and writing the log. The only crate that uses rdkafka.
//!
//! Two kinds of loop, and no others:
//!
//! * [`batches`]: in order. Collect, hand over, wait, commit. For work whose unit is the batch (projector).
//! * [`ledger_loop`]: out of order, with a budget. Every record is settled by itself; the committed position never passes an
//!   unfinished one. For work that finishes in any order (dispatcher).
//!
//! Each loop owns one consumer on one thread, because a consumer's calls block and its rebalance callbacks run inside `poll`.
//! [`consumer`] is what both share; [`committer`] commits for both. Every client that stays is watched ([`watch`]) and made anew
//! when it is out of touch.

#![warn(missing_docs)]

pub mod admin;
mod appends;
pub mod assignment;
pub mod batches;
mod books;
pub mod clients;
mod collected;
pub mod committer;
pub mod consumer;
pub mod done_set;
pub mod error;
mod fit;
pub mod groups;
pub mod journal;
pub mod ledger;
pub mod ledger_loop;
mod offsets;
pub mod producer;
mod pulse;
mod recall;
pub mod record;
mod reports;
pub mod settings;
pub mod starts;
mod watch;
pub mod whole;
pub mod work;

pub use assignment::Assignment;
pub use batches::{BatchHandler, BatchOptions, HandlerError, run_batches};
pub use clients::Clients;
pub use error::{AppendError, KafkaError, LoopError};
pub use journal::{Entry, Journal};
pub use ledger_loop::open_ledger;
pub use producer::{Ack, Outgoing, Position, Producer};
pub use record::Record;
pub use settings::KafkaSettings;
pub use work::{Budget, LedgerLoop, LedgerOptions, Progress, Settle, Source, Work};
