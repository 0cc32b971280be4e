//! All SQL. The only crate that uses sqlx.
//!
//! A statement is a file in `sql/`; `tests/statements.rs` prepares every one of them against the migrated schema. What must
//! share a transaction is one function here.
//!
//! * [`pool`]: connect, migrate, is it there.
//! * [`mod@write`]: a batch of events with its positions, in one transaction.
//! * [`feed`]: pages, head, look-ups.
//! * [`partitions`]: created ahead, dropped when expired.
//! * [`identities`]: which identities closed partitions may hold; [`filters`]: made once, stored, loaded.
//! * [`subscriptions`]: create, list, delete, follow changes.
//! * [`dispatchers`]: which changes are in force.
//! * [`deliveries`]: attempts and dead letters.
//! * [`refusals`]: subscriptions whose events are refused.
//! * [`starts`]: which groups have started, and where.
//! * [`backlogs`]: endpoints that are slower than their events.

#![warn(missing_docs)]

pub mod backlogs;
pub mod deliveries;
pub mod dispatchers;
pub mod error;
pub mod feed;
pub mod filters;
pub mod identities;
pub mod pages;
pub mod partitions;
pub mod pool;
pub mod refusals;
pub mod starts;
pub mod subscriptions;
pub mod write;

pub use backlogs::EndpointBacklog;
pub use deliveries::{AttemptRow, DeadLetter, DeadRow};
pub use dispatchers::{Held, LEASE};
pub use error::StoreError;
pub use feed::{FeedFilter, FeedHead, FeedPage, StoredEvent, Stretch};
pub use filters::Absent;
pub use pool::{Store, StoreSettings};
pub use refusals::Refusal;
pub use subscriptions::{Changes, NewSubscription};
pub use write::{Advance, BatchOutcome, Conflict, NewEvent};
