//! Where a reader goes on: event ids as positions in the reader's own feed.

use event::Event;
use http::StatusCode;

use crate::world::{Answer, GENERIC, RESOURCE, World, generic, parsed};

const OTHER: &str = "urn:altinn:resource:other";
const PARTY: &str = "/events/api/v1/app/party";
const MINE: i64 = 50_001_337;

async fn read(world: &World, after: &str, more: &str) -> Answer {
    world.get(&world.ttd(), &format!("{GENERIC}?resource={RESOURCE}&after={after}{more}")).await
}

fn from_source(id: &str, source: &str, party: i64) -> Event {
    parsed(&format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"https://{source}.example.no/","type":"thing.made","subject":"/party/{party}","resource":"{RESOURCE}"}}"#
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_somebody_else_publishes_moves_no_reader() {
    let world = World::new(&[]).await;
    world.put(["x", "unread"].map(|id| generic(RESOURCE, id, 1))).await;
    world.put([generic(OTHER, "x", 1)]).await;
    assert_eq!(read(&world, "x", "").await.ids(), ["unread"]);
    // The same in one resource: what is about another party is in another feed.
    world.put([from_source("y", "a", 1), from_source("late", "a", 1), from_source("y", "b", 2)]).await;
    assert_eq!(read(&world, "y", "&subject=/party/1").await.ids(), ["late"]);
    assert_eq!(read(&world, "y", "&subject=/party/2").await.ids(), Vec::<String>::new());
    world.put([generic(OTHER, "z", 1), generic(RESOURCE, "z", 1), generic(RESOURCE, "last", 1)]).await;
    assert_eq!(read(&world, "z", "").await.ids(), ["last"], "nor back");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_another_feed_is_answered_as_one_that_nobody_knows() {
    let world = World::new(&[]).await;
    world
        .put([generic(RESOURCE, "mine", 1), generic(OTHER, "theirs", 1), generic(RESOURCE, "of-two", 2)])
        .await;
    for after in ["nobody-knows-it", "theirs"] {
        let gone = read(&world, after, "").await;
        assert_eq!(gone.status, StatusCode::GONE, "{after}");
    }
    let (unknown, outside) = (read(&world, "unknown", "").await, read(&world, "theirs", "").await);
    assert_eq!((unknown.body, unknown.headers), (outside.body, outside.headers));
    assert_eq!(read(&world, "of-two", "&subject=/party/1").await.status, StatusCode::GONE);
    let of_party = world.get(&world.person(), &format!("{PARTY}?after=mine&party={MINE}")).await;
    assert_eq!(of_party.status, StatusCode::GONE, "an event about somebody else");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_another_alternative_subject_is_answered_as_one_that_nobody_knows() {
    let world = World::new(&[]).await;
    let named = |id: &str, alternative: &str| {
        parsed(&format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"https://x.no","type":"t","subject":"/party/1","alternativesubject":"{alternative}","resource":"{RESOURCE}"}}"#
        ))
    };
    world.put([named("mine", "/org/311783777"), named("theirs", "/org/311783776")]).await;
    for (after, status) in
        [("mine", StatusCode::OK), ("theirs", StatusCode::GONE), ("nobody-knows-it", StatusCode::GONE)]
    {
        let path = format!("{GENERIC}?resource={RESOURCE}&after={after}");
        let header = [("Altinn-AlternativeSubject", "/org/311783777")];
        assert_eq!(world.get_with(&world.ttd(), &path, &header).await.status, status, "{after}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_events_with_an_id_the_oldest_is_the_position() {
    let world = World::new(&[]).await;
    world.put((0..20).map(|n| from_source("same", &format!("s{n}"), 1))).await;
    assert_eq!(read(&world, "same", "").await.ids().len(), 19);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_leaves_out_is_a_position_too() {
    let world = World::new(&[]).await;
    world.put(["first", "second"].map(|id| generic(RESOURCE, id, 1))).await;
    let filtered = read(&world, "first", "&type=another").await;
    assert!(filtered.ids().is_empty(), "a type is no part of the position");
    let path = format!("{PARTY}?after=first&party=1&from=2100-01-01T00:00:00Z&source=https://none");
    assert!(world.get(&world.ttd(), &path).await.ids().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_an_id_of_the_feed_is_that_event_whatever_it_looks_like() {
    let world = World::new(&[]).await;
    assert!(read(&world, "1", "").await.ids().is_empty(), "1 is the start where no event has it");
    world.put(["0", "1", "c1.not-a-cursor", "last"].map(|id| generic(RESOURCE, id, 1))).await;
    assert_eq!(read(&world, "0", "").await.ids().len(), 4, "0 is always the start");
    assert_eq!(read(&world, "1", "").await.ids(), ["c1.not-a-cursor", "last"]);
    assert_eq!(read(&world, "1", "&subject=/party/2").await.status, StatusCode::OK, "the start elsewhere");
    assert_eq!(read(&world, "c1.not-a-cursor", "").await.ids(), ["last"]);
    let damaged = read(&world, "c1.nothing", "").await;
    assert_eq!(damaged.status, StatusCode::BAD_REQUEST);
    // A cursor of another feed, published as an id here.
    let cursor = read(&world, "0", "&subject=/party/1").await.header("feed-cursor").to_owned();
    assert_eq!(read(&world, &cursor, "").await.status, StatusCode::BAD_REQUEST);
    world.put([generic(RESOURCE, &cursor, 1), generic(RESOURCE, "after", 1)]).await;
    assert_eq!(read(&world, &cursor, "").await.ids(), ["after"]);
    assert_eq!(
        read(&world, &cursor, "&subject=/party/1").await.ids().len(),
        2,
        "a cursor of this feed counts"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn paging_by_alternative_subject_loses_nothing_with_or_without_the_header() {
    // A page looks at one row: links lead over what is not asked for, too.
    let world = World::new(&[("FEED_SCAN_CHUNKS", "1"), ("FEED_SCAN_ROWS", "1")]).await;
    let event = |id: &str, party: i64, alternative: &str| {
        parsed(&format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"https://x.no","type":"t","subject":"/party/{party}","alternativesubject":"{alternative}","resource":"{RESOURCE}"}}"#
        ))
    };
    for (name, other, ids) in [
        ("/org/311783777", "/org/311783776", ["a", "b", "c", "d"]),
        ("/person/02857010054", "/person/14918520067", ["e", "f", "g", "h"]),
    ] {
        let [first, strange, second, third] = ids;
        world
            .put([
                event(first, 1, name),
                event(strange, 1, other),
                event(second, 2, name),
                event(third, 1, name),
            ])
            .await;
        let header = [("Altinn-AlternativeSubject", name)];
        for headers in [&header[..], &[]] {
            let (mut page, mut seen) = (
                world
                    .get_with(&world.ttd(), &format!("{GENERIC}?resource={RESOURCE}&after=0&size=1"), &header)
                    .await,
                Vec::new(),
            );
            // Until there is an event that a link can name, who reads by a person's number sends the header.
            while page.ids().is_empty() {
                page = world.get_with(&world.ttd(), page.next(), &header).await;
            }
            while !page.next().is_empty() {
                seen.extend(page.ids());
                assert!(!page.next().contains("02857010054"), "{}", page.next());
                page = world.get_with(&world.ttd(), page.next(), headers).await;
                assert_eq!(page.status, StatusCode::OK, "{page:?}");
            }
            assert_eq!(seen, [first, second, third], "{headers:?}");
        }
    }
    let wrong = [("Altinn-AlternativeSubject", "/org/1")];
    let path = |more: &str| format!("{GENERIC}?resource={RESOURCE}&after=0&{more}");
    for query in [
        "alternativesubject=/org/2",
        "alternativesubjectof=1",
        "alternativesubjectof=999",
        "alternativesubject=/person/02857010054",
    ] {
        let answer = world.get_with(&world.ttd(), &path(query), &wrong).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
    let elsewhere = format!("{GENERIC}?resource={OTHER}&after=0&alternativesubjectof=1");
    assert_eq!(world.get(&world.ttd(), &elsewhere).await.status, StatusCode::BAD_REQUEST, "of another feed");
}
