//! What is answered 2xx is on the log, in the form that the log has.

use event::Event;
use http::StatusCode;
use kafka_loop::Record;

use crate::world::{APP, BATCH, GENERIC, RESOURCE, SEED, STRUCTURED, World, generic, gzip};

fn value(record: &Record) -> &str {
    std::str::from_utf8(record.value.as_deref().unwrap()).unwrap()
}

fn key(record: &Record) -> &str {
    std::str::from_utf8(&record.key).unwrap()
}

fn header<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    record.header(name).map(|value| std::str::from_utf8(value).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generic_event_is_on_the_log_in_the_publishers_own_text_and_answered_with_nothing() {
    let world = World::new().await;
    let text = format!(
        "{{ \"data\" : {{\"b\": 0.10, \"a\":12345678901234567890123}},\n \"subject\":\"party/1\", \"time\":\"2026-11-23T12:00:00.1234567+01:00\",{}",
        generic("a").trim_start_matches('{')
    );
    let answer = world
        .publish(GENERIC, &world.ttd(), "application/cloudevents+json; charset=UTF-8", text.clone())
        .await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""));
    assert_eq!(answer.header("content-type"), "");
    let records = world.log(1).await;
    assert_eq!(value(&records[0]), text);
    assert_eq!(key(&records[0]), "/party/1");
    assert_eq!(header(&records[0], "content-type"), Some("application/cloudevents+json"));
    assert_eq!(header(&records[0], "subject"), Some("/party/1"), "only inside the subject is canonical");
    assert_eq!(world.metric("ingest_events_total"), 1.0);
    assert_eq!(world.metric("ingest_in_flight_bytes"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_is_on_the_log_as_it_was_before() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.ttd());
    let zstd = |text: &str| zstd::stream::encode_all(text.as_bytes(), 3).unwrap();
    for (encoding, content_type, body) in [
        ("gzip", STRUCTURED, gzip(generic("a").as_bytes())),
        ("zstd", BATCH, zstd(&format!("[{}]", generic("b")))),
    ] {
        let headers =
            [("authorization", &*bearer), ("content-type", content_type), ("content-encoding", encoding)];
        let answer = world.post(GENERIC, &headers, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{encoding} {answer:?}");
    }
    let records = world.log(2).await;
    assert_eq!([value(&records[0]), value(&records[1])], [generic("a"), generic("b")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_readers_would_stumble_over_is_put_right_once_before_the_log() {
    let world = World::new().await;
    let sent = generic("a")
        .replace('{', r#"{"ext":null, "time":"2026-11-23t12:00:00z","data":{"a":null},"data_base64":null,"#);
    let kept = generic("a").replace('{', r#"{ "time":"2026-11-23T12:00:00Z","data":{"a":null},"#);
    let legacy = generic("b").replace(RESOURCE, "urn:altinn:resource:altinnapp.ttd.apps-test");
    let batch = format!("[{sent},{legacy}]");
    let answer = world.publish(GENERIC, &world.ttd(), BATCH, batch).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let records = world.log(2).await;
    assert_eq!(value(&records[0]), kept);
    assert_eq!(value(&records[1]), generic("b").replace(RESOURCE, "urn:altinn:resource:app_ttd_apps-test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_on_the_log_in_its_order() {
    let world = World::new().await;
    let items: Vec<String> = (0..1_000).map(|n| generic(&n.to_string())).collect();
    let answer = world.publish(GENERIC, &world.ttd(), BATCH, format!("[{}]", items.join(","))).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""));
    let records = world.log(1_000).await;
    assert!(records.iter().map(value).eq(items.iter().map(String::as_str)));
    assert!(records.iter().all(|record| header(record, "subject").is_none()));
    let empty = world.publish(GENERIC, &world.ttd(), BATCH, "[]").await;
    assert_eq!(empty.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_in_binary_mode_is_on_the_log_in_structured_form() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.ttd());
    let answer = world
        .post(
            GENERIC,
            &[
                ("authorization", &bearer),
                ("content-type", "application/json"),
                ("ce-specversion", "1.0"),
                ("ce-id", "b-1"),
                ("ce-type", "bl%C3%A5b%C3%A6r"),
                ("ce-source", "/things/1"),
                ("ce-resource", RESOURCE),
                ("ce-subject", "urn:altinn:organization:identifier-no:991825827"),
            ],
            r#"{ "n" : 1.50 }"#,
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let records = world.log(1).await;
    let event = Event::parse(value(&records[0]).as_bytes()).unwrap();
    assert_eq!((event.id(), event.event_type()), ("b-1", "blåbær"));
    assert!(event.json().contains(r#""data":{ "n" : 1.50 }"#), "{}", event.json());
    assert_eq!(event.subject(), Some("urn:altinn:organization:identifier-no:991825827"));
    assert_eq!(key(&records[0]), "/party/50000001", "Register knows the party of the number");
    assert_eq!(header(&records[0], "subject"), Some("/party/50000001"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_event_is_answered_with_its_id_and_subject_and_needs_no_decision() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.altinn.personal_token(1337, 50_001_337, &[]));
    let platform = world.altinn.platform_token("ttd", "apps-test");
    let body = r#"{"source":"https://ttd.apps.altinn.no/ttd/apps-test/instances/50001337/7f20ad9e-4a75-4be4-a4d7-2f4b4e2a5c7b","subject":"/party/50001337","type":"app.instance.created","specversion":"1.0","data":{"dropped":true}}"#;
    let headers = [
        ("authorization", bearer.as_str()),
        ("platformaccesstoken", &platform),
        ("content-type", STRUCTURED),
    ];
    let answer = world.post(APP, &headers, body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    assert_eq!(answer.header("location"), "/party/50001337");
    assert_eq!(world.altinn.pdp().requests(), 0);
    let records = world.log(1).await;
    let event = Event::parse(value(&records[0]).as_bytes()).unwrap();
    assert_eq!(answer.json(), event.id());
    assert_eq!(event.resource(), "urn:altinn:resource:app_ttd_apps-test");
    assert_eq!(event.resource_instance(), Some("50001337/7f20ad9e-4a75-4be4-a4d7-2f4b4e2a5c7b"));
    assert!(event.time().is_some() && !event.json().contains("dropped"));
    assert_eq!(key(&records[0]), "/party/50001337");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_a_persons_number_is_neither_a_location_nor_a_key() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.altinn.personal_token(1337, 50_001_337, &[]));
    let platform = world.altinn.platform_token("ttd", "apps-test");
    let headers = [
        ("authorization", bearer.as_str()),
        ("platformaccesstoken", &platform),
        ("content-type", STRUCTURED),
    ];
    let source =
        "https://ttd.apps.altinn.no/ttd/apps-test/instances/50001337/7f20ad9e-4a75-4be4-a4d7-2f4b4e2a5c7b";
    let subjects = ["urn:altinn:ssn:01010112345", " /person/01010112345"];
    for subject in subjects {
        let body = format!(r#"{{"source":"{source}","subject":"{subject}","type":"t","specversion":"1.0"}}"#);
        let answer = world.post(APP, &headers, body).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::CREATED, ""), "{answer:?}");
    }
    for record in world.log(subjects.len()).await {
        assert_eq!(key(&record), source);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seeds_own_example_is_normalised_and_answered_with_its_id() {
    let world = World::new().await;
    let body = r#"{"source":"ttd/apps-test/50001337/7f20ad9e-4a75-4be4-a4d7-2f4b4e2a5c7b","subject":"party/50001337","type":"instance.created"}"#;
    // A system with the right to publish for the app.
    let answer = world.publish(SEED, &world.ttd(), "application/json", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(answer.header("location"), "/party/50001337");
    // The app itself, whoever uses it; in a batch.
    let bearer = format!("Bearer {}", world.altinn.personal_token(1337, 50_001_337, &[]));
    let platform = world.altinn.platform_token("ttd", "apps-test");
    let headers =
        [("authorization", bearer.as_str()), ("platformaccesstoken", &platform), ("content-type", BATCH)];
    let batch = world.post(SEED, &headers, format!("[{body},{body}]")).await;
    assert_eq!(batch.status, StatusCode::CREATED, "{batch:?}");
    let records = world.log(3).await;
    let events: Vec<Event> =
        records.iter().map(|record| Event::parse(value(record).as_bytes()).unwrap()).collect();
    assert_eq!(answer.json(), events[0].id());
    assert_eq!(batch.json(), serde_json::json!([events[1].id(), events[2].id()]));
    assert_eq!(
        events[0].source(),
        "https://ttd.apps.altinn.no/ttd/apps-test/instances/50001337/7f20ad9e-4a75-4be4-a4d7-2f4b4e2a5c7b"
    );
    assert_eq!(events[0].subject(), Some("/party/50001337"));
    assert!(
        records.iter().all(|record| key(record) == "/party/50001337" && header(record, "subject").is_none())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_with_the_admin_scope_are_not_asked_about() {
    let world = World::new().await;
    let scopes = ["altinn:events.publish", "altinn:events.publish.admin"];
    let token = world.altinn.enterprise_token(Some("digdir"), "991825827", &scopes);
    let person =
        generic("1").replace(r#""id""#, r#""subject":"urn:altinn:person:identifier-no:02857010054","id""#);
    let unknown = generic("2").replace(r#""id""#, r#""subject":"/person/30819230052","id""#);
    let answer = world.publish(GENERIC, &token, BATCH, format!("[{person},{unknown}]")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(world.altinn.pdp().requests(), 0);
    let records = world.log(2).await;
    assert_eq!(key(&records[0]), "/party/50001337");
    assert_eq!(key(&records[1]), "https://ttd.example.no/things/1", "a person's number is never a key");
}
