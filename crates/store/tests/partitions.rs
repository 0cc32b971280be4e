//! Partitions, retention and a database that took over, against a real Postgres.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the line that is wrong"
)]

mod common;

use std::time::Duration;

use common::{batch, event, store};
use event::{Event, Micros, Sequence, SubscriptionId, SubscriptionMark};
use store::{Advance, AttemptRow, Store};

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

fn later(ahead: u64) -> Micros {
    Micros::now().plus(days(ahead))
}

fn named(names: std::ops::Range<i64>) -> Vec<Event> {
    names.map(|n| event(&n.to_string(), "/party/1", "a")).collect()
}

/// Writes events at the stored position of partition 0; the head afterwards.
async fn write(store: &Store, names: std::ops::Range<i64>) -> i64 {
    let start = store.start_positions("events", &[(0, 0)]).await.unwrap()[0].1;
    let (events, step) = batch(0, start, named(names));
    store.write_batch("events", &events, &[step]).await.unwrap().head
}

#[tokio::test]
async fn partitions_close_by_age_and_are_dropped_when_their_newest_row_has_expired() {
    let store = store("retention", 10).await;
    write(&store, 1..2).await;
    assert!(!store.close_old_partition(later(6), days(7)).await.unwrap());
    assert!(store.close_old_partition(later(8), days(7)).await.unwrap());
    assert!(!store.close_old_partition(later(8), days(7)).await.unwrap(), "an empty one does not close");
    assert_eq!(write(&store, 2..3).await, 10);
    assert_eq!(store.drop_expired(later(99), days(100)).await.unwrap(), 0);
    assert_eq!(store.drop_expired(later(89), days(1)).await.unwrap(), 0, "90 days is the least");
    assert_eq!(store.drop_expired(later(101), days(100)).await.unwrap(), 1);
    assert_eq!(store.oldest().await.unwrap(), Some(Sequence(10)));
    assert_eq!(store.drop_expired(later(500), days(100)).await.unwrap(), 0, "the open partition stays");
    assert_eq!(write(&store, 1..2).await, 11, "what has expired is new again");
}

#[tokio::test]
async fn a_database_that_took_over_leaves_out_a_whole_partition() {
    let store = store("timeline", 10).await;
    write(&store, 0..9).await;
    store.execute_for_test("update feed_head set timeline = timeline - 1".into()).await.unwrap();
    // Its predecessor may have been at 18 when this one had only seen 9.
    let (events, step) = batch(0, 9, named(9..10));
    let outcome = store.write_batch("events", &events, &[step]).await.unwrap();
    assert!(outcome.leapt);
    assert_eq!(outcome.head, 30);
    assert_eq!(store.feed_head().await.unwrap().last, Sequence(30));
    let (events, step) = batch(0, 10, named(0..11));
    let outcome = store.write_batch("events", &events, &[step]).await.unwrap();
    assert_eq!((outcome.stored, outcome.repeated, outcome.leapt, outcome.head), (1, 10, false, 31));
}

#[tokio::test]
async fn closing_by_age_does_not_hide_that_a_database_took_over() {
    let store = store("closing", 10).await;
    write(&store, 0..5).await;
    store.execute_for_test("update feed_head set timeline = timeline - 1".into()).await.unwrap();
    assert!(store.close_old_partition(later(8), days(7)).await.unwrap());
    assert!(store.feed_head().await.unwrap().last >= Sequence(5 + 10));
}

#[tokio::test]
async fn writers_and_housekeepers_make_partitions_at_the_same_time() {
    let store = store("together", 7).await;
    let mut work = tokio::task::JoinSet::new();
    for partition in 0..3_i32 {
        let store = store.clone();
        work.spawn(async move {
            for first in (0..60).step_by(6) {
                let names = (first..first + 6).map(|n| event(&format!("{partition}/{n}"), "/party/1", "a"));
                let (events, step) = batch(partition, first, names.collect());
                store.write_batch("events", &events, &[step]).await.unwrap();
            }
        });
    }
    for _ in 0..3 {
        let store = store.clone();
        work.spawn(async move {
            for _ in 0..10 {
                store.ensure_partitions().await.unwrap();
                while store.load_next_filter(store::Absent::Make).await.unwrap() {}
                store.drop_expired(Micros::now(), days(100)).await.unwrap();
            }
        });
    }
    while let Some(done) = work.join_next().await {
        done.unwrap();
    }
    assert_eq!(store.feed_head().await.unwrap().last, Sequence(180));
    let rows = store.rows_between(Sequence(0), Sequence(180), 1_000).await.unwrap();
    assert_eq!(rows.len(), 180);
}

#[tokio::test]
async fn an_expired_partition_that_is_being_read_is_left_for_the_next_round() {
    let store = store("reading", 10).await;
    write(&store, 0..12).await;
    let mut reader = store.pool().begin().await.unwrap();
    sqlx::query("select 1 from events_0").execute(&mut *reader).await.unwrap();
    assert_eq!(store.drop_expired(later(101), days(100)).await.unwrap(), 0);
    reader.rollback().await.unwrap();
    assert_eq!(store.drop_expired(later(101), days(100)).await.unwrap(), 1);
}

#[tokio::test]
async fn attempts_of_days_without_a_partition_are_kept_and_dropped_like_the_others() {
    let store = store("days", 1_000).await;
    store.start_positions("delivery-attempts", &[(0, 0)]).await.unwrap();
    let row = |at: Micros, kafka_offset: i64| AttemptRow {
        at,
        subscription: SubscriptionId(1),
        // The oldest is from before there were marks.
        mark: (kafka_offset > 0).then_some(SubscriptionMark(1)),
        kafka_partition: 0,
        kafka_offset,
        record: format!("{{\"at\":{kafka_offset}}}"),
    };
    let long_ago = Micros::now().0 - 40 * 86_400 * 1_000_000;
    // Another subscription had the number before.
    let another = AttemptRow { mark: Some(SubscriptionMark(2)), ..row(Micros::now(), 3) };
    let rows = [row(Micros(long_ago), 0), row(Micros::now(), 1), row(later(5), 2), another];
    let step = Advance { partition: 0, expected: 0, next: 4 };
    store.write_attempts("delivery-attempts", &rows, &[step]).await.unwrap();
    let kept = async || store.attempts_of(SubscriptionId(1), SubscriptionMark(1), 10).await.unwrap();
    assert_eq!(kept().await, ["{\"at\":2}", "{\"at\":1}", "{\"at\":0}"]);
    // The day comes for which a row is there already.
    let made = "select create_day_partition('delivery_attempt', (now() at time zone 'UTC')::date + 5)";
    store.execute_for_test(made.into()).await.unwrap();
    assert_eq!(kept().await.len(), 3);
    store.drop_expired_days(days(30), days(100)).await.unwrap();
    assert_eq!(kept().await, ["{\"at\":2}", "{\"at\":1}"]);
    let again = store.write_attempts("delivery-attempts", &rows, &[step]).await;
    assert!(matches!(again, Err(store::StoreError::Stale)), "{again:?}");
}
