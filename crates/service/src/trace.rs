//! The id of a request, by which a refusal is found in the log: in the problem's `traceId`, in the header `trace-id`, and in the log
//! line, the same.

use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderValue};
use uuid::Uuid;

use crate::problem::Told;

/// The header of every refusal.
pub const HEADER: &str = "trace-id";

/// Marks refusals with the id of their request: the caller's own trace (W3C `traceparent`), or a new one.
pub async fn refusals(request: Request, next: Next) -> Response {
    let trace = of_caller(request.headers()).unwrap_or_else(|| Uuid::new_v4().simple().to_string());
    let method = request.method().clone();
    // The route, not the path: a path may hold what a log must not.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    if let Ok(value) = HeaderValue::from_str(&trace) {
        response.headers_mut().insert(HEADER, value);
    }
    if let Some(told) = response.extensions().get::<Told>().cloned() {
        let route = route.as_ref().map_or("none", MatchedPath::as_str);
        let status = status.as_u16();
        tracing::info!(trace.id = trace, %method, route, status, code = told.code(), "a request was refused");
        if let Some(body) = told.traced_body(&trace) {
            *response.body_mut() = Body::from(body);
        }
    }
    response
}

/// The trace id of `00-{trace}-{span}-{flags}`.
fn of_caller(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = text.split('-');
    let (_, trace) = (parts.next()?, parts.next()?);
    let is_id = trace.len() == 32 && trace.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_id && trace.bytes().any(|byte| byte != b'0')).then(|| trace.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::{Router, middleware::from_fn, routing::get};
    use http::StatusCode;
    use tower::ServiceExt;

    use super::*;
    use crate::problem::Problem;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    async fn answer(path: &str, traceparent: &str) -> (HeaderMap, String) {
        let wrong = || async {
            let problem = Problem::new(StatusCode::BAD_REQUEST, "wrong").detail("It is wrong.");
            ([("more", "kept")], problem)
        };
        let bare = || async { Problem::new(StatusCode::FORBIDDEN, "no").detail("No.").bare_text() };
        let routes = Router::new()
            .route("/wrong", get(wrong))
            .route("/bare", get(bare))
            .route("/good", get(|| async { "good" }))
            .layer(from_fn(refusals));
        let request = Request::get(path).header("traceparent", traceparent).body(Body::empty()).unwrap();
        let response = routes.oneshot(request).await.unwrap();
        let headers = response.headers().clone();
        let body = axum::body::to_bytes(response.into_body(), 4_096).await.unwrap();
        (headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_refusal_carries_the_id_of_its_request_in_body_and_header() {
        let (headers, body) = answer("/wrong", &format!("00-{TRACE}-00f067aa0ba902b7-01")).await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&headers[HEADER], &headers["more"]), (&TRACE.parse().unwrap(), &"kept".parse().unwrap()));
        assert_eq!((&body["traceId"], &body["detail"]), (&TRACE.into(), &"It is wrong.".into()));
        for odd in ["", "00-x-y-z", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
            let (headers, body) = answer("/wrong", odd).await;
            let id = headers[HEADER].to_str().unwrap();
            assert!(id.len() == 32 && body.contains(&format!("\"traceId\":\"{id}\"")), "{odd}: {body}");
        }
    }

    #[tokio::test]
    async fn other_bodies_stay_and_what_is_no_refusal_has_no_id() {
        let (headers, body) = answer("/bare", "").await;
        assert!(headers.contains_key(HEADER) && body == "\"No.\"", "{body}");
        assert!(!answer("/good", "").await.0.contains_key(HEADER));
    }
}
