//! Access against the local Altinn, over HTTP. Modules in the order in which a request meets them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy grants tests these only inside test functions, not in what they share"
)]

mod askers;
mod extractors;
mod faults;
mod parties;
mod platform;
mod requests;
mod rights;
mod tokens;

use std::{future::Future, time::Duration};

use access::{Access, AccessSettings, Caller};
use event::Event;
use http::{HeaderMap, HeaderValue, Method, header};
use local_altinn::{LocalAltinn, Options};

/// Longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

async fn local() -> LocalAltinn {
    local_altinn::start(Options::default()).await.unwrap()
}

fn settings(local: &LocalAltinn) -> AccessSettings {
    AccessSettings::local(&local.base_url)
}

async fn platform() -> (LocalAltinn, Access) {
    let local = local().await;
    let access = Access::new(&settings(&local)).unwrap();
    (local, access)
}

fn bearer(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    headers
}

async fn caller(access: &Access, token: &str) -> Caller {
    access.authenticate(&bearer(token), &Method::GET).await.unwrap()
}

fn app_event(id: &str, party: i64) -> Event {
    parse(&serde_json::json!({
        "specversion": "1.0", "id": id, "type": "app.instance.created", "subject": format!("/party/{party}"),
        "source": format!("https://ttd.apps.altinn.no/ttd/apps-test/instances/{party}/6fb3f738"),
        "resource": "urn:altinn:resource:app_ttd_apps-test",
    }))
}

fn generic_event(id: &str, subject: &str) -> Event {
    parse(&serde_json::json!({
        "specversion": "1.0", "id": id, "type": "test.created", "subject": subject,
        "source": "https://ttd.example/automated-tests",
        "resource": "urn:altinn:resource:ttd-altinn-events-automated-tests",
    }))
}

fn parse(json: &serde_json::Value) -> Event {
    Event::stored(json.to_string().as_bytes()).unwrap()
}

/// Repeats until the condition holds.
async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited too long for: {what}"));
}
