//! The API of the query side on one page. Paths have no slash at the end; the facade takes one off.

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRequestParts, Path, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, Uri, request::Parts};
use serde::de::DeserializeOwned;
use service::encoding::Encoding;

use crate::{
    QueryApi, app_feed, body::BODY_MAX, error::Refusal, generic_feed, instance_feed, log, query, seed_feed,
    subscriptions,
};

/// All routes.
pub fn router(api: QueryApi) -> Router {
    Router::new()
        // Feeds.
        .route("/events/api/v1/app/party", get(app_feed::party_feed).post(app_feed::parties_feed))
        .route("/events/api/v1/app/{org}/{app}", get(app_feed::org_feed))
        .route("/events/api/v1/events", get(generic_feed::feed))
        // Feeds of the seed document.
        .route("/events/instanceevents/{org}/{app}", get(seed_feed::feed))
        .route("/events/instanceeventsforparty", post(seed_feed::party_feed))
        .route("/events/instanceeventsforinstance/{party}/{guid}", post(instance_feed::feed))
        .route("/events/instanceeventsforinstance/{instance}", post(instance_feed::encoded_feed))
        // Subscriptions.
        .route("/events/api/v1/subscriptions", get(subscriptions::list).post(subscriptions::create))
        .route("/events/api/v1/subscriptions/{id}", get(subscriptions::show).delete(subscriptions::delete))
        .route("/events/api/v1/subscriptions/{id}/attempts", get(log::attempts))
        // Whether we are there.
        .route("/health", get(health))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(api)
}

async fn health(State(api): State<QueryApi>) -> Response {
    if api.inner.health.is_well(&api.inner.store).await {
        "Healthy".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "Unhealthy").into_response()
    }
}

/// What a feed is asked with: the path as it came, and the headers. It refuses a body type that is not JSON, before anything
/// else is looked at, as the existing service does.
pub struct Asked {
    /// Path and parameters.
    pub uri: Uri,
    /// Headers.
    pub headers: HeaderMap,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        query::check_media_type(&parts.headers)?;
        Ok(Self { uri: parts.uri.clone(), headers: parts.headers.clone() })
    }
}

/// The parts of the path, decoded.
pub struct PathParts<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathParts<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(decoded)) => Ok(Self(decoded)),
            Err(_) => Err(Refusal::wrong("path", "is not percent-encoded UTF-8")),
        }
    }
}

/// The body is stated to be JSON, in an encoding that is read; looked at before who sends it, as in the existing service (contract §1.1, note d).
pub struct SaysJson;

impl<S: Send + Sync> FromRequestParts<S> for SaysJson {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Encoding::of(&parts.headers)?;
        query::check_json_body(&parts.headers).map(|()| Self)
    }
}
