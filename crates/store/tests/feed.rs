//! Batches and pages against a real Postgres.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the line that is wrong"
)]

mod common;

use std::time::Duration;

use common::{batch, event, event_of, settings, store};
use event::{EventIdentity, Micros, Sequence};
use store::{Conflict, FeedFilter, Store, StoreError, Stretch};

fn stretch(head: Sequence, after: Sequence, limit: i64, scan: i64) -> Stretch {
    Stretch { head, after, limit, scan, bytes: 1 << 22 }
}

fn by_resource() -> FeedFilter {
    FeedFilter { resource: Some("urn:altinn:resource:r1".into()), ..FeedFilter::default() }
}

#[tokio::test]
async fn a_batch_that_does_not_start_where_the_last_one_ended_writes_nothing() {
    let store = store("stale", 1_000).await;
    let (events, step) = batch(0, 0, vec![event("1", "/party/1", "a")]);
    store.write_batch("events", &events, &[step]).await.unwrap();
    let (events, _) = batch(0, 0, vec![event("2", "/party/1", "a")]);
    let again = store.write_batch("events", &events, &[step]).await;
    assert!(matches!(again, Err(StoreError::Stale)), "{again:?}");
    assert_eq!(store.feed_head().await.unwrap().last, Sequence(1));
}

#[tokio::test]
async fn publishing_again_is_harmless_also_when_the_first_copy_is_in_an_older_partition() {
    let store = store("older", 5).await;
    let names = |from: i64, to: i64| (from..to).map(|n| event(&n.to_string(), "/party/1", "a")).collect();
    let (events, step) = batch(0, 0, names(0, 12));
    let outcome = store.write_batch("events", &events, &[step]).await.unwrap();
    assert_eq!((outcome.stored, outcome.head), (12, 12));
    assert_eq!(store.partitions().await.unwrap(), [0, 1, 2]);
    for _ in 0..2 {
        // Once by looking everywhere, once with the filters of the closed partitions.
        let (events, mut step) = batch(1, 0, names(0, 13));
        let positions = store.start_positions("events", &[(1, 0)]).await.unwrap();
        step.expected = positions[0].1;
        step.next = step.expected + 13;
        let outcome = store.write_batch("events", &events, &[step]).await.unwrap();
        assert_eq!(outcome.stored + outcome.repeated, 13);
        while store.load_next_filter(store::Absent::Make).await.unwrap() {}
    }
    let feed = store.page(&by_resource(), stretch(Sequence(100), Sequence(0), 100, 100)).await.unwrap();
    let numbers: Vec<i64> = feed.rows.iter().map(|row| row.sequence.0).collect();
    assert_eq!(numbers, (1..=13).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_same_event_twice_is_one_row_and_other_content_is_told_with_both_places() {
    let store = store("twice", 1_000).await;
    let (events, step) = batch(
        0,
        0,
        vec![event("1", "/party/1", "a"), event("1", "/party/1", "a"), event("1", "/party/1", "b")],
    );
    let outcome = store.write_batch("events", &events, &[step]).await.unwrap();
    assert_eq!((outcome.stored, outcome.repeated), (1, 2));
    assert_eq!(outcome.conflicts, [Conflict { kept: (0, 0), dropped: (0, 2) }]);
    let (events, step) = batch(0, 3, vec![event("1", "/party/1", "c"), event("1", "/party/1", "a")]);
    let outcome = store.write_batch("events", &events, &[step]).await.unwrap();
    assert_eq!((outcome.stored, outcome.repeated), (0, 2));
    assert_eq!(
        outcome.conflicts,
        [Conflict { kept: (0, 0), dropped: (0, 3) }],
        "with one that was stored before"
    );
    let identity = EventIdentity::of("urn:altinn:resource:r1", "https://x.no/a", "1");
    let repeats =
        store.repeats(&[(identity, 0, 0), (identity, 0, 1), (EventIdentity(7), 0, 0)]).await.unwrap();
    assert_eq!(repeats, [false, true, false]);
}

#[tokio::test]
async fn sequence_numbers_have_no_gaps_and_follow_the_commits_of_many_writers() {
    let store = store("writers", 40).await;
    let mut writers = tokio::task::JoinSet::new();
    for partition in 0..4 {
        let store = store.clone();
        writers.spawn(async move {
            for first in (0..50).step_by(5) {
                let events =
                    (first..first + 5).map(|n| event(&format!("{partition}-{n}"), "/party/1", "a")).collect();
                let (events, step) = batch(partition, first, events);
                store.write_batch("events", &events, &[step]).await.unwrap();
            }
        });
    }
    let (mut after, mut seen) = (Sequence(0), Vec::new());
    while seen.len() < 200 {
        let head = store.feed_head().await.unwrap().last;
        let page = store.page(&by_resource(), stretch(head, after, 7, 100)).await.unwrap();
        seen.extend(page.rows.iter().map(|row| row.sequence.0));
        after = page.scanned_to;
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    assert_eq!(seen, (1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_filter_tells_two_rows_apart() {
    let store = store("filters", 1_000).await;
    let other = event_of("urn:altinn:resource:r2", "2", "party/2", "Other.Kind");
    let (events, step) = batch(0, 0, vec![event("1", "/party/1", "some_kind"), other]);
    store.write_batch("events", &events, &[step]).await.unwrap();
    let both = |change: fn(&mut FeedFilter)| {
        let mut filter = FeedFilter::default();
        change(&mut filter);
        filter
    };
    let found = async |filter: FeedFilter| -> Vec<i64> {
        let page = store.page(&filter, stretch(Sequence(2), Sequence(0), 10, 10)).await.unwrap();
        page.rows.iter().map(|row| row.sequence.0).collect()
    };
    assert_eq!(found(both(|f| f.resource = Some("urn:altinn:resource:r1".into()))).await, [1]);
    assert_eq!(found(both(|f| f.subjects = vec!["/party/2".into()])).await, [2]);
    let listed = ["/party/2", "/party/9", "/party/1", "/party/2"].map(str::to_owned);
    assert_eq!(found(FeedFilter { subjects: listed.to_vec(), ..FeedFilter::default() }).await, [1, 2]);
    let of_resource = Some("urn:altinn:resource:r2".to_owned());
    let both_and = FeedFilter { subjects: listed.to_vec(), resource: of_resource, ..FeedFilter::default() };
    assert_eq!(found(both_and).await, [2]);
    let of_two = |change: fn(&mut FeedFilter)| {
        let mut filter = FeedFilter { subjects: vec!["/party/2".into()], ..FeedFilter::default() };
        change(&mut filter);
        filter
    };
    assert_eq!(
        found(of_two(|f| f.resource = Some("urn:altinn:resource:r1".into()))).await,
        Vec::<i64>::new()
    );
    assert_eq!(found(of_two(|f| f.types = vec!["other%".into()])).await, Vec::<i64>::new());
    assert_eq!(found(of_two(|f| f.types_any_case = vec!["other%".into()])).await, [2]);
    assert_eq!(found(of_two(|f| f.sources_any_case = vec!["%X.NO%".into()])).await, [2]);
    assert_eq!(found(of_two(|f| f.sources_any_case = vec!["%y.no%".into()])).await, Vec::<i64>::new());
    assert_eq!(found(of_two(|f| f.from = Micros::parse_rfc3339("2026-01-02T03:04:05Z"))).await, [2]);
    assert_eq!(
        found(of_two(|f| f.from = Micros::parse_rfc3339("2026-01-02T03:04:06Z"))).await,
        Vec::<i64>::new()
    );
    assert_eq!(
        found(of_two(|f| f.to = Micros::parse_rfc3339("2026-01-02T03:04:04Z"))).await,
        Vec::<i64>::new()
    );
    assert_eq!(
        found(of_two(|f| f.registered_from = Some(Micros::now().plus(Duration::from_secs(60))))).await,
        Vec::<i64>::new()
    );
    assert_eq!(found(of_two(|f| f.alternative_subject = Some("/org/1".into()))).await, Vec::<i64>::new());
    let place = async |id: &str, feed: &FeedFilter| {
        store.event_of_id(id, feed, Sequence(-1)).await.unwrap().map(|(sequence, _)| sequence)
    };
    let feed = of_two(|f| f.resource = Some("urn:altinn:resource:r2".into()));
    assert_eq!(place("2", &feed).await, Some(Sequence(2)));
    assert_eq!(
        place("2", &FeedFilter { types: vec!["never".into()], ..feed.clone() }).await,
        Some(Sequence(2))
    );
    assert_eq!(place("3", &feed).await, None);
    for other in [
        by_resource(),
        FeedFilter { subjects: vec!["/party/1".into()], ..FeedFilter::default() },
        FeedFilter { alternative_subject: Some("/org/1".into()), ..feed.clone() },
        FeedFilter { instance: Some("1/2".into()), ..feed.clone() },
    ] {
        assert_eq!(place("2", &other).await, None, "{other:?}");
    }
}

#[tokio::test]
async fn a_page_whose_filter_refuses_everything_still_moves_on() {
    let store = store("moves", 1_000).await;
    let (events, step) = batch(0, 0, (0..50).map(|n| event(&n.to_string(), "/party/1", "a")).collect());
    store.write_batch("events", &events, &[step]).await.unwrap();
    let filter = FeedFilter { types: vec!["never".into()], ..by_resource() };
    let first = store.page(&filter, stretch(Sequence(50), Sequence(0), 10, 20)).await.unwrap();
    assert_eq!((first.rows.len(), first.scanned_to, first.more), (0, Sequence(20), true));
    let last = store.page(&filter, stretch(Sequence(50), Sequence(40), 10, 20)).await.unwrap();
    assert_eq!((last.scanned_to, last.more), (Sequence(50), false));
}

#[tokio::test]
async fn a_stretch_ends_after_its_bytes_and_goes_on_where_it_ended() {
    let store = store("heavy", 1_000).await;
    let kinds = (0..20).map(|n| event(&n.to_string(), "/party/1", if n % 2 == 0 { "even" } else { "odd" }));
    let (events, step) = batch(0, 0, kinds.collect());
    let weight = i64::try_from(events[0].event.json().len()).unwrap();
    store.write_batch("events", &events, &[step]).await.unwrap();
    let parties = ["/party/1", "/party/2"].map(str::to_owned).to_vec();
    for (filter, expected) in [
        (by_resource(), 20),
        (FeedFilter { subjects: parties[..1].to_vec(), ..FeedFilter::default() }, 20),
        (FeedFilter { types: vec!["odd".into()], ..by_resource() }, 10),
        (
            FeedFilter {
                types: vec!["odd".into()],
                subjects: parties[..1].to_vec(),
                ..FeedFilter::default()
            },
            10,
        ),
        (FeedFilter { types: vec!["odd".into()], subjects: parties, ..FeedFilter::default() }, 10),
    ] {
        let (mut after, mut seen) = (Sequence(0), Vec::new());
        loop {
            let bytes = 2 * weight + 10;
            let stretch = Stretch { head: Sequence(20), after, limit: 100, scan: 100, bytes };
            let page = store.page(&filter, stretch).await.unwrap();
            assert!(page.rows.len() <= 3, "{filter:?}: one row is beyond the bytes at most");
            seen.extend(page.rows.iter().map(|row| row.sequence.0));
            after = page.scanned_to;
            if !page.more {
                break;
            }
        }
        assert_eq!(seen.len(), expected, "{filter:?}");
        assert!(seen.is_sorted_by(|a, b| a < b));
    }
}

#[tokio::test]
async fn what_postgres_cannot_store_is_told_as_data() {
    let store = store("data", 1_000).await;
    let (mut events, step) = batch(0, 0, vec![event("1", "/party/1", "a")]);
    events[0].subject = Some("a\u{0}b".to_owned());
    let refused = store.write_batch("events", &events, &[step]).await;
    assert!(matches!(refused, Err(StoreError::Data(_))), "{refused:?}");
}

#[tokio::test]
async fn a_page_ends_where_its_scan_ended_also_when_rows_are_added_meanwhile() {
    let store = store("scan", 1_000).await;
    let kinds = |from: i64, to: i64| -> Vec<event::Event> {
        (from..to)
            .map(|n| event(&n.to_string(), "/party/1", if n % 2 == 0 { "even" } else { "odd" }))
            .collect()
    };
    let (events, step) = batch(0, 0, kinds(0, 30));
    store.write_batch("events", &events, &[step]).await.unwrap();
    let head = store.feed_head().await.unwrap().last;
    let (events, step) = batch(0, 30, kinds(30, 60));
    store.write_batch("events", &events, &[step]).await.unwrap();
    let filter = FeedFilter { types: vec!["odd".into()], ..by_resource() };
    let page = store.page(&filter, stretch(head, Sequence(0), 100, 7)).await.unwrap();
    assert_eq!((page.rows.len(), page.scanned_to, page.more), (3, Sequence(7), true));
    let page = store.page(&filter, stretch(head, Sequence(0), 2, 7)).await.unwrap();
    assert_eq!((page.rows.len(), page.scanned_to, page.more), (2, Sequence(4), true));
    let page = store.page(&filter, stretch(head, Sequence(50), 100, 20)).await.unwrap();
    assert_eq!((page.rows.len(), page.scanned_to, page.more), (5, Sequence(60), false));
}

#[tokio::test]
async fn the_bytes_of_an_event_come_back_untouched() {
    let store = store("bytes", 1_000).await;
    let json = r#"{ "type":"t","specversion":"1.0", "id":"1","source":"https://x.no/a","resource":"urn:altinn:resource:r1",
        "time":"2026-01-02T03:04:05.1234567+01:00","data":{"b":1.10,"a":[1e400,0.1e1,"\u00e6 \ud83d\ude00"],"b2":null}}"#;
    let (events, step) = batch(0, 0, vec![event::Event::parse(json.as_bytes()).unwrap()]);
    store.write_batch("events", &events, &[step]).await.unwrap();
    let rows = store.rows_between(Sequence(0), Sequence(9), 9).await.unwrap();
    assert_eq!(rows[0].json, json);
}

#[tokio::test]
async fn the_database_gives_up_a_read_that_takes_too_long() {
    let store = store("reads", 1_000).await;
    let reads = Store::connect_for_reads(&settings("reads", 1_000).await).unwrap();
    let long = reads.execute_for_test("select pg_sleep(600)".to_owned()).await;
    assert!(matches!(long, Err(StoreError::Unavailable(_))), "{long:?}");
    let mut lock = store.pool().begin().await.unwrap();
    sqlx::raw_sql("lock table events in access exclusive mode").execute(&mut *lock).await.unwrap();
    let locked = reads.page(&by_resource(), stretch(Sequence(0), Sequence(0), 1, 1)).await;
    assert!(matches!(locked, Err(StoreError::Unavailable(_))), "{locked:?}");
    lock.rollback().await.unwrap();
    reads.page(&by_resource(), stretch(Sequence(0), Sequence(0), 1, 1)).await.unwrap();
}
