//! A batch of events: each item by itself, every mistake with the item's index, all or nothing. Pure.

use std::fmt;

use event::{Event, Violations, violation::json_place};
use serde_json::value::RawValue;

use crate::{
    body::{BATCH_EVENTS_MAX, EVENT_MAX},
    error::{Refusal, Wrong},
};

/// The events of a JSON list; `read` turns the bytes of one item into an event.
pub(crate) fn events(
    json: &[u8],
    read: impl Fn(&[u8]) -> Result<Event, Violations>,
) -> Result<Vec<Event>, Refusal> {
    let items: Items<'_> = serde_json::from_slice(json).map_err(|error| {
        Refusal::invalid(Violations::one(
            "RequestBody",
            format!("is not a JSON list of events {}", json_place(&error)),
        ))
    })?;
    if items.has_more {
        return Err(Refusal::TooManyEvents);
    }
    let too_large: Vec<usize> = items.positions(|item| item.get().len() > EVENT_MAX);
    if !too_large.is_empty() {
        return Err(Refusal::EventsTooLarge(too_large));
    }
    let (mut events, mut wrong) = (Vec::with_capacity(items.list.len()), Vec::new());
    for (index, item) in items.list.iter().enumerate() {
        match read(item.get().as_bytes()) {
            Ok(event) => events.push(event),
            Err(violations) => wrong.push(Wrong { index: Some(index), violations }),
        }
    }
    if wrong.is_empty() { Ok(events) } else { Err(Refusal::Invalid(wrong)) }
}

/// The items as they came; never more than a batch may have.
struct Items<'a> {
    list: Vec<&'a RawValue>,
    has_more: bool,
}

impl Items<'_> {
    fn positions(&self, is_so: impl Fn(&RawValue) -> bool) -> Vec<usize> {
        self.list.iter().enumerate().filter(|(_, item)| is_so(item)).map(|(index, _)| index).collect()
    }
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for Items<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Reader)
    }
}

struct Reader;

impl<'de> serde::de::Visitor<'de> for Reader {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON list")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list: Vec<&RawValue> = Vec::new();
        while list.len() < BATCH_EVENTS_MAX {
            match items.next_element()? {
                Some(item) => list.push(item),
                None => return Ok(Items { list, has_more: false }),
            }
        }
        let mut has_more = false;
        while items.next_element::<serde::de::IgnoredAny>()?.is_some() {
            has_more = true;
        }
        Ok(Items { list, has_more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(id: usize) -> String {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","resource":"urn:altinn:resource:x"}}"#
        )
    }

    fn list(items: &[String]) -> String {
        format!(" [{}]\n", items.join(" ,\n "))
    }

    #[test]
    fn a_batch_keeps_its_order_and_its_items_bytes() {
        let items: Vec<String> = (0..BATCH_EVENTS_MAX).map(good).collect();
        let events = events(list(&items).as_bytes(), Event::parse).unwrap();
        assert!(events.iter().map(Event::json).eq(items.iter().map(String::as_str)));
        assert!(super::events(b"[]", Event::parse).unwrap().is_empty());
    }

    #[test]
    fn every_bad_item_is_named_by_its_index() {
        let items = [good(0), r#"{"id":1}"#.into(), good(2), "7".into()];
        let Err(Refusal::Invalid(wrong)) = events(list(&items).as_bytes(), Event::parse) else {
            panic!("accepted")
        };
        assert_eq!(wrong.iter().map(|wrong| wrong.index).collect::<Vec<_>>(), [Some(1), Some(3)]);
    }

    #[test]
    fn the_limits_of_a_batch_hold() {
        let items: Vec<String> = (0..=BATCH_EVENTS_MAX).map(good).collect();
        assert!(matches!(events(list(&items).as_bytes(), Event::parse), Err(Refusal::TooManyEvents)));
        let large = format!("\"{}\"", "x".repeat(EVENT_MAX));
        let items = [good(0), large];
        let refused = events(list(&items).as_bytes(), Event::parse);
        assert!(matches!(refused, Err(Refusal::EventsTooLarge(at)) if at == [1]));
        for broken in ["", "{}", "[1,]", "[1", "[1] 2", "\"[]\""] {
            assert!(matches!(events(broken.as_bytes(), Event::parse), Err(Refusal::Invalid(_))), "{broken}");
        }
    }
}
