//! Which subscriptions an event matches (contract §6.5), in memory. Pure.
//!
//! A subscription is one slot of numbers; its texts are interned. Slots that share resource, subject and type hang in one
//! chain, found by hash. An event asks at most four chains: its subject or none, its type or any. The source filter is tested
//! on what they hold. Those that include sub-units are counted by resource, so that a main unit is asked for only where somebody
//! wants to know; it costs an event two chains more.
//!
//! Invariants: a slot is in a chain exactly while its subscription may receive events; every slot is in `by_id`. Bound: about
//! 340 bytes a subscription whose subject and endpoint nobody else has, so a million fit into 400 MB.

use std::{
    borrow::Cow,
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use event::{Event, Subscription, SubscriptionId, SubscriptionMark, subject};
use hashbrown::{HashTable, hash_table::Entry};

use crate::subscriptions::{
    interner::{Interner, NONE, TextId, push_tight},
    source_filter::{self, Source},
};

type SlotId = u32;
const NO_SLOT: SlotId = u32::MAX;

/// All subscriptions that exist, by their number and by what they match.
#[derive(Debug, Default)]
pub struct Index {
    texts: Interner,
    slots: Vec<Slot>,
    free: Vec<SlotId>,
    by_id: HashTable<SlotId>,
    chains: HashTable<SlotId>,
    /// How many slots in chains include sub-units, by resource; no zeros.
    with_subunits: HashMap<TextId, u32>,
    hasher: RandomState,
}

/// A subscription as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its number.
    pub id: SubscriptionId,
    /// Tells it from another that was given its number.
    pub mark: SubscriptionMark,
    /// The position of its last change.
    pub position: i64,
    /// Where its deliveries go, as its owner wrote it.
    pub endpoint: &'a str,
    /// Whose it is.
    pub consumer: &'a str,
    /// Whether its endpoint has answered a validation.
    pub validated: bool,
    /// Whether its owner has paused it.
    pub paused: bool,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    id: i64,
    /// In bytes, which do not ask for sixteen of them to be aligned.
    mark: [u8; 16],
    position: i64,
    endpoint: TextId,
    consumer: TextId,
    key: Key,
    /// The prefix that sources must have.
    source: TextId,
    previous: SlotId,
    next: SlotId,
    validated: bool,
    paused: bool,
    /// A source filter that no source passes.
    passes_nothing: bool,
    /// Its subject stands for its sub-units too.
    subunits: bool,
    chained: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    resource: TextId,
    subject: TextId,
    kind: TextId,
}

impl Index {
    /// No subscriptions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a subscription as it is now: adds it, replaces what was known of it, or, when it is deleted, forgets it.
    pub fn apply(&mut self, subscription: Subscription) {
        self.remove(subscription.id);
        if subscription.deleted {
            return;
        }
        let slot = self.slot_of(&subscription);
        let may_receive = slot.validated && !slot.paused && !slot.passes_nothing && slot.key.resource != NONE;
        let at = self.place(slot);
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash = hasher.hash_one(slot.id);
        self.by_id
            .insert_unique(hash, at, |at| hasher.hash_one(slots.get(*at as usize).map_or(0, |slot| slot.id)));
        if may_receive {
            self.chain(at, slot.key);
            if slot.subunits {
                *self.with_subunits.entry(slot.key.resource).or_default() += 1;
            }
        }
    }

    fn slot_of(&mut self, subscription: &Subscription) -> Slot {
        let resource = subscription.resource_filter.as_deref().map(str::to_lowercase);
        let subject = subscription.subject_filter.as_deref().map(subject::canonical);
        let prefix = subscription.source_filter.as_deref().map(source_filter::prefix);
        Slot {
            id: subscription.id.0,
            mark: subscription.mark.0.to_ne_bytes(),
            position: subscription.position,
            endpoint: self.texts.add(&subscription.endpoint),
            consumer: self.texts.add(&subscription.consumer),
            key: Key {
                resource: self.texts.add_optional(resource.as_deref()),
                subject: self.texts.add_optional(subject.as_deref()),
                kind: self.texts.add_optional(subscription.type_filter.as_deref()),
            },
            source: self.texts.add_optional(prefix.as_ref().and_then(Option::as_deref)),
            previous: NO_SLOT,
            next: NO_SLOT,
            validated: subscription.validated,
            paused: subscription.paused,
            passes_nothing: matches!(prefix, Some(None)),
            subunits: subscription.include_subunits && subject.is_some(),
            chained: false,
        }
    }

    fn place(&mut self, slot: Slot) -> SlotId {
        if let Some(at) = self.free.pop() {
            if let Some(place) = self.slots.get_mut(at as usize) {
                *place = slot;
            }
            return at;
        }
        push_tight(&mut self.slots, slot);
        SlotId::try_from(self.slots.len() - 1).expect("fewer than 2^32 subscriptions fit into memory")
    }

    /// Hangs a slot in front of its chain.
    fn chain(&mut self, at: SlotId, key: Key) {
        let hash = self.hasher.hash_one(key);
        let (slots, hasher) = (&self.slots, &self.hasher);
        let entry = self.chains.entry(
            hash,
            |head| key_of(slots, *head) == Some(key),
            |head| key_of(slots, *head).map_or(0, |key| hasher.hash_one(key)),
        );
        let next = match entry {
            Entry::Occupied(mut head) => std::mem::replace(head.get_mut(), at),
            Entry::Vacant(place) => {
                place.insert(at);
                NO_SLOT
            }
        };
        if let Some(slot) = self.slots.get_mut(at as usize) {
            slot.next = next;
            slot.chained = true;
        }
        if let Some(slot) = self.slots.get_mut(next as usize) {
            slot.previous = at;
        }
    }

    fn unchain(&mut self, at: SlotId, slot: &Slot) {
        if slot.previous == NO_SLOT {
            if let Ok(mut head) = self.chains.find_entry(self.hasher.hash_one(slot.key), |head| *head == at) {
                if slot.next == NO_SLOT {
                    head.remove();
                } else {
                    *head.get_mut() = slot.next;
                }
            }
        } else if let Some(previous) = self.slots.get_mut(slot.previous as usize) {
            previous.next = slot.next;
        }
        if let Some(next) = self.slots.get_mut(slot.next as usize) {
            next.previous = slot.previous;
        }
    }

    fn one_less_with_subunits(&mut self, resource: TextId) {
        let Some(count) = self.with_subunits.get_mut(&resource) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.with_subunits.remove(&resource);
        }
    }

    /// Forgets a subscription.
    pub fn remove(&mut self, id: SubscriptionId) {
        let slots = &self.slots;
        let is_it = |at: &SlotId| slots.get(*at as usize).is_some_and(|slot| slot.id == id.0);
        let Ok(entry) = self.by_id.find_entry(self.hasher.hash_one(id.0), is_it) else { return };
        let (at, _) = entry.remove();
        let Some(slot) = self.slots.get(at as usize).copied() else { return };
        if slot.chained {
            self.unchain(at, &slot);
            if slot.subunits {
                self.one_less_with_subunits(slot.key.resource);
            }
        }
        let Key { resource, subject, kind } = slot.key;
        for text in [slot.endpoint, slot.consumer, resource, subject, kind, slot.source] {
            self.texts.remove(text);
        }
        self.free.push(at);
    }

    /// The subscriptions that an event with this canonical subject matches: validated, not paused, every filter passed.
    pub fn matches(&self, event: &Event, subject: Option<&str>) -> Vec<Found<'_>> {
        let Some(resource) = self.resource_of(event) else { return Vec::new() };
        let subject = subject.and_then(|subject| self.texts.find(subject));
        let mut search = Search::new(event, false);
        for subject in [Some(NONE), subject].into_iter().flatten() {
            self.of_any_type(resource, subject, &mut search);
        }
        search.found
    }

    /// Whether any subscription that an event of this resource may match includes sub-units.
    pub fn includes_subunits(&self, event: &Event) -> bool {
        !self.with_subunits.is_empty()
            && self.resource_of(event).is_some_and(|resource| self.with_subunits.contains_key(&resource))
    }

    /// The subscriptions on a main unit's subject that an event of its sub-unit matches too; none that [`Self::matches`] has.
    pub fn matches_of_main_unit(
        &self,
        event: &Event,
        subject: Option<&str>,
        main_unit: &str,
    ) -> Vec<Found<'_>> {
        let keys = self.resource_of(event).zip(self.texts.find(main_unit));
        let Some((resource, main)) = keys.filter(|_| subject != Some(main_unit)) else { return Vec::new() };
        let mut search = Search::new(event, true);
        self.of_any_type(resource, main, &mut search);
        search.found
    }

    fn resource_of(&self, event: &Event) -> Option<TextId> {
        self.texts.find(&lower_case(event.resource()))
    }

    fn of_any_type<'a>(&'a self, resource: TextId, subject: TextId, search: &mut Search<'a, '_>) {
        let kind = self.texts.find(search.event.event_type());
        for kind in [Some(NONE), kind].into_iter().flatten() {
            self.collect(Key { resource, subject, kind }, search);
        }
    }

    fn collect<'a>(&'a self, key: Key, search: &mut Search<'a, '_>) {
        let is_it = |head: &SlotId| key_of(&self.slots, *head) == Some(key);
        let mut at = self.chains.find(self.hasher.hash_one(key), is_it).copied().unwrap_or(NO_SLOT);
        while let Some(slot) = self.slots.get(at as usize) {
            let passes = slot.subunits || !search.subunits_only;
            if passes && (slot.source == NONE || search.source.begins_with(self.texts.text(slot.source))) {
                search.found.push(self.found(slot));
            }
            at = slot.next;
        }
    }

    /// A subscription that exists.
    pub fn get(&self, id: SubscriptionId) -> Option<Found<'_>> {
        let is_it = |at: &SlotId| self.slots.get(*at as usize).is_some_and(|slot| slot.id == id.0);
        let at = self.by_id.find(self.hasher.hash_one(id.0), is_it)?;
        self.slots.get(*at as usize).map(|slot| self.found(slot))
    }

    fn found(&self, slot: &Slot) -> Found<'_> {
        Found {
            id: SubscriptionId(slot.id),
            mark: SubscriptionMark(u128::from_ne_bytes(slot.mark)),
            position: slot.position,
            endpoint: self.texts.text(slot.endpoint),
            consumer: self.texts.text(slot.consumer),
            validated: slot.validated,
            paused: slot.paused,
        }
    }

    /// How many subscriptions exist.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none exists.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.texts.bytes()
            + self.slots.capacity() * size_of::<Slot>()
            + self.free.capacity() * size_of::<SlotId>()
            + self.by_id.allocation_size()
            + self.chains.allocation_size()
            + self.with_subunits.capacity() * size_of::<(TextId, u32)>()
    }
}

/// What an event has found so far.
struct Search<'a, 'e> {
    event: &'e Event,
    source: Source<'e>,
    subunits_only: bool,
    found: Vec<Found<'a>>,
}

impl<'e> Search<'_, 'e> {
    fn new(event: &'e Event, subunits_only: bool) -> Self {
        Self { event, source: Source::new(event.source()), subunits_only, found: Vec::new() }
    }
}

fn key_of(slots: &[Slot], at: SlotId) -> Option<Key> {
    slots.get(at as usize).map(|slot| slot.key)
}

/// Filters are stored in lower case, resources come as they are.
fn lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        Cow::Owned(text.to_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests;
