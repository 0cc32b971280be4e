//! Which identities closed partitions may hold, in memory.
//!
//! A Bloom filter a partition, 13 bits an identity (16 MB for ten million): one in 400 strangers is taken for known and is then
//! looked up. A filter only counts once its partition was loaded whole after closing, and once all older ones were; until then
//! all of them are looked up always. So one number says what still needs a look-up.
//!
//! A filter is made once, from its closed partition, and stored beside it; [`crate::filters`] makes and loads them.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use arc_swap::ArcSwap;
use event::EventIdentity;
use uuid::Uuid;

/// A Bloom filter over 128-bit identities, which are random already.
#[derive(Debug)]
pub struct Bloom {
    words: Vec<u64>,
}

const HASHES: u64 = 6;
const LOW: u128 = u64::MAX as u128;
const BITS_AN_ITEM: u64 = 13;

impl Bloom {
    /// Room for that many identities.
    pub fn with_room(items: u64) -> Self {
        let words = (items.max(64) * BITS_AN_ITEM).div_ceil(64);
        Self { words: vec![0; usize::try_from(words).unwrap_or(usize::MAX)] }
    }

    fn places(&self, identity: u128) -> impl Iterator<Item = (usize, u64)> {
        let [start, step] = [identity >> 64, identity].map(|half| u64::try_from(half & LOW).unwrap_or(0));
        let bits = u128::try_from(self.words.len()).unwrap_or(0) * 64;
        (0..HASHES).map(move |n| {
            let hash = start.wrapping_add((step | 1).wrapping_mul(n));
            // The hash as a fraction of all bits.
            let bit = (u128::from(hash) * bits) >> 64;
            (usize::try_from(bit / 64).unwrap_or(usize::MAX), 1_u64 << (bit % 64))
        })
    }

    /// Adds an identity.
    pub fn add(&mut self, identity: u128) {
        let places: Vec<_> = self.places(identity).collect();
        for (word, bit) in places {
            if let Some(bits) = self.words.get_mut(word) {
                *bits |= bit;
            }
        }
    }

    /// The filter as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// A filter that was stored; nothing when the bytes are not one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks() else { return None };
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        (!words.is_empty()).then_some(Self { words })
    }

    /// False: certainly not there. True: probably.
    pub fn may_hold(&self, identity: u128) -> bool {
        self.places(identity).all(|(word, bit)| self.words.get(word).is_some_and(|bits| bits & bit != 0))
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

    /// States that every partition that ends at or below this sequence number is loaded.
    pub fn set_covered_below(&self, sequence: i64) {
        self.covered_below.store(sequence, Ordering::Release);
    }

    /// What has to be looked for, and from which sequence number on: identities that the filters deny are only looked for in
    /// the partitions that no filter covers. Empty questions are left out.
    pub fn questions(&self, identities: &[EventIdentity]) -> Vec<(Vec<Uuid>, i64)> {
        // Read before the filters: a filter that is added between the two only makes the answer stricter.
        let uncovered = self.covered_below.load(Ordering::Acquire);
        let (everywhere, newest): (Vec<Uuid>, Vec<Uuid>) = identities
            .iter()
            .map(|identity| Uuid::from_u128(identity.0))
            .partition(|identity| uncovered == 0 || self.may_hold(identity.as_u128()));
        [(everywhere, 0), (newest, uncovered)].into_iter().filter(|(asked, _)| !asked.is_empty()).collect()
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

    #[test]
    fn a_filter_is_the_same_after_it_was_stored() {
        let mut bloom = Bloom::with_room(100);
        (0..100).for_each(|n| bloom.add(identity(n)));
        let bytes = bloom.to_bytes();
        let read = Bloom::from_bytes(&bytes).unwrap();
        assert!((0..1_000).all(|n| read.may_hold(identity(n)) == bloom.may_hold(identity(n))));
        assert!(Bloom::from_bytes(&bytes[1..]).is_none() && Bloom::from_bytes(&[]).is_none());
    }

    #[test]
    fn only_what_the_filters_deny_is_left_out_of_covered_partitions() {
        let closed = ClosedIdentities::default();
        let asked = [EventIdentity(identity(1)), EventIdentity(identity(2))];
        let ids = asked.map(|identity| Uuid::from_u128(identity.0));
        assert_eq!(closed.questions(&asked), [(ids.to_vec(), 0)], "nothing is loaded");
        let mut bloom = Bloom::with_room(64);
        bloom.add(identity(1));
        closed.add(0, bloom);
        assert_eq!(closed.questions(&asked), [(ids.to_vec(), 0)], "not stated as whole");
        closed.set_covered_below(10);
        assert_eq!(closed.questions(&asked), [(vec![ids[0]], 0), (vec![ids[1]], 10)]);
        assert!(closed.questions(&[]).is_empty());
    }
}
