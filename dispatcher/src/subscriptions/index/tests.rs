use event::{Draft, Micros, SubscriptionMark};

use super::*;

fn event(resource: &str, subject: Option<&str>, kind: &str) -> Event {
    let mut draft = Draft::new();
    for (name, value) in [
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "https://ttd.apps.altinn.no/ttd/apps-test/instances/1/2"),
        ("type", kind),
        ("resource", resource),
    ] {
        draft.set_text(name, value);
    }
    if let Some(subject) = subject {
        draft.set_text("subject", subject);
    }
    draft.validate().unwrap()
}

fn subscription(id: i64, resource: &str, subject: Option<&str>, kind: Option<&str>) -> Subscription {
    Subscription {
        id: SubscriptionId(id),
        position: id,
        mark: SubscriptionMark(7),
        endpoint: "https://example.com/hook".into(),
        endpoint_revision: 1,
        source_filter: None,
        resource_filter: Some(resource.into()),
        subject_filter: subject.map(str::to_owned),
        subject_sent: None,
        type_filter: kind.map(str::to_owned),
        include_subunits: false,
        consumer: "/org/ttd".into(),
        created_by: "/org/ttd".into(),
        created: Micros(0),
        validated: true,
        validated_position: Some(1),
        paused: false,
        deleted: false,
    }
}

const APP: &str = "urn:altinn:resource:app_ttd_apps-test";

fn matched(index: &Index, event: &Event) -> Vec<i64> {
    let mut ids: Vec<i64> =
        index.matches(event, event.canonical_subject().as_deref()).iter().map(|found| found.id.0).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn every_filter_must_equal_the_event_or_be_absent() {
    let mut index = Index::new();
    index.apply(subscription(1, APP, None, None));
    index.apply(subscription(2, APP, Some("/party/1"), None));
    index.apply(subscription(3, APP, None, Some("created")));
    index.apply(subscription(4, APP, Some("/party/1"), Some("created")));
    index.apply(subscription(5, APP, Some("/party/2"), None));
    index.apply(subscription(6, "urn:altinn:resource:other", None, None));
    index.apply(subscription(7, APP, None, Some("Created")));
    assert_eq!(matched(&index, &event(APP, Some("/party/1"), "created")), [1, 2, 3, 4]);
    assert_eq!(matched(&index, &event(APP, Some("party/1"), "deleted")), [1, 2]);
    assert_eq!(matched(&index, &event(APP, None, "created")), [1, 3]);
    assert_eq!(matched(&index, &event("urn:altinn:resource:none", None, "created")), [0; 0]);
}

#[test]
fn resources_are_compared_without_regard_to_case() {
    let mut index = Index::new();
    index.apply(subscription(1, "urn:altinn:resource:app_TTD_Apps-Test", None, None));
    assert_eq!(matched(&index, &event(APP, None, "x")), [1]);
    assert_eq!(lower_case("urn:altinn:resource:app_TTD_Apps-Test"), APP);
}

#[test]
fn the_source_filter_is_tested_on_what_the_others_let_through() {
    let mut index = Index::new();
    let with_source = |id, source: &str| Subscription {
        source_filter: Some(source.into()),
        ..subscription(id, APP, None, None)
    };
    index.apply(with_source(1, "https://ttd.apps.altinn.no/ttd/apps-test"));
    index.apply(with_source(2, "https://ttd.apps.altinn.no/other/app"));
    index.apply(with_source(3, "no address"));
    assert_eq!(matched(&index, &event(APP, None, "x")), [1]);
    assert!(index.get(SubscriptionId(3)).is_some());
}

#[test]
fn only_validated_and_running_subscriptions_match_but_all_are_known() {
    let mut index = Index::new();
    index.apply(Subscription { validated: false, ..subscription(1, APP, None, None) });
    index.apply(Subscription { paused: true, ..subscription(2, APP, None, None) });
    index.apply(subscription(3, APP, None, None));
    assert_eq!(matched(&index, &event(APP, None, "x")), [3]);
    assert_eq!(index.len(), 3);
    assert!(index.get(SubscriptionId(2)).is_some_and(|found| found.paused));
}

#[test]
fn a_change_replaces_and_a_delete_forgets() {
    let mut index = Index::new();
    for id in 1..=3 {
        index.apply(subscription(id, APP, None, None));
    }
    let other = Subscription { position: 9, ..subscription(2, "urn:altinn:resource:other", None, None) };
    index.apply(other);
    assert_eq!(matched(&index, &event(APP, None, "x")), [1, 3]);
    assert_eq!(index.get(SubscriptionId(2)).map(|found| found.position), Some(9));
    index.apply(Subscription { deleted: true, ..subscription(3, APP, None, None) });
    index.apply(Subscription { deleted: true, ..subscription(8, APP, None, None) });
    assert_eq!(matched(&index, &event(APP, None, "x")), [1]);
    assert_eq!((index.get(SubscriptionId(3)), index.len()), (None, 2));
}

fn with_subunits(id: i64, subject: &str) -> Subscription {
    Subscription { include_subunits: true, ..subscription(id, APP, Some(subject), None) }
}

fn matched_of_main_unit(index: &Index, event: &Event, main_unit: &str) -> Vec<i64> {
    let mut ids: Vec<i64> = index
        .matches_of_main_unit(event, event.canonical_subject().as_deref(), main_unit)
        .iter()
        .map(|found| found.id.0)
        .collect();
    ids.sort_unstable();
    ids
}

#[test]
fn an_event_of_a_sub_unit_matches_those_of_its_main_unit_that_include_sub_units() {
    let mut index = Index::new();
    index.apply(with_subunits(1, "party/1"));
    index.apply(subscription(2, APP, Some("/party/1"), None));
    index.apply(with_subunits(3, "/party/2"));
    index.apply(subscription(4, APP, None, None));
    index.apply(Subscription { type_filter: Some("created".into()), ..with_subunits(5, "/party/1") });
    index.apply(Subscription { type_filter: Some("deleted".into()), ..with_subunits(6, "/party/1") });
    let other = Some("https://ttd.apps.altinn.no/other/app".into());
    index.apply(Subscription { source_filter: other, ..with_subunits(7, "/party/1") });
    let event = event(APP, Some("/party/2"), "created");
    assert_eq!(matched(&index, &event), [3, 4]);
    assert_eq!(matched_of_main_unit(&index, &event, "/party/1"), [1, 5]);
    assert_eq!(matched_of_main_unit(&index, &event, "/party/2"), [0; 0], "nobody is found twice");
    assert_eq!(matched_of_main_unit(&index, &event, "/party/9"), [0; 0]);
}

#[test]
fn a_main_unit_is_asked_for_only_while_a_subscription_of_the_resource_may_want_it() {
    let mut index = Index::new();
    let here = event(APP, Some("/party/2"), "created");
    let elsewhere = event("urn:altinn:resource:other", Some("/party/2"), "created");
    index.apply(subscription(1, APP, Some("/party/1"), None));
    index.apply(subscription(9, "urn:altinn:resource:other", Some("/party/1"), None));
    assert!(!index.includes_subunits(&here));
    for id in [2, 3, 3] {
        index.apply(with_subunits(id, "/party/1"));
        assert!(index.includes_subunits(&here) && !index.includes_subunits(&elsewhere));
    }
    index.apply(Subscription { deleted: true, ..with_subunits(2, "/party/1") });
    assert!(index.includes_subunits(&here));
    index.apply(Subscription { paused: true, ..with_subunits(3, "/party/1") });
    assert!(!index.includes_subunits(&here), "it is paused");
    index.apply(Subscription { subject_filter: None, ..with_subunits(4, "") });
    assert!(!index.includes_subunits(&here), "without a subject it matches everything as it is");
}

#[test]
fn chains_stay_whole_in_any_order_of_changes() {
    let mut index = Index::new();
    let mut here = std::collections::BTreeSet::new();
    let mut random = 12_345_u64;
    for _ in 0..2_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let id = i64::try_from((random >> 33) % 40).unwrap();
        let deleted = random >> 60 < 6;
        index.apply(Subscription { deleted, ..subscription(id, APP, None, None) });
        if deleted {
            here.remove(&id)
        } else {
            here.insert(id)
        };
        assert_eq!(matched(&index, &event(APP, None, "x")), here.iter().copied().collect::<Vec<_>>());
    }
}

#[test]
fn a_hundred_thousand_subscriptions_of_their_own_take_less_than_400_bytes_each() {
    let mut index = Index::new();
    for id in 0..100_000 {
        let mut own =
            subscription(id, APP, Some(&format!("/party/{}", 50_000_000 + id)), Some("app.instance.created"));
        own.endpoint = format!("https://receiver-{id}.example.com/altinn/events/hook?code=0123456789abcdef");
        own.consumer = format!("/organisation/{}", 910_000_000 + id);
        index.apply(own);
    }
    assert!(index.bytes() < 400 * 100_000, "{} bytes each", index.bytes() / 100_000);
}
