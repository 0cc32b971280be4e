//! One batch after the other, without a loop around.

use std::time::Duration;

use kafka_loop::{BatchHandler, HandlerError, Record};
use projector::{
    Metrics,
    decode::Reject,
    kinds::{Attempts, Events},
    projection::{Kind, Projection},
};
use store::{Advance, Store, StoreError, StoreSettings};

use crate::harness::{World, json, records, unstorable};

fn ids(from: i64, to: i64) -> Vec<String> {
    (from..to).map(|n| n.to_string()).collect()
}

fn values(from: i64, to: i64) -> Vec<String> {
    (from..to).map(|n| json(&n.to_string(), 1)).collect()
}

#[tokio::test]
async fn an_event_that_cannot_be_stored_is_parked_alone_and_the_others_keep_their_order() {
    let world = World::with_topics().await;
    let metrics = World::metrics();
    let mut events = Projection::<Events>::new(world.store.clone(), world.producer.clone(), metrics.clone());
    assert_eq!(events.positions(vec![(0, 100)]).await.unwrap(), [(0, 100)]);
    let mut batch = records(100, &values(0, 30));
    for index in [0, 7, 8, 29] {
        batch[index] = unstorable(batch[index].clone());
    }
    events.handle(batch).await.unwrap();
    let kept: Vec<String> =
        ids(0, 30).into_iter().filter(|id| !["0", "7", "8", "29"].contains(&id.as_str())).collect();
    assert_eq!(world.ids().await, kept);
    let at = |offset| ("unstorable".to_owned(), "events".to_owned(), offset);
    assert_eq!(world.parked().await, [at(100), at(107), at(108), at(129)]);
    assert_eq!(metrics.rejected.with_label_values(&["events", "unstorable"]).get(), 4);
    assert_eq!(world.store.positions("events").await.unwrap(), [(0, 130)]);
}

#[tokio::test]
async fn a_batch_that_is_tried_again_parks_nothing_twice_and_writes_nothing_twice() {
    let world = World::with_topics().await;
    let metrics = World::metrics();
    // One connection: who holds it makes the database unavailable.
    let narrow = StoreSettings {
        max_connections: 1,
        acquire_timeout: Duration::from_millis(200),
        ..world.settings.clone()
    };
    let narrow = Store::connect(&narrow).unwrap();
    let mut events = Projection::<Events>::new(narrow.clone(), world.producer.clone(), metrics.clone());
    // As the loop does: a busy machine may need longer for a connection than this store waits.
    while events.positions(vec![(0, 0)]).await.is_err() {}
    let mut batch = records(0, &values(0, 10));
    batch[2].value = Some(b"garbage".to_vec());
    batch[3].value = None;
    batch[6] = unstorable(batch[6].clone());
    let held = narrow.pool().acquire().await.unwrap();
    for _ in 0..3 {
        let refused = events.handle(batch.clone()).await;
        assert!(matches!(refused, Err(HandlerError::Transient(_))), "{refused:?}");
    }
    drop(held);
    while let Err(HandlerError::Transient(_)) = events.handle(batch.clone()).await {}
    let again = events.handle(batch).await;
    assert!(again.is_ok(), "all of it is behind the position: {again:?}");
    assert_eq!(world.ids().await, ["0", "1", "4", "5", "7", "8", "9"]);
    let at = |reason: &str, offset| (reason.to_owned(), "events".to_owned(), offset);
    assert_eq!(world.parked().await, [at("empty", 3), at("undecodable", 2), at("unstorable", 6)]);
    assert_eq!(metrics.stored.get(), 7);
    assert_eq!(metrics.repeated.get(), 0);
}

#[tokio::test]
async fn a_projector_whose_partition_was_taken_over_writes_nothing_and_starts_anew() {
    let world = World::with_topics().await;
    let projection =
        || Projection::<Events>::new(world.store.clone(), world.producer.clone(), World::metrics());
    let (mut zombie, mut owner) = (projection(), projection());
    zombie.positions(vec![(0, 0)]).await.unwrap();
    zombie.handle(records(0, &values(0, 3))).await.unwrap();
    assert_eq!(owner.positions(vec![(0, 0)]).await.unwrap(), [(0, 3)], "not Kafka's committed offset");
    owner.handle(records(3, &values(3, 5))).await.unwrap();
    let late = zombie.handle(records(3, &values(3, 5))).await;
    assert!(matches!(late, Err(HandlerError::Lost(_))), "{late:?}");
    assert_eq!(zombie.positions(vec![(0, 0)]).await.unwrap(), [(0, 5)]);
    // Offsets may have holes.
    zombie.handle(records(9, &values(5, 6))).await.unwrap();
    assert_eq!(world.ids().await, ids(0, 6));
    assert_eq!(world.store.positions("events").await.unwrap(), [(0, 10)]);
}

#[tokio::test]
async fn an_attempt_that_cannot_be_read_is_parked_too() {
    let world = World::with_topics().await;
    let mut attempts =
        Projection::<Attempts>::new(world.store.clone(), world.producer.clone(), World::metrics());
    attempts.positions(vec![(0, 0)]).await.unwrap();
    let mut batch = records(0, &["{}".to_owned()]);
    batch[0].topic = "delivery-attempts".into();
    attempts.handle(batch).await.unwrap();
    let parked = ("undecodable".to_owned(), "delivery-attempts".to_owned(), 0);
    assert_eq!(world.parked().await, [parked]);
    assert_eq!(world.store.positions("delivery-attempts").await.unwrap(), [(0, 1)]);
}

/// Events, but for one that cannot be read without a panic.
struct Panics;

impl Kind for Panics {
    const TOPIC: &'static str = Events::TOPIC;
    type Row = <Events as Kind>::Row;

    fn row(record: &Record) -> Result<Option<Self::Row>, Reject> {
        assert!(record.offset != 3, "on purpose");
        Events::row(record)
    }

    async fn write(
        store: &Store,
        metrics: &Metrics,
        rows: &[Self::Row],
        steps: &[Advance],
    ) -> Result<(), StoreError> {
        Events::write(store, metrics, rows, steps).await
    }
}

#[tokio::test]
async fn a_record_on_which_reading_panics_is_parked_alone() {
    let world = World::with_topics().await;
    let metrics = World::metrics();
    let mut events = Projection::<Panics>::new(world.store.clone(), world.producer.clone(), metrics);
    events.positions(vec![(0, 0)]).await.unwrap();
    events.handle(records(0, &values(0, 6))).await.unwrap();
    assert_eq!(world.ids().await, ["0", "1", "2", "4", "5"]);
    assert_eq!(world.parked().await, [("undecodable".to_owned(), "events".to_owned(), 3)]);
}
