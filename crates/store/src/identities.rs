//! Which identities closed partitions may hold, in memory.
//!
//! A Bloom filter a partition, about 13 bits an identity: one in 400 strangers is taken for known and is then looked up. A
//! filter only counts once its partition was loaded whole after closing, and once all older ones were; until then they are looked up always.
//! So one number says what still needs a look-up.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use arc_swap::ArcSwap;

/// A Bloom filter over 128-bit identities, which are random already.
#[derive(Debug)]
pub struct Bloom {
    bits: Vec<u64>,
    mask: u64,
}

const HASHES: u32 = 6;
const BITS_AN_ITEM: u64 = 13;

impl Bloom {
    /// Room for that many identities.
    pub fn with_room(items: u64) -> Self {
        let bits = (items.max(64) * BITS_AN_ITEM).next_power_of_two().max(1_024);
        let words = usize::try_from(bits / 64).unwrap_or(1 << 20);
        Self { bits: vec![0; words], mask: bits - 1 }
    }

    fn places(&self, identity: u128) -> impl Iterator<Item = (usize, u64)> {
        let bytes = identity.to_be_bytes();
        let half = |from: usize| {
            bytes.iter().skip(from).take(8).fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte))
        };
        let (start, step) = (half(0), half(8) | 1);
        let mask = self.mask;
        (0..u64::from(HASHES)).map(move |n| {
            let bit = start.wrapping_add(step.wrapping_mul(n)) & mask;
            (usize::try_from(bit / 64).unwrap_or(usize::MAX), 1_u64 << (bit % 64))
        })
    }

    /// Adds an identity.
    pub fn add(&mut self, identity: u128) {
        let places: Vec<_> = self.places(identity).collect();
        for (word, bit) in places {
            if let Some(bits) = self.bits.get_mut(word) {
                *bits |= bit;
            }
        }
    }

    /// False: certainly not there. True: probably.
    pub fn may_hold(&self, identity: u128) -> bool {
        self.places(identity).all(|(word, bit)| self.bits.get(word).is_some_and(|bits| bits & bit != 0))
    }
}

/// The filters in force.
#[derive(Debug, Default)]
pub struct ClosedIdentities {
    loaded: ArcSwap<Vec<(i64, Arc<Bloom>)>>,
    covered_below: AtomicI64,
}

impl ClosedIdentities {
    /// Partitions that are loaded, ascending.
    pub fn numbers(&self) -> Vec<i64> {
        self.loaded.load().iter().map(|(number, _)| *number).collect()
    }

    /// Adds the filter of a partition that was loaded whole after it closed.
    pub fn add(&self, number: i64, bloom: Bloom) {
        let bloom = Arc::new(bloom);
        self.loaded.rcu(|loaded| {
            let mut loaded: Vec<_> = loaded.iter().filter(|(n, _)| *n != number).cloned().collect();
            loaded.push((number, Arc::clone(&bloom)));
            loaded.sort_unstable_by_key(|(number, _)| *number);
            loaded
        });
    }

    /// Forgets partitions that are gone.
    pub fn retain(&self, present: &[i64]) {
        self.loaded.rcu(|loaded| {
            loaded.iter().filter(|(number, _)| present.contains(number)).cloned().collect::<Vec<_>>()
        });
    }

    /// States that every partition below this number is loaded.
    pub fn set_covered_below(&self, number: i64) {
        self.covered_below.store(number, Ordering::Release);
    }

    /// Partitions below this number need no look-up for identities that [`ClosedIdentities::may_hold`] denies.
    pub fn covered_below(&self) -> i64 {
        self.covered_below.load(Ordering::Acquire)
    }

    /// Whether any loaded partition may hold the identity.
    pub fn may_hold(&self, identity: u128) -> bool {
        self.loaded.load().iter().any(|(_, bloom)| bloom.may_hold(identity))
    }
}

#[cfg(test)]
mod tests {
    use event::EventIdentity;

    use super::*;

    fn identity(n: u32) -> u128 {
        EventIdentity::of("r", "s", &n.to_string()).0
    }

    #[test]
    fn nothing_that_was_added_is_denied_and_few_strangers_are_taken_for_known() {
        let mut bloom = Bloom::with_room(20_000);
        (0..20_000).for_each(|n| bloom.add(identity(n)));
        assert!((0..20_000).all(|n| bloom.may_hold(identity(n))));
        let strangers = (20_000..40_000).filter(|n| bloom.may_hold(identity(*n))).count();
        assert!(strangers < 200, "{strangers} of 20,000");
    }
}
