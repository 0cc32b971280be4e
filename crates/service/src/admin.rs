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
pub fn router(registry: Registry, life: Lifecycle) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Admin { registry, life })
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
