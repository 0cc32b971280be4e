//! The contract's compatibility traps (altinn-contract §10), and the table of settings, against the running platform.

use std::{fmt::Write as _, fs, path::Path};

use altinn_events::settings::Settings;
use platform_tests::{
    client::{Client, generic},
    wait::until,
    world::{ALL, RESOURCE, World},
};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use service::{env::Env, telemetry::LogSettings};

use crate::probe;

const STRUCTURED: &str = "application/cloudevents+json";
const APP_SOURCE: &str =
    "https://ttd.apps.altinn.no/ttd/apps-test/instances/50001337/7f20ad9e-4a75-4be4-a4d7-2f4b4e2a5c7b";

/// Sends requests with exactly the headers that it is given.
struct Raw {
    http: reqwest::Client,
    base: String,
    ttd: String,
}

impl Raw {
    fn new(world: &World, client: &Client) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let scopes = ["altinn:events.publish", "altinn:events.subscribe", "altinn:serviceowner"];
        let ttd = world.altinn.enterprise_token(Some("ttd"), "991825827", &scopes);
        Self { http, base: client.base.clone(), ttd: format!("Bearer {ttd}") }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: String) -> Response {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.send(Method::GET, path, headers, String::new()).await
    }

    /// GET as the test department.
    async fn ttd_gets(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut all = vec![("authorization", self.ttd.as_str())];
        all.extend(headers);
        self.get(path, &all).await
    }

    /// POST as the test department.
    async fn ttd_posts(&self, path: &str, headers: &[(&str, &str)], body: String) -> Response {
        let mut all = vec![("authorization", self.ttd.as_str())];
        all.extend(headers);
        self.send(Method::POST, path, &all, body).await
    }
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

fn app_event() -> String {
    json!({"source": APP_SOURCE, "subject": "/party/50001337", "type": "app.instance.created", "specversion": "1.0"})
        .to_string()
}

fn generic_feed(rest: &str) -> String {
    format!("/events/api/v1/events?resource={RESOURCE}&after=0{rest}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_paths_and_headers_that_existing_clients_send_are_understood() {
    let mut world = World::new("traps").await;
    world.set("BASE_URI", "https://platform.example.no/");
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    let raw = Raw::new(&world, &client);
    let published = raw
        .ttd_posts(
            "/events/api/v1/events",
            &[("content-type", STRUCTURED)],
            generic("one", "/party/1").to_string(),
        )
        .await;
    // 5: 200 with an empty body.
    assert_eq!(published.status(), 200);
    assert_eq!(published.bytes().await.unwrap(), "");
    probe::reaches_the_feed(&client, "one").await;

    // 1: doubled slashes and one at the end.
    let slashed = generic_feed("").replace("/events/api/v1/events", "//events//api/v1///events/");
    assert_eq!(raw.ttd_gets(&slashed, &[]).await.status(), 200);
    for (path, kind) in [("/events//api/v1/events", STRUCTURED), ("/events/api/v1/events/", STRUCTURED)] {
        let body = generic("one", "/party/1").to_string();
        assert_eq!(raw.ttd_posts(path, &[("content-type", kind)], body).await.status(), 200, "{path}");
    }
    assert_eq!(raw.ttd_gets("/events/api/v1/subscriptions/", &[]).await.status(), 200);
    assert_eq!(raw.get("/health", &[]).await.text().await.unwrap(), "Healthy");

    // 2 and 6: content types.
    for headers in [
        vec![("content-type", "application/json"), ("accept", "application/xml")],
        vec![("content-type", STRUCTURED), ("accept", "text/html")],
        vec![],
    ] {
        let answer = raw.ttd_gets(&generic_feed(""), &headers).await;
        assert_eq!(answer.status(), 200, "{headers:?}");
        assert_eq!(header(&answer, "content-type"), "application/cloudevents+json; charset=utf-8");
    }
    let unrelated = raw.ttd_gets(&generic_feed(""), &[("content-type", "text/plain")]).await;
    assert_eq!(unrelated.status(), 415);

    // 14 and 20: `next` is absolute, from the configured base, with every other parameter.
    let answer = raw.ttd_gets(&generic_feed("&unknown=a%26b&Type=no.altinn.%25&size=1"), &[]).await;
    assert_eq!(answer.status(), 200);
    let next = header(&answer, "next");
    assert!(next.starts_with("https://platform.example.no/events/api/v1/events?after="), "{next}");
    for part in ["&unknown=a%26b", "&Type=no.altinn.%25", "&size=1", "resource=urn:altinn:resource:ttd-"] {
        assert!(next.contains(part), "{part} is not in {next}");
    }
    let path = next.strip_prefix("https://platform.example.no").unwrap();
    let rest: Value = raw.ttd_gets(path, &[]).await.json().await.unwrap();
    assert_eq!(rest, json!([]), "the link leads behind the page");

    // 16: no `time` is legal and stays absent. 18: the same (id, source) is answered the same, and is one row.
    let page: Value = raw.ttd_gets(&generic_feed(""), &[]).await.json().await.unwrap();
    assert_eq!(page, json!([generic("one", "/party/1")]));
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_call_is_told_so_with_the_contracts_statuses() {
    let world = World::new("callers").await;
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    let raw = Raw::new(&world, &client);
    let bearer = |token: String| format!("Bearer {token}");
    let altinn = &world.altinn;
    let no_scope = bearer(altinn.enterprise_token(Some("ttd"), "991825827", &["altinn:serviceowner"]));
    let other_case = bearer(altinn.enterprise_token(
        Some("ttd"),
        "991825827",
        &["ALTINN:Events.Subscribe", "some:other", "altinn:EVENTS.publish"],
    ));
    let person = bearer(altinn.personal_token(1337, 50_001_337, &[]));
    let stranger = bearer(altinn.enterprise_token(Some("digdir"), "310075728", &["altinn:events.publish"]));
    let broken = format!("{}x", raw.ttd);
    let platform_token = altinn.platform_token("ttd", "apps-test");

    // 8 and 15: who is not known is 401, with what is expected; who lacks the scope is 403.
    let reads = [
        generic_feed(""),
        "/events/api/v1/app/ttd/apps-test?after=0".to_owned(),
        "/events/api/v1/app/party?after=0&party=50001337".to_owned(),
        "/events/api/v1/subscriptions".to_owned(),
        "/events/api/v1/subscriptions/1".to_owned(),
        "/events/api/v1/subscriptions/1/attempts".to_owned(),
        "/events/instanceevents/ttd/apps-test".to_owned(),
    ];
    for path in &reads {
        for headers in [&[][..], &[("authorization", "Bearer ")], &[("authorization", &broken)]] {
            let answer = raw.get(path, headers).await;
            assert_eq!(answer.status(), 401, "{path} {headers:?}");
            assert!(header(&answer, "www-authenticate").starts_with("Bearer"), "{path} {headers:?}");
        }
    }
    for (path, kind, body) in [
        ("/events/api/v1/events", STRUCTURED, generic("x", "/party/1").to_string()),
        ("/events/api/v1/app", "application/json", app_event()),
        ("/events", "application/json", app_event()),
        ("/events/api/v1/subscriptions", "application/json", "{}".to_owned()),
    ] {
        let headers = [("content-type", kind), ("platformaccesstoken", platform_token.as_str())];
        let answer = raw.send(Method::POST, path, &headers, body.clone()).await;
        assert_eq!(answer.status(), 401, "{path} without a bearer");
        let headers = [("content-type", kind), ("authorization", "Bearer ")];
        let answer = raw.send(Method::POST, path, &headers, body).await;
        assert_eq!(answer.status(), 401, "{path} with an empty bearer");
    }
    let get = async |path: &str, token: &str| raw.get(path, &[("authorization", token)]).await.status();
    assert_eq!(get(&generic_feed(""), &no_scope).await, 403);
    assert_eq!(get(&generic_feed(""), &other_case).await, 200, "12: scopes compare without case");
    assert_eq!(get("/events/api/v1/app/ttd/apps-test?after=0", &person).await, 401, "not 403");
    assert_eq!(get("/events/api/v1/subscriptions", &person).await, 200);
    let post = async |path: &str, token: &str, kind: &str, platform: Option<&str>, body: String| {
        let mut headers = vec![("authorization", token), ("content-type", kind)];
        headers.extend(platform.map(|token| ("platformaccesstoken", token)));
        raw.send(Method::POST, path, &headers, body).await
    };
    let event = || generic("callers", "/party/1").to_string();
    let publish = "/events/api/v1/events";
    assert_eq!(post(publish, &no_scope, STRUCTURED, None, event()).await.status(), 403);
    assert_eq!(post(publish, &stranger, STRUCTURED, None, event()).await.status(), 403, "the PDP said no");
    assert_eq!(post(publish, &other_case, STRUCTURED, None, event()).await.status(), 200);

    assert_eq!(post(publish, &raw.ttd, "application/json", None, event()).await.status(), 415);
    assert_eq!(post(publish, &raw.ttd, STRUCTURED, None, "{".to_owned()).await.status(), 400);
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_publishes_its_own_events_only() {
    let world = World::new("apps").await;
    let platform = world.start("ingest").await;
    let client = Client::new(platform.address(), String::new());
    let raw = Raw::new(&world, &client);
    let person = format!("Bearer {}", world.altinn.personal_token(1337, 50_001_337, &[]));
    let platform_token = world.altinn.platform_token("ttd", "apps-test");
    let other_app = world.altinn.platform_token("ttd", "other-app");
    let post = async |kind: &str, platform: Option<&str>| {
        let mut headers = vec![("authorization", person.as_str()), ("content-type", kind)];
        headers.extend(platform.map(|token| ("platformaccesstoken", token)));
        raw.send(Method::POST, "/events/api/v1/app", &headers, app_event()).await
    };
    // 5, 8 and 13: app events.
    for kind in ["application/json", STRUCTURED, "application/json; charset=utf-8"] {
        let answer = post(kind, Some(&platform_token)).await;
        assert_eq!(answer.status(), 201, "{kind}");
        assert_eq!(header(&answer, "content-type"), "application/json; charset=utf-8");
        assert_eq!(header(&answer, "location"), "/party/50001337");
        let id = answer.text().await.unwrap();
        assert!(id.starts_with('"') && id.ends_with('"') && id.len() == 38, "{id}");
    }
    assert_eq!(post("application/json", None).await.status(), 403);
    let wrong = post("application/json", Some(&other_app)).await;
    assert_eq!(wrong.status(), 401, "the source is another app's");
    assert!(wrong.text().await.unwrap().starts_with('"'));
    assert_eq!(post("text/plain", Some(&platform_token)).await.status(), 415);
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_answered_as_the_contract_says() {
    let world = World::new("subcontract").await;
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    let raw = Raw::new(&world, &client);
    let post = async |body: Value| {
        let kind = [("content-type", "application/json")];
        raw.ttd_posts("/events/api/v1/subscriptions", &kind, body.to_string()).await
    };
    // 10: byte for byte. 4: names in any case. 19: what only we may say is ignored.
    let endpoint = format!("{}?code=a%2Fb&X=Y#part", world.receiver.url("Hook"));
    let asked = json!({
        "endpoint": endpoint, "RESOURCEFILTER": RESOURCE, "typefilter": "",
        "consumer": "/org/other", "createdBy": "/org/other", "id": 99, "validated": true,
    });
    let answer = post(asked.clone()).await;
    assert_eq!(answer.status(), 201);
    assert_eq!(header(&answer, "content-type"), "application/json; charset=utf-8");
    let location = header(&answer, "location");
    let created: Value = answer.json().await.unwrap();
    assert_eq!(created["endPoint"], endpoint);
    assert_eq!((&created["consumer"], &created["createdBy"]), (&json!("/org/ttd"), &json!("/org/ttd")));
    assert_eq!((&created["validated"], &created["includeSubunits"]), (&json!(false), &json!(false)));
    assert!(created.as_object().unwrap().values().all(|value| !value.is_null()), "{created}");
    assert!(created.get("typeFilter").is_none());
    let id = created["id"].as_i64().unwrap();

    // 9: the same again.
    let other_case = RESOURCE.replace("ttd-altinn", "TTD-Altinn");
    for body in [asked, json!({"endPoint": endpoint, "resourceFilter": other_case})] {
        let same = post(body).await;
        assert_eq!(same.status(), 201);
        assert_eq!(same.json::<Value>().await.unwrap()["id"], id);
    }
    let list: Value = raw.ttd_gets("/events/api/v1/subscriptions", &[]).await.json().await.unwrap();
    assert_eq!((&list["count"], list["subscriptions"].as_array().unwrap().len()), (&json!(1), 1));

    // 11: validated, at the address as it was given.
    client.validated(id).await;
    assert!(world.receiver.validations("Hook") > 0);
    let shown: Value = raw.ttd_gets(&location, &[]).await.json().await.unwrap();
    assert_eq!((&shown["id"], &shown["validated"]), (&json!(id), &json!(true)));

    // Others' subscriptions, and none.
    let person = format!("Bearer {}", world.altinn.personal_token(1337, 50_001_337, &[]));
    for (path, headers, status) in [
        (location.clone(), [("authorization", person.as_str())], 403),
        (format!("{location}/attempts"), [("authorization", person.as_str())], 403),
        ("/events/api/v1/subscriptions/99999999".to_owned(), [("authorization", raw.ttd.as_str())], 404),
        ("/events/api/v1/subscriptions/abc".to_owned(), [("authorization", raw.ttd.as_str())], 400),
    ] {
        assert_eq!(raw.get(&path, &headers).await.status(), status, "{path}");
    }
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_event_is_in_the_feeds_of_its_app_and_of_its_party() {
    let world = World::new("appfeeds").await;
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    let raw = Raw::new(&world, &client);
    let person = format!("Bearer {}", world.altinn.personal_token(1337, 50_001_337, &[]));
    let platform_token = world.altinn.platform_token("ttd", "apps-test");
    let headers = [
        ("authorization", person.as_str()),
        ("platformaccesstoken", platform_token.as_str()),
        ("content-type", "application/json"),
    ];
    let answer = raw.send(Method::POST, "/events/api/v1/app", &headers, app_event()).await;
    let id: Value = answer.json().await.unwrap();
    for (path, token, more) in [
        ("/events/api/v1/app/ttd/apps-test?after=0", raw.ttd.as_str(), vec![]),
        ("/events/api/v1/app/ttd/apps-test?after=1&type=app.instance.%25", raw.ttd.as_str(), vec![]),
        ("/events/api/v1/app/party?from=2020-01-01T00:00Z&party=50001337", person.as_str(), vec![]),
        // 3: the number of a person is a header.
        ("/events/api/v1/app/party?after=0", person.as_str(), vec![("Person", "02857010054")]),
    ] {
        let mut headers = vec![("authorization", token)];
        headers.extend(more);
        let page = until("the event is in the feed", || async {
            let answer = raw.get(path, &headers).await;
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(header(&answer, "content-type"), "application/cloudevents+json; charset=utf-8");
            let page: Value = answer.json().await.unwrap();
            if page == json!([]) { Err("it is not".to_owned()) } else { Ok(page) }
        })
        .await;
        assert_eq!(page.as_array().unwrap().len(), 1, "{path}");
        assert_eq!((&page[0]["id"], &page[0]["source"]), (&id, &json!(APP_SOURCE)), "{path}");
        assert_eq!(page[0]["resource"], "urn:altinn:resource:app_ttd_apps-test");
        assert_eq!(page[0]["resourceinstance"], "50001337/7f20ad9e-4a75-4be4-a4d7-2f4b4e2a5c7b");
        assert!(page[0]["time"].is_string());
    }
    for path in [
        "/events/api/v1/app/ttd/apps-test",
        "/events/api/v1/app/ttd/apps-test?from=2020-01-01T00:00:00",
        "/events/api/v1/app/ttd/apps-test?after=0&to=2020-01-01T00:00:00",
        "/events/api/v1/app/ttd/apps-test?after=0&size=0",
        "/events/api/v1/app/ttd/apps-test?after=0&party=abc",
        "/events/api/v1/app/party?after=0",
        "/events/api/v1/app/party?after=0&unit=12345678",
        "/events/api/v1/app/party?after=0&unit=991825827&party=1",
    ] {
        let answer = raw.ttd_gets(path, &[]).await;
        assert_eq!(answer.status(), 400, "{path}");
        let problem: Value = answer.json().await.unwrap();
        assert!(problem["detail"].is_string(), "{path}: {problem}");
    }
    let unknown = raw.ttd_gets("/events/api/v1/app/party?after=0&unit=999999999", &[]).await;
    assert_eq!(unknown.status(), 404);
    platform.stop().await;
}

/// The table as it must stand in the docs: names, shapes and defaults as the code has them, what each does as `written` says.
fn settings_table(written: &str) -> String {
    let env = Env::from_pairs([]);
    LogSettings::from_env(&env);
    let Ok(settings) = Settings::from_env(&env) else { panic!("a default is no valid value") };
    let mut text = "# Settings\n\n\
        Environment variables; all of them are read once at start, and all mistakes are reported together (exit code 64).\n\
        An empty variable counts as not set. Names, shapes and defaults are written by a test, which keeps the last column:\n\
        `UPDATE_DOCS=1 cargo test -p platform-tests settings`.\n\n\
        | name | shape | default | what it does, and when to change it |\n|---|---|---|---|\n"
        .to_owned();
    for setting in settings.table {
        let default =
            if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) };
        let says = said_of(written, setting.name);
        writeln!(text, "| `{}` | {} | {default} | {says} |", setting.name, setting.shape).unwrap();
    }
    text
}

/// The last column of a setting's row; empty where there is none yet.
fn said_of<'a>(written: &'a str, name: &str) -> &'a str {
    let row = written.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap_or_default();
    row.trim_end_matches(" |").split(" | ").nth(3).unwrap_or_default()
}

#[test]
fn the_table_of_settings_in_the_docs_is_that_of_the_code_and_says_what_each_does() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    let written = fs::read_to_string(&file).unwrap_or_default();
    let table = settings_table(&written);
    if Env::process().text("UPDATE_DOCS", "") == "1" {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &table).unwrap();
    } else {
        assert!(
            written == table,
            "docs/settings.md is not what the code says; write it anew with UPDATE_DOCS=1"
        );
    }
    let names = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let silent: Vec<&str> = names.filter(|name| said_of(&table, name).len() < 30).collect();
    assert!(silent.is_empty(), "the last column must say what it does, and when to change it: {silent:?}");
}
