//! Every route and every kind of caller: the table in docs/access.md, and that no route is missing in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    time::Duration,
};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{any, delete, get, post},
};
use local_altinn::{LocalAltinn, TokenRequest};
use platform_tests::{
    client::Client,
    process::binary,
    world::{ALL, RESOURCE, World},
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use service::env::Env;

const PERSON: i64 = 50_001_337;
const GUID: &str = "7f20ad9e-4a75-4be4-a4d7-2f4b4e2a5c7b";
pub(crate) const ALL_SCOPES: [&str; 4] = [
    "altinn:events.publish",
    "altinn:events.subscribe",
    "altinn:serviceowner",
    "altinn:events/ttd/apps-test",
];
const START: &str = "<!-- routes and callers -->\n";
const END: &str = "<!-- end of routes and callers -->\n";

/// The kinds of callers, in the order of the columns.
const CALLERS: [&str; 14] = [
    "nobody",
    "expired",
    "wrong key",
    "person",
    "person, by cookie",
    "organisation",
    "service owner without scopes",
    "service owner with scopes",
    "supplier by delegation",
    "system user",
    "app",
    "another app",
    "app, wrong certificate",
    "publishing administrator",
];

/// A route, and a request to it that is right in everything but its caller.
pub(crate) type Row = (Method, &'static str, String, Value);

/// `{id}` in a path is a subscription of the service owner's.
pub(crate) fn routes() -> Vec<Row> {
    let health = (Method::GET, "/health", "/health".to_owned(), Value::Null);
    [publishing(), feeds(), feeds_by_post(), subscriptions(), vec![health]].concat()
}

fn publishing() -> Vec<Row> {
    let row = |path: &'static str, body| (Method::POST, path, path.to_owned(), body);
    let subject = format!("/party/{PERSON}");
    let source = format!("https://ttd.apps.altinn.no/ttd/apps-test/instances/{PERSON}/{GUID}");
    let seed = json!({
        "id": "seed", "source": format!("ttd/apps-test/{PERSON}/{GUID}"), "subject": format!("party/{PERSON}"), "type": "instance.created",
    });
    let generic = json!({
        "specversion": "1.0", "id": "generic", "source": "https://ttd.example.no/1", "type": "t", "subject": subject, "resource": RESOURCE,
    });
    let app =
        json!({"specversion": "1.0", "source": source, "type": "app.instance.created", "subject": subject});
    vec![row("/events", seed), row("/events/api/v1/events", generic), row("/events/api/v1/app", app)]
}

fn feeds() -> Vec<Row> {
    let row = |route, path: &str| (Method::GET, route, path.to_owned(), Value::Null);
    vec![
        row("/events/api/v1/app/{org}/{app}", "/events/api/v1/app/ttd/apps-test?after=0"),
        row("/events/api/v1/app/party", &format!("/events/api/v1/app/party?after=0&party={PERSON}")),
        row("/events/api/v1/events", &format!("/events/api/v1/events?resource={RESOURCE}&after=0")),
        row("/events/instanceevents/{org}/{app}", "/events/instanceevents/ttd/apps-test?after=0"),
    ]
}

fn feeds_by_post() -> Vec<Row> {
    let row = |route, path: &str, body| (Method::POST, route, path.to_owned(), body);
    let by_number = json!({"party": {"personNumber": "02857010054"}, "fromtime": "2020-01-01T00:00:00Z"});
    let instance = "/events/instanceeventsforinstance";
    vec![
        row("/events/api/v1/app/party", "/events/api/v1/app/party?after=0", json!({"parties": [PERSON]})),
        row("/events/instanceeventsforparty", "/events/instanceeventsforparty/", by_number),
        row(
            "/events/instanceeventsforinstance/{party}/{guid}",
            &format!("{instance}/{PERSON}/{GUID}"),
            json!({}),
        ),
        row(
            "/events/instanceeventsforinstance/{instance}",
            &format!("{instance}/{PERSON}%2F{GUID}"),
            json!({}),
        ),
    ]
}

fn subscriptions() -> Vec<Row> {
    let row = |method, path: &'static str, body| (method, path, path.to_owned(), body);
    let (all, one) = ("/events/api/v1/subscriptions", "/events/api/v1/subscriptions/{id}");
    vec![
        row(Method::GET, all, Value::Null),
        row(Method::POST, all, json!({"resourceFilter": RESOURCE})),
        row(Method::GET, one, Value::Null),
        row(Method::DELETE, one, Value::Null),
        row(Method::GET, "/events/api/v1/subscriptions/{id}/attempts", Value::Null),
    ]
}

/// Adds a caller's tokens to a request.
fn as_caller(
    caller: &str,
    request: RequestBuilder,
    altinn: &LocalAltinn,
    other: &LocalAltinn,
) -> RequestBuilder {
    let ttd = |scopes: &[&str]| TokenRequest::enterprise(Some("ttd"), "991825827", scopes);
    let person = altinn.personal_token(1_337, PERSON, &[]);
    let platform = "PlatformAccessToken";
    let bearer = match caller {
        "nobody" => return request,
        "person, by cookie" => return request.header("cookie", format!("AltinnStudioRuntime={person}")),
        "expired" => altinn.token(&ttd(&ALL_SCOPES).ttl(-60)),
        "wrong key" => other.token(&ttd(&ALL_SCOPES)),
        "person" => person,
        "organisation" => altinn.enterprise_token(None, "310075728", &[]),
        "service owner without scopes" => altinn.token(&ttd(&[])),
        "service owner with scopes" => altinn.token(&ttd(&ALL_SCOPES)),
        "supplier by delegation" => altinn.token(&ttd(&ALL_SCOPES).supplied_by("310075728")),
        "system user" => altinn.system_user_token(
            "a1b2c3d4-0000-4000-8000-000000000002",
            "315596688",
            &["altinn:events.subscribe"],
        ),
        "app" => {
            return request.bearer_auth(person).header(platform, altinn.platform_token("ttd", "apps-test"));
        }
        "another app" => {
            return request.bearer_auth(person).header(platform, altinn.platform_token("ttd", "other"));
        }
        "app, wrong certificate" => {
            return request.bearer_auth(person).header(platform, other.platform_token("ttd", "apps-test"));
        }
        "publishing administrator" => altinn.enterprise_token(
            None,
            "310075728",
            &["altinn:events.publish", "altinn:events.publish.admin"],
        ),
        unknown => panic!("{unknown} is no caller"),
    };
    request.bearer_auth(bearer)
}

fn table(rows: &[(String, Vec<u16>)]) -> String {
    let mut text = format!("| route | {} |\n|---|{}\n", CALLERS.join(" | "), "---|".repeat(CALLERS.len()));
    for (route, statuses) in rows {
        let cells: Vec<String> = statuses.iter().map(u16::to_string).collect();
        writeln!(text, "| `{route}` | {} |", cells.join(" | ")).unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_every_kind_of_caller_as_the_table_in_the_docs_says() {
    let mut world = World::new("callers").await;
    world.set("ANONYMOUS_PER_MINUTE", "1000");
    let platform = world.start(ALL).await;
    let other = local_altinn::start(local_altinn::Options::default()).await.unwrap();
    let ttd =
        Client::new(platform.address(), world.altinn.enterprise_token(Some("ttd"), "991825827", &ALL_SCOPES));
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
    let mut rows = Vec::new();
    for (method, route, path, mut body) in routes() {
        let mut statuses = Vec::new();
        for (column, caller) in CALLERS.iter().enumerate() {
            let endpoint = world.altinn.webhook(&format!("hook{column}")).url;
            if route.ends_with("subscriptions") && body.is_object() {
                body["endPoint"] = json!(endpoint);
            }
            let path = if path.contains("{id}") {
                path.replace("{id}", &ttd.subscribe(&endpoint).await.to_string())
            } else {
                path.clone()
            };
            let mut request = http.request(method.clone(), format!("{}{path}", ttd.base));
            if !body.is_null() {
                let of_event = body.get("specversion").is_some();
                let media = if of_event { "application/cloudevents+json" } else { "application/json" };
                request = request.header("content-type", media).body(body.to_string());
            }
            let answer = as_caller(caller, request, &world.altinn, &other).send().await.unwrap();
            statuses.push(answer.status().as_u16());
        }
        rows.push((format!("{method} {route}"), statuses));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/access.md");
    let written = fs::read_to_string(&file).unwrap_or_default();
    let (before, rest) = written.split_once(START).expect("docs/access.md has the mark of the table");
    let (found, after) = rest.split_once(END).expect("docs/access.md has the mark of the table's end");
    let expected = table(&rows);
    if Env::process().text("UPDATE_DOCS", "") == "1" {
        fs::write(&file, format!("{before}{START}{expected}{END}{after}")).unwrap();
    } else {
        assert!(found == expected, "docs/access.md says\n{found}\nand the platform\n{expected}");
    }
    let known: BTreeSet<String> =
        routes().iter().map(|(method, route, ..)| format!("{method} {route}")).collect();
    assert_eq!(
        served(&format!("{:?}", platform.platform().routes)),
        known,
        "a route without a row, or a row without a route"
    );
    let admin = served(&format!("{:?}", platform.platform().admin_routes));
    let own = ["GET /health", "GET /livez", "GET /metrics", "GET /readyz"];
    assert_eq!(admin, own.map(str::to_owned).into(), "the admin port serves whoever reaches it");
    platform.stop().await;
}

/// The routes of a router, read from what axum prints of it. Whatever may answer is one.
fn served(shown: &str) -> BTreeSet<String> {
    let (own, fallback) = shown.split_once("fallback_router: ").unwrap();
    // In these places the facade puts its own answer.
    let is_facades = |(path, _): &(String, String)| path == "/" || path == "/{*__private__axum_fallback}";
    let fallback = of_paths(fallback).into_iter().filter(|route| !is_facades(route));
    of_paths(own).into_iter().chain(fallback).map(|(path, method)| format!("{method} {path}")).collect()
}

/// Paths and methods in `routes: {RouteId(1): MethodRouter { get: Route, head: None, … }, …}, node: Node { paths: {RouteId(1): "/path", …} }`.
fn of_paths(shown: &str) -> Vec<(String, String)> {
    const METHODS: [&str; 9] =
        ["get", "head", "delete", "options", "patch", "post", "put", "trace", "connect"];
    let by_id = |text: &str| -> BTreeMap<String, String> {
        let entries = text.split("RouteId(").skip(1).map(|entry| entry.split_once("): ").unwrap());
        entries.map(|(id, entry)| (id.to_owned(), entry.to_owned())).collect()
    };
    let (endpoints, paths) = shown.split_once("node: Node { paths: ").unwrap();
    let (endpoints, mut found) = (by_id(endpoints), Vec::new());
    for (id, path) in by_id(paths) {
        let (path, endpoint) = (path.split('"').nth(1).unwrap(), &endpoints[&id]);
        let methods = METHODS.iter().filter(|method| !endpoint.contains(&format!("{method}: None")));
        found.extend(methods.map(|method| (path.to_owned(), method.to_uppercase())));
        if !endpoint.contains("fallback: Default") {
            found.push((path.to_owned(), "ANY".to_owned()));
        }
    }
    found
}

#[test]
fn no_route_hides_from_the_table_however_it_is_put_together() {
    let (leaf, nothing) = (|| async {}, || async { 404_u16.to_string() });
    let nested = Router::<()>::new().route("/nested", post(leaf)).fallback(nothing);
    let routes = Router::new()
        .route("/", get(leaf))
        .route("/split", get(leaf).put(leaf))
        .nest("/below", nested)
        .merge(Router::new().route("/merged", delete(leaf)).layer(DefaultBodyLimit::max(1)))
        .route("/any", any(leaf))
        .route("/other", get(leaf).fallback(leaf))
        .route_service("/service", post(leaf).with_state::<()>(()))
        .nest_service("/whole", Router::new().route("/inside", get(leaf)));
    let served = served(&format!("{routes:?}"));
    for route in [
        "GET /",
        "GET /split",
        "PUT /split",
        "POST /below/nested",
        "ANY /below",
        "DELETE /merged",
        "ANY /any",
        "GET /other",
        "ANY /other",
        "POST /service",
        "GET /whole/{*__private__axum_nest_tail_param}",
    ] {
        assert!(served.contains(route), "{route} hides");
    }
}

/// As in the help: `altinn-events token …`, then two blanks and what it is.
fn examples(help: &str) -> Vec<Vec<String>> {
    let lines = help.lines().filter_map(|line| line.trim().strip_prefix("altinn-events token"));
    let command = |line: &str| line.trim_start_matches(' ').split("  ").next().unwrap_or_default().to_owned();
    lines
        .map(|line| {
            let arguments = if line.starts_with("  ") { String::new() } else { command(line) };
            arguments.split_whitespace().map(str::to_owned).collect()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_token_command_gives_a_token() {
    let altinn = local_altinn::start(local_altinn::Options::default()).await.unwrap();
    let run = |arguments: Vec<String>| {
        let command = std::process::Command::new(binary())
            .arg("token")
            .args(&arguments)
            .env("ALTINN_URL", &altinn.base_url)
            .output()
            .unwrap();
        (command.status.success(), String::from_utf8(command.stdout).unwrap())
    };
    let (_, help) = tokio::task::block_in_place(|| run(vec!["--help".to_owned()]));
    let examples = examples(&help);
    assert_eq!(examples.len(), 9, "one for each kind of caller: {examples:?}");
    for arguments in examples {
        let (is_ok, token) = tokio::task::block_in_place(|| run(arguments.clone()));
        assert!(is_ok && token.trim().split('.').count() == 3, "{arguments:?}: {token}");
    }
}
