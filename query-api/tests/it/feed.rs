//! The generic feed, and what all feeds share: pages, cursors, rights, refusals.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use local_altinn::{Mode, Rule};

use crate::world::{APP, GENERIC, PATIENCE, RESOURCE, World, generic, parsed};

const MIXED: &str = "urn:altinn:resource:mixed";

fn path(after: &str, more: &str) -> String {
    format!("{GENERIC}?resource={RESOURCE}&after={after}{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_and_hold_every_event_once_in_its_own_text() {
    let world = World::new(&[]).await;
    let events: Vec<_> = (0..7).map(|n| generic(RESOURCE, &format!("e{n}"), n % 2)).collect();
    let texts: Vec<String> = events.iter().map(|event| event.json().to_owned()).collect();
    world.put(events).await;
    world.put([generic("urn:altinn:resource:other", "x", 1)]).await;
    let (mut next, mut bodies) = (path("0", "&size=3&unknown=a%26b"), Vec::new());
    let last = loop {
        let page = world.get(&world.ttd(), &next).await;
        assert_eq!(page.header("content-type"), "application/cloudevents+json; charset=utf-8");
        assert!(!page.header("feed-cursor").is_empty());
        if page.ids().is_empty() {
            break page;
        }
        bodies.push(page.body.trim_matches(['[', ']']).to_owned());
        assert!(page.next().contains("&size=3&unknown=a%26b"), "{}", page.next());
        next = page.next().to_owned();
    };
    assert_eq!(bodies.join(", "), texts.join(", "));
    assert_eq!((last.next(), last.body.as_str()), ("", "[]"), "the end of the feed has no next page");
    world.put([generic(RESOURCE, "late", 1)]).await;
    let more = world.get(&world.ttd(), &path(last.header("feed-cursor"), "")).await;
    assert_eq!(more.ids(), ["late"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_after_an_events_id_or_from_the_start() {
    let world = World::new(&[]).await;
    world.put((0..3).map(|n| generic(RESOURCE, &format!("e{n}"), 1))).await;
    for (after, expected) in
        [("e0", vec!["e1", "e2"]), ("0", vec!["e0", "e1", "e2"]), ("1", vec!["e0", "e1", "e2"])]
    {
        assert_eq!(world.get(&world.ttd(), &path(after, "")).await.ids(), expected, "after={after}");
    }
    let by_type = world.get(&world.ttd(), &path("0", "&type=Thing.made")).await;
    assert!(by_type.ids().is_empty(), "the generic feed compares types with case");
    assert_eq!(
        world.get(&world.ttd(), &path("0", "&type=x&type=thing.%25&subject=party/1")).await.ids().len(),
        3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_position_is_gone_and_says_where_to_go_on() {
    let world = World::new(&[]).await;
    world.put((0..3).map(|n| generic(RESOURCE, &format!("e{n}"), 1))).await;
    let gone = world.get(&world.ttd(), &path("nobody-knows-it", "")).await;
    assert_eq!(gone.status, StatusCode::GONE);
    let oldest = world.get(&world.ttd(), &path(gone.header("feed-cursor-oldest"), "")).await;
    assert_eq!(oldest.ids(), ["e0", "e1", "e2"]);
    let newest = world.get(&world.ttd(), &path(gone.header("feed-cursor-newest"), "")).await;
    assert!(newest.ids().is_empty());
    let first = world.get(&world.ttd(), &path("0", "&size=1")).await;
    // Only partitions before the one that is being filled expire.
    for change in
        ["update feed_head set last = last + partition_size", "delete from events where sequence <= 2"]
    {
        world.store.execute_for_test(change.to_owned()).await.unwrap();
    }
    // A look at the head counts for a moment.
    let expired = async { while world.get(&world.ttd(), first.next()).await.status != StatusCode::GONE {} };
    tokio::time::timeout(std::time::Duration::from_secs(30), expired).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_on_its_way_is_waited_for() {
    let world = World::new(&[("FEED_UNKNOWN_AFTER_WAIT_MS", "20000")]).await;
    let (token, target) = (world.ttd(), path("soon", ""));
    let reading = world.get(&token, &target);
    let putting = world.put([generic(RESOURCE, "soon", 1), generic(RESOURCE, "then", 1)]);
    let (page, ()) = tokio::join!(reading, putting);
    assert_eq!(page.ids(), ["then"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_belongs_to_one_filter_and_is_noticed_when_damaged() {
    let world = World::new(&[]).await;
    world.put([generic(RESOURCE, "e", 1)]).await;
    let page = world.get(&world.ttd(), &path("0", "")).await;
    let cursor = page.header("feed-cursor");
    let other = world.get(&world.ttd(), &path(cursor, "&type=x")).await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
    assert!(other.body.contains("another filter"), "{}", other.body);
    assert!(other.header("content-type").starts_with("application/cloudevents+json"));
    let damaged = world.get(&world.ttd(), &path(&cursor[..cursor.len() - 2], "")).await;
    assert_eq!(damaged.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_events_are_left_out_and_the_position_moves_over_them() {
    let world = World::new(&[]).await;
    world.altinn.pdp().permit(Rule::new(("urn:altinn:org", "ttd"), &["subscribe"], MIXED).for_party(7));
    world.put((0..300).map(|n| generic(MIXED, &format!("e{n}"), if n % 100 == 99 { 7 } else { 8 }))).await;
    let page = world.get(&world.ttd(), &format!("{GENERIC}?resource={MIXED}&after=0&size=2")).await;
    assert_eq!(page.ids(), ["e99", "e199"]);
    let rest = world.get(&world.ttd(), page.next()).await;
    assert_eq!(rest.ids(), ["e299"]);
    assert!(world.get(&world.ttd(), rest.next()).await.next().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_of_refused_events_beyond_the_bound_gives_an_empty_page_that_leads_on() {
    let world = World::new(&[("FEED_SCAN_CHUNKS", "1")]).await;
    world.altinn.pdp().permit(Rule::new(("urn:altinn:org", "ttd"), &["subscribe"], MIXED).for_party(7));
    world.put((0..4).map(|n| generic(MIXED, &format!("e{n}"), if n == 3 { 7 } else { 8 }))).await;
    let first = world.get(&world.ttd(), &format!("{GENERIC}?resource={MIXED}&after=0&size=2")).await;
    assert_eq!((first.ids().len(), first.next().is_empty()), (0, false));
    assert_eq!(world.get(&world.ttd(), first.next()).await.ids(), ["e3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_not_a_no_a_page_stops_before_it() {
    let world = World::new(&[]).await;
    let token = world.ttd();
    world.put((0..3).map(|n| generic(RESOURCE, &format!("e{n}"), n))).await;
    assert_eq!(world.get(&token, &path("0", "&size=1")).await.ids(), ["e0"]);
    world.altinn.pdp().set(Mode::Fail(500));
    let page = world.get(&token, &path("0", "")).await;
    assert_eq!(page.ids(), ["e0"], "what is known is shown");
    let rest = world.get(&token, page.next()).await;
    assert_eq!((rest.status, rest.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "2"));
    world.altinn.pdp().set(Mode::Answer);
    // A neighbour that failed is left alone for a moment.
    let until = Instant::now() + PATIENCE;
    let again = loop {
        let again = world.get(&token, page.next()).await;
        if again.status == StatusCode::OK || Instant::now() > until {
            break again;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(again.ids(), ["e1", "e2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alternative_subject_is_a_header_and_its_link_names_it() {
    let world = World::new(&[]).await;
    let event = |id: &str, alternative: &str| {
        parsed(&format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"https://x.no","type":"t","subject":"/party/5","alternativesubject":"{alternative}","resource":"{RESOURCE}"}}"#
        ))
    };
    world.put([event("a", "/org/1"), event("b", "/org/2"), event("c", "/org/1")]).await;
    let header = [("Altinn-AlternativeSubject", "/org/1")];
    let page = world.get_with(&world.ttd(), &path("0", "&size=1"), &header).await;
    assert_eq!(page.ids(), ["a"]);
    assert!(page.next().ends_with("&alternativesubject=/org/1"), "{}", page.next());
    assert_eq!(world.get(&world.ttd(), page.next()).await.ids(), ["c"]);
    let both = world.get_with(&world.ttd(), &path("0", "&subject=/party/5"), &header).await;
    assert_eq!(both.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_told_what_is_wrong() {
    let world = World::new(&[]).await;
    for (query, expected) in [
        ("?after=0", "resource must be given"),
        ("?after=0&resource=urn:other:x", "must begin with"),
        (&format!("?resource={RESOURCE}"), "after must be given"),
        (&format!("?resource={RESOURCE}&after=0&size=x"), "whole number"),
        (&format!("?resource={RESOURCE}&after=0&type=a%5C"), "backslash"),
        (&format!("?resource={RESOURCE}&after=0&subject=%00"), "control"),
        (&format!("?resource={RESOURCE}&after=0&wait=long"), "seconds"),
    ] {
        let answer = world.get(&world.ttd(), &format!("{GENERIC}{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {answer:?}");
        assert!(answer.body.contains(expected), "{query}: {}", answer.body);
    }
    let good = path("0", "&size=-1");
    assert_eq!(world.get(&world.ttd(), &good).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_media_type_comes_before_the_caller_and_the_caller_before_the_parameters() {
    let world = World::new(&[]).await;
    let status = async |headers: &[(&str, &str)]| world.send(Method::GET, GENERIC, headers, "").await;
    assert_eq!(status(&[("content-type", "text/plain")]).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let nobody = status(&[("content-type", "application/json")]).await;
    assert_eq!((nobody.status, nobody.header("www-authenticate")), (StatusCode::UNAUTHORIZED, "Bearer"));
    assert_eq!(status(&[("authorization", "Bearer ")]).await.status, StatusCode::UNAUTHORIZED);
    let no_scope = world.altinn.enterprise_token(Some("ttd"), "991825827", &[]);
    assert_eq!(world.get(&no_scope, GENERIC).await.status, StatusCode::FORBIDDEN);
    let any_accept = world.get_with(&world.ttd(), &path("0", ""), &[("accept", "application/xml")]).await;
    assert_eq!(any_accept.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_every_feed_says_when_to_come_back() {
    let world = World::without_database().await;
    for path in [
        path("0", ""),
        path("0", "&wait=20"),
        "/events/api/v1/app/ttd/apps-test?after=0".to_owned(),
        "/events/api/v1/app/party?after=0&party=1".to_owned(),
        "/events/instanceevents/ttd/apps-test?from=2026-01-01T00:00:00Z".to_owned(),
        "/events/api/v1/subscriptions".to_owned(),
    ] {
        let scopes = ["altinn:events.subscribe", "altinn:events/ttd/apps-test"];
        let token = world.altinn.enterprise_token(Some("ttd"), "991825827", &scopes);
        let answer = world.get(&token, &path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {answer:?}");
        assert_eq!(answer.header("retry-after"), "2", "{path}");
    }
    assert_eq!(world.send(Method::GET, "/health", &[], "").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_in_a_word() {
    let world = World::new(&[]).await;
    let health = world.send(Method::GET, "/health", &[], "").await;
    assert_eq!((health.status, health.body.as_str()), (StatusCode::OK, "Healthy"));
    assert_eq!(world.get(&world.ttd(), &format!("{GENERIC}?resource={APP}&after=0")).await.body, "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_thousand_refused_events_still_moves_the_cursor() {
    let world = World::new(&[]).await;
    world.altinn.pdp().permit(Rule::new(("urn:altinn:org", "ttd"), &["subscribe"], MIXED).for_party(7));
    world.put((0..1_000).map(|n| generic(MIXED, &format!("e{n}"), 8))).await;
    let end = world.get(&world.ttd(), &format!("{GENERIC}?resource={MIXED}&after=0&size=1000")).await;
    assert!(end.ids().is_empty());
    assert_eq!(world.altinn.pdp().questions(), 1, "a thousand events of one key");
    world.put([generic(MIXED, "late", 7)]).await;
    let scanned = world.metric("query_api_refused_total");
    let cursor = end.header("feed-cursor").to_owned();
    let late = world.get(&world.ttd(), &format!("{GENERIC}?resource={MIXED}&after={cursor}")).await;
    assert_eq!(late.ids(), ["late"]);
    assert!((world.metric("query_api_refused_total") - scanned).abs() < 0.5, "nothing is looked at twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_thousand_permitted_events_costs_at_most_one_decision_a_key() {
    let world = World::new(&[]).await;
    world.put((0..1_000).map(|n| generic(RESOURCE, &format!("e{n}"), n % 40))).await;
    let path = format!("{GENERIC}?resource={RESOURCE}&after=0&size=1000");
    for _ in 0..2 {
        assert_eq!(world.get(&world.ttd(), &path).await.ids().len(), 1_000);
        assert_eq!((world.altinn.pdp().requests(), world.altinn.pdp().questions()), (1, 40));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_the_pdp_answers_only_a_part_of_shows_nothing_unchecked_and_skips_nothing() {
    let world = World::new(&[]).await;
    world.put((0..300).map(|n| generic(RESOURCE, &format!("e{n}"), n))).await;
    // Three requests of a hundred questions, one of which is never answered.
    world.altinn.pdp().set(Mode::HangAfter(2));
    let mut path = format!("{GENERIC}?resource={RESOURCE}&after=0&size=300");
    let mut seen = Vec::new();
    let mut silences = 0;
    while seen.len() < 300 {
        let page = world.get(&world.ttd(), &path).await;
        if page.status == StatusCode::SERVICE_UNAVAILABLE {
            silences += 1;
            assert_eq!(page.header("retry-after"), "2");
            world.altinn.pdp().set(Mode::Answer);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        }
        let ids = page.ids();
        assert!(!ids.is_empty() || page.next().is_empty());
        seen.extend(ids);
        page.next().clone_into(&mut path);
    }
    assert!(silences > 0, "a page that is whole proves nothing");
    assert_eq!(seen, (0..300).map(|n| format!("e{n}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_party_is_one_in_every_spelling_and_its_number_in_no_link() {
    let world = World::new(&[]).await;
    let (person, unit) =
        ("urn:altinn:person:identifier-no:02857010054", "urn:altinn:organization:identifier-no:311783777");
    let numbered = |id: &str, subject: &str, alternative: &str| {
        parsed(&format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"https://x.no","type":"t","subject":"{subject}","alternativesubject":"{alternative}","resource":"{RESOURCE}"}}"#
        ))
    };
    world.put_about("/party/50001337", numbered("of-person", person, "/person/02857010054")).await;
    world.put_about("/party/51000002", numbered("of-unit", unit, "/org/311783777")).await;
    let read = async |query: &str| {
        world.get(&world.ttd(), &format!("{GENERIC}?resource={RESOURCE}&after=0{query}")).await
    };
    for (subject, id) in [
        (person, "of-person"),
        ("/person/02857010054", "of-person"),
        ("party/50001337", "of-person"),
        (unit, "of-unit"),
        ("/organisation/311783777", "of-unit"),
        ("/party/51000002", "of-unit"),
    ] {
        let page = read(&format!("&subject={subject}")).await;
        assert_eq!(page.ids(), [id], "{subject}");
        assert!(!page.next().contains("02857010054"), "{}", page.next());
        assert!(
            world.get(&world.ttd(), page.next()).await.ids().is_empty(),
            "the link goes on where the page ended"
        );
    }
    let nobody = read("&subject=/person/02857010053").await;
    assert_eq!((nobody.status, nobody.body.as_str(), nobody.next()), (StatusCode::OK, "[]", ""));
    for spelling in ["/org/311783777", "/organisation/311783777", unit] {
        let headers = [("Altinn-AlternativeSubject", spelling)];
        let page =
            world.get_with(&world.ttd(), &format!("{GENERIC}?resource={RESOURCE}&after=0"), &headers).await;
        assert_eq!(page.ids(), ["of-unit"], "{spelling}");
        assert!(page.next().contains("alternativesubject=/organisation/311783777"), "{}", page.next());
        assert!(world.get(&world.ttd(), page.next()).await.ids().is_empty());
    }
    let path = format!(
        "{GENERIC}?resource={RESOURCE}&after={}&subject={unit}&wait=25",
        read(&format!("&subject={unit}")).await.header("feed-cursor")
    );
    let waiting = world.ttd();
    let publishing = async {
        world.until("query_api_waiting", 1.0).await;
        world.put_about("/party/51000002", numbered("woken", unit, "/org/311783777")).await;
    };
    let (page, ()) = tokio::join!(world.get(&waiting, &path), publishing);
    assert_eq!(page.ids(), ["woken"], "a reader is woken by the party, not by the spelling");
}
