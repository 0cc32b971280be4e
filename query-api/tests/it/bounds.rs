//! What one caller may have at once, and that it takes nothing from others.

use std::time::Instant;

use futures::future::join_all;
use http::StatusCode;
use local_altinn::Mode;

use crate::world::{Answer, GENERIC, PATIENCE, RESOURCE, World, generic, parsed};

const OWN: &str = "/events/api/v1/app/party?after=0&party=50001337";

fn about(party: i64) -> String {
    format!("{GENERIC}?resource={RESOURCE}&after=0&subject=/party/{party}")
}

fn is_busy(answer: &Answer) -> bool {
    let is_429 = answer.status == StatusCode::TOO_MANY_REQUESTS;
    assert!(
        !is_429 || (answer.header("retry-after") == "1" && answer.json()["code"] == "caller-busy"),
        "{answer:?}"
    );
    is_429
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "it did not come to pass that {what}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_may_have_so_many_reads_in_hand_and_others_go_on() {
    let world = World::new(&[("READS_PER_CALLER", "2")]).await;
    world.put((1..=2).map(|party| generic(RESOURCE, &format!("e{party}"), party))).await;
    let (ttd, person) = (world.ttd(), world.person());
    world.altinn.pdp().set(Mode::Hang);
    let (first, second) = (about(1), about(2));
    let third = async {
        until("two reads hang", || world.altinn.pdp().requests() == 2).await;
        world.altinn.pdp().set(Mode::Answer);
        let paths = [&first, "/events/api/v1/subscriptions", "/events/api/v1/subscriptions/1/attempts", OWN];
        let answers = join_all(paths.map(|path| world.get(&ttd, path))).await;
        assert!(answers.iter().all(is_busy), "{answers:?}");
        assert_eq!(world.get(&person, OWN).await.status, StatusCode::OK);
        assert!(world.metric("query_api_busy_callers_total") > 3.5);
    };
    let hanging = async { tokio::join!(world.get(&ttd, &first), world.get(&ttd, &second)) };
    let (hung, ()) = tokio::join!(hanging, third);
    assert_eq!(
        (hung.0.status, hung.1.status),
        (StatusCode::SERVICE_UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE)
    );
    assert_eq!(world.get(&ttd, &first).await.ids(), ["e1"], "its turns come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_may_come_so_often_and_others_are_not_counted_with_it() {
    // So many in hand that only the pace can be too much.
    let world = World::new(&[("READS_PER_SECOND_PER_CALLER", "1"), ("READS_PER_CALLER", "1000")]).await;
    let ttd = world.ttd();
    let answers = join_all((0..100).map(|party| {
        let (world, ttd) = (&world, &ttd);
        async move { world.get(ttd, &about(party)).await }
    }))
    .await;
    assert!(answers.iter().any(is_busy) && answers.iter().any(|answer| answer.status == StatusCode::OK));
    assert_eq!(world.get(&world.person(), OWN).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_may_have_so_many_questions_under_way_and_what_is_remembered_is_free() {
    let world = World::new(&[]).await;
    world.put((0..1_200).map(|n| generic(RESOURCE, &format!("e{n}"), n))).await;
    let (ttd, other) =
        (world.ttd(), world.altinn.enterprise_token(None, "311783777", &["altinn:events.subscribe"]));
    let page = |after: &str| format!("{GENERIC}?resource={RESOURCE}&after={after}&size=600");
    assert_eq!(world.get(&ttd, &about(1)).await.ids(), ["e1"]);
    world.altinn.pdp().set(Mode::Hang);
    let (all, rest) = (page("0"), page("e1"));
    let more = async {
        until("six hundred questions are under way", || world.altinn.pdp().requests() == 7).await;
        assert!(is_busy(&world.get(&ttd, &rest).await));
        assert_eq!(world.get(&ttd, &about(1)).await.ids(), ["e1"]);
        world.altinn.pdp().set(Mode::Answer);
        assert_eq!(world.get(&other, &all).await.status, StatusCode::OK);
    };
    let (hung, ()) = tokio::join!(world.get(&ttd, &all), more);
    assert_eq!(hung.status, StatusCode::SERVICE_UNAVAILABLE, "the PDP gave no answer");
}

/// Reads when the caller's turn has come: who waits has a place before it has given its turn back.
async fn in_turn(world: &World, token: &str, path: &str) -> Answer {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = world.get(token, path).await;
        if !is_busy(&answer) {
            return answer;
        }
        assert!(Instant::now() < until, "no turn came");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_event_takes_none_of_its_callers_turns() {
    let world = World::new(&[("READS_PER_CALLER", "1")]).await;
    let (ttd, path) = (world.ttd(), format!("{GENERIC}?resource={RESOURCE}&after=0&wait=25"));
    let meanwhile = async {
        world.until("query_api_waiting", 2.0).await;
        assert!(in_turn(&world, &ttd, &about(1)).await.ids().is_empty());
        world.put([generic(RESOURCE, "e", 1)]).await;
    };
    let waiting = async {
        let first = world.get(&ttd, &path);
        let second = async {
            world.until("query_api_waiting", 1.0).await;
            in_turn(&world, &ttd, &path).await
        };
        tokio::join!(first, second)
    };
    let (read, ()) = tokio::join!(waiting, meanwhile);
    assert_eq!((read.0.ids(), read.1.ids()), (vec!["e".to_owned()], vec!["e".to_owned()]));
}

/// An event of sixty kilobytes.
fn heavy(id: usize) -> event::Event {
    let data = "x".repeat(60_000);
    parsed(&format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"https://x.no","type":"t","subject":"/party/1","resource":"{RESOURCE}","data":"{data}"}}"#
    ))
}

const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_at_most_four_mebibytes_and_the_next_one_goes_on() {
    let world = World::new(&[]).await;
    world.put((0..100).map(heavy)).await;
    for more in ["", "&type=t", "&subject=/party/1", "&subject=/party/1&type=t"] {
        let mut next = format!("{GENERIC}?resource={RESOURCE}&after=0&size=1000{more}");
        let mut seen = Vec::new();
        while !next.is_empty() {
            let page = world.get(&world.ttd(), &next).await;
            assert!(page.body.len() <= PAGE_BYTES_MAX, "{} bytes", page.body.len());
            seen.extend(page.ids());
            next = page.next().to_owned();
        }
        assert_eq!(seen, (0..100).map(|id| id.to_string()).collect::<Vec<_>>(), "{more}");
    }
}

/// An answer whose body is not read.
async fn unread(world: &World, token: &str, path: &str) -> axum::response::Response {
    let request = http::Request::builder().uri(path).header("authorization", format!("Bearer {token}"));
    let request = request.body(axum::body::Body::empty()).unwrap();
    let unread = tower::ServiceExt::oneshot(world.router.clone(), request).await.unwrap();
    assert_eq!(unread.status(), StatusCode::OK);
    unread
}

/// Another caller, who may not see these events.
fn other(world: &World) -> String {
    world.altinn.enterprise_token(None, "311783777", &["altinn:events.subscribe"])
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_at_once_are_bounded_in_bytes_until_their_readers_have_them() {
    let world = World::new(&[("FEED_PAGES_BYTES", "6000000")]).await;
    world.put((0..60).map(heavy)).await;
    let (path, other) = (format!("{GENERIC}?resource={RESOURCE}&after=0&size=1000"), other(&world));
    let unread = unread(&world, &world.ttd(), &path).await;
    let refused = world.get(&other, &path).await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    assert_eq!(refused.json()["code"], "too-many-pages");
    drop(unread);
    assert_eq!(world.get(&other, &path).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_its_answers_takes_no_room_from_others() {
    let world = World::new(&[("FEED_PAGES_BYTES", "40000000")]).await;
    world.put((0..60).map(heavy)).await;
    let path = format!("{GENERIC}?resource={RESOURCE}&after=0&size=1000");
    let unread = unread(&world, &world.ttd(), &path).await;
    assert!(is_busy(&world.get(&world.ttd(), &path).await), "an eighth of the room has no second page");
    assert_eq!(world.get(&other(&world), &path).await.status, StatusCode::OK);
    drop(unread);
    assert_eq!(world.get(&world.ttd(), &path).await.ids().len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_ends_when_the_answer_is_written() {
    let world = World::new(&[("READS_PER_CALLER", "1")]).await;
    world.put([generic(RESOURCE, "e", 1)]).await;
    let unread = unread(&world, &world.ttd(), &about(1)).await;
    assert!(is_busy(&world.get(&world.ttd(), &about(1)).await));
    drop(unread);
    assert_eq!(world.get(&world.ttd(), &about(1)).await.ids(), ["e"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_costs_one_query_a_second_whoever_asks() {
    let world = World::new(&[]).await;
    let started = Instant::now();
    for _ in 0..10 {
        let asking = (0..50).map(|_| world.send(http::Method::GET, "/health", &[], ""));
        let answers = join_all(asking).await;
        assert!(
            answers.iter().all(|answer| (answer.status, answer.body.as_str()) == (StatusCode::OK, "Healthy"))
        );
    }
    let most = started.elapsed().as_secs_f64() + 1.0;
    let asked = world.metric("query_api_health_questions_total");
    assert!(asked >= 1.0 && asked <= most, "{asked} questions in {most} seconds");
}
