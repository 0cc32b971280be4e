//! Subscriptions and what comes to their webhooks.

use std::collections::BTreeSet;

use event::address::AddressPolicy;
use local_altinn::Reply;
use platform_tests::{
    client::{Client, generic},
    receiver::Script,
    wait::until,
    world::{ALL, RESOURCE, World},
};
use serde_json::{Value, json};

use crate::probe;

const APP: &str = "urn:altinn:resource:app_ttd_apps-test";
const INSTANCE: &str = "instances/50001337/7f20ad9e-4a75-4be4-a4d7-2f4b4e2a5c7b";

/// Subscribes an endpoint of this name with these filters.
async fn subscribe(world: &World, client: &Client, name: &str, mut filters: Value) -> i64 {
    filters["endPoint"] = world.receiver.url(name).into();
    let id = client.subscribe_with(&filters).await;
    client.validated(id).await;
    id
}

fn with(mut event: Value, members: Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        event[name.as_str()] = value.clone();
    }
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn each_subscription_gets_what_its_filters_let_through_and_nothing_else() {
    let world = World::new("filters").await;
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    let deleted = "no.altinn.example.deleted";
    let created = "no.altinn.example.created";
    let app_source = "https://ttd.apps.altinn.no/ttd/apps-test";
    let unit = "urn:altinn:organization:identifier-no:991825827";
    let expected = [
        (
            "all",
            json!({"resourceFilter": RESOURCE}),
            vec!["seven", "seven-deleted", "eight", "by-number", "by-party"],
        ),
        ("unit", json!({"resourceFilter": RESOURCE, "subjectFilter": unit}), vec!["by-number", "by-party"]),
        (
            "subject",
            json!({"resourceFilter": RESOURCE, "subjectFilter": "party/7"}),
            vec!["seven", "seven-deleted"],
        ),
        ("type", json!({"resourceFilter": RESOURCE, "typeFilter": deleted}), vec!["seven-deleted"]),
        (
            "both",
            json!({"resourceFilter": RESOURCE, "subjectFilter": "/party/7", "typeFilter": created}),
            vec!["seven"],
        ),
        ("prefix", json!({"resourceFilter": RESOURCE, "typeFilter": "no.altinn.example"}), vec![]),
        ("app", json!({"resourceFilter": APP}), vec!["of-the-app", "from-elsewhere"]),
        ("source", json!({"sourceFilter": app_source}), vec!["of-the-app"]),
    ];
    for (name, filters, _) in &expected {
        let id = subscribe(&world, &client, name, filters.clone()).await;
        if *name == "unit" {
            let path = format!("/events/api/v1/subscriptions/{id}");
            let shown: Value = client.get(&path).send().await.unwrap().json().await.unwrap();
            assert_eq!(shown["subjectFilter"], unit, "as it was sent");
        }
    }
    probe::changes_are_in_force(&world, &client).await;
    let of_app = |id: &str, source: String| {
        with(generic(id, "/party/50001337"), json!({"resource": APP, "source": source}))
    };
    for event in [
        generic("seven", "/party/7"),
        with(generic("seven-deleted", "party/7"), json!({"type": deleted})),
        generic("eight", "/party/8"),
        generic("by-number", unit),
        generic("by-party", "/party/50000001"),
        of_app("of-the-app", format!("{app_source}/{INSTANCE}")),
        of_app("from-elsewhere", format!("https://elsewhere.example.no/ttd/apps-test/{INSTANCE}")),
    ] {
        assert_eq!(client.publish(&event).await.unwrap(), 200, "{event}");
    }
    probe::nothing_is_left_to_push(&world).await;
    for (name, filters, ids) in expected {
        let got = probe::delivered(&world, name);
        let ids = ids.into_iter().map(|id| (id.to_owned(), 1)).collect();
        assert_eq!(got, ids, "{name}: {filters}");
    }
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_is_what_was_published_byte_for_byte() {
    let world = World::new("bytes").await;
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    let id = client.subscribe_and_wait(&world.receiver.url("bytes")).await;
    assert_eq!(world.receiver.validations("bytes"), 1, "the validation comes before any event");
    assert!(world.receiver.events("bytes").is_empty());
    probe::changes_are_in_force(&world, &client).await;
    let text = format!(
        r#"{{ "data" : {{"b": 0.10, "a":12345678901234567890123,"t":"\u00e6 < & +"}},
        "time":"2026-11-23T12:00:00.1234567+01:00", "subject":"party/1","flag":true,"count":-7,
        "id":"exact æøå","source":"/things/1","type":"t","specversion":"1.0","resource":"{RESOURCE}" }}"#
    );
    let request = client.post("/events/api/v1/events").header("content-type", "application/cloudevents+json");
    let answer = request.body(text.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    let received = until("the event is delivered", || async {
        let events = world.receiver.events("bytes");
        let event = events.into_iter().find(|request| request.event_id() == "exact æøå");
        event.ok_or_else(|| "it is not".to_owned())
    })
    .await;
    assert_eq!(std::str::from_utf8(&received.body).unwrap(), text);
    let header = |name: &str| received.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("content-type").unwrap(), "application/json; charset=utf-8");
    let delivery = header("webhook-id").unwrap();
    assert!(delivery.len() == 32 && delivery.bytes().all(|byte| byte.is_ascii_hexdigit()), "{delivery}");
    assert!(header("webhook-timestamp").unwrap().parse::<u64>().is_ok());
    assert_eq!(header("authorization"), None, "nobody's token goes out");
    let attempt = until("the delivery is in the log", || async {
        let attempts = probe::attempts(&client, id).await;
        attempts.into_iter().find(|attempt| attempt["delivery"] == *delivery).ok_or_else(|| "not".to_owned())
    })
    .await;
    assert_eq!((&attempt["outcome"], &attempt["eventId"]), (&json!("delivered"), &json!("exact æøå")));
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_does_not_pass_its_validation_gets_no_events_until_it_does() {
    let mut world = World::new("unvalidated").await;
    world.set("VALIDATION_AGAIN_MS", "200");
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    let hook = world.altinn.webhook("unvalidated");
    hook.always(Reply::status(500));
    let id = client.subscribe(&hook.url).await;
    until("the validation was tried twice", || async {
        let count = hook.count();
        if count > 1 { Ok(()) } else { Err(format!("{count} times")) }
    })
    .await;
    probe::changes_are_in_force(&world, &client).await;
    assert_eq!(client.publish(&generic("too-early", "/party/1")).await.unwrap(), 200);
    probe::nothing_is_left_to_push(&world).await;
    hook.always(Reply::status(200));
    client.validated(id).await;
    probe::changes_are_in_force(&world, &client).await;
    assert_eq!(client.publish(&generic("in-time", "/party/1")).await.unwrap(), 200);
    let ids = || {
        let all = hook.requests().into_iter();
        let events = all.filter(|request| request.json()["type"] != "platform.events.validatesubscription");
        let ids = events.map(|request| request.json()["id"].as_str().unwrap_or_default().to_owned());
        ids.filter(|id| !id.starts_with("canary-")).collect::<BTreeSet<String>>()
    };
    until("an event comes", || async { if ids().is_empty() { Err("none".to_owned()) } else { Ok(()) } })
        .await;
    assert_eq!(ids(), BTreeSet::from(["in-time".to_owned()]));
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_says_that_its_endpoint_is_overloaded_also_after_a_restart() {
    let mut world = World::new("overloaded").await;
    for (name, value) in
        [("RETRY_DELAY_DIVISOR", "5"), ("PUSH_IN_FLIGHT_PER_ENDPOINT", "2"), ("PUSH_QUEUE_PER_ENDPOINT", "4")]
    {
        world.set(name, value);
    }
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    let takes = std::time::Duration::from_millis(200);
    world.receiver.script("overloaded", Script { takes, ..Script::default() });
    let id = client.subscribe_and_wait(&world.receiver.url("overloaded")).await;
    probe::changes_are_in_force(&world, &client).await;
    let batch: Vec<Value> = (0..250).map(|n| generic(&format!("{n}"), "/party/1")).collect();
    assert_eq!(client.publish_batch(&batch).await.status(), 200);
    let waits = overloaded(&client, id, true).await;
    assert!(waits["backlog"].as_i64().unwrap() > 0 && waits["backlogSeconds"].is_u64(), "{waits}");
    platform.stop().await;
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    let waits = overloaded(&client, id, true).await;
    assert!(waits["backlog"].as_i64().unwrap() > 0, "{waits}");
    until("everything is delivered", || async {
        let count = probe::delivered(&world, "overloaded").len();
        if count == 250 { Ok(()) } else { Err(format!("{count} of 250")) }
    })
    .await;
    let done = overloaded(&client, id, false).await;
    assert_eq!((done.get("backlog"), done.get("backlogSeconds")), (None, None));
    let list: Value = client.get("/events/api/v1/subscriptions").send().await.unwrap().json().await.unwrap();
    assert!(list["subscriptions"].as_array().unwrap().iter().all(|one| one["overloaded"] == false));
    platform.stop().await;
}

/// The subscription, once it says so.
async fn overloaded(client: &Client, id: i64, is_so: bool) -> Value {
    until("the subscription says whether its endpoint is overloaded", || async {
        let answer = client.get(&format!("/events/api/v1/subscriptions/{id}")).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        if body["overloaded"] == is_so { Ok(body) } else { Err(body.to_string()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_subscription_gets_nothing_more() {
    let world = World::new("deleted").await;
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    let id = client.subscribe_and_wait(&world.receiver.url("deleted")).await;
    probe::changes_are_in_force(&world, &client).await;
    assert_eq!(client.publish(&generic("before", "/party/1")).await.unwrap(), 200);
    probe::nothing_is_left_to_push(&world).await;
    let path = format!("/events/api/v1/subscriptions/{id}");
    let answer = client.delete(&path).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.content_length()), (200, Some(0)));
    let is_in_force = |answer: reqwest::Response| answer.headers()["in-force"] == "true";
    if !is_in_force(answer) {
        until("the deletion is in force", || async {
            let answer = client.get(&path).send().await.unwrap();
            if is_in_force(answer) { Ok(()) } else { Err("it is not".to_owned()) }
        })
        .await;
    }
    assert_eq!(client.get(&path).send().await.unwrap().status(), 404);
    assert_eq!(client.delete(&path).send().await.unwrap().status(), 404);
    assert_eq!(client.publish(&generic("after", "/party/1")).await.unwrap(), 200);
    probe::nothing_is_left_to_push(&world).await;
    let got: Vec<String> = probe::delivered(&world, "deleted").into_keys().collect();
    assert_eq!(got, ["before"]);
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_not_public_are_refused_when_a_subscription_is_made() {
    let mut world = World::new("addresses").await;
    world.set("ALLOW_LOOPBACK_WEBHOOKS", "false");
    let platform = world.start("ingest,query-api").await;
    let client = world.client(platform.address());
    for endpoint in [
        "http://example.com/hook",
        "https://127.0.0.1/hook",
        "https://localhost/hook",
        "https://[::1]/hook",
        "https://[::ffff:10.0.0.1]/hook",
        "https://10.1.2.3/hook",
        "https://192.168.1.1/hook",
        "https://172.16.0.1/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/hook",
        "https://0.0.0.0/hook",
        "https://0x7f000001/hook",
        "https://2130706433/hook",
        "https://0177.0.0.1/hook",
        "https://[fd00::1]/hook",
        "https://[fe80::1]/hook",
        "ftp://example.com/hook",
        "/hook",
        "hook",
        "",
    ] {
        let body = json!({"endPoint": endpoint, "resourceFilter": RESOURCE});
        let answer = client.post("/events/api/v1/subscriptions").json(&body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 400, "{endpoint}: {text}");
        assert!(text.contains("endpoint"), "{endpoint}: {text}");
    }
    let list: Value = client.get("/events/api/v1/subscriptions").send().await.unwrap().json().await.unwrap();
    assert_eq!(list["count"], 0);
    assert!(!AddressPolicy::default().allow_loopback, "nobody gets there by forgetting a setting");
    platform.stop().await;
}
