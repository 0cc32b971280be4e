//! Subscriptions (contract §6).

use std::io::Write;

use event::{DeliveryHeaders, DeliveryKind, Micros, NOT_PERMITTED, SubscriptionId, SubscriptionMark};
use http::{Method, StatusCode};
use local_altinn::Rule;
use serde_json::{Value, json};
use store::{NewSubscription, Refusal};

use crate::world::{APP, Answer, BASE, RESOURCE, World};

const PATH: &str = "/events/api/v1/subscriptions";
const LOCAL: (&str, &str) = ("ALLOW_LOOPBACK_WEBHOOKS", "true");

async fn post(world: &World, token: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json; charset=utf-8")];
    world.send(Method::POST, PATH, &headers, body.to_owned()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_request_is_read_and_another_encoding_is_named() {
    let world = World::with_log(&[]).await;
    let bearer = format!("Bearer {}", world.ttd());
    let body = json!({"endPoint": "https://hooks.example.no/a", "resourceFilter": RESOURCE}).to_string();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body.as_bytes()).unwrap();
    let send = async |path: &str, encoding: &str, body: Vec<u8>| {
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("content-encoding", encoding),
        ];
        world.send(Method::POST, path, &headers, body).await
    };
    let made = send(PATH, "gzip", encoder.finish().unwrap()).await;
    assert_eq!((made.status, &made.json()["resourceFilter"]), (StatusCode::CREATED, &RESOURCE.into()));
    for path in [PATH, "/events/api/v1/app/party", "/events/instanceeventsforparty"] {
        let refused = send(path, "br", b"x".to_vec()).await;
        assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
        assert_eq!(refused.header("accept-encoding"), "gzip, zstd");
        assert!(refused.body.contains("encoding br"), "{refused:?}");
        let broken = send(path, "gzip", b"{}".to_vec()).await;
        assert_eq!((broken.status.as_u16(), &broken.json()["code"]), (400, &"body-broken".into()), "{path}");
    }
}

/// One of the subscriptions of person 1337.
fn of_person(n: usize) -> NewSubscription {
    NewSubscription {
        endpoint: format!("https://example.com/{n}"),
        source_filter: None,
        resource_filter: Some(APP.to_owned()),
        subject_filter: Some("/party/50001337".to_owned()),
        subject_sent: None,
        type_filter: None,
        include_subunits: false,
        consumer: "/user/1337".to_owned(),
        created_by: "/user/1337".to_owned(),
    }
}

fn body_of_person(endpoint: &str) -> String {
    json!({"endPoint": endpoint, "resourceFilter": APP, "subjectFilter": "/party/50001337"}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_whose_events_are_refused_says_so_for_an_hour_and_nothing_of_one_that_had_its_number()
{
    let world = World::with_log(&[]).await;
    let make = async |name: &str| {
        let body =
            json!({"endPoint": format!("https://hooks.example.no/{name}"), "resourceFilter": RESOURCE});
        let made = post(&world, &world.ttd(), &body.to_string()).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        assert!(made.json().get("refused").is_none());
        let id = SubscriptionId(made.json()["id"].as_i64().unwrap());
        (id, world.store.subscription(id).await.unwrap().unwrap().mark)
    };
    let (refused, long_ago, another) = (make("a").await, make("b").await, make("c").await);
    let of_the_lost_one = (another.0, SubscriptionMark(another.1.0 ^ 1));
    let now = Micros::now();
    let minutes_ago = |minutes: i64| Micros(now.0 - minutes * 60_000_000);
    let refusal = |(subscription, mark), minutes| Refusal {
        subscription,
        mark: Some(mark),
        at: minutes_ago(minutes),
        reason: NOT_PERMITTED.to_owned(),
    };
    world
        .store
        .note_refusals(&[
            refusal(refused, 7),
            refusal(refused, 5),
            refusal(long_ago, 61),
            refusal(of_the_lost_one, 5),
        ])
        .await
        .unwrap();
    world.store.note_refusals(&[refusal(refused, 6)]).await.unwrap();
    let shown = world.get(&world.ttd(), &format!("{PATH}/{}", refused.0)).await.json()["refused"].clone();
    assert_eq!(
        (&shown["latest"], &shown["reason"]),
        (&minutes_ago(5).to_rfc3339().into(), &NOT_PERMITTED.into())
    );
    assert!(shown["detail"].as_str().unwrap().contains("policy"), "{shown}");
    for (id, _) in [long_ago, another] {
        assert!(
            world.get(&world.ttd(), &format!("{PATH}/{id}")).await.json().get("refused").is_none(),
            "{id}"
        );
    }
    let listed = world.get(&world.ttd(), PATH).await.json()["subscriptions"].clone();
    let told: Vec<_> = listed.as_array().unwrap().iter().map(|one| one.get("refused").is_some()).collect();
    assert_eq!(told, [true, false, false]);
    world.store.note_refusals(&[refusal(another, 4)]).await.unwrap();
    let shown = world.get(&world.ttd(), &format!("{PATH}/{}", another.0)).await.json()["refused"].clone();
    assert_eq!(shown["latest"], minutes_ago(4).to_rfc3339());
    assert_eq!(world.store.purge_refusals().await.unwrap(), 0, "they stay for a day");
}

async fn delete(world: &World, token: &str, path: &str) -> Answer {
    world.send(Method::DELETE, path, &[("authorization", &format!("Bearer {token}"))], "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_created_once_read_listed_and_deleted_by_its_creator() {
    let world = World::with_log(&[]).await;
    let body = format!(
        r#"{{"endpoint":"https://Hooks.Example.no:443/a?code=%7e1","RESOURCEFILTER":"{RESOURCE}","typeFilter":"","subjectFilter":"party/1","consumer":"/org/evil"}}"#
    );
    let made = post(&world, &world.ttd(), &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.header("content-type"), "application/json; charset=utf-8");
    let shown = made.json();
    let id = shown["id"].as_i64().unwrap();
    let expected = json!({
        "id": id, "endPoint": "https://Hooks.Example.no:443/a?code=%7e1",
        "calls": "https://hooks.example.no/a?code=%7e1", "resourceFilter": RESOURCE,
        "subjectFilter": "/party/1", "includeSubunits": false, "consumer": "/org/ttd", "createdBy": "/org/ttd",
        "created": shown["created"], "validated": false, "inForce": true, "position": 1, "overloaded": false,
    });
    assert_eq!(shown, expected);
    assert_eq!(made.header("location"), format!("{PATH}/{id}"));
    let again = post(&world, &world.ttd(), &body).await;
    assert_eq!((again.status, again.json()), (StatusCode::CREATED, expected.clone()));
    let one = format!("{PATH}/{id}");
    assert_eq!(world.get(&world.ttd(), &one).await.json(), expected);
    let list = world.get(&world.ttd(), PATH).await.json();
    assert_eq!(list, json!({"count": 1, "subscriptions": [expected]}));

    let other = world.person();
    assert_eq!(world.get(&other, PATH).await.json(), json!({"count": 0, "subscriptions": []}));
    assert_eq!(world.get(&other, &one).await.status, StatusCode::FORBIDDEN);
    assert_eq!(delete(&world, &other, &one).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.get(&other, &format!("{one}/attempts")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.get(&world.ttd(), &format!("{PATH}/abc")).await.status, StatusCode::BAD_REQUEST);

    let log = world.get(&world.ttd(), &format!("{one}/attempts")).await.json();
    assert_eq!(log, json!({"attempts": [], "deadLetters": []}));
    let gone = delete(&world, &world.ttd(), &one).await;
    assert_eq!((gone.status, gone.body.as_str()), (StatusCode::OK, ""));
    assert_eq!((gone.header("in-force"), gone.header("position")), ("true", "2"));
    assert_eq!(world.get(&world.ttd(), &one).await.status, StatusCode::NOT_FOUND);
    assert_eq!(delete(&world, &world.ttd(), &one).await.status, StatusCode::NOT_FOUND);
    let stranger = world.get(&other, &one).await;
    assert_eq!((stranger.status, stranger.header("position")), (StatusCode::NOT_FOUND, ""));
    assert!(world.store.subscription_changes(0, 10).await.unwrap().changed[0].deleted, "a tombstone is left");
}

/// A dispatcher that lives for an hour and holds the changes up to `position`.
async fn dispatcher_holds(world: &World, position: i64) {
    let row = format!("('00000000-0000-4000-8000-000000000001', {position}, now() + interval '1 hour')");
    let update = "on conflict (id) do update set position = excluded.position";
    world.store.execute_for_test(format!("insert into dispatcher values {row} {update}")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_force_within_a_second_says_so_with_the_position_to_wait_for() {
    let world = World::new(&[("VALIDATIONS_MAX", "0")]).await;
    dispatcher_holds(&world, 0).await;
    let body = format!(r#"{{"endPoint":"https://example.com/hook","resourceFilter":"{RESOURCE}"}}"#);
    let made = post(&world, &world.ttd(), &body).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!((&made.json()["inForce"], &made.json()["position"]), (&json!(false), &json!(1)));
    let one = format!("{PATH}/{}", made.json()["id"]);
    let in_force = async || {
        let list = world.get(&world.ttd(), PATH).await.json()["subscriptions"][0]["inForce"].clone();
        assert_eq!(world.get(&world.ttd(), &one).await.json()["inForce"], list);
        list
    };
    assert_eq!(in_force().await, json!(false));
    dispatcher_holds(&world, 1).await;
    assert_eq!(in_force().await, json!(true));

    let gone = delete(&world, &world.ttd(), &one).await;
    assert_eq!((gone.status, gone.body.as_str()), (StatusCode::OK, ""));
    assert_eq!((gone.header("in-force"), gone.header("position")), ("false", "2"));
    let shown = world.get(&world.ttd(), &one).await;
    assert_eq!((shown.status, shown.header("in-force")), (StatusCode::NOT_FOUND, "false"));
    dispatcher_holds(&world, 2).await;
    for answer in [world.get(&world.ttd(), &one).await, delete(&world, &world.ttd(), &one).await] {
        assert_eq!((answer.status, answer.header("in-force")), (StatusCode::NOT_FOUND, "true"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_as_soon_as_the_change_is_in_force() {
    let world = World::new(&[("VALIDATIONS_MAX", "0")]).await;
    dispatcher_holds(&world, 0).await;
    // It holds every change the moment that it is made.
    let follows = "create function follow() returns trigger language plpgsql as $$ begin
        update dispatcher set position = new.position; return new; end $$;
        create trigger follows after insert or update on subscription for each row execute function follow()";
    for statement in follows.split_inclusive("$$;") {
        world.store.execute_for_test(statement.to_owned()).await.unwrap();
    }
    let body = format!(r#"{{"endPoint":"https://example.com/hook","resourceFilter":"{RESOURCE}"}}"#);
    let made = post(&world, &world.ttd(), &body).await;
    assert_eq!(made.json()["inForce"], json!(true));
    let gone = delete(&world, &world.ttd(), &format!("{PATH}/{}", made.json()["id"])).await;
    assert_eq!((gone.status, gone.header("in-force")), (StatusCode::OK, "true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn validated_is_shown_when_every_dispatcher_knows_and_stays_when_something_else_changes() {
    let world = World::new(&[("VALIDATIONS_MAX", "0")]).await;
    dispatcher_holds(&world, 1).await;
    let body = format!(r#"{{"endPoint":"https://example.com/hook","resourceFilter":"{RESOURCE}"}}"#);
    let made = post(&world, &world.ttd(), &body).await.json();
    let one = format!("{PATH}/{}", made["id"]);
    let shown = async || {
        let shown = world.get(&world.ttd(), &one).await.json();
        (shown["validated"].as_bool().unwrap(), shown["inForce"].as_bool().unwrap())
    };
    let changes = world.store.subscription_changes(0, 10).await.unwrap();
    world.store.set_validated(changes.changed[0].proof()).await.unwrap();
    assert_eq!(shown().await, (false, false), "a dispatcher does not know it yet");
    dispatcher_holds(&world, 2).await;
    assert_eq!(shown().await, (true, true));
    let paused = "update subscription set paused = true, position = 3";
    world.store.execute_for_test(paused.to_owned()).await.unwrap();
    assert_eq!(shown().await, (true, false), "the validation is in force, the pause is not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_subscription_sends_its_validation() {
    let world = World::with_log(&[LOCAL]).await;
    let body =
        format!(r#"{{"endPoint":"http://127.0.0.1:9/hook?code=secret","resourceFilter":"{RESOURCE}"}}"#);
    let made = post(&world, &world.ttd(), &body).await;
    let id = made.json()["id"].as_i64().unwrap();
    let records = world.deliveries(1).await;
    let value: Value = serde_json::from_slice(records[0].value.as_deref().unwrap()).unwrap();
    assert_eq!(value["source"], format!("{BASE}{PATH}/{id}"));
    assert_eq!(value["type"], "platform.events.validatesubscription");
    assert_eq!(value["specversion"], "1.0");
    assert_eq!(value.as_object().unwrap().len(), 4);
    assert_eq!(records[0].key, b"http://127.0.0.1:9/hook", "the key holds no secret");
    let pairs = records[0].headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    let headers = DeliveryHeaders::from_pairs(pairs).unwrap();
    assert_eq!((headers.subscription.0, headers.kind, headers.attempt), (id, DeliveryKind::Validation, 0));
    let stored = world.store.subscription(headers.subscription).await.unwrap().unwrap();
    assert_eq!((headers.mark, headers.endpoint_revision), (Some(stored.mark), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validation_that_cannot_be_appended_leaves_the_row_and_is_tried_a_bounded_number_of_times() {
    let world = World::new(&[("VALIDATION_AGAIN_MS", "10"), ("VALIDATIONS_MAX", "3")]).await;
    let body = format!(r#"{{"endPoint":"https://example.com/","resourceFilter":"{RESOURCE}"}}"#);
    let made = post(&world, &world.ttd(), &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    // Once when it was made; twice by the sweep.
    world.until("query_api_validations_failed_total", 3.0).await;
    let left = world.store.take_unvalidated(std::time::Duration::ZERO, 3, 10).await.unwrap();
    assert!(left.is_empty(), "it would be tried for ever");
    assert_eq!(world.get(&world.ttd(), PATH).await.json()["count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_subscribed_to_is_refused_in_the_order_of_the_contract() {
    let world = World::new(&[]).await;
    let no_scope = world.altinn.enterprise_token(Some("ttd"), "991825827", &[]);
    let (ttd, person) = (world.ttd(), world.person());
    let endpoint = r#""endPoint":"https://example.com/""#;
    for (token, body, status, expected) in [
        (&ttd, "{".to_owned(), 400, "is not a JSON object"),
        (&ttd, r#"{"endPoint":"https://10.1.2.3/"}"#.to_owned(), 400, "not a public address"),
        (&ttd, r#"{"endPoint":"http://example.com/"}"#.to_owned(), 400, "https"),
        (&ttd, format!(r#"{{{endpoint},"sourceFilter":"x"}}"#), 400, "SourceFilter"),
        (&no_scope, format!(r#"{{{endpoint},"resourceFilter":"nonsense"}}"#), 403, ""),
        (&ttd, format!(r#"{{{endpoint},"resourceFilter":"nonsense"}}"#), 400, "URN"),
        (&person, format!(r#"{{{endpoint},"resourceFilter":"{APP}"}}"#), 400, "subject"),
        (
            &ttd,
            format!(r#"{{{endpoint},"resourceFilter":"{APP}","alternativeSubjectFilter":"/org/999999999"}}"#),
            400,
            "subject",
        ),
        (&ttd, format!(r#"{{{endpoint},"resourceFilter":"{APP}","includeSubunits":true}}"#), 400, "Subunits"),
        (
            &ttd,
            format!(r#"{{{endpoint},"resourceFilter":"{RESOURCE}","sourceFilter":"https://x.no/"}}"#),
            400,
            "Source filter",
        ),
        (
            &ttd,
            format!(r#"{{{endpoint},"resourceFilter":"urn:altinn:resource:kve-notices"}}"#),
            403,
            "urn:altinn:resource:kve-notices",
        ),
        (&person, format!(r#"{{{endpoint},"resourceFilter":"{APP}","subjectFilter":"/party/1"}}"#), 403, APP),
    ] {
        let answer = post(&world, token, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {answer:?}");
        assert!(answer.body.contains(expected), "{body}: {}", answer.body);
    }
    let mine = format!(
        r#"{{{endpoint},"sourceFilter":"https://ttd.apps.altinn.no/ttd/apps-test","alternativeSubjectFilter":"/person/02857010054"}}"#
    );
    let made = post(&world, &person, &mine).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.json()["subjectFilter"], "/party/50001337");
    assert_eq!(
        (made.json()["resourceFilter"].clone(), made.json()["consumer"].clone()),
        (json!(APP), json!("/user/1337"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_tells_all_that_is_wrong_at_once_and_never_what_was_sent() {
    let world = World::new(&[]).await;
    let wrong = r#"{"endPoint":"https:example.com/01010100000","sourceFilter":"x","typeFilter":"app.*","subjectFilter":" "}"#;
    let bare = post(&world, &world.ttd(), wrong).await;
    assert_eq!((bare.status, bare.header("problem-code")), (StatusCode::BAD_REQUEST, "subscription-invalid"));
    let text = bare.json().as_str().unwrap().to_owned();
    assert_eq!(bare.header("problem-detail"), text);
    for part in
        ["mistyped", "SourceFilter", "TypeFilter", "SubjectFilter is blank", "Resource filter is required"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let typed =
        r#"{"includeSubunits":"01010100000","endPoint":7,"secret":"s","TYPEFILTER":"a","typefilter":"b"}"#;
    let problem = post(&world, &world.ttd(), typed).await;
    assert_eq!(problem.header("content-type"), "application/problem+json; charset=utf-8");
    for name in ["includeSubunits", "endPoint", "secret", "typeFilter"] {
        assert!(problem.json()["errors"].get(name).is_some(), "{name}: {problem:?}");
        assert!(problem.json()["detail"].as_str().unwrap().contains(name), "{name}: {problem:?}");
    }
    assert!(!(bare.body + &problem.body).contains("01010100000"));
    let endpoint = r#""endPoint":"https://example.com/""#;
    let resource = "urn:altinn:resource:01010100000";
    world.altinn.pdp().permit(Rule::new(("urn:altinn:org", "kve"), &["subscribe"], resource));
    let foreign = format!(r#"{{{endpoint},"resourceFilter":"{resource}"}}"#);
    let forbidden = post(&world, &world.ttd(), &foreign).await;
    assert_eq!(forbidden.status, StatusCode::FORBIDDEN);
    assert!(!forbidden.body.contains("01010100000"), "{forbidden:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_in_any_case_is_asked_for_in_the_form_that_is_stored() {
    let world = World::new(&[("VALIDATIONS_MAX", "0")]).await;
    for given in [RESOURCE.to_uppercase(), "urn:altinn:resource:altinnapp.TTD.apps-test".to_owned()] {
        let body = format!(r#"{{"endPoint":"https://example.com/","resourceFilter":"{given}"}}"#);
        let made = post(&world, &world.ttd(), &body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        let stored = if given.contains("altinnapp") { APP } else { RESOURCE };
        assert_eq!(made.json()["resourceFilter"], stored);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_type_comes_before_the_caller_and_the_body_is_bounded() {
    let world = World::new(&[]).await;
    let nobody = world.send(Method::POST, PATH, &[("content-type", "text/plain")], "{}").await;
    assert_eq!(nobody.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let nobody = world.send(Method::POST, PATH, &[("content-type", "application/json")], "{}").await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    let large = post(&world, &world.ttd(), &" ".repeat(64 * 1024 + 1)).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_is_shown_as_it_was_sent_where_it_is_an_organisations_number_and_no_persons_number_is_kept()
{
    let world = World::new(&[("VALIDATIONS_MAX", "0")]).await;
    let (ttd, person) = (world.ttd(), world.person());
    let make = async |token: &str, resource: &str, member: &str, sent: &str| {
        let body = json!({"endPoint": "https://example.com/", "resourceFilter": resource, member: sent});
        let made = post(&world, token, &body.to_string()).await;
        assert_eq!(made.status, StatusCode::CREATED, "{sent}: {made:?}");
        (made.json()["id"].as_i64().unwrap(), made.json()["subjectFilter"].as_str().unwrap().to_owned())
    };
    let sent = "urn:altinn:organization:identifier-no:991825827";
    let (first, shown) = make(&ttd, RESOURCE, "subjectFilter", sent).await;
    assert_eq!(shown, sent);
    let listed = world.get(&ttd, PATH).await.json()["subscriptions"][0]["subjectFilter"].clone();
    let read = world.get(&ttd, &format!("{PATH}/{first}")).await.json()["subjectFilter"].clone();
    assert_eq!((listed, read), (json!(sent), json!(sent)));
    // Whoever it means is one: twins are told by the party, and matching goes by it.
    for twin in ["/organisation/991825827", "/party/50000001", "party/50000001", sent] {
        assert_eq!(make(&ttd, RESOURCE, "subjectFilter", twin).await, (first, sent.to_owned()), "{twin}");
    }
    let stored = world.store.subscription(SubscriptionId(first)).await.unwrap().unwrap();
    assert_eq!(stored.subject_filter.as_deref(), Some("/party/50000001"));

    for number in ["/person/02857010054", "urn:altinn:person:identifier-no:02857010054"] {
        let (id, shown) = make(&person, APP, "subjectFilter", number).await;
        assert_eq!(shown, "/party/50001337", "{number}");
        let stored = world.store.subscription(SubscriptionId(id)).await.unwrap().unwrap();
        assert_eq!(stored.subject_sent, None);
        // Nor could it be put there by mistake.
        let put = format!("update subscription set subject_sent = '{number}' where id = {id}");
        assert!(world.store.execute_for_test(put).await.is_err());
    }
    // An alternative subject is looked up and never returned (contract §6.1).
    let (_, shown) = make(&ttd, APP, "alternativeSubjectFilter", "/organisation/991825827").await;
    assert_eq!(shown, "/party/50000001");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_for_requests_at_once_and_twins_are_told_by_what_is_called() {
    let world = World::new(&[("VALIDATIONS_MAX", "0")]).await;
    for n in 0..95 {
        world.store.create_subscription(&of_person(n)).await.unwrap();
    }
    let person = world.person();
    let posts = (95..125).map(|n| {
        let (world, person) = (&world, &person);
        async move { post(world, person, &body_of_person(&format!("https://example.com/{n}"))).await.status }
    });
    let statuses = futures::future::join_all(posts).await;
    let count = |status| statuses.iter().filter(|got| **got == status).count();
    assert_eq!((count(StatusCode::CREATED), count(StatusCode::CONFLICT)), (5, 25), "{statuses:?}");

    // The same call in another spelling is the same subscription, echoed as it was first sent.
    let first = post(&world, &person, &body_of_person("https://example.com/7")).await;
    assert_eq!((first.status, first.json().get("calls")), (StatusCode::CREATED, None), "{first:?}");
    for spelling in ["https://example.com/a/../7", "HTTPS://Example.com:443/7#x", " https://example.com/7 "] {
        let again = post(&world, &person, &body_of_person(spelling)).await;
        assert_eq!((again.status, again.json()), (StatusCode::CREATED, first.json()), "{spelling}");
    }
    let endpoint = "https://example.com/a/../b c?x#top";
    let body = json!({"endPoint": endpoint, "resourceFilter": RESOURCE}).to_string();
    let made = post(&world, &world.ttd(), &body).await.json();
    assert_eq!(made["endPoint"], endpoint);
    assert_eq!(made["calls"], "https://example.com/b%20c?x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_has_a_hundred_subscriptions_at_most_and_may_repeat_each() {
    let world = World::new(&[("VALIDATIONS_MAX", "0")]).await;
    for n in 0..100 {
        let (one, _) = world.store.create_subscription(&of_person(n)).await.unwrap();
        world.store.set_validated(one.proof()).await.unwrap();
    }
    let more = post(&world, &world.person(), &body_of_person("https://example.com/100")).await;
    assert_eq!(more.status, StatusCode::CONFLICT, "{more:?}");
    let repeated = post(&world, &world.person(), &body_of_person("https://example.com/42")).await;
    assert_eq!((repeated.status, repeated.json()["validated"].clone()), (StatusCode::CREATED, json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_by_delegation_sees_no_secret_of_an_endpoint() {
    let world = World::new(&[("VALIDATIONS_MAX", "0")]).await;
    let body = format!(
        r#"{{"endPoint":"https://Hooks.example.no:8443/services/hush?code=hush","resourceFilter":"{RESOURCE}"}}"#
    );
    let made = post(&world, &world.ttd(), &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let one = format!("{PATH}/{}", made.json()["id"]);
    let request = local_altinn::TokenRequest::enterprise(Some("ttd"), "991825827", &[]);
    let supplier = world.altinn.token(&request.supplied_by("310075728"));
    for path in [PATH, &one] {
        let answer = world.get(&supplier, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert!(!answer.body.contains("hush"), "{path}: {}", answer.body);
        assert!(answer.body.contains(r#""endPoint":"https://hooks.example.no:8443""#), "{}", answer.body);
        let whole = world.get(&world.ttd(), path).await.body;
        assert!(whole.contains("https://Hooks.example.no:8443/services/hush?code=hush"), "{whole}");
        assert!(
            whole.contains(r#""calls":"https://hooks.example.no:8443/services/hush?code=hush""#),
            "{whole}"
        );
    }
}
