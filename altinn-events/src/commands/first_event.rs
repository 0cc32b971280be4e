//! The first event of a new platform: published through the public API, seen in the feed and at a webhook, with both times.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use event::media;
use local_altinn::LocalAltinn;
use serde_json::{Value, json};

use super::client::{Caller, Target, accepted};
use crate::platform::Platform;

/// The resource of the test department.
pub const RESOURCE: &str = "urn:altinn:resource:ttd-altinn-events-automated-tests";
/// Longest wait for each step.
const WAIT: Duration = Duration::from_secs(60);
const EVENTS: &str = "/events/api/v1/events";

/// Publishes an event and shows it arriving.
///
/// # Errors
/// When a step does not happen within a minute.
pub async fn show(
    platform: &Platform,
    altinn: &LocalAltinn,
    address: &str,
    tell: impl Fn(&str),
) -> anyhow::Result<()> {
    until_ready(platform).await?;
    let target = Target { url: address.to_owned(), altinn: altinn.base_url.clone(), token: None };
    let caller = target.caller().await?;
    let endpoint = format!("{}/webhooks/first", altinn.base_url);
    let body = json!({"endPoint": endpoint, "resourceFilter": RESOURCE});
    let answer: Value =
        accepted(caller.post("/events/api/v1/subscriptions").json(&body)).await?.json().await?;
    let id = answer.get("id").and_then(Value::as_i64).context("a subscription without an id")?;
    until_validated(&caller, id).await?;
    tell("a webhook has subscribed and answered its validation");
    let from = newest(&caller).await?;
    let event_id = uuid::Uuid::new_v4().to_string();
    let event = json!({
        "specversion": "1.0", "id": event_id, "source": "https://ttd.example.no/things/1",
        "type": "no.altinn.example.created", "subject": "/party/50001337", "resource": RESOURCE,
        "data": {"message": "the first event"},
    });
    let published = Instant::now();
    let request = caller.post(EVENTS).header("content-type", media::EVENT);
    let (accepted_in, feed_in, webhook_in) = tokio::join!(
        async {
            accepted(request.body(event.to_string())).await?;
            anyhow::Ok(published.elapsed())
        },
        async {
            until_in_feed(&caller, &from, &event_id).await?;
            anyhow::Ok(published.elapsed())
        },
        async {
            until_at_webhook(altinn, &event_id).await?;
            anyhow::Ok(published.elapsed())
        },
    );
    let ms = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1_000.0);
    tell(&format!("published event {event_id}: accepted after {}", ms(accepted_in?)));
    tell(&format!("  in the feed after {}", ms(feed_in?)));
    tell(&format!("  at the webhook after {}", ms(webhook_in?)));
    Ok(())
}

async fn until_ready(platform: &Platform) -> anyhow::Result<()> {
    let until = Instant::now() + WAIT;
    loop {
        let missing = platform.life.not_ready();
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() > until || !platform.life.is_alive() {
            bail!("not ready: {}", missing.join(", "));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_validated(caller: &Caller, id: i64) -> anyhow::Result<()> {
    let until = Instant::now() + WAIT;
    loop {
        let answer: Value =
            accepted(caller.get(&format!("/events/api/v1/subscriptions/{id}"))).await?.json().await?;
        if answer.get("validated") == Some(&Value::Bool(true)) {
            // Dispatchers know within two seconds; an event that is published earlier may not match yet.
            tokio::time::sleep(Duration::from_secs(1)).await;
            return Ok(());
        }
        if Instant::now() > until {
            bail!("the webhook's validation did not come back");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The cursor of the newest event.
async fn newest(caller: &Caller) -> anyhow::Result<String> {
    let mut after = "0".to_owned();
    loop {
        let query = [("resource", RESOURCE), ("after", after.as_str()), ("size", "1000")];
        let answer = accepted(caller.get(EVENTS).query(&query)).await?;
        let cursor =
            answer.headers().get("feed-cursor").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let is_last = !answer.headers().contains_key("next");
        after = cursor.context("a page without a cursor")?;
        if is_last {
            return Ok(after);
        }
    }
}

async fn until_in_feed(caller: &Caller, from: &str, id: &str) -> anyhow::Result<()> {
    let (until, mut after) = (Instant::now() + WAIT, from.to_owned());
    while Instant::now() < until {
        let query = [("resource", RESOURCE), ("after", after.as_str()), ("wait", "30")];
        let answer = accepted(caller.get(EVENTS).query(&query)).await?;
        if let Some(cursor) = answer.headers().get("feed-cursor").and_then(|value| value.to_str().ok()) {
            after = cursor.to_owned();
        }
        if answer.text().await?.contains(id) {
            return Ok(());
        }
    }
    bail!("the event is not in the feed")
}

async fn until_at_webhook(altinn: &LocalAltinn, id: &str) -> anyhow::Result<()> {
    let webhook = altinn.webhook("first");
    let until = Instant::now() + WAIT;
    while Instant::now() < until {
        let came =
            webhook.requests().iter().any(|request| String::from_utf8_lossy(&request.body).contains(id));
        if came {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bail!("the event did not come to the webhook")
}
