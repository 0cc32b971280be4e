//! Subscriptions and their changes against a real Postgres.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the line that is wrong"
)]

mod common;

use common::store;
use store::NewSubscription;

fn asked(consumer: &str, resource: &str) -> NewSubscription {
    NewSubscription {
        endpoint: "https://example.com/hook".into(),
        source_filter: None,
        resource_filter: Some(resource.into()),
        subject_filter: None,
        type_filter: None,
        include_subunits: false,
        consumer: consumer.into(),
        created_by: consumer.into(),
    }
}

#[tokio::test]
async fn asking_again_gives_the_same_subscription_and_takes_no_position() {
    let store = store("again", 1_000).await;
    let (first, new) = store.create_subscription(&asked("/org/ttd", "urn:altinn:resource:R1")).await.unwrap();
    assert!(new);
    assert_eq!(first.resource_filter.as_deref(), Some("urn:altinn:resource:r1"));
    let (again, new) = store.create_subscription(&asked("/org/ttd", "urn:altinn:resource:r1")).await.unwrap();
    assert_eq!((again, new), (first.clone(), false));
    let (other, new) = store.create_subscription(&asked("/org/skd", "urn:altinn:resource:r1")).await.unwrap();
    assert!(new && other.id != first.id);
    assert_eq!(store.subscription_head().await.unwrap(), 2);
    assert_eq!(store.subscriptions_of("/org/ttd", 10).await.unwrap(), [first]);
    let more = asked("/org/skd", "urn:altinn:resource:r2");
    assert!(
        store.create_subscription_up_to(&more, 1).await.unwrap().is_none(),
        "the consumer has one already"
    );
    assert!(store.create_subscription_up_to(&more, 2).await.unwrap().is_some_and(|(_, new)| new));
    assert!(
        store.create_subscription_up_to(&more, 2).await.unwrap().is_some_and(|(_, new)| !new),
        "a twin needs no room"
    );
}

#[tokio::test]
async fn a_reader_of_changes_sees_each_one_in_order_with_tombstones() {
    let store = store("changes", 1_000).await;
    let (one, _) = store.create_subscription(&asked("/org/a", "urn:altinn:resource:r1")).await.unwrap();
    let (two, _) = store.create_subscription(&asked("/org/b", "urn:altinn:resource:r1")).await.unwrap();
    assert!(store.set_validated(one.id).await.unwrap());
    assert!(!store.set_validated(one.id).await.unwrap());
    assert!(store.delete_subscription(two.id).await.unwrap());
    assert!(!store.delete_subscription(two.id).await.unwrap());
    let changes = store.subscription_changes(0, 10).await.unwrap();
    let told: Vec<_> = changes.iter().map(|s| (s.id, s.position, s.validated, s.deleted)).collect();
    assert_eq!(told, [(one.id, 3, true, false), (two.id, 4, false, true)]);
    assert_eq!(store.subscription(two.id).await.unwrap(), None);
    let (new, made) = store.create_subscription(&asked("/org/b", "urn:altinn:resource:r1")).await.unwrap();
    assert!(made && new.id != two.id);
}

#[tokio::test]
async fn a_validation_is_tried_again_a_bounded_number_of_times() {
    let store = store("validate", 1_000).await;
    store.create_subscription(&asked("/org/a", "urn:altinn:resource:r1")).await.unwrap();
    let none = std::time::Duration::ZERO;
    assert!(store.take_unvalidated(std::time::Duration::from_secs(30), 3, 10).await.unwrap().is_empty());
    assert_eq!(store.take_unvalidated(none, 3, 10).await.unwrap().len(), 1);
    assert_eq!(store.take_unvalidated(none, 3, 10).await.unwrap().len(), 1);
    assert!(store.take_unvalidated(none, 3, 10).await.unwrap().is_empty());
}
