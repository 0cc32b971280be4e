//! The vocabulary of the platform. Pure: no I/O, no clock, no async.

#![warn(missing_docs)]

pub mod address;
pub mod attempt;
mod check;
pub mod delivery;
pub mod draft;
pub mod event;
pub mod ids;
pub mod instant;
pub mod limits;
pub mod media;
mod members;
mod mend;
pub mod resource;
mod scan;
pub mod sdk;
pub mod subject;
pub mod subscription;
pub mod topics;
pub mod violation;
pub mod waiting_match;

pub use attempt::{AttemptOutcome, AttemptRecord, NOT_PERMITTED};
pub use delivery::{DeliveryHeaders, DeliveryKind, HeaderError};
pub use draft::Draft;
pub use event::Event;
pub use ids::{DeliveryId, EventIdentity, Sequence, SubscriptionId, SubscriptionMark, id_hash};
pub use instant::{Micros, TimeRefusal};
pub use media::MediaType;
pub use subscription::{Proof, Subscription};
pub use violation::{Violation, Violations};
pub use waiting_match::MatchHeaders;
