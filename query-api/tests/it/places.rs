//! Events as places in links and in `after`: they tell nothing to whom may not read them.

use event::Event;
use http::StatusCode;
use local_altinn::{Mode, Rule};

use crate::world::{Answer, GENERIC, World, parsed};

const MIXED: &str = "urn:altinn:resource:mixed";
const PERSON: &str = "/person/02857010054";

/// The test department may read what is about party 7.
async fn world() -> World {
    let world = World::new(&[]).await;
    world.altinn.pdp().permit(Rule::new(("urn:altinn:org", "ttd"), &["subscribe"], MIXED).for_party(7));
    world
}

fn about(id: &str, party: i64) -> Event {
    parsed(&format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"https://s{party}.no","type":"t","subject":"/party/{party}","alternativesubject":"{PERSON}","resource":"{MIXED}"}}"#
    ))
}

async fn read(world: &World, query: &str, header: Option<&str>) -> Answer {
    let headers: Vec<_> = header.into_iter().map(|name| ("Altinn-AlternativeSubject", name)).collect();
    world.get_with(&world.ttd(), &format!("{GENERIC}?resource={MIXED}&{query}"), &headers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_in_a_link_tells_nobody_whom_an_event_is_about() {
    let world = world().await;
    world.put([about("strange", 8), about("mine", 7), about("mine-too", 7)]).await;
    let link = |place: i64| format!("after=0&alternativesubjectof={place}");
    let unknown = read(&world, &link(999), None).await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    for (place, header) in [
        (999, Some(PERSON)),
        (1, None),
        (1, Some(PERSON)),
        (1, Some("/person/14918520067")),
        (2, Some("/person/14918520067")),
    ] {
        let answer = read(&world, &link(place), header).await;
        let (told, expected) = ((answer.status, answer.body), (unknown.status, &unknown.body));
        assert_eq!((told.0, &told.1), expected, "{place} {header:?}");
    }
    for header in [None, Some(PERSON)] {
        assert_eq!(read(&world, &link(2), header).await.ids(), ["mine", "mine-too"], "{header:?}");
    }
    world.put([about("new", 9)]).await;
    world.altinn.pdp().set(Mode::Fail(500));
    assert_eq!(read(&world, &link(4), None).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_an_event_that_may_not_be_read_is_as_unknown_as_any() {
    let world = world().await;
    world.put([about("strange", 8), about("both", 8), about("both", 7), about("last", 7)]).await;
    let (unknown, strange) =
        (read(&world, "after=nobody", None).await, read(&world, "after=strange", None).await);
    assert_eq!(unknown.status, StatusCode::GONE);
    assert_eq!(
        (unknown.status, unknown.body, unknown.headers),
        (strange.status, strange.body, strange.headers)
    );
    assert_eq!(read(&world, "after=both", None).await.ids(), ["last"], "another's event hides none of ours");
    world.put([about("new", 9)]).await;
    world.altinn.pdp().set(Mode::Fail(500));
    assert_eq!(read(&world, "after=new", None).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_holds_a_subject_that_may_be_a_persons_number() {
    let world = world().await;
    let subject = "urn:altinn:ssn:02857010054";
    let resource = crate::world::RESOURCE;
    world
        .put([parsed(&format!(
            r#"{{"specversion":"1.0","id":"e","source":"https://x.no/12345678901","type":"t","subject":"{subject}","resource":"{resource}"}}"#
        ))])
        .await;
    let of_subject = format!("{GENERIC}?resource={resource}&subject={subject}");
    let page = world.get(&world.ttd(), &format!("{of_subject}&after=0")).await;
    assert_eq!((page.ids(), page.next()), (vec!["e".to_owned()], ""));
    let rest = world.get(&world.ttd(), &format!("{of_subject}&after={}", page.header("feed-cursor"))).await;
    assert!(rest.ids().is_empty(), "the cursor goes on");
    let of_all = format!("{GENERIC}?resource={resource}&after=0&source=https://x.no/12345678901");
    let page = world.get(&world.ttd(), &of_all).await;
    assert!(page.next().ends_with("&source=https://x.no/12345678901"), "{}", page.next());
}
