//! Identities, each a type of its own so that two of them cannot be swapped.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What makes two publishes the same event: the first 128 bits of SHA-256 over the length-prefixed resource, source and id.
///
/// The resource is in it because rights are per resource: nobody can swallow another's events by publishing their id first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventIdentity(pub u128);

/// The position of an event in the one global order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub i64);

/// A subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubscriptionId(pub i64);

/// A delivery: one event on its way to one subscription. Stable over retries; goes out as `webhook-id`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub u128);

/// What tells a subscription from every other: random, taken when it is created, kept for good. After a failover that lost rows
/// its number may be given again, its mark never is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionMark(pub u128);

fn first_128_bits(parts: &[&[u8]]) -> u128 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).fold(0, |bits, byte| (bits << 8) | u128::from(*byte))
}

impl EventIdentity {
    /// The identity of an event with these attributes.
    pub fn of(resource: &str, source: &str, id: &str) -> Self {
        Self(first_128_bits(&[resource.as_bytes(), source.as_bytes(), id.as_bytes()]))
    }
}

impl DeliveryId {
    /// The delivery of that event to that subscription.
    pub fn of(subscription: SubscriptionId, event: EventIdentity) -> Self {
        Self(first_128_bits(&[&subscription.0.to_be_bytes(), &event.0.to_be_bytes()]))
    }
}

/// A 64-bit hash of an event's id, for the look-up by id alone (`after=<event id>`).
pub fn id_hash(id: &str) -> i64 {
    let bits = first_128_bits(&[id.as_bytes()]).to_be_bytes();
    let first: [u8; 8] = bits.first_chunk().copied().unwrap_or_default();
    i64::from_be_bytes(first)
}

impl fmt::Debug for EventIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventIdentity({:032x})", self.0)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SubscriptionMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SubscriptionMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubscriptionMark({self})")
    }
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeliveryId({self})")
    }
}

/// A text is no delivery's id and no subscription's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not 32 hexadecimal digits")]
pub struct Not32Digits;

fn digits_32(text: &str) -> Result<u128, Not32Digits> {
    let plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bits = if plain { u128::from_str_radix(text, 16).ok() } else { None };
    bits.ok_or(Not32Digits)
}

impl FromStr for DeliveryId {
    type Err = Not32Digits;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        digits_32(text).map(Self)
    }
}

impl FromStr for SubscriptionMark {
    type Err = Not32Digits;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        digits_32(text).map(Self)
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_identity_do_not_run_together() {
        assert_ne!(EventIdentity::of("a", "bc", "d"), EventIdentity::of("ab", "c", "d"));
        assert_ne!(EventIdentity::of("r", "s", "1"), EventIdentity::of("other", "s", "1"));
    }

    #[test]
    fn a_delivery_id_is_read_as_it_is_written() {
        let id = DeliveryId::of(SubscriptionId(7), EventIdentity(9));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 32);
        let mark = SubscriptionMark(7);
        assert_eq!((mark.to_string().parse(), mark.to_string().len()), (Ok(mark), 32));
        for wrong in ["", "1", "+0000000000000000000000000000001", "zz"] {
            assert_eq!(wrong.parse::<DeliveryId>(), Err(Not32Digits), "{wrong}");
        }
    }

    #[test]
    fn identities_never_change_between_versions() {
        assert_eq!(format!("{:?}", EventIdentity::of("r", "s", "i")), IDENTITY_OF_R_S_I);
    }

    /// Stored in every database: a change here would make every event new again.
    const IDENTITY_OF_R_S_I: &str = "EventIdentity(452c5d1c2f015581f9f1c52155234f94)";
}
