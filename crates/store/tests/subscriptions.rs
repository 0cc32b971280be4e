//! Subscriptions and their changes against a real Postgres.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the line that is wrong"
)]

mod common;

use common::store;
use event::Proof;
use store::{Changes, Held, NewSubscription};
use uuid::Uuid;

fn asked(consumer: &str, resource: &str) -> NewSubscription {
    NewSubscription {
        endpoint: "https://example.com/hook".into(),
        source_filter: None,
        resource_filter: Some(resource.into()),
        subject_filter: None,
        subject_sent: None,
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
    assert_eq!(store.subscription_changes(2, 10).await.unwrap().head, 2);
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
    assert_eq!(store.set_validated(one.proof()).await.unwrap(), Some(3));
    assert_eq!(store.set_validated(one.proof()).await.unwrap(), None);
    assert_eq!(store.delete_subscription(two.id).await.unwrap(), Some(4));
    assert_eq!(store.delete_subscription(two.id).await.unwrap(), None);
    let told = async |after, limit| {
        let Changes { head, changed, .. } = store.subscription_changes(after, limit).await.unwrap();
        assert_eq!(head, 4);
        changed.iter().map(|s| (s.id, s.position, s.validated, s.deleted)).collect::<Vec<_>>()
    };
    let both = [(one.id, 3, true, false), (two.id, 4, false, true)];
    assert_eq!(told(0, 10).await, both);
    assert_eq!((told(0, 1).await, told(3, 1).await), (vec![both[0]], vec![both[1]]));
    assert!(told(4, 10).await.is_empty());
    let tombstone = store.subscription(two.id).await.unwrap().unwrap();
    assert_eq!((tombstone.deleted, tombstone.position), (true, 4));
    let (new, made) = store.create_subscription(&asked("/org/b", "urn:altinn:resource:r1")).await.unwrap();
    assert!(made && new.id != two.id);
}

#[tokio::test]
async fn a_late_answer_of_an_old_endpoint_or_of_another_subscription_validates_nothing() {
    let store = store("proofs", 1_000).await;
    let (one, _) = store.create_subscription(&asked("/org/a", "r")).await.unwrap();
    let (two, _) = store.create_subscription(&asked("/org/b", "r")).await.unwrap();
    assert_ne!(one.mark, two.mark);
    let another = Proof { mark: two.mark, ..one.proof() };
    assert_eq!(store.set_validated(another).await.unwrap(), None);
    let moved = "update subscription set endpoint = 'https://example.com/new', endpoint_revision = 2";
    store.execute_for_test(moved.to_owned()).await.unwrap();
    assert_eq!(store.set_validated(one.proof()).await.unwrap(), None);
    let now = store.subscription(one.id).await.unwrap().unwrap();
    assert_eq!(store.set_validated(now.proof()).await.unwrap(), Some(3));
    assert_eq!(store.subscription(one.id).await.unwrap().unwrap().mark, one.mark, "kept for good");
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

#[tokio::test]
async fn a_change_is_in_force_when_every_dispatcher_that_lives_holds_it() {
    let store = store("in_force", 1_000).await;
    let covers = async |position| store.held_everywhere().await.unwrap().covers(position);
    assert!(covers(7).await, "nobody lives: the next one loads everything");
    for resource in ["a", "b", "c"] {
        store.create_subscription(&asked("/org/a", resource)).await.unwrap();
    }
    let timeline = store.subscription_changes(0, 10).await.unwrap().timeline;
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    store.hold_changes(one, 3, timeline).await.unwrap();
    store.hold_changes(two, 2, timeline).await.unwrap();
    assert!(covers(2).await && !covers(3).await);
    store.hold_changes(two, 3, timeline).await.unwrap();
    assert!(covers(3).await && !covers(4).await);
    store.hold_changes(two, 0, timeline).await.unwrap();
    assert_eq!(store.held_everywhere().await.unwrap(), Held::NOTHING);
    store.forget_dispatcher(two).await.unwrap();
    assert!(covers(3).await);
    // The lease is over.
    let long_ago = "update dispatcher set seen = now() - interval '6 seconds'";
    store.execute_for_test(long_ago.to_owned()).await.unwrap();
    assert!(covers(7).await);
    assert_eq!(store.purge_dispatchers().await.unwrap(), 0);
    store.execute_for_test(long_ago.replace("6 seconds", "2 hours")).await.unwrap();
    assert_eq!(store.purge_dispatchers().await.unwrap(), 1);
}

#[tokio::test]
async fn a_position_of_another_history_is_written_as_nothing() {
    let store = store("other_history", 1_000).await;
    store.create_subscription(&asked("/org/a", "r")).await.unwrap();
    let timeline = store.subscription_changes(0, 10).await.unwrap().timeline;
    let dispatcher = Uuid::new_v4();
    for (position, history) in [(1, timeline + 1), (2, timeline)] {
        store.hold_changes(dispatcher, position, history).await.unwrap();
        assert_eq!(store.held_everywhere().await.unwrap(), Held::NOTHING, "{position} of {history}");
    }
    store.hold_changes(dispatcher, 1, timeline).await.unwrap();
    assert!(store.held_everywhere().await.unwrap().covers(1));
}
