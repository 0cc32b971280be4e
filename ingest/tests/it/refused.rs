//! What is refused, how the client reads it, and that nothing of it is on the log.

use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use local_altinn::Mode;

use crate::world::{APP, Answer, BATCH, GENERIC, RESOURCE, SEED, STRUCTURED, World, config, generic, gzip};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_content_type_is_told_before_anybody_asks_who_calls() {
    let world = World::without_log(config()).await;
    for path in [GENERIC, SEED, APP] {
        let answer = world.post(path, &[("content-type", "text/plain")], "x").await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
        assert_eq!(answer.json()["code"], "unsupported-content-type");
    }
    let plain = world.publish(GENERIC, &world.ttd(), "application/json", generic("1")).await;
    assert_eq!(plain.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(world.altinn.openid_requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_the_right_token_read_an_empty_401_or_403() {
    let world = World::without_log(config()).await;
    let no_scope = world.altinn.enterprise_token(Some("ttd"), "991825827", &[]);
    let platform = world.altinn.platform_token("ttd", "apps-test");
    for (path, headers, status) in [
        (GENERIC, vec![], 401),
        (GENERIC, vec![("authorization", "Bearer ".to_owned())], 401),
        (GENERIC, vec![("authorization", "Bearer x".to_owned())], 401),
        (GENERIC, vec![("platformaccesstoken", platform.clone())], 401),
        (GENERIC, vec![("authorization", format!("Bearer {no_scope}"))], 403),
        (SEED, vec![("authorization", format!("Bearer {no_scope}"))], 403),
        (APP, vec![("platformaccesstoken", platform)], 401),
        (APP, vec![("authorization", format!("Bearer {}", world.ttd()))], 403),
    ] {
        let mut all = vec![("content-type", STRUCTURED)];
        all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
        let answer = world.post(path, &all, generic("1")).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (status, ""), "{path} {all:?}");
        let challenge = if status == 401 { "Bearer" } else { "" };
        assert_eq!(answer.header("www-authenticate"), challenge);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_event_is_told_all_at_once() {
    let world = World::without_log(config()).await;
    let answer = world.publish(GENERIC, &world.ttd(), STRUCTURED, r#"{"id":"","type":"t","Bad":1}"#).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.header("content-type"), "application/problem+json; charset=utf-8");
    let told = answer.json()["errors"]["RequestBody"].to_string();
    for part in [
        "id is empty",
        "Bad is not a name",
        "source is missing",
        "specversion is missing",
        "resource is missing",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let batch = format!("[{},{{\"id\":1}}]", generic("1"));
    let answer = world.publish(GENERIC, &world.ttd(), BATCH, batch).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(
        answer.json()["errors"]["RequestBody[1]"].to_string().contains("id is not a string"),
        "{answer:?}"
    );
    assert!(answer.json()["errors"].get("RequestBody[0]").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_number_with_wrong_check_figures_is_refused_and_not_repeated() {
    let world = World::without_log(config()).await;
    let about = |subject: &str| generic("1").replace(r#""id""#, &format!(r#""subject":"{subject}","id""#));
    let wrong = ["/person/02857010053", "urn:altinn:person:identifier-no:02857010053", "/person/0285701005"];
    for subject in wrong {
        let batch = format!("[{},{}]", about("/person/02857010054"), about(subject));
        for (content_type, body) in [(STRUCTURED, about(subject)), (BATCH, batch)] {
            let answer = world.publish(GENERIC, &world.ttd(), content_type, body).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{subject} {answer:?}");
            assert!(
                answer.body.contains("subject names a person by what is no person's number"),
                "{answer:?}"
            );
            assert!(!answer.body.contains("0285701005"), "{answer:?}");
        }
    }
    let said = r#"{"specversion":"1.0","type":"app.made","subject":"/person/02857010053","source":"https://ttd.apps.altinn.no/ttd/apps-test/instances/1/2"}"#;
    let headers = [
        ("authorization", format!("Bearer {}", world.ttd())),
        ("platformaccesstoken", world.altinn.platform_token("ttd", "apps-test")),
        ("content-type", "application/json".to_owned()),
    ];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = world.post(APP, &headers, said).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
    assert_eq!((world.altinn.register().requests(), world.altinn.pdp().requests()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_policy_refuses_its_own_events_and_a_broken_pdp_refuses_none() {
    let world = World::without_log(config()).await;
    let of = |resource: &str| generic("1").replace(RESOURCE, resource);
    let broken = || of("urn:altinn:resource:unknown");
    let publish = async |token: &str, event: String| world.publish(GENERIC, token, STRUCTURED, event).await;
    let first = publish(&world.ttd(), broken()).await;
    assert_eq!(
        (first.status, first.header("retry-after")),
        (StatusCode::SERVICE_UNAVAILABLE, "2"),
        "nobody knows yet"
    );
    let skd = world.altinn.enterprise_token(Some("skd"), "310075728", &["altinn:events.publish"]);
    assert_eq!(publish(&skd, generic("1")).await.status, StatusCode::FORBIDDEN, "an answer");
    assert_eq!(publish(&world.ttd(), broken()).await.status, StatusCode::FORBIDDEN, "others are answered");
    world.altinn.pdp().break_all(true);
    for event in [of("urn:altinn:resource:kve-notices"), generic("1")] {
        let answer = publish(&world.ttd(), event).await;
        assert_eq!(answer.json()["code"], "rights-unknown", "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_over_the_limits_are_413() {
    let world = World::without_log(config()).await;
    let long = |bytes: usize| format!("{{\"data\":\"{}\"}}", "x".repeat(bytes));
    let many = format!("[{}]", vec![generic("1"); 1_001].join(","));
    for (content_type, body, code) in [
        (STRUCTURED, long(65_536), "body-too-large"),
        (BATCH, format!("[{}]", long(1_100_000)), "body-too-large"),
        (BATCH, format!("[{}]", long(65_536)), "event-too-large"),
        (BATCH, many, "batch-too-long"),
    ] {
        let answer = world.publish(GENERIC, &world.ttd(), content_type, body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &code.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoding_that_is_not_read_is_named_and_the_limit_holds_after_decompression() {
    let world = World::without_log(config()).await;
    let bearer = format!("Bearer {}", world.ttd());
    let post = async |path: &str, encoding: &str, body: Vec<u8>| {
        let headers =
            [("authorization", &*bearer), ("content-type", STRUCTURED), ("content-encoding", encoding)];
        world.post(path, &headers, body).await
    };
    for path in [GENERIC, SEED, APP] {
        let answer = post(path, "br", b"x".to_vec()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
        assert_eq!(answer.header("accept-encoding"), "gzip, zstd", "{path}");
        assert_eq!(answer.json()["code"], "unsupported-content-encoding");
        assert!(answer.json()["detail"].to_string().contains("encoding br"), "{answer:?}");
    }
    let bomb = gzip(&vec![b' '; 10_000_000]);
    assert!(bomb.len() < 20_000);
    let answer = post(GENERIC, "gzip", bomb).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (413, &"body-too-large".into()));
    let answer = post(GENERIC, "gzip", b"{}".to_vec()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &"body-broken".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_may_only_publish_for_itself() {
    let world = World::without_log(config()).await;
    let bearer = format!("Bearer {}", world.altinn.personal_token(1337, 50_001_337, &[]));
    let platform = world.altinn.platform_token("ttd", "apps-test");
    let headers = [
        ("authorization", bearer.as_str()),
        ("platformaccesstoken", &platform),
        ("content-type", "application/json"),
    ];
    for source in [
        "https://ttd.apps.altinn.no/ttd/apps-test-2/instances/1/2",
        "https://ttd.apps.altinn.no/skd/apps-test/instances/1/2",
        "https://evil.example/ttd/apps-test/instances/1/2",
        "https://apps.altinn.no.evil.example/ttd/apps-test/instances/1/2",
    ] {
        let body = format!(r#"{{"source":"{source}","subject":"/party/1","type":"t","specversion":"1.0"}}"#);
        let answer = world.post(APP, &headers, body).await;
        assert!(matches!(answer.status.as_u16(), 401 | 400), "{source}: {answer:?}");
        if answer.status == StatusCode::UNAUTHORIZED {
            assert_eq!(answer.json(), "ttd/apps-test may not create events for that source");
        }
        assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    }
    let answer = world.post(APP, &headers, r#"{"Subject":"/party/1"}"#).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    assert!(answer.body.contains("source, subject, type and specversion are mandatory"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_of_the_decision_point_is_403_and_no_answer_is_503() {
    let world = World::without_log(config()).await;
    let foreign = generic("1").replace(RESOURCE, "urn:altinn:resource:kve-notices");
    let answer = world.publish(GENERIC, &world.ttd(), STRUCTURED, foreign.clone()).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::FORBIDDEN, ""));
    let batch = world.publish(GENERIC, &world.ttd(), BATCH, format!("[{},{foreign}]", generic("1"))).await;
    assert_eq!(batch.status, StatusCode::FORBIDDEN);
    assert!(batch.json()["errors"].get("RequestBody[1]").is_some(), "{batch:?}");
    world.altinn.pdp().set(Mode::Fail(500));
    let other = generic("1").replace("things/1", "things/2");
    let answer = world.publish(GENERIC, &world.ttd(), STRUCTURED, other).await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "2"));
    assert_eq!(
        (answer.json()["code"].as_str(), answer.json()["retry"].as_str()),
        (Some("rights-unknown"), Some("safe"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_nobody_can_look_up_now_is_503() {
    let world = World::without_log(config()).await;
    world.altinn.register().set(Mode::Fail(500));
    let event = generic("1").replace(r#""id""#, r#""subject":"/organisation/991825827","id""#);
    // Whose rights are asked about waits for Register there already; who publishes without that, here.
    let admin = ["altinn:events.publish", "altinn:events.publish.admin"];
    let admin = world.altinn.enterprise_token(Some("digdir"), "991825827", &admin);
    for (token, code) in [(world.ttd(), "rights-unknown"), (admin, "party-unknown")] {
        let answer = world.publish(GENERIC, &token, STRUCTURED, event.clone()).await;
        assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "2"));
        assert_eq!(answer.json()["code"], code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_away_is_503_within_its_bound() {
    let world = World::without_log(config()).await;
    let answer = world.publish(GENERIC, &world.ttd(), STRUCTURED, generic("1")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "2"));
    assert_eq!(
        (answer.json()["code"].as_str(), answer.json()["retry"].as_str()),
        (Some("log-unavailable"), Some("safe"))
    );
    assert_eq!(world.metric("ingest_events_total"), 0.0);
    assert_eq!(world.metric("ingest_refused_total"), 1.0);
}

type Chunk = Result<&'static str, std::io::Error>;

/// Asks again until the answer has that status; whoever else is in hand gets its turn in between.
async fn until<F: Future<Output = Answer>>(status: StatusCode, mut ask: impl FnMut() -> F) -> Answer {
    let asking = async {
        loop {
            let answer = ask().await;
            if answer.status == status {
                break answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.expect("the limit is reached")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_at_its_limit_reads_429_and_a_full_house_503() {
    let mut settings = config();
    settings.in_flight_per_publisher = 1;
    settings.in_flight_bytes = 2 * 1024 * 1024;
    settings.body_timeout = Duration::from_secs(60);
    let world = World::without_log(settings).await;
    // A request that stays in hand: its body never comes, and it may be as large as a batch.
    let hanging = || Body::from_stream(futures::stream::pending::<Chunk>());
    let other = world.altinn.enterprise_token(Some("skd"), "310075728", &["altinn:events.publish"]);
    let ttd = world.ttd();
    let mut first = Box::pin(world.publish(GENERIC, &ttd, BATCH, hanging()));
    let mut second = Box::pin(world.publish(GENERIC, &other, BATCH, hanging()));
    // Until the first one has its seat, this one is refused for another reason.
    let one_more = || world.publish(GENERIC, &ttd, STRUCTURED, "{}");
    let limited = tokio::select! {
        _ = &mut first => panic!("the first request ended"),
        answer = until(StatusCode::TOO_MANY_REQUESTS, one_more) => answer,
    };
    assert_eq!((limited.header("retry-after"), limited.json()["retry"].as_str()), ("1", Some("safe")));
    // One that may be as large as a batch finds no room once both are in hand.
    let third = world.altinn.enterprise_token(Some("digdir"), "991825827", &["altinn:events.publish"]);
    let one_more =
        || world.publish(GENERIC, &third, BATCH, Body::from_stream(futures::stream::empty::<Chunk>()));
    let full = tokio::select! {
        _ = &mut first => panic!("the first request ended"),
        _ = &mut second => panic!("the second request ended"),
        answer = until(StatusCode::SERVICE_UNAVAILABLE, one_more) => answer,
    };
    assert_eq!((full.header("retry-after"), full.json()["code"].as_str()), ("1", Some("busy")));
    drop((first, second));
    assert_eq!(world.metric("ingest_in_flight_bytes"), 0.0);
    let again = world.publish(GENERIC, &ttd, STRUCTURED, "{}").await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST, "what went away gave its place back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_at_its_bound_of_bytes_reads_429_and_another_publishes_on() {
    let mut settings = config();
    settings.in_flight_bytes_per_publisher = 2 * 1024 * 1024;
    settings.in_flight_bytes = 3 * 1024 * 1024;
    settings.body_timeout = Duration::from_secs(60);
    let world = World::with(settings).await;
    let hanging = || Body::from_stream(futures::stream::pending::<Chunk>());
    let ttd = world.ttd();
    let mut slow =
        futures::future::join_all([(), ()].map(|()| world.publish(GENERIC, &ttd, BATCH, hanging())));
    let one_more = || world.publish(GENERIC, &ttd, STRUCTURED, "{}");
    let limited = tokio::select! {
        _ = &mut slow => panic!("the slow requests ended"),
        answer = until(StatusCode::TOO_MANY_REQUESTS, one_more) => answer,
    };
    assert_eq!((limited.header("retry-after"), limited.json()["retry"].as_str()), ("1", Some("safe")));
    assert_eq!(limited.json()["code"], "publisher-busy");
    let other = world.altinn.enterprise_token(
        Some("digdir"),
        "991825827",
        &["altinn:events.publish", "altinn:events.publish.admin"],
    );
    let mut well = 0;
    for number in 0..50 {
        // Its length is not told: it weighs what one event may.
        let event: [Result<_, std::io::Error>; 1] = [Ok(generic(&number.to_string()))];
        let body = Body::from_stream(futures::stream::iter(event));
        let answer = tokio::select! {
            _ = &mut slow => panic!("the slow requests ended"),
            answer = world.publish(GENERIC, &other, STRUCTURED, body) => answer,
        };
        well += usize::from(answer.status == StatusCode::OK);
    }
    assert_eq!(well, 50);
    drop(slow);
    assert_eq!(world.metric("ingest_in_flight_bytes"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_publishes_is_known_before_room_is_taken_and_the_body_is_read() {
    let world = World::without_log(config()).await;
    let no_scope = world.altinn.enterprise_token(Some("ttd"), "991825827", &[]);
    for (path, token, status) in [
        (GENERIC, "x", 401),
        (GENERIC, no_scope.as_str(), 403),
        (SEED, "x", 401),
        (SEED, &no_scope, 403),
        (APP, "x", 401),
        (APP, &no_scope, 403),
    ] {
        let never = futures::stream::poll_fn(|_| -> std::task::Poll<Option<Chunk>> { panic!("it is read") });
        let content_type = if path == APP { "application/json" } else { STRUCTURED };
        let answer = world.publish(path, token, content_type, Body::from_stream(never)).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(world.metric("ingest_in_flight_bytes"), 0.0);
    }
}
