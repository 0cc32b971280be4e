//! Every statement of the platform is prepared against the migrated schema.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the line that is wrong"
)]

mod common;

use sqlx::{Executor, SqlSafeStr};

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let store = common::store("statements", 1_000).await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/sql");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Parts are prepared as what they are put together to.
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mut connection = store.pool().acquire().await.unwrap();
        let prepared = connection.prepare(sqlx::AssertSqlSafe(text).into_sql_str()).await;
        assert!(prepared.is_ok(), "{}: {:?}", path.display(), prepared.err());
        count += 1;
    }
    assert!(count > 30, "only {count} statements were found");
    for (name, text) in store::pages::PAGES {
        let prepared = store.pool().acquire().await.unwrap().prepare(text.into_sql_str()).await;
        assert!(prepared.is_ok(), "{name}: {:?}", prepared.err());
    }
}

#[test]
fn every_statement_is_used_and_no_statement_stands_elsewhere() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"));
    let sources: Vec<String> = std::fs::read_dir(format!("{root}/src"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let files = |folder: &str| {
        let entries = std::fs::read_dir(format!("{root}/{folder}")).unwrap();
        let files = entries.map(|entry| entry.unwrap()).filter(|entry| entry.file_type().unwrap().is_file());
        files.map(|file| format!("../{folder}/{}", file.file_name().to_str().unwrap())).collect::<Vec<_>>()
    };
    for file in files("sql").into_iter().chain(files("sql/parts")) {
        assert!(sources.iter().any(|text| text.contains(&format!("\"{file}\""))), "{file} is not used");
    }
    for text in &sources {
        for word in ["\"select ", "\"insert ", "\"update ", "\"delete "] {
            assert!(!text.to_lowercase().contains(word), "a statement stands in a source file, after {word}");
        }
    }
}
