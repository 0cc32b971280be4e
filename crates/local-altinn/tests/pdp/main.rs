//! The decision point, asked as the platform asks (contract §3.1 to §3.4, §3.8).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy grants tests these only inside test functions, not in what they share"
)]

mod decisions;
mod faults;
mod lists;

use local_altinn::{LocalAltinn, Options};
use serde_json::{Value, json};

const APPS_TEST: &str = "app_ttd_apps-test";
const MAIL: &str = "app_ttd_restricted-mail";
const REPORT: &str = "app_kve_catch-report";
const PERMITS: &str = "app_ttd_open-permits";
const NOTICES: &str = "kve-notices";
const GENERIC: &str = "ttd-altinn-events-automated-tests";
const XSD: &str = "http://www.w3.org/2001/XMLSchema";

const TTD: (&str, &str) = ("urn:altinn:org", "ttd");
const KVE: (&str, &str) = ("urn:altinn:org", "kve");
const ACCOUNTANT: (&str, &str) = ("urn:altinn:organization:identifier-no", "313810135");
const SYSTEM: (&str, &str) = ("urn:altinn:systemuser:uuid", "a1b2c3d4-0000-4000-8000-000000000002");
const ANONYMOUS: (&str, &str) = ("urn:altinn:anonymous", "true");

const fn user(id: &str) -> (&str, &str) {
    ("urn:altinn:userid", id)
}

fn attribute(id: &str, value: &str, data_type: &str) -> Value {
    json!({"attributeId": id, "value": value, "issuer": "Altinn", "dataType": data_type, "includeInResult": false})
}

/// As a token's subject: bare strings, and more claims than the one that counts; a system user stands alone.
fn subject((id, value): (&str, &str)) -> Value {
    if id == SYSTEM.0 {
        return json!([attribute(id, value, "string")]);
    }
    json!([
        attribute("urn:scope", "altinn:events.subscribe", "string"),
        attribute("urn:altinn:authlevel", "3", "string"),
        attribute(id, value, "string"),
    ])
}

/// As a consumer: the one attribute, of an XSD type.
fn consumer((id, value): (&str, &str)) -> Value {
    json!([attribute(id, value, &format!("{XSD}#string"))])
}

/// An event in an app feed.
fn in_app_feed(resource: &str, party: i64) -> Value {
    let (org, app) = resource.strip_prefix("app_").unwrap().split_once('_').unwrap();
    json!([
        attribute("urn:altinn:instance-id", &format!("{party}/6fb3f738"), "string"),
        attribute("urn:altinn:appresource", "events", "string"),
        attribute("urn:altinn:event-id", "e", "string"),
        attribute("urn:altinn:partyid", &party.to_string(), "string"),
        attribute("urn:altinn:org", org, "string"),
        attribute("urn:altinn:app", app, "string"),
    ])
}

/// An event anywhere else: the resource by its name, the party from a subject `/party/…`.
fn generic(resource: &str, party: i64) -> Value {
    json!([
        attribute("urn:altinn:event-id", "e", "string"),
        attribute("urn:altinn:eventtype", "t", "string"),
        attribute("urn:altinn:eventsource", "https://x.no", "string"),
        attribute("urn:altinn:resource", resource, "string"),
        attribute("urn:altinn:partyid", &party.to_string(), &format!("{XSD}#integer")),
    ])
}

async fn start() -> LocalAltinn {
    local_altinn::start(Options::default()).await.unwrap()
}

fn action(action: &str) -> Value {
    attribute("urn:oasis:names:tc:xacml:1.0:action:action-id", action, "string")
}

async fn ask(local: &LocalAltinn, subject: &Value, action: &str, resource: &Value) -> Value {
    let request = json!({"request": {
        "accessSubject": [{"attribute": subject}],
        "action": [{"attribute": [self::action(action)]}],
        "resource": [{"attribute": resource}],
        "multiRequests": null,
    }});
    let mut results = send(local, request.to_string()).await;
    assert_eq!(results.len(), 1);
    results.remove(0)
}

/// Many questions in one request: who, for what, about what.
async fn ask_all(local: &LocalAltinn, asked: &[(Value, &str, Value)]) -> Vec<Value> {
    let category = |prefix: &str, attributes: Vec<Value>| -> Vec<Value> {
        let of = |(n, list)| json!({"id": format!("{prefix}{n}"), "attribute": list});
        attributes.into_iter().enumerate().map(of).collect()
    };
    let references: Vec<_> = (0..asked.len())
        .map(|n| json!({"referenceId": [format!("s{n}"), format!("a{n}"), format!("r{n}")]}))
        .collect();
    let request = json!({"request": {
        "accessSubject": category("s", asked.iter().map(|one| one.0.clone()).collect()),
        "action": category("a", asked.iter().map(|one| json!([action(one.1)])).collect()),
        "resource": category("r", asked.iter().map(|one| one.2.clone()).collect()),
        "multiRequests": {"requestReference": references},
    }});
    send(local, request.to_string()).await
}

/// The results of any body.
async fn send(local: &LocalAltinn, body: String) -> Vec<Value> {
    let url = format!("{}/authorization/api/v1/decision", local.base_url);
    let client = reqwest::Client::new();
    let answer = client.post(url).header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json::<Value>().await.unwrap()["response"].as_array().unwrap().clone()
}

/// (category, level) of the obligations; none where there is null.
fn levels(result: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert_ne!(result["obligations"], json!([]));
    let obligations = result["obligations"].as_array().into_iter().flatten();
    obligations
        .flat_map(|obligation| obligation["attributeAssignment"].as_array().unwrap())
        .map(|one| (text(&one["category"]), text(&one["value"])))
        .collect()
}

/// A resource of the registry without an event or a party, as a subscription is asked about.
fn without_party(resource: &str) -> Value {
    json!([attribute("urn:altinn:resource", resource, "string")])
}
