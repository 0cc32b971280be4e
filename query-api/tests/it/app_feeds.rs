//! The app feeds of the contract (§1.4) and of the seed document.

use event::Sequence;
use http::StatusCode;
use local_altinn::Mode;

use crate::world::{APP, GENERIC, RESOURCE, World, generic, of_app};

const ORG: &str = "/events/api/v1/app/ttd/apps-test";
const PARTY: &str = "/events/api/v1/app/party";
const SEED: &str = "/events/instanceevents/ttd/apps-test";
const MINE: i64 = 50_001_337;

fn created(id: &str, party: i64, time: &str) -> event::Event {
    of_app(id, party, "app.instance.created", time)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_beyond_the_largest_is_capped_and_told() {
    let world = World::new(&[]).await;
    world.put([created("a", MINE, "2026-01-01T00:00:00Z")]).await;
    for path in [ORG, PARTY, GENERIC] {
        let told = async |size: i64| {
            let about = format!("party={MINE}&resource={APP}&after=0&size={size}");
            let answer = world.get(&world.ttd(), &format!("{path}?{about}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
            answer.header("feed-size-max").to_owned()
        };
        assert_eq!((told(1_000).await, told(1_001).await), (String::new(), "1000".to_owned()), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_refused_with_all_that_is_wrong_at_once() {
    let world = World::new(&[]).await;
    for (path, names) in [
        (
            "/events/api/v1/app/party?from=2020-01-01&to=x&size=0&unit=1&party=2&wait=x",
            &["from", "to", "size", "unit", "wait"][..],
        ),
        ("/events/api/v1/app/ttd/apps-test?size=0&to=x", &["from", "to", "size"]),
        ("/events/api/v1/events?resource=x&size=y&wait=z", &["resource", "after", "size", "wait"]),
        ("/events/api/v1/app/%ff/apps-test?after=0", &["path"]),
        ("/events/api/v1/subscriptions/%ff", &["path"]),
    ] {
        let answer = world.get(&world.ttd(), path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}: {answer:?}");
        let (errors, detail) = (answer.json()["errors"].clone(), answer.json()["detail"].to_string());
        for name in names {
            assert!(errors.get(name).is_some() && detail.contains(name), "{path} {name}: {answer:?}");
        }
        assert_eq!(errors.as_object().unwrap().len(), names.len(), "{path}: {answer:?}");
    }
    let person = world.get(&world.person(), "/events/api/v1/app/ttd/apps-test?after=0").await;
    assert_eq!((person.status.as_u16(), person.header("www-authenticate")), (401, "Bearer"));
    assert!(person.header("problem-detail").contains("organisation"), "{person:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_org_feed_holds_the_apps_events_and_compares_the_events_own_time() {
    let world = World::new(&[]).await;
    world.put([generic(RESOURCE, "other", 1), created("new", 1, "2026-05-01T00:00:00Z")]).await;
    world.put([created("old", 2, "2026-01-01T00:00:00.1234567Z")]).await;
    let read = async |query: &str| world.get(&world.ttd(), &format!("{ORG}?{query}")).await.ids();
    assert_eq!(read("after=0").await, ["new", "old"]);
    assert_eq!(read("from=2026-02-01T00:00Z").await, ["new"]);
    assert_eq!(read("from=2026-01-01T01:00:00.123456%2B01:00").await, ["new", "old"]);
    assert_eq!(read("after=0&to=2026-02-01T00:00:00%2B01:00").await, ["old"]);
    assert_eq!(read("after=0&type=APP.%25&party=2").await, ["old"], "types compare without case");
    assert_eq!(read("after=0&type=app.deleted").await, Vec::<String>::new());
    let page = world.get(&world.ttd(), &format!("{ORG}?from=2026-01-01T00:00:00%2B01:00&size=1")).await;
    assert!(page.next().contains("&from=2026-01-01T00:00:00%2B01:00&size=1"), "{}", page.next());
    assert_eq!(world.get(&world.ttd(), page.next()).await.ids(), ["old"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_reads_the_events_of_the_own_party_and_of_no_other() {
    let world = World::new(&[]).await;
    world
        .put([
            created("mine", MINE, "2026-05-01T00:00:00Z"),
            created("yours", 50_001_338, "2026-05-01T00:00:00Z"),
        ])
        .await;
    let token = world.person();
    assert_eq!(world.get(&token, &format!("{PARTY}?after=0&party={MINE}")).await.ids(), ["mine"]);
    let by_number = [("person", "02857010054")];
    assert_eq!(world.get_with(&token, &format!("{PARTY}?after=0"), &by_number).await.ids(), ["mine"]);
    let other = world.get(&token, &format!("{PARTY}?after=0&party=50001338")).await;
    assert!(other.ids().is_empty());
    let source = format!("{PARTY}?after=0&party={MINE}&source=HTTPS://ttd.%25");
    assert_eq!(world.get(&token, &source).await.ids(), ["mine"]);
    let org_feed = world.get(&token, &format!("{ORG}?after=0")).await;
    assert_eq!(org_feed.status, StatusCode::UNAUTHORIZED);
    assert!(org_feed.body.starts_with('"'), "the text is a JSON string: {}", org_feed.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_register_does_not_know_is_404_and_its_silence_is_503() {
    let world = World::new(&[]).await;
    let unknown = world.get(&world.ttd(), &format!("{PARTY}?after=0&unit=999999999")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    world.altinn.register().set(Mode::Fail(500));
    let silent = world.get(&world.ttd(), &format!("{PARTY}?after=0&unit=313500004")).await;
    assert_eq!((silent.status, silent.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checks_of_the_contract_come_in_its_order() {
    let world = World::new(&[]).await;
    let person = [("person", "02857010054")];
    let none: [(&str, &str); 0] = [];
    for (path, headers, expected) in [
        (format!("{ORG}?to=2026-01-01T00:00:00&size=0"), &none[..], "from or after must be given"),
        (
            format!("{ORG}?from=2026-01-01T00:00:00&to=x&size=0"),
            &none,
            "from must be a time with a time zone",
        ),
        (format!("{ORG}?after=0&to=x&size=0"), &none, "to must be a time with a time zone"),
        (format!("{ORG}?after=0&size=0&party=1"), &person, "size must be"),
        (format!("{ORG}?after=0&party=1&unit=1"), &person, "person and party"),
        (format!("{ORG}?after=0&party=1&unit=1"), &none, "unit and party"),
        (format!("{PARTY}?after=0&unit=12345678"), &none, "nine digits"),
        (format!("{PARTY}?after=0&party=0"), &none, "party or unit or"),
        (format!("{PARTY}?after=0&party=abc"), &none, "party is not a whole number"),
        (format!("{ORG}%00?after=0"), &none, "control"),
    ] {
        let answer = world.get_with(&world.ttd(), &path, headers).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}: {answer:?}");
        let problem = answer.json();
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{path}: {problem}");
        assert!(answer.header("content-type").starts_with("application/json"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scope_of_an_app_gives_the_seeds_feed_which_compares_the_registration() {
    let world = World::new(&[]).await;
    for n in 0..9 {
        // Another resource between them, and times that say the opposite of the order.
        world
            .put([
                generic(RESOURCE, &format!("g{n}"), 1),
                created(&format!("a{n}"), 1, &format!("2026-01-0{}T00:00:00Z", 9 - n)),
            ])
            .await;
    }
    let token = world.altinn.enterprise_token(None, "310075728", &["altinn:events/ttd/apps-test"]);
    let rows = world.store.rows_between(Sequence(0), Sequence(i64::MAX), 100).await.unwrap();
    for (n, pair) in rows.chunks(2).enumerate() {
        let from = pair[1].registered.to_rfc3339();
        let page = world.get(&token, &format!("{SEED}?from={from}")).await;
        let expected: Vec<String> = (n..9).map(|n| format!("a{n}")).collect();
        assert_eq!(page.ids(), expected);
        assert_eq!(world.altinn.pdp().requests(), 0, "the scope is the right");
    }
    let later = world.get(&token, &format!("{SEED}?from=2100-01-01T00:00:00Z")).await;
    assert_eq!((later.ids().len(), later.next()), (0, ""));
    assert!(
        world
            .get(&token, &format!("{SEED}?from=2020-01-01T00:00:00Z&eventType=other"))
            .await
            .ids()
            .is_empty()
    );
    let paged = world.get(&token, &format!("{SEED}?from=2020-01-01T00:00:00Z&size=5")).await;
    assert_eq!(world.get(&token, paged.next()).await.ids(), ["a5", "a6", "a7", "a8"]);
    let other = world.altinn.enterprise_token(Some("ttd"), "991825827", &["altinn:events/ttd/other"]);
    assert_eq!(world.get(&other, &format!("{SEED}?after=0")).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn app_feeds_have_a_largest_page() {
    let world = World::new(&[]).await;
    world.put((0..1_001).map(|n| created(&format!("e{n}"), 1, "2026-01-01T00:00:00Z"))).await;
    assert_eq!(world.get(&world.ttd(), &format!("{ORG}?after=0")).await.ids().len(), 50);
    assert_eq!(world.get(&world.ttd(), &format!("{ORG}?after=0&size=100000")).await.ids().len(), 1_000);
}
