//! A PDP with a fault: what a reader sees while it is broken, or while one policy is.

use http::StatusCode;
use local_altinn::Rule;

use crate::world::{GENERIC, RESOURCE, World, generic, parsed};

const BROKEN: &str = "urn:altinn:resource:broken";

fn path(after: &str) -> String {
    format!("/events/api/v1/app/party?party=7&after={after}")
}

async fn world() -> World {
    world_with(&[]).await
}

async fn world_with(settings: &[(&'static str, &str)]) -> World {
    let world = World::new(settings).await;
    world.altinn.pdp().permit(Rule::new(("urn:altinn:org", "ttd"), &["subscribe"], BROKEN));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn one_broken_policy_holds_no_reader_up() {
    let world = world().await;
    world.altinn.pdp().break_resource("broken");
    let resource = |n: i32| if n % 3 == 1 { BROKEN } else { RESOURCE };
    world.put((0..9).map(|n| generic(resource(n), &format!("e{n}"), 7))).await;
    let page = world.get(&world.ttd(), &path("0")).await;
    assert_eq!(page.ids(), ["e0", "e2", "e3", "e5", "e6", "e8"]);
    let alone = world.get(&world.ttd(), &format!("{GENERIC}?resource={BROKEN}&after=0")).await;
    assert_eq!(
        (alone.ids().len(), alone.header("feed-cursor").is_empty()),
        (0, false),
        "others are answered"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cursor_never_moves_over_what_a_fault_of_the_pdp_hid() {
    let world = world().await;
    world.put([generic(RESOURCE, "e0", 7)]).await;
    let first = world.get(&world.ttd(), &path("0")).await;
    assert_eq!(first.ids(), ["e0"]);
    // The fault begins right after an answer; what is new is of resources about which nothing is remembered.
    world.altinn.pdp().break_all(true);
    world.put([generic(BROKEN, "e1", 7), generic(RESOURCE, "e2", 8), generic(RESOURCE, "e3", 7)]).await;
    let cursor = first.header("feed-cursor");
    let silent = world.get(&world.ttd(), &path(cursor)).await;
    assert_eq!((silent.status, silent.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "2"));
    let again = world.get(&world.ttd(), &path("0")).await;
    assert_eq!(again.ids(), ["e0"], "what is known is shown, and the page stops there");
    world.altinn.pdp().break_all(false);
    for from in [cursor, again.header("feed-cursor")] {
        assert_eq!(world.get(&world.ttd(), &path(from)).await.ids(), ["e1", "e3"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_past_many_events_of_a_broken_policy_also_where_no_refusal_is_remembered() {
    let world = world_with(&[("REFUSAL_TTL_MS", "0")]).await;
    world.altinn.pdp().break_resource("broken");
    world.put([generic(RESOURCE, "first", 7)]).await;
    let mut page = world.get(&world.ttd(), &path("0")).await;
    assert_eq!(page.ids(), ["first"]);
    // Each from another source, so that each is a question of its own.
    world
        .put((0..60).map(|n| {
            parsed(&format!(
                r#"{{"specversion":"1.0","id":"b{n}","source":"https://s{n}.no","type":"t","subject":"/party/7","resource":"{BROKEN}"}}"#
            ))
        }))
        .await;
    world.put([generic(RESOURCE, "last", 7)]).await;
    let mut pages = 0;
    loop {
        page = world.get(&world.ttd(), page.next()).await;
        pages += 1;
        if !page.ids().is_empty() {
            break;
        }
        assert!(!page.next().is_empty() && pages < 60, "{page:?}");
    }
    assert_eq!(page.ids(), ["last"]);
    assert!(pages > 1, "one page that decides all proves nothing");
}
