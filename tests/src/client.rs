//! What publishers and readers do, typed.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

/// A caller with a token.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// The platform's address.
    pub base: String,
    token: String,
}

/// A page of a feed.
#[derive(Debug)]
pub struct Page {
    /// Its events.
    pub events: Vec<Value>,
    /// The header `next`.
    pub next: Option<String>,
    /// The header `feed-cursor`.
    pub cursor: Option<String>,
    /// The status.
    pub status: StatusCode,
}

/// A generic event of the test department.
pub fn generic(id: &str, subject: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "https://ttd.example.no/things/1", "type": "no.altinn.example.created",
        "subject": subject, "resource": crate::world::RESOURCE, "data": {"number": 1.50, "id": id},
    })
}

impl Client {
    /// A caller of the platform at that address.
    pub fn new(address: SocketAddr, token: String) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(90)).no_proxy().build().unwrap();
        Self { http, base: format!("http://{address}"), token }
    }

    /// The same caller at another address, for a service that came back on another port.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { base: format!("http://{address}"), ..self.clone() }
    }

    /// GET with the token.
    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        self.http.get(url).bearer_auth(&self.token)
    }

    /// POST with the token.
    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    /// DELETE with the token.
    pub fn delete(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.delete(format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    /// Publishes one generic event; the status, or none when there was no answer.
    pub async fn publish(&self, event: &Value) -> Option<StatusCode> {
        let request =
            self.post("/events/api/v1/events").header("content-type", "application/cloudevents+json");
        request.body(event.to_string()).send().await.ok().map(|answer| answer.status())
    }

    /// Publishes a batch of generic events.
    pub async fn publish_batch(&self, events: &[Value]) -> Response {
        let request =
            self.post("/events/api/v1/events").header("content-type", "application/cloudevents-batch+json");
        request.body(Value::Array(events.to_vec()).to_string()).send().await.unwrap()
    }

    /// One page; none when there was no answer.
    pub async fn try_page(&self, path: &str) -> Option<Page> {
        let answer = self.get(path).send().await.ok()?;
        let status = answer.status();
        let header =
            |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (next, cursor) = (header("next"), header("feed-cursor"));
        let body = answer.bytes().await.ok()?;
        let events = if status.is_success() { serde_json::from_slice(&body).ok()? } else { Vec::new() };
        Some(Page { events, next, cursor, status })
    }

    /// One page of the test department's resource after a position.
    pub async fn page(&self, after: &str, size: usize) -> Page {
        let resource = crate::world::RESOURCE;
        self.try_page(&format!("/events/api/v1/events?resource={resource}&after={after}&size={size}"))
            .await
            .expect("the platform answers")
    }

    /// Subscribes an endpoint to the test department's resource; the id.
    pub async fn subscribe(&self, endpoint: &str) -> i64 {
        self.subscribe_with(&json!({"endPoint": endpoint, "resourceFilter": crate::world::RESOURCE})).await
    }

    /// Subscribes with any body; the id.
    pub async fn subscribe_with(&self, body: &Value) -> i64 {
        let answer = self.post("/events/api/v1/subscriptions").json(body).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{text}");
        let subscription: Value = serde_json::from_str(&text).unwrap();
        subscription["id"].as_i64().unwrap()
    }

    /// Subscribes and waits until the endpoint is validated.
    pub async fn subscribe_and_wait(&self, endpoint: &str) -> i64 {
        let id = self.subscribe(endpoint).await;
        self.validated(id).await;
        id
    }

    /// Waits until a subscription is validated.
    pub async fn validated(&self, id: i64) {
        crate::wait::until("the subscription is validated", || async {
            let path = format!("/events/api/v1/subscriptions/{id}");
            let text = match self.get(&path).send().await {
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            if text.contains("\"validated\":true") { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// The delivery log of a subscription.
    pub async fn attempts(&self, id: i64) -> Vec<Value> {
        let path = format!("/events/api/v1/subscriptions/{id}/attempts");
        let Ok(answer) = self.get(&path).send().await else { return Vec::new() };
        let body: Value = answer.json().await.unwrap_or_default();
        body["attempts"].as_array().cloned().unwrap_or_default()
    }
}
