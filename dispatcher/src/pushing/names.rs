//! The addresses of webhook hosts: asked for once, kept for a short while, and only public ones given out.
//!
//! Simultaneous look-ups of a host are one. What is found holds for as long as its owner says, at most [`KEPT_MAX`]; that nothing was
//! found, [`FAILED_KEPT`]. Of the hosts of one owner ([`lines`]) only a few are looked up at once, so hundreds of dead names keep
//! nobody else from being found. Who waits too long for that is refused, as when no connection can be made.
//!
//! The policy judges every address each time it is given out, kept or not: a name that changes its mind gains nothing.
//!
//! Bounds: [`ENTRIES_MAX`] hosts are kept; a look-up waits [`WAIT_MAX`] and takes [`LOOKUP_MAX`] at most; who waits is a send in hand.

use std::{net::IpAddr, sync::Arc, time::Duration};

use event::address::{AddressPolicy, AddressRefusal};
use futures::future::BoxFuture;
use moka::future::Cache;
use service::prometheus::IntCounterVec;
use tokio::time::{Instant, timeout};

use lines::Lines;
pub(crate) use system::SystemNames;

mod lines;
mod system;

/// The longest that found addresses are kept.
const KEPT_MAX: Duration = Duration::from_secs(30);
/// How long it is kept that nothing was found.
const FAILED_KEPT: Duration = Duration::from_secs(5);
/// The longest wait for a turn.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The longest that a look-up takes.
const LOOKUP_MAX: Duration = Duration::from_secs(10);
/// Hosts that are kept.
const ENTRIES_MAX: u64 = 10_000;

/// Who knows the addresses of hosts.
pub(crate) trait Directory: std::fmt::Debug + Send + Sync {
    /// Every address of a host. It need not end by itself.
    ///
    /// # Errors
    /// [`NoAddress::Unknown`].
    fn look_up(&self, host: String) -> BoxFuture<'_, Result<Found, NoAddress>>;
}

/// What is known of a host.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Its addresses, public or not.
    pub(crate) addresses: Arc<[IpAddr]>,
    /// For how long they hold.
    pub(crate) holds: Duration,
}

/// Why there is no address. All of them count as a connection that could not be made, but for what the policy forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAddress {
    /// Nobody knows the host.
    #[error("the host's address is not known")]
    Unknown,
    /// The look-up took too long.
    #[error("the host's address was not found in time")]
    TimedOut,
    /// Too many look-ups stand before it.
    #[error("too many hosts are looked up")]
    Crowded,
    /// No address is one that requests may go to.
    #[error(transparent)]
    Refused(#[from] AddressRefusal),
}

/// The look-ups. Clones share what is known.
#[derive(Clone, Debug)]
pub(crate) struct PublicNames {
    policy: AddressPolicy,
    directory: Arc<dyn Directory>,
    known: Cache<String, Known>,
    lines: Arc<Lines>,
    counted: IntCounterVec,
}

/// The outcome of a look-up, and until when it is kept.
#[derive(Clone, Debug)]
struct Known {
    found: Result<Arc<[IpAddr]>, NoAddress>,
    until: Instant,
}

impl PublicNames {
    /// Nothing is known; at most so many look-ups at once, which are counted by outcome.
    pub(crate) fn new(
        policy: AddressPolicy,
        directory: Arc<dyn Directory>,
        lookups: usize,
        counted: IntCounterVec,
    ) -> Self {
        let known = Cache::builder().max_capacity(ENTRIES_MAX).time_to_live(KEPT_MAX).build();
        Self { policy, directory, known, lines: Arc::new(Lines::new(lookups)), counted }
    }

    /// The public addresses of a host, at least one.
    ///
    /// # Errors
    /// [`NoAddress`].
    pub(crate) async fn of(&self, host: &str) -> Result<Vec<IpAddr>, NoAddress> {
        let entry = self.known.entry_by_ref(host);
        let known = entry.or_insert_with_if(self.ask(host), |known| known.until <= Instant::now()).await;
        let found = known.into_value().found?;
        let public: Vec<IpAddr> = found.iter().copied().filter(|ip| self.policy.permits_ip(*ip)).collect();
        if public.is_empty() { Err(AddressRefusal::NotPublic.into()) } else { Ok(public) }
    }

    async fn ask(&self, host: &str) -> Known {
        // Its time runs from its turn.
        let look_up = async { timeout(LOOKUP_MAX, self.directory.look_up(host.to_owned())).await };
        let (found, kept) = match self.lines.take_turn(host, WAIT_MAX, look_up).await {
            Some(Ok(Ok(found))) => (Ok(found.addresses), found.holds.min(KEPT_MAX)),
            Some(Ok(Err(failed))) => (Err(failed), FAILED_KEPT),
            Some(Err(_)) => (Err(NoAddress::TimedOut), FAILED_KEPT),
            None => (Err(NoAddress::Crowded), Duration::ZERO),
        };
        let outcome = found.as_ref().map_or_else(|failed| failed.name(), |_| "found");
        self.counted.with_label_values(&[outcome]).inc();
        Known { found, until: Instant::now() + kept }
    }
}

impl NoAddress {
    /// As metrics call it.
    fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::TimedOut => "timed_out",
            Self::Crowded => "crowded",
            Self::Refused(_) => "refused",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
