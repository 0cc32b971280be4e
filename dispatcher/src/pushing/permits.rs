//! Who may have a send on its way: pools, and the shares in them. Pure.
//!
//! A send starts in the *quick* pool, or, where answers take long, in the *slow* one; unanswered after two seconds it moves there, in
//! any case. So whether there is room is judged when a send starts: where the slow pool is full, nothing starts that is likely to
//! end in it. Endpoints that have not answered well yet (*unproven*) share a quarter of the quick pool, and no host and no consumer
//! holds more than an eighth of that quarter or of the slow pool. Validations have permits of their own. All sends together never
//! hold more than [`Pools::sends`].

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

/// The sizes, in sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pools {
    /// The quick pool.
    pub(crate) quick: usize,
    /// The slow pool.
    pub(crate) slow: usize,
    /// Validations.
    pub(crate) validations: usize,
    /// All together, sockets that wait for an answer.
    pub(crate) sends: usize,
}

/// One part in so many of the quick pool is for unproven endpoints.
const UNPROVEN: usize = 4;
/// No host and no consumer holds more than one part in so many of a pool.
const EACH: usize = 8;

/// How a send starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Its endpoint has answered well, and quickly.
    Proven,
    /// Its endpoint has not answered well yet.
    Unproven,
    /// Its endpoint, or another unproven one of its host, takes long.
    Slow,
    /// It validates a subscription.
    Validation,
}

/// Whose permits a send takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whose {
    /// The host and port that it goes to, as a hash.
    pub(crate) host: u64,
    /// The consumer that it is for, as a hash.
    pub(crate) consumer: u64,
}

/// One who may hold no more than a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// A host and port.
    Host(u64),
    /// A consumer.
    Consumer(u64),
}

impl Whose {
    /// A send to this endpoint, for this consumer.
    pub(crate) fn new(key: &str, consumer: &str) -> Self {
        let hash = |text: &str| {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            hasher.finish()
        };
        // The key is origin and path: what stands before the third slash is the origin.
        let end = key.match_indices('/').nth(2).map_or(key.len(), |(at, _)| at);
        Self { host: hash(key.get(..end).unwrap_or(key)), consumer: hash(consumer) }
    }

    /// Both who hold it.
    pub(crate) fn holders(self) -> [Holder; 2] {
        [Holder::Host(self.host), Holder::Consumer(self.consumer)]
    }
}

/// Why a send may not start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// Its pool is used up.
    Pool,
    /// This one holds its share.
    Holder(Holder),
}

/// The permit of a send on its way; given back by [`Permits::give`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permit {
    /// How it started.
    pub(crate) class: Class,
    whose: Whose,
    moved: bool,
}

impl Permit {
    /// Whose it is.
    pub(crate) fn whose(self) -> Whose {
        self.whose
    }

    /// Whether it is in the slow pool, where it started or has moved to.
    pub(crate) fn is_slow(self) -> bool {
        self.moved || self.class == Class::Slow
    }
}

/// A pool, and what each holds of it. Bound: what is on its way.
#[derive(Debug, Default)]
struct Shares {
    all: usize,
    of: HashMap<Holder, usize>,
}

impl Shares {
    fn take(&mut self, whose: Whose) {
        self.all += 1;
        for holder in whose.holders() {
            *self.of.entry(holder).or_default() += 1;
        }
    }

    fn give(&mut self, whose: Whose) {
        self.all = self.all.saturating_sub(1);
        for holder in whose.holders() {
            if let Some(count) = self.of.get_mut(&holder) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.of.remove(&holder);
                }
            }
        }
    }

    fn room(&self, whose: Whose, most: usize) -> Result<(), Full> {
        if self.all >= most {
            return Err(Full::Pool);
        }
        let each = (most / EACH).max(1);
        let full = whose
            .holders()
            .into_iter()
            .find(|holder| self.of.get(holder).is_some_and(|count| *count >= each));
        full.map_or(Ok(()), |holder| Err(Full::Holder(holder)))
    }
}

/// All permits.
#[derive(Debug)]
pub(crate) struct Permits {
    pools: Pools,
    proven: usize,
    unproven: Shares,
    slow: Shares,
    validations: Shares,
    /// Sends that have ended and whose outcome is not on the log yet: after a crash they would be made again, as those in flight.
    unsettled: usize,
}

impl Permits {
    /// Nothing is on its way.
    pub(crate) fn new(pools: Pools) -> Self {
        let [unproven, slow, validations] = std::array::from_fn(|_| Shares::default());
        Self { pools, proven: 0, unproven, slow, validations, unsettled: 0 }
    }

    /// Sends in the quick pool.
    pub(crate) fn quick(&self) -> usize {
        self.proven + self.unproven.all
    }

    /// Sends in the slow pool.
    pub(crate) fn slow(&self) -> usize {
        self.slow.all
    }

    /// Whether a send may start.
    ///
    /// # Errors
    /// What is full.
    pub(crate) fn room(&self, class: Class, whose: Whose) -> Result<(), Full> {
        let pools = self.pools;
        let on_their_way = self.quick() + self.slow.all + self.validations.all;
        if on_their_way + self.unsettled >= pools.sends {
            return Err(Full::Pool);
        }
        let is_full = self.quick() + self.unsettled >= pools.quick;
        let quick = if is_full { Err(Full::Pool) } else { Ok(()) };
        match class {
            Class::Proven => quick,
            Class::Unproven => quick
                .and_then(|()| self.slow.room(whose, pools.slow))
                .and_then(|()| self.unproven.room(whose, (pools.quick / UNPROVEN).max(1))),
            Class::Slow => self.slow.room(whose, pools.slow),
            Class::Validation => self.validations.room(whose, pools.validations),
        }
    }

    /// A send has ended, and its outcome is not on the log yet: until [`Permits::settled`] it counts as if it were on its way.
    pub(crate) fn unsettled(&mut self) {
        self.unsettled += 1;
    }

    /// The outcome of a send that ended is on the log.
    pub(crate) fn settled(&mut self) {
        self.unsettled = self.unsettled.saturating_sub(1);
    }

    /// A send starts.
    pub(crate) fn take(&mut self, class: Class, whose: Whose) -> Permit {
        let permit = Permit { class, whose, moved: false };
        match self.shares(permit) {
            Some(shares) => shares.take(whose),
            None => self.proven += 1,
        }
        permit
    }

    /// A send is unanswered for long: it moves to the slow pool, be that full or not.
    pub(crate) fn moved(&mut self, permit: Permit) -> Permit {
        self.give(permit);
        self.slow.take(permit.whose);
        Permit { moved: true, ..permit }
    }

    /// A send ended.
    pub(crate) fn give(&mut self, permit: Permit) {
        match self.shares(permit) {
            Some(shares) => shares.give(permit.whose),
            None => self.proven = self.proven.saturating_sub(1),
        }
    }

    /// Where a permit is counted with its holders; nothing for those that have answered well.
    fn shares(&mut self, permit: Permit) -> Option<&mut Shares> {
        if permit.is_slow() {
            return Some(&mut self.slow);
        }
        match permit.class {
            Class::Proven | Class::Slow => None,
            Class::Unproven => Some(&mut self.unproven),
            Class::Validation => Some(&mut self.validations),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOLS: Pools = Pools { quick: 64, slow: 80, validations: 16, sends: 1_000 };

    fn whose(host: u64, consumer: u64) -> Whose {
        Whose { host, consumer }
    }

    /// Starts as many as may, and says why no more.
    fn start(
        permits: &mut Permits,
        class: Class,
        mut whose: impl FnMut(u64) -> Whose,
    ) -> (Vec<Permit>, Full) {
        let mut taken = Vec::new();
        loop {
            let of = whose(taken.len() as u64);
            match permits.room(class, of) {
                Ok(()) => taken.push(permits.take(class, of)),
                Err(full) => return (taken, full),
            }
        }
    }

    #[test]
    fn unproven_endpoints_share_a_quarter_of_the_quick_pool_and_no_host_or_consumer_more_than_an_eighth_of_it()
     {
        let mut permits = Permits::new(POOLS);
        let (of_host, full) = start(&mut permits, Class::Unproven, |n| whose(1, n));
        assert_eq!((of_host.len(), full), (2, Full::Holder(Holder::Host(1))));
        let (of_consumer, full) = start(&mut permits, Class::Unproven, |n| whose(100 + n, 1_000));
        assert_eq!((of_consumer.len(), full), (2, Full::Holder(Holder::Consumer(1_000))));
        let (others, full) = start(&mut permits, Class::Unproven, |n| whose(200 + n, 200 + n));
        assert_eq!((others.len(), full), (12, Full::Pool), "sixteen in all");
        let (proven, full) = start(&mut permits, Class::Proven, |_| whose(1, 1_000));
        assert_eq!((proven.len(), full), (48, Full::Pool), "the rest is for those that have answered well");
    }

    #[test]
    fn a_send_always_leaves_the_quick_pool_and_a_full_slow_pool_lets_nothing_start_that_ends_there() {
        let mut permits = Permits::new(POOLS);
        let (slow, full) = start(&mut permits, Class::Slow, |n| whose(n, n));
        assert_eq!((slow.len(), full), (80, Full::Pool));
        assert_eq!(permits.room(Class::Unproven, whose(1, 1)), Err(Full::Pool));
        let proven = permits.take(Class::Proven, whose(1, 1));
        let moved = permits.moved(proven);
        assert_eq!((permits.quick(), permits.slow(), moved.is_slow()), (0, 81, true));
        slow.into_iter().chain([moved]).for_each(|permit| permits.give(permit));
        assert_eq!((permits.quick(), permits.slow()), (0, 0));
        assert!(permits.slow.of.is_empty());
    }

    #[test]
    fn no_host_and_no_consumer_holds_more_than_an_eighth_of_the_slow_pool() {
        let mut permits = Permits::new(POOLS);
        let (of_host, full) = start(&mut permits, Class::Slow, |n| whose(1, n));
        assert_eq!((of_host.len(), full), (10, Full::Holder(Holder::Host(1))));
        assert_eq!(permits.room(Class::Unproven, whose(1, 99)), Err(Full::Holder(Holder::Host(1))));
        assert_eq!(
            permits.room(Class::Proven, whose(1, 99)),
            Ok(()),
            "one that has answered well is not judged by its host"
        );
    }

    #[test]
    fn validations_have_permits_of_their_own_and_leave_them_when_unanswered() {
        let mut permits = Permits::new(POOLS);
        start(&mut permits, Class::Slow, |n| whose(n, n));
        let (validations, full) = start(&mut permits, Class::Validation, |n| whose(n, n));
        assert_eq!((validations.len(), full), (16, Full::Pool));
        permits.moved(validations[0]);
        assert_eq!(permits.room(Class::Validation, whose(99, 99)), Ok(()));
    }

    #[test]
    fn an_outcome_that_is_not_on_the_log_counts_as_a_send_on_its_way() {
        let mut permits = Permits::new(POOLS);
        (0..64).for_each(|_| permits.unsettled());
        assert_eq!(permits.room(Class::Proven, whose(1, 1)), Err(Full::Pool));
        permits.settled();
        assert_eq!(permits.room(Class::Proven, whose(1, 1)), Ok(()));
    }

    #[test]
    fn all_together_stay_below_what_there_are_sockets_for() {
        let mut permits = Permits::new(Pools { sends: 20, ..POOLS });
        start(&mut permits, Class::Proven, |n| whose(n, n));
        assert_eq!(permits.quick(), 20);
        for class in [Class::Unproven, Class::Slow, Class::Validation] {
            assert_eq!(permits.room(class, whose(1, 1)), Err(Full::Pool));
        }
    }
}
