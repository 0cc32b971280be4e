//! How many sockets the way out to receivers may hold: below the limit of descriptors of the process, read at start.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use service::descriptors;

use crate::pushing::permits::Pools;

/// Descriptors for everything else: the log, the database, files.
const OTHERS: usize = 512;

/// Look-ups of hosts at once, where there are descriptors enough.
const LOOKUPS: usize = 256;
/// Sockets of a look-up that hangs: for two kinds of addresses, to two name servers at once, three tries each.
const OF_LOOKUP: usize = 12;

/// What the way out may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Sends.
    pub(crate) pools: Pools,
    /// Sockets without a request.
    pub(crate) idle: usize,
    /// Look-ups of hosts at once.
    pub(crate) lookups: usize,
}

/// The descriptors of this process that callers cannot take.
pub(crate) fn descriptors() -> usize {
    descriptors::limit() - descriptors::for_callers(usize::MAX)
}

/// The room with so many descriptors. Three quarters of what is not for look-ups and others are for sends; where the pools are larger
/// they shrink.
pub(crate) fn within(pools: Pools, descriptors: usize) -> Room {
    let lookups = (descriptors / 64).clamp(4, LOOKUPS);
    let ours = descriptors.saturating_sub(OTHERS + lookups * OF_LOOKUP).max(descriptors / 4);
    let sends = pools.sends.min(ours - ours / 4);
    let idle = ours - sends;
    if sends == pools.sends {
        return Room { pools, idle, lookups };
    }
    let validations = pools.validations.min(sends / 8).max(1);
    let quick = pools.quick.min(sends / 4).max(1);
    let slow = sends.saturating_sub(2 * quick + validations).max(1);
    Room { pools: Pools { quick, slow, validations, sends }, idle, lookups }
}

/// Which sockets may be idle, counted from above: after an answer a socket may stay for a while, at most so many a host.
#[derive(Debug)]
pub(crate) struct Idle {
    most: usize,
    of_host: usize,
    stays: Duration,
    kept: HashMap<String, (usize, Instant)>,
    all: usize,
    looked: Option<Instant>,
}

/// How often those that are gone are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Idle {
    /// At most `most`, and `of_host` of one host, each for as long as it stays.
    pub(crate) fn new(most: usize, of_host: usize, stays: Duration) -> Self {
        Self { most, of_host, stays, kept: HashMap::new(), all: 0, looked: None }
    }

    /// Whether the socket of a request to this host may stay; then it is counted.
    pub(crate) fn may_stay(&mut self, host: &str, now: Instant) -> bool {
        self.forget(now);
        let (until, has_room) = (now + self.stays, self.all < self.most);
        let (count, last) = match self.kept.get_mut(host) {
            Some(kept) => kept,
            None if has_room => self.kept.entry(host.to_owned()).or_insert((0, until)),
            None => return false,
        };
        *last = until;
        if *count < self.of_host {
            if !has_room {
                return false;
            }
            *count += 1;
            self.all += 1;
        }
        true
    }

    fn forget(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK_EVERY) {
            return;
        }
        self.looked = Some(now);
        self.kept.retain(|_, (_, until)| *until > now);
        self.all = self.kept.values().map(|(count, _)| *count).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOLS: Pools = Pools { quick: 512, slow: 8_192, validations: 16, sends: 9_232 };

    #[test]
    fn sends_idle_sockets_and_look_ups_together_stay_below_the_limit_of_descriptors() {
        for descriptors in [256, 1_024, 4_096, 20_000, 1 << 20] {
            let Room { pools, idle, lookups } = within(POOLS, descriptors);
            let all = pools.sends + idle + lookups * OF_LOOKUP;
            assert!(all < descriptors, "{descriptors}: {pools:?}, {idle} and {lookups}");
            assert!(
                2 * pools.quick + pools.slow + pools.validations <= pools.sends,
                "{descriptors}: {pools:?}"
            );
            assert!(
                pools.quick >= 12 && pools.slow >= 16 && idle >= 16,
                "{descriptors}: {pools:?} and {idle}"
            );
        }
        assert_eq!(within(POOLS, 20_000).pools.slow, POOLS.slow, "nothing shrinks where there is enough");
    }

    #[test]
    fn a_socket_stays_where_there_is_room_and_for_its_time() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut idle = Idle::new(3, 2, 20 * second);
        let mut ask = |host, at| idle.may_stay(host, now + at);
        assert_eq!([(); 4].map(|()| ask("a", Duration::ZERO)), [true; 4], "two at most are idle");
        assert!(ask("b", Duration::ZERO));
        assert!(!ask("b", Duration::ZERO) && !ask("c", Duration::ZERO), "three are idle");
        assert!(ask("a", 19 * second));
        assert!(ask("c", 21 * second), "that of b is gone");
        assert!(!ask("b", 21 * second));
    }
}
