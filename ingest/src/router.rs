//! The publishing API on one page.

use axum::{Router, middleware, routing::post};

use crate::{Ingest, metrics, publish};

/// The three ways to publish. Paths come normalised: no doubled slash, none at the end.
pub fn router(ingest: Ingest) -> Router {
    Router::new()
        .route("/events", post(publish::seed))
        .route("/events/api/v1/events", post(publish::generic))
        .route("/events/api/v1/app", post(publish::app))
        .route_layer(middleware::from_fn_with_state(ingest.clone(), metrics::observe))
        .with_state(ingest)
}
