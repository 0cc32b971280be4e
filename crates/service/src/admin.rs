//! `/livez`, `/readyz` and `/metrics`, on a port that is not the public one.

use axum::{Router, extract::State, routing::get};
use http::{StatusCode, header};
use prometheus::{Encoder, Registry, TextEncoder};

use crate::lifecycle::Lifecycle;

#[derive(Clone)]
struct Admin {
    registry: Registry,
    life: Lifecycle,
}

/// The routes of the admin port.
///
/// * `/livez`: 200 while no part has died, else 503.
/// * `/readyz`: 200 when the readiness conditions that decide hold, else 503; with the missing ones in either case.
/// * `/metrics`: the Prometheus text format 0.0.4.
/// * `/health`: see [`health`].
pub fn router(registry: Registry, life: Lifecycle) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Admin { registry, life: life.clone() })
        .merge(health(life))
}

/// `/health` in a word, as the existing service tells it, for a service that has no database to ask: `Healthy` with 200 when it is ready,
/// else `Unhealthy` with 503. It asks nobody.
pub fn health(life: Lifecycle) -> Router {
    let tell = |State(life): State<Lifecycle>| async move {
        if life.is_alive() && life.takes_requests() {
            (StatusCode::OK, "Healthy")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "Unhealthy")
        }
    };
    Router::new().route("/health", get(tell)).with_state(life)
}

async fn livez(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.life.is_alive() {
        (StatusCode::OK, "alive\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "a part died\n")
    }
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    let missing = match admin.life.not_ready() {
        none if none.is_empty() => String::new(),
        missing => format!("not ready: {}\n", missing.join(", ")),
    };
    if admin.life.takes_requests() {
        (StatusCode::OK, format!("ready\n{missing}"))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, missing)
    }
}

async fn metrics(
    State(admin): State<Admin>,
) -> Result<([(header::HeaderName, String); 1], Vec<u8>), (StatusCode, String)> {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    encoder
        .encode(&admin.registry.gather(), &mut text)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn health_is_told_in_a_word_by_every_service() {
        let life = Lifecycle::new();
        let ready = life.readiness("something");
        let routes = router(Registry::new(), life);
        for (is_ready, status, word) in [(false, 503, "Unhealthy"), (true, 200, "Healthy")] {
            ready.set(is_ready);
            let request = Request::get("/health").body(Body::empty()).unwrap();
            let answer = routes.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), status);
            let body = axum::body::to_bytes(answer.into_body(), 100).await.unwrap();
            assert_eq!(body, word);
        }
    }
}
