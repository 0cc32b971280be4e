//! Who acts for many, and who is nobody: lists of parties, one party by its number, one instance without a login.

use event::{Event, Sequence};
use http::{Method, StatusCode};
use local_altinn::Rule;
use serde_json::{Value, json};

use crate::world::{APP, Answer, RESOURCE, World, generic, of_app, parsed};

const PARTIES: &str = "/events/api/v1/app/party";
const FOR_PARTY: &str = "/events/instanceeventsforparty";
const FOR_INSTANCE: &str = "/events/instanceeventsforinstance";
/// Clients of the accountant of the local Altinn, and somebody who is none.
const CLIENTS: [i64; 2] = [51_000_002, 51_000_005];
const STRANGER: i64 = 50_001_338;
const GUID: &str = "6fb3f738-6800-4f29-9f3e-1c66862656cd";

fn accountant(world: &World) -> String {
    world.altinn.enterprise_token(None, "313810135", &[])
}

fn created(id: &str, party: i64) -> Event {
    of_app(id, party, "app.instance.created", "2026-05-01T00:00:00Z")
}

async fn post(world: &World, token: Option<&str>, path: &str, body: &Value) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    world.send(Method::POST, path, &headers, body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accountant_reads_the_events_of_all_clients_at_once_and_nobody_elses() {
    let world = World::new(&[]).await;
    let parties = [CLIENTS[0], STRANGER, CLIENTS[1]];
    for n in 0..9 {
        world.put([created(&format!("e{n}"), parties[n % 3])]).await;
    }
    let theirs = ["e0", "e2", "e3", "e5", "e6", "e8"];
    let token = accountant(&world);
    let list = format!("{},{STRANGER},{}", CLIENTS[0], CLIENTS[1]);
    assert_eq!(world.get(&token, &format!("{PARTIES}?after=0&party={list}")).await.ids(), theirs);
    let repeated = format!("party={}&party={}&party={STRANGER}", CLIENTS[1], CLIENTS[0]);
    assert_eq!(world.get(&token, &format!("{PARTIES}?after=0&{repeated}")).await.ids(), theirs);
    let body = json!({ "parties": parties });
    let mut page = post(&world, Some(&token), &format!("{PARTIES}?after=0&size=4"), &body).await;
    let mut seen = page.ids();
    while !page.next().is_empty() {
        page = post(&world, Some(&token), page.next(), &body).await;
        seen.extend(page.ids());
    }
    assert_eq!(seen, theirs, "pages follow each other with the same body");
    let other_body = json!({ "parties": [STRANGER] });
    let cursor = format!("{PARTIES}?after={}", page.header("feed-cursor"));
    let moved = post(&world, Some(&token), &cursor, &other_body).await;
    assert_eq!(moved.status, StatusCode::BAD_REQUEST, "a cursor belongs to its list");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_party_feed_shows_other_resources_events_only_with_the_scope_of_the_generic_feed() {
    let world = World::new(&[]).await;
    world.put([created("of-app", 1), generic(RESOURCE, "generic", 1)]).await;
    let with = |scopes: &[&str]| world.altinn.enterprise_token(Some("ttd"), "991825827", scopes);
    let (scope, none) = (with(&["altinn:events.subscribe"]), with(&[]));
    let path = format!("{PARTIES}?after=0&party=1");
    assert_eq!(world.get(&scope, &path).await.ids(), ["of-app", "generic"]);
    assert_eq!(world.get(&none, &path).await.ids(), ["of-app"]);
    let body = json!({ "party": { "organisationNumber": "311783777" }, "fromtime": "2020-01-01T00:00:00Z" });
    world.put([created("theirs", CLIENTS[0]), generic(RESOURCE, "other", CLIENTS[0])]).await;
    assert_eq!(post(&world, Some(&none), FOR_PARTY, &body).await.ids(), ["theirs"]);
    assert_eq!(post(&world, Some(&scope), FOR_PARTY, &body).await.ids(), ["theirs", "other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_parties_are_read_at_once_and_more_are_told_the_bound() {
    let world = World::new(&[]).await;
    world.put([created("far", CLIENTS[1]), created("near", CLIENTS[0])]).await;
    let token = accountant(&world);
    let mut parties: Vec<i64> = (1..=4_999).chain([CLIENTS[0]]).collect();
    let page =
        post(&world, Some(&token), &format!("{PARTIES}?after=0"), &json!({ "parties": parties })).await;
    assert_eq!(page.ids(), ["near"]);
    let listed = parties.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    assert_eq!(world.get(&token, &format!("{PARTIES}?after=0&party={listed}")).await.ids(), ["near"]);
    parties.push(CLIENTS[1]);
    let refused =
        post(&world, Some(&token), &format!("{PARTIES}?after=0"), &json!({ "parties": parties })).await;
    assert!(refused.body.contains("may name 5000 parties"), "{refused:?}");
    for (path, body, expected) in [
        ("?after=0&wait=1", json!({ "parties": parties[..101] }), "with 100 parties at most"),
        ("?after=0", json!({ "parties": [] }), "party or unit or"),
        ("?after=0", json!({ "parties": ["x"] }), "body has not the expected shape at line 1"),
        ("", json!({ "parties": [1] }), "from or after"),
    ] {
        let refused = post(&world, Some(&token), &format!("{PARTIES}{path}"), &body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(refused.body.contains(expected), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_several_parties_is_woken_by_each() {
    let world = World::new(&[]).await;
    let token = accountant(&world);
    let body = json!({ "parties": CLIENTS });
    let mut after = "0".to_owned();
    for (n, client) in CLIENTS.iter().enumerate() {
        let path = format!("{PARTIES}?after={after}&wait=25");
        let waiting = post(&world, Some(&token), &path, &body);
        let publishing = async {
            world.until("query_api_waiting", 1.0).await;
            world.put([created(&format!("e{n}"), *client)]).await;
        };
        let (page, ()) = tokio::join!(waiting, publishing);
        assert_eq!(page.ids(), [format!("e{n}")]);
        page.header("feed-cursor").clone_into(&mut after);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seeds_party_feed_names_the_party_by_number_in_the_body() {
    let world = World::new(&[]).await;
    world.put([created("one", CLIENTS[0]), generic(RESOURCE, "other", CLIENTS[0])]).await;
    world.put([created("two", CLIENTS[0]), created("hers", 50_001_337)]).await;
    let rows = world.store.rows_between(Sequence(0), Sequence(i64::MAX), 10).await.unwrap();
    let second = rows[2].registered.to_rfc3339();
    let token = accountant(&world);
    let of_client = json!({ "organisationNumber": "311783777" });
    let ask = async |token: &str, body: Value| post(&world, Some(token), FOR_PARTY, &body).await;
    let all = json!({ "appId": "ttd/apps-test", "party": of_client, "fromtime": "2020-01-01T00:00:00Z" });
    assert_eq!(ask(&token, all.clone()).await.ids(), ["one", "two"]);
    let late = json!({ "party": of_client, "fromtime": second, "type": "app.%" });
    assert_eq!(ask(&token, late).await.ids(), ["two"], "the registration counts");
    let own = json!({ "party": { "personNumber": "02857010054" }, "fromtime": "2020-01-01T00:00:00Z" });
    assert_eq!(ask(&world.person(), own.clone()).await.ids(), ["hers"]);
    assert!(ask(&token, own).await.ids().is_empty(), "an accountant of others");
    let first = post(&world, Some(&token), &format!("{FOR_PARTY}?size=1"), &all).await;
    assert_eq!(
        (first.ids(), post(&world, Some(&token), first.next(), &all).await.ids()),
        (vec!["one".into()], vec!["two".into()])
    );
    assert!(!first.next().contains("311783777"), "a number is never in an address");
    for (body, status) in [
        (json!({ "party": of_client }), StatusCode::BAD_REQUEST),
        (json!({ "party": {}, "fromtime": "2020-01-01T00:00:00Z" }), StatusCode::BAD_REQUEST),
        (
            json!({ "party": of_client, "appId": "ttd", "fromtime": "2020-01-01T00:00:00Z" }),
            StatusCode::BAD_REQUEST,
        ),
        (json!({ "party": of_client, "fromtime": "yesterday" }), StatusCode::BAD_REQUEST),
        (
            json!({ "party": { "personNumber": "02857010053" }, "fromtime": "2020-01-01T00:00:00Z" }),
            StatusCode::NOT_FOUND,
        ),
    ] {
        let answer = ask(&token, body.clone()).await;
        assert_eq!(answer.status, status, "{body} {answer:?}");
        assert!(!answer.body.contains("0285701005"), "a person's number is not echoed: {answer:?}");
    }
}

const HOLDER: i64 = 50_001_337;

/// Two events of an instance, and between them one of another instance and one of another resource.
async fn with_an_instance() -> World {
    let world = World::new(&[("FEED_SCAN_ROWS", "1")]).await;
    let another = json!({
        "specversion": "1.0", "id": "another", "type": "app.instance.created", "resource": APP,
        "source": format!("https://ttd.apps.altinn.no/ttd/apps-test/instances/{HOLDER}/another"),
        "subject": format!("/party/{HOLDER}"), "resourceinstance": format!("{HOLDER}/another"),
    });
    world.put([created("one", HOLDER), generic(RESOURCE, "other", HOLDER)]).await;
    world.put([parsed(&another.to_string()), created("two", HOLDER)]).await;
    world
}

async fn read_instance(world: &World, token: Option<&str>, rest: &str) -> Answer {
    post(world, token, &format!("{FOR_INSTANCE}/{rest}"), &json!({})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_not_read_without_a_login_where_the_policy_does_not_permit_it() {
    let world = with_an_instance().await;
    let instance = format!("{HOLDER}/{GUID}");
    let places = ["", "?after=0", "?after=one", "?after=two", "?after=nobody-knows-it", "?after=c1.x"];
    let of_instance = places.iter().map(|after| format!("{instance}{after}"));
    for rest in of_instance.chain([format!("{HOLDER}/unknown"), format!("{HOLDER}/unknown?after=0")]) {
        let refused = read_instance(&world, None, &rest).await;
        assert_eq!((refused.status, refused.body.as_str()), (StatusCode::UNAUTHORIZED, ""), "{rest}");
    }
    let mine = format!("{HOLDER}/{GUID}");
    assert_eq!(read_instance(&world, Some(&world.person()), &mine).await.ids(), ["one", "two"]);
    assert_eq!(read_instance(&world, Some("x.y.z"), &mine).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_read_without_a_login_where_the_policy_permits_it() {
    let world = with_an_instance().await;
    world.altinn.pdp().permit(Rule::new(("urn:altinn:anonymous", "true"), &["read"], APP));
    let page = read_instance(&world, None, &format!("{HOLDER}/{GUID}")).await;
    assert_eq!(page.ids(), ["one", "two"]);
    let encoded = read_instance(&world, None, &format!("{HOLDER}%2F{GUID}?after=0")).await;
    assert_eq!(encoded.ids(), ["one", "two"]);
    let end = format!("{HOLDER}/{GUID}?after={}&wait=30", page.header("feed-cursor"));
    assert!(read_instance(&world, None, &end).await.ids().is_empty(), "nobody waits at the end");
    for outside in ["another", "nobody-knows-it"] {
        let gone = read_instance(&world, None, &format!("{HOLDER}/{GUID}?after={outside}")).await;
        assert_eq!(gone.status, StatusCode::GONE, "{outside}");
    }
    for after in ["", "?after=0", "?after=one", "?after=nobody-knows-it", "?after=c1.x"] {
        let unknown = read_instance(&world, None, &format!("{HOLDER}/unknown{after}")).await;
        assert_eq!((unknown.status, unknown.body.as_str()), (StatusCode::UNAUTHORIZED, ""), "{after}");
    }
    assert_eq!(read_instance(&world, None, "nonsense").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_may_come_without_a_token_so_often_a_minute() {
    let world = World::new(&[]).await;
    let path = format!("{FOR_INSTANCE}/1/{GUID}");
    for _ in 0..60 {
        assert_eq!(post(&world, None, &path, &json!({})).await.status, StatusCode::UNAUTHORIZED);
    }
    let headers = [("x-forwarded-for", "198.51.100.7")];
    let late = world.send(Method::POST, &path, &headers, "").await;
    assert_eq!(late.status, StatusCode::TOO_MANY_REQUESTS, "forwarding headers from strangers are ignored");
    assert_eq!(late.header("retry-after"), "60");
    assert_eq!(post(&world, Some(&world.person()), &path, &json!({})).await.status, StatusCode::OK);
}
