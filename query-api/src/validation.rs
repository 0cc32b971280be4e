//! The event that proves an endpoint (contract §6.3): appended to `deliveries`, pushed like any other delivery.
//!
//! The row is committed first and the delivery appended after it: a crash between the two leaves a row that the sweep finds.

use std::time::Duration;

use event::{DeliveryHeaders, DeliveryId, DeliveryKind, EventIdentity, Micros, Subscription, topics};
use kafka_loop::{AppendError, Outgoing};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::QueryApi;

/// Subscriptions a round of the sweep.
const SWEEP_MAX: i64 = 500;
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The key of an endpoint's deliveries: its origin and path, which the dispatcher's caps and circuit go by.
fn endpoint_key(endpoint: &str) -> String {
    match Url::parse(endpoint) {
        Ok(url) => format!("{}{}", url.origin().ascii_serialization(), url.path()),
        Err(_) => endpoint.to_owned(),
    }
}

impl QueryApi {
    /// Appends the validation of a subscription and waits for the acknowledgement.
    ///
    /// # Errors
    /// [`AppendError`]; the sweep tries again.
    pub async fn validate(&self, subscription: &Subscription, now: Micros) -> Result<(), AppendError> {
        let source =
            format!("{}/events/api/v1/subscriptions/{}", self.inner.config.base_uri, subscription.id);
        // A new id for each time it is asked for: an endpoint that answered once may be asked again.
        let id = format!("{}-{}", subscription.id, now.0);
        let body = json!({
            "specversion": "1.0", "id": id, "source": source, "type": "platform.events.validatesubscription",
        });
        let headers = DeliveryHeaders {
            subscription: subscription.id,
            position: subscription.position,
            delivery: DeliveryId::of(subscription.id, EventIdentity::of("", &source, &id)),
            attempt: 0,
            created: now,
            first_failure: None,
            last_outcome: None,
            kind: DeliveryKind::Validation,
            traceparent: None,
            reason: None,
        };
        let (pairs, key, value) =
            (headers.to_pairs(), endpoint_key(&subscription.endpoint), body.to_string());
        let headers: Vec<(&str, &[u8])> =
            pairs.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let out = Outgoing {
            topic: topics::DELIVERIES,
            partition: None,
            key: key.as_bytes(),
            value: value.as_bytes(),
            headers: &headers,
        };
        let sent = self.inner.producer.send(out).await;
        match &sent {
            Ok(_) => self.inner.metrics.validations.inc(),
            Err(error) => {
                self.inner.metrics.validations_failed.inc();
                tracing::warn!(subscription.id = subscription.id.0, %error, "a validation was not appended; it is tried again");
            }
        }
        sent.map(|_| ())
    }
}

/// Sends validations again that were not answered, a bounded number of times, until `stop`.
///
/// # Errors
/// Never; the signature is that of a part.
pub async fn sweep(api: QueryApi, stop: CancellationToken) -> anyhow::Result<()> {
    loop {
        let config = &api.inner.config;
        match api
            .inner
            .store
            .take_unvalidated(config.validation_again, config.validations_max, SWEEP_MAX)
            .await
        {
            Ok(waiting) => {
                for subscription in &waiting {
                    // The failure was counted and logged; the next round takes it again.
                    api.validate(subscription, Micros::now()).await.ok();
                }
            }
            Err(error) => tracing::debug!(%error, "unvalidated subscriptions cannot be looked for now"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
    }
}
