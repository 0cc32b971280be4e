//! Filters of closed partitions: made once, stored, loaded by others; what they cover is not looked up.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the line that is wrong"
)]

mod common;

use common::{batch, event, store};
use event::EventIdentity;
use store::{Absent, Store, StoreSettings};

/// Partitions of ten: two closed ones, and an open one.
async fn three_partitions(store: &Store) -> Vec<EventIdentity> {
    let events: Vec<_> = (0..25).map(|n| event(&n.to_string(), "/party/1", "a")).collect();
    let identities = events.iter().map(event::Event::identity).collect();
    let (events, step) = batch(0, 0, events);
    store.write_batch("events", &events, &[step]).await.unwrap();
    identities
}

/// Another process, with one connection, so that what it has read is counted by the next statement.
async fn another(schema: &str) -> Store {
    let settings = StoreSettings {
        url: local_stack::shared().await.database_url(),
        schema: schema.to_owned(),
        max_connections: 1,
        acquire_timeout: std::time::Duration::from_secs(20),
        partition_size: 10,
    };
    Store::connect(&settings).unwrap()
}

async fn load(store: &Store, absent: Absent) -> usize {
    let mut loaded = 0;
    while store.load_next_filter(absent).await.unwrap() {
        loaded += 1;
    }
    loaded
}

/// How often the index of identities of each partition was looked into.
async fn probes(store: &Store) -> Vec<i64> {
    sqlx::query("select pg_stat_force_next_flush()").execute(store.pool()).await.unwrap();
    let counts = "select coalesce(idx_scan, 0) from pg_stat_user_indexes
        where schemaname = current_schema() and indexrelname ~ '^events_[0-9]+_identity_idx$' order by indexrelname";
    sqlx::query_scalar(counts).fetch_all(store.pool()).await.unwrap()
}

#[tokio::test]
async fn a_process_that_makes_no_filters_loads_them_and_leaves_closed_partitions_alone() {
    let writer = store("filters", 10).await;
    let known = three_partitions(&writer).await;
    let reader = another(&format!("store_filters_{}", std::process::id())).await;
    // Strangers, as a batch of new events has them; no filter of two times ten identities takes one of these for known.
    let asked: Vec<_> = (0..50).map(|n| (EventIdentity::of("other", "s", &n.to_string()), 0, 0)).collect();
    assert_eq!(load(&reader, Absent::Wait).await, 0, "nobody has made them");
    let before = probes(&reader).await;
    reader.repeats(&asked).await.unwrap();
    let all = probes(&reader).await;
    assert!(
        before.len() >= 3 && (0..3).all(|n| all[n] > before[n]),
        "all are looked into: {before:?} {all:?}"
    );
    assert_eq!(load(&writer, Absent::Make).await, 2);
    assert_eq!(load(&reader, Absent::Wait).await, 2);
    let before = probes(&reader).await;
    for _ in 0..5 {
        assert!(reader.repeats(&asked).await.unwrap().iter().all(|repeat| !repeat));
    }
    let after = probes(&reader).await;
    assert_eq!(after[..2], before[..2], "closed partitions were looked into");
    assert!(after[2] > before[2]);
    // What is there is still found, wherever it is.
    let stored: Vec<_> = known.iter().map(|identity| (*identity, 7, 7)).collect();
    assert!(reader.repeats(&stored).await.unwrap().iter().all(|repeat| *repeat));
}

#[tokio::test]
async fn a_filter_is_made_once_and_dropped_with_its_partition() {
    let writer = store("filtersonce", 10).await;
    three_partitions(&writer).await;
    assert_eq!(load(&writer, Absent::Make).await, 2);
    let again = another(&format!("store_filtersonce_{}", std::process::id())).await;
    // What is stored is taken as it is: a partition that was emptied afterwards would give another filter.
    writer.execute_for_test("delete from events where sequence < 20".into()).await.unwrap();
    assert_eq!(load(&again, Absent::Make).await, 2);
    let held = event("3", "/party/1", "a").identity();
    let before = probes(&again).await;
    again.repeats(&[(held, 0, 0)]).await.unwrap();
    assert!(probes(&again).await[0] > before[0], "its filter says that it may be there");
    let count = "select count(*) from identity_filter";
    let stored = async || sqlx::query_scalar::<_, i64>(count).fetch_one(writer.pool()).await.unwrap();
    assert_eq!(stored().await, 2);
    let later = event::Micros::now().plus(std::time::Duration::from_secs(200 * 86_400));
    let dropped = writer.drop_expired(later, std::time::Duration::from_secs(100 * 86_400)).await.unwrap();
    assert_eq!((dropped, stored().await), (2, 0));
}
