//! How Postgres reads: by the right index, and no further than needed. The plans are those of the connections that the services
//! use, made while the tables were still empty: that is when a plan goes wrong.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the line that is wrong"
)]

mod common;

use common::store;
use event::Sequence;
use sqlx::{PgConnection, Row};
use store::{FeedFilter, Store, Stretch};

/// One resource has nearly all events, then comes a long run of another one; parties are many.
const ROWS: &str = "insert into events (sequence, identity, id_hash, registered, kafka_partition, kafka_offset, type, source,
        resource, subject, event)
    select n, gen_random_uuid(), n, now(), 0, n, 'a', 'https://x.no/a',
        case when n < 38000 then 'urn:altinn:resource:often' else 'urn:altinn:resource:other' end,
        '/party/' || n % 4000, repeat('x', 300)
    from generate_series(1, 39999) as n";

async fn explain(connection: &mut PgConnection, call: &str) -> String {
    let explain = sqlx::AssertSqlSafe(format!("explain (analyze, costs off, timing off) {call}"));
    let rows = sqlx::raw_sql(explain).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

fn statement(name: &str) -> String {
    if let Some((_, text)) = store::pages::PAGES.iter().find(|(page, _)| *page == name) {
        return (*text).to_owned();
    }
    std::fs::read_to_string(format!("{}/sql/{name}.sql", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Prepares a statement and runs it once, so that it has its plan.
async fn prepared(connection: &mut PgConnection, name: &str, types: &str, arguments: &str) {
    let prepare = format!("prepare {name} ({types}) as {}", statement(name));
    sqlx::raw_sql(sqlx::AssertSqlSafe(prepare)).execute(&mut *connection).await.unwrap();
    explain(connection, &format!("execute {name} ({arguments})")).await;
}

async fn filled(store: &Store, connection: &mut PgConnection) {
    sqlx::raw_sql("select create_events_partition(n) from generate_series(0, 3) as n")
        .execute(&mut *connection)
        .await
        .unwrap();
    let types = "text, bigint, bigint, bigint, bigint, text, text, text[], text[], text[], timestamptz, timestamptz, timestamptz, text";
    let nothing = "'', 0, 1, 1, 1000000, null, null, null, null, null, null, null, null, null";
    prepared(connection, "selected_of_resource", types, nothing).await;
    prepared(connection, "selected_of_subject", types, nothing).await;
    let of_many = types.replacen("text", "text[]", 1);
    let nothing = nothing.replacen("''", "array['', '']", 1);
    prepared(connection, "selected_of_subjects", &of_many, &nothing).await;
    prepared(connection, "all_of_resource", "text, bigint, bigint, bigint", "'', 0, 1, 1000000").await;
    prepared(connection, "all_of_subject", "text, bigint, bigint, bigint", "'', 0, 1, 1000000").await;
    let types = "bigint, bigint, text, text[], text, text";
    prepared(connection, "sequence_of_id", types, "0, 0, null, null, null, null").await;
    prepared(connection, "rows_between", "bigint, bigint, bigint", "0, 0, 1").await;
    prepared(connection, "find_identities", "uuid[], bigint", "array[gen_random_uuid()], 0").await;
    sqlx::raw_sql(ROWS).execute(&mut *connection).await.unwrap();
    store.execute_for_test("update feed_head set last = 39999".into()).await.unwrap();
}

fn page(leading: &str, after: i64, types: &str, scan: i64) -> String {
    format!(
        "('{leading}', {after}, {scan}, 10, 1000000, null, null, {types}, null, null, null, null, null, null)"
    )
}

#[tokio::test]
async fn feeds_use_their_indexes_and_stop_early() {
    let store = store("plans", 10_000).await;
    let mut connection = store.pool().acquire().await.unwrap();
    filled(&store, &mut connection).await;
    for analyzed in [false, true] {
        let often = page("urn:altinn:resource:often", 100, "null", 10);
        let plan = explain(&mut connection, &format!("execute selected_of_resource {often}")).await;
        assert!(plan.contains("events_0_resource_sequence_idx"), "{analyzed} {plan}");
        assert!(plan.contains("never executed"), "reads partitions that it does not need: {plan}");
        assert!(!plan.contains("Sort"), "{plan}");
        // At the end of a long run of another resource, where the planner expects nothing but this one.
        let gone = page("urn:altinn:resource:often", 38_000, "null", 10);
        let plan = explain(&mut connection, &format!("execute selected_of_resource {gone}")).await;
        assert!(!plan.contains("Rows Removed by Filter"), "walks over others' events: {plan}");
        assert!(plan.contains("Subplans Removed: 3"), "{plan}");
        for (statement, leading, index) in [
            ("all_of_resource", "urn:altinn:resource:often", "events_1_resource_sequence_idx"),
            ("all_of_subject", "/party/7", "events_1_subject_sequence_idx"),
        ] {
            let call = format!("execute {statement} ('{leading}', 10000, 2, 1000000)");
            let plan = explain(&mut connection, &call).await;
            assert!(plan.contains(index) && !plan.contains("Sort"), "{plan}");
            assert!(plan.contains("Subplans Removed: 1"), "{plan}");
        }
        let party = page("/party/7", 5_000, "array['never']", 4);
        let plan = explain(&mut connection, &format!("execute selected_of_subject {party}")).await;
        assert!(plan.contains("events_1_subject_sequence_idx"), "{plan}");
        assert!(plan.contains("Rows Removed by Filter: 3"), "looks at more than the scan's bound: {plan}");
        assert!(!plan.contains("Sort"), "{plan}");
        let many = page("/party/7", 5_000, "null", 4)
            .replace("'/party/7'", "array['/party/7', '/party/8', '/party/9']");
        let plan = explain(&mut connection, &format!("execute selected_of_subjects {many}")).await;
        assert!(plan.contains("events_1_subject_sequence_idx") && !plan.contains("Seq Scan"), "{plan}");
        sqlx::raw_sql("analyze events").execute(&mut *connection).await.unwrap();
    }
}

#[tokio::test]
async fn look_ups_read_one_row_a_question() {
    let store = store("lookups", 10_000).await;
    let mut connection = store.pool().acquire().await.unwrap();
    filled(&store, &mut connection).await;
    let of_feed = "'urn:altinn:resource:often', array['/party/5'], null, null";
    let plan = explain(&mut connection, &format!("execute sequence_of_id (5, -1, {of_feed})")).await;
    assert!(plan.contains("id_hash_sequence_idx") && !plan.contains("Removed by Filter"), "{plan}");
    assert!(!plan.contains("Sort") && plan.contains("never executed"), "{plan}");
    let plan = explain(&mut connection, "execute rows_between (15000, 15003, 100)").await;
    assert!(plan.contains("Subplans Removed: 3") && plan.contains("events_1_sequence_idx"), "{plan}");
    // A partition has 10,000 rows on more than 400 pages; ten questions take a few pages each.
    let ten: Vec<String> = (1..=10).map(|n| format!("'{n:032x}'")).collect();
    let ten = format!("execute find_identities (array[{}]::uuid[], 20000)", ten.join(","));
    let mut pages = 0;
    for _ in 0..2 {
        let plan = explain(&mut connection, &ten).await;
        let line = plan.lines().find(|line| line.contains("Buffers: shared")).unwrap_or_default();
        pages = line.split([' ', '=']).filter_map(|word| word.parse::<u32>().ok()).sum();
    }
    assert!((1..150).contains(&pages), "{pages} pages for ten questions");
}

#[tokio::test]
async fn a_full_scan_of_a_feed_gives_every_row_once() {
    let store = store("full", 10_000).await;
    let mut connection = store.pool().acquire().await.unwrap();
    filled(&store, &mut connection).await;
    let of_party = |party: i64| (0..10).map(move |n| party + n * 4_000);
    let mut of_three: Vec<i64> = [7, 8, 9].into_iter().flat_map(of_party).collect();
    of_three.sort_unstable();
    for (subjects, expected) in [
        (vec!["/party/7"], of_party(7).collect::<Vec<_>>()),
        (vec!["/party/9", "/party/7", "/party/8"], of_three),
    ] {
        let subjects = subjects.into_iter().map(str::to_owned).collect();
        let filter = FeedFilter { subjects, ..FeedFilter::default() };
        let (mut after, mut seen) = (Sequence(0), Vec::new());
        loop {
            let stretch = Stretch { head: Sequence(39_999), after, limit: 3, scan: 5, bytes: 1 << 22 };
            let page = store.page(&filter, stretch).await.unwrap();
            seen.extend(page.rows.iter().map(|row| row.sequence.0));
            after = page.scanned_to;
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, expected);
        assert_eq!(after, Sequence(39_999));
    }
}
