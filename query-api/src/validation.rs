//! The event that proves an endpoint (contract §6.3): appended to `deliveries`, pushed like any other delivery.
//!
//! The row is committed first and the delivery appended after it: a crash between the two leaves a row that the sweep finds.

use std::time::Duration;

use event::{
    DeliveryHeaders, DeliveryId, DeliveryKind, EventIdentity, Micros, Subscription, address::endpoint_key,
    topics,
};
use kafka_loop::{AppendError, Outgoing};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::QueryApi;

/// Subscriptions a round of the sweep.
const SWEEP_MAX: i64 = 500;
/// Time between two rounds, unless validations are sent again sooner.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

impl QueryApi {
    /// Appends the validation of a subscription and waits for the acknowledgement.
    ///
    /// # Errors
    /// [`AppendError`]; the sweep tries again.
    pub async fn validate(&self, subscription: &Subscription, now: Micros) -> Result<(), AppendError> {
        let source =
            format!("{}/events/api/v1/subscriptions/{}", self.inner.config.base_uri, subscription.id);
        // A new id for each time it is asked for: an endpoint that answered once may be asked again.
        let id = Uuid::new_v4().to_string();
        let body = json!({
            "specversion": "1.0", "id": id, "source": source, "type": "platform.events.validatesubscription",
        });
        let headers = DeliveryHeaders {
            endpoint_revision: Some(subscription.endpoint_revision),
            kind: DeliveryKind::Validation,
            ..DeliveryHeaders::first(
                subscription,
                DeliveryId::of(subscription.id, EventIdentity::of("", &source, &id)),
                now,
            )
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
    let config = &api.inner.config;
    let mut limit = SWEEP_MAX;
    while !stop.is_cancelled() {
        match api.inner.store.take_unvalidated(config.validation_again, config.validations_max, limit).await {
            // While the log takes nothing, one subscription a round tries it, so that the others keep their tries.
            Ok(waiting) => limit = if validate_all(&api, &waiting, &stop).await { SWEEP_MAX } else { 1 },
            Err(error) => tracing::debug!(%error, "unvalidated subscriptions cannot be looked for now"),
        }
        stop.run_until_cancelled(tokio::time::sleep(SWEEP_EVERY.min(config.validation_again))).await;
    }
    Ok(())
}

/// False when one could not be appended: it was counted and logged, and it and those behind it come again in a later round.
async fn validate_all(api: &QueryApi, waiting: &[Subscription], stop: &CancellationToken) -> bool {
    for subscription in waiting {
        if stop.is_cancelled() || api.validate(subscription, Micros::now()).await.is_err() {
            return false;
        }
    }
    true
}
