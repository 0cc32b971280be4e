//! A right that is taken away, and input that means harm.

use event::topics;
use kafka_loop::Outgoing;
use local_altinn::{Rule, TokenRequest};
use platform_tests::{
    client::{Client, generic},
    process::Process,
    receiver::Script,
    wait::until,
    world::{ALL, World},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::probe;

const RESOURCE: &str = "urn:altinn:resource:revocable";

fn event(id: &str) -> serde_json::Value {
    let mut event = generic(id, "/party/1");
    event["resource"] = json!(RESOURCE);
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_right_is_effective_within_the_cache_time_at_the_feed_at_match_and_on_a_tier() {
    let mut world = World::new("revoked").await;
    world.set("PERMIT_TTL_MS", "500");
    // The first delay is 5 s: the right is taken away while the delivery waits.
    world.set("RETRY_DELAY_DIVISOR", "2");
    let rights = ["publish", "subscribe"];
    let right = world.altinn.pdp().permit(Rule::new(("urn:altinn:org", "ttd"), &rights, RESOURCE));
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    world.receiver.script("revoked", Script { next: vec![500].into(), usual: 200, ..Script::default() });
    let wish = json!({"endPoint": world.receiver.url("revoked"), "resourceFilter": RESOURCE});
    let id = client.subscribe_with(&wish).await;
    client.validated(id).await;
    probe::changes_are_in_force(&world, &client).await;
    assert_eq!(client.publish(&event("waits")).await.unwrap(), 200);
    until("the delivery waits on a tier", || async {
        let attempts = probe::attempts(&client, id).await;
        if attempts.iter().any(|attempt| attempt["outcome"] == "failed") {
            Ok(())
        } else {
            Err(format!("{attempts:?}"))
        }
    })
    .await;
    let feed = format!("/events/api/v1/events?resource={RESOURCE}&after=0");
    assert_eq!(client.try_page(&feed).await.unwrap().events.len(), 1);

    assert!(world.altinn.pdp().revoke(right));
    until("the feed shows it no more", || async {
        let page = client.try_page(&feed).await.unwrap();
        if page.events.is_empty() { Ok(()) } else { Err(format!("{page:?}")) }
    })
    .await;
    assert_eq!(client.publish(&event("refused")).await.unwrap(), 403);
    let value = event("not-matched").to_string();
    let out = Outgoing {
        topic: topics::EVENTS,
        partition: None,
        key: b"/party/1",
        value: value.as_bytes(),
        headers: &[],
    };
    world.producer().send(out).await.unwrap();
    until("the delivery on the tier is dropped", || async {
        let attempts = probe::attempts(&client, id).await;
        if attempts.iter().any(|attempt| attempt["outcome"] == "dropped") {
            Ok(())
        } else {
            Err(format!("{attempts:?}"))
        }
    })
    .await;
    probe::everything_is_stored(&world).await;
    probe::nothing_is_left_to_push(&world).await;
    let delivered = probe::delivered(&world, "revoked");
    for id in ["waits", "not-matched"] {
        assert!(!delivered.contains_key(id), "{id}: {delivered:?}");
    }
    platform.stop().await;
}

/// When tokens end that do not end in this test.
const FAR: u64 = 4_000_000_000;

/// Signed with the right key, but for the last three, and yet none that counts.
fn hostile_tokens(world: &World) -> Vec<String> {
    let scopes = |count: usize| (0..count).map(|n| format!("s{n}")).collect::<Vec<_>>().join(" ");
    let sign = |claims: serde_json::Value| world.altinn.sign(&claims, None);
    vec![
        sign(json!({"exp": FAR, "urn:altinn:org": "ttd", "scope": scopes(10_000)})),
        sign(json!({"exp": FAR, "urn:altinn:org": "ttd", "scope": {"a": 1}})),
        sign(json!({"exp": "never", "urn:altinn:org": "ttd"})),
        sign(json!({"exp": FAR, "urn:altinn:org": ["ttd", "kve"]})),
        sign(json!({"exp": FAR, "urn:altinn:userid": 1.5e300})),
        sign(json!({"exp": FAR, "urn:altinn:authlevel": -1})),
        sign(json!({"urn:altinn:org": "ttd"})),
        "a.b.c".to_owned(),
        ".".repeat(1_000),
        "A".repeat(60_000),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_input_is_refused_and_never_a_fault_of_ours() {
    let world = World::new("hostile").await;
    let platform = world.start(ALL).await;
    let base = format!("http://{}", platform.address());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let tokens = hostile_tokens(&world);
    let paths = [
        (Method::GET, "/events/api/v1/events?resource=urn:altinn:resource:x&after=0"),
        (Method::POST, "/events/api/v1/events"),
        (Method::POST, "/events/api/v1/subscriptions"),
        (Method::POST, "/events/instanceeventsforinstance/1/a"),
    ];
    for (at, token) in tokens.iter().enumerate() {
        for (method, path) in &paths {
            let request = http.request(method.clone(), format!("{base}{path}")).bearer_auth(token);
            let status = request
                .header("content-type", "application/cloudevents+json")
                .body("{}")
                .send()
                .await
                .unwrap()
                .status();
            assert!(status.is_client_error(), "token {at} at {path}: {status}");
        }
    }
    let good = world.altinn.sign(
        &json!({"exp": FAR, "urn:altinn:org": "ttd", "scope": "altinn:events.publish altinn:events.subscribe"}),
        None,
    );
    let nested = format!(
        r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","resource":"urn:altinn:resource:x","data":{}1{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let entities = format!("<!DOCTYPE a [{}]><a>&x;</a>", r#"<!ENTITY x "y">"#.repeat(1_000));
    for body in [nested.as_str(), entities.as_str(), "\u{0}", r#"{"id":"\ud800"}"#, ""] {
        for (method, path) in &paths[1..3] {
            let request = http.request(method.clone(), format!("{base}{path}")).bearer_auth(&good);
            let status = request
                .header("content-type", "application/cloudevents+json")
                .body(body.to_owned())
                .send()
                .await
                .unwrap()
                .status();
            assert!(status.is_client_error(), "{} at {path}: {status}", body.get(..20).unwrap_or(body));
        }
    }
    for size in [70_000, 500_000] {
        let request =
            http.get(format!("{base}/events/api/v1/subscriptions")).header("x-long", "x".repeat(size));
        // A server may close the connection on a head that it does not want to read.
        if let Ok(answer) = request.send().await {
            assert!(answer.status().is_client_error(), "{size}: {}", answer.status());
        }
    }
    assert_eq!(http.get(format!("{base}/health")).send().await.unwrap().status(), 200);
    platform.stop().await;
}

/// A person of the stand-in's data, and a number that nobody has.
const PERSON: &str = "02857010054";
const NOBODY: &str = "30819230052";

/// What is told to requests that are refused and hold the number in every odd place.
async fn refused_with(client: &Client, number: &str) -> String {
    let publish = |body: String| {
        client.post("/events/api/v1/events").header("content-type", "application/cloudevents+json").body(body)
    };
    let subscribe = |wish: Value| client.post("/events/api/v1/subscriptions").json(&wish);
    let wish = json!({"includeSubunits": number, "endPoint": number, number: [number], "mode": number});
    let foreign = json!({
        "endPoint": "https://example.com/", "resourceFilter": format!("urn:altinn:resource:{number}"),
    });
    let event = json!({"specversion": number, "id": [number], "time": number, number: {}, "type": 1});
    let mut told = String::new();
    for (request, status) in [
        (subscribe(wish), 400),
        (subscribe(foreign), 403),
        (publish(event.to_string()), 400),
        (publish(format!("\"{number}\"")), 400),
        (client.post(&format!("/persons/{number}?{number}=%00")), 404),
        (client.post(&format!("/events/instanceeventsforinstance/1/{number}?{number}=%00")), 400),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        told.push_str(&format!("{:?}", answer.headers()));
        told.push_str(&answer.text().await.unwrap());
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_number_is_in_no_key_link_log_metric_or_refusal() {
    let mut world = World::new("numbers").await;
    world.set("LOG", "debug");
    let mut process = Process::start(&world, ALL).await;
    let client = world.client(process.public);
    let mut told = String::new();
    for (id, subject) in [
        ("by-urn", format!("urn:altinn:person:identifier-no:{PERSON}")),
        ("by-path", format!("/person/{PERSON}")),
        ("unknown", format!("/person/{NOBODY}")),
    ] {
        assert_eq!(client.publish(&generic(id, &subject)).await.unwrap(), 200, "{id}");
    }
    let wish = json!({
        "endPoint": world.receiver.url("numbers"), "resourceFilter": platform_tests::world::RESOURCE,
        "subjectFilter": format!("/person/{PERSON}"),
    });
    let id = client.subscribe_with(&wish).await;
    client.validated(id).await;
    probe::changes_are_in_force(&world, &client).await;
    assert_eq!(client.publish(&generic("pushed", &format!("/person/{PERSON}"))).await.unwrap(), 200);
    until("the event is delivered", || async {
        let delivered = probe::delivered(&world, "numbers");
        if delivered.contains_key("pushed") { Ok(()) } else { Err(format!("{delivered:?}")) }
    })
    .await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let token = world.altinn.enterprise_token(Some("ttd"), "991825827", &["altinn:events.subscribe"]);
    for number in [PERSON, NOBODY] {
        let party = http
            .get(format!("{}/events/api/v1/app/party?after=0&size=1", client.base))
            .header("person", number);
        let resource = platform_tests::world::RESOURCE;
        let named = format!(
            "{}/events/api/v1/events?resource={resource}&after=0&size=1&subject=/person/{number}",
            client.base
        );
        let body = json!({"party": {"personNumber": number}, "fromtime": "2020-01-01T00:00:00Z", "type": 1});
        let seed = http.post(format!("{}/events/instanceeventsforparty", client.base)).json(&body);
        told.push_str(&refused_with(&client, number).await);
        for request in [party, http.get(named), seed] {
            let answer = request.bearer_auth(&token).send().await.unwrap();
            told.push_str(&format!("{:?}", answer.headers()));
            if !answer.status().is_success() {
                told.push_str(&answer.text().await.unwrap());
            }
        }
    }
    told.push_str(
        &http.get(format!("http://{}/metrics", process.admin)).send().await.unwrap().text().await.unwrap(),
    );
    for topic in [topics::EVENTS, topics::DELIVERIES, topics::ATTEMPTS] {
        for record in kafka_loop::whole::read(&world.kafka(), topic).await.unwrap() {
            told.push_str(&String::from_utf8_lossy(&record.key));
            told.push_str(&format!("{:?}", record.headers));
        }
    }
    assert!(process.terminate().await.success());
    let log = process.log();
    assert!(
        log.contains("DEBUG")
            && told.contains("/party/50001337")
            && told.contains("dispatcher_matched_events_total")
    );
    for (what, text) in [("log", log), ("answers, metrics and records", told)] {
        for number in [PERSON, NOBODY] {
            let line = text.lines().find(|line| line.contains(number));
            assert!(line.is_none(), "{what}: {line:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_found_in_the_log_by_its_id() {
    let world = World::new("traced").await;
    let mut process = Process::start(&world, "ingest,query-api").await;
    let client = world.client(process.public);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let wrong = http
        .get(format!("{}/events/api/v1/app/party?size=0", client.base))
        .bearer_auth(world.altinn.enterprise_token(Some("ttd"), "991825827", &[]))
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    let invalid = client.post("/events/api/v1/app").json(&json!({}));
    let invalid = invalid.header("platformaccesstoken", world.altinn.platform_token("ttd", "apps-test"));
    let nowhere = http.put(format!("{}/events/api/v1/events", client.base));
    let mut ids = Vec::new();
    for (request, status) in [(wrong, 400), (invalid, 400), (nowhere, 405)] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        let id = answer.headers()["trace-id"].to_str().unwrap().to_owned();
        let problem: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(problem["traceId"], id.as_str(), "{problem}");
        ids.push(id);
    }
    assert_eq!(ids[0], trace, "the caller's own");
    assert!(process.terminate().await.success());
    let log = process.log();
    for id in ids {
        assert!(log.lines().any(|line| line.contains(&id) && line.contains("refused")), "{id}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_is_read_by_delegation_is_logged_with_consumer_and_supplier() {
    let world = World::new("delegated").await;
    let process = Process::start(&world, "query-api").await;
    let token = TokenRequest::enterprise(None, "991825827", &["altinn:events/ttd/apps-test"])
        .supplied_by("310075728");
    let supplier = Client::new(process.public, world.altinn.token(&token));
    let page = supplier.try_page("/events/instanceevents/ttd/apps-test?after=0").await.unwrap();
    assert_eq!(page.status, 200);
    let log = process.log();
    let line = log.lines().find(|line| line.contains("by delegation")).unwrap_or_default();
    assert!(line.contains("991825827") && line.contains("310075728"), "{log}");
}
