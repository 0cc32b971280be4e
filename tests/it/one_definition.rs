//! What several crates must say in the same words is said in one place.

use std::fs;

use crate::guard_rails::{root, rust_files};

/// What is said, and where.
const OWNERS: [(&str, &str); 6] = [
    ("application/cloudevents+json", "crates/event/src/media.rs"),
    ("application/cloudevents-batch+json", "crates/event/src/media.rs"),
    ("altinn:events.publish", "crates/access/src/scope.rs"),
    ("altinn:events.publish.admin", "crates/access/src/scope.rs"),
    ("altinn:events.subscribe", "crates/access/src/scope.rs"),
    ("altinn:serviceowner", "crates/access/src/scope.rs"),
];
/// The stand-in for Altinn speaks for itself, as Altinn does.
const OTHERS: &str = "crates/local-altinn";

#[test]
fn media_types_and_scopes_are_written_in_one_place() {
    let mut files = Vec::new();
    for folder in ["crates", "ingest", "projector", "dispatcher", "query-api", "altinn-events"] {
        rust_files(&root().join(folder), &mut files);
    }
    let mut wrong = Vec::new();
    let mut found = 0;
    for file in files {
        let name = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        if name.starts_with(OTHERS) || !name.contains("/src/") || name.ends_with("tests.rs") {
            continue;
        }
        let source = fs::read_to_string(&file).unwrap();
        let code = source.split("\n#[cfg(test)]").next().unwrap();
        for (text, owner) in OWNERS.iter().filter(|(text, _)| code.contains(&format!("\"{text}\""))) {
            found += 1;
            if name != *owner {
                wrong.push(format!("{name}: {text}, which is in {owner}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(found, OWNERS.len(), "an owner does not say it");
}
