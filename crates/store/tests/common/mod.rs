//! A store with a schema of its own.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::mod_module_files, reason = "a shared test module must not be a test of its own")]

use std::time::Duration;

use event::Event;
use store::{Advance, NewEvent, Store, StoreSettings};

pub(crate) async fn settings(name: &str, partition_size: i64) -> StoreSettings {
    let stack = local_stack::shared().await;
    StoreSettings {
        url: stack.database_url(),
        schema: format!("store_{name}_{}", std::process::id()),
        max_connections: 8,
        acquire_timeout: Duration::from_secs(20),
        partition_size,
    }
}

pub(crate) async fn store(name: &str, partition_size: i64) -> Store {
    let store = Store::connect(&settings(name, partition_size).await).unwrap();
    store.migrate().await.unwrap();
    let start: Vec<(i32, i64)> = (0..4).map(|partition| (partition, 0)).collect();
    store.start_positions("events", &start).await.unwrap();
    store
}

pub(crate) fn event(id: &str, subject: &str, kind: &str) -> Event {
    event_of("urn:altinn:resource:r1", id, subject, kind)
}

pub(crate) fn event_of(resource: &str, id: &str, subject: &str, kind: &str) -> Event {
    let json = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"https://x.no/a","type":"{kind}","subject":"{subject}","resource":"{resource}","time":"2026-01-02T03:04:05Z"}}"#
    );
    Event::parse(json.as_bytes()).unwrap()
}

/// Events of one partition from an offset on.
pub(crate) fn batch(partition: i32, first: i64, events: Vec<Event>) -> (Vec<NewEvent>, Advance) {
    let next = first + i64::try_from(events.len()).unwrap();
    let events = events
        .into_iter()
        .zip(first..)
        .map(|(event, kafka_offset)| NewEvent {
            subject: event.canonical_subject(),
            event,
            kafka_partition: partition,
            kafka_offset,
        })
        .collect();
    (events, Advance { partition, expected: first, next })
}
