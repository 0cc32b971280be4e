//! The one HTTP server in front: any mix of ingest's and query-api's routes on one address.
//!
//! Before routing it does what the gateway of the existing service did (contract §10, trap 1): doubled slashes collapse, and one
//! trailing slash is ignored. Every answer says that nobody may keep it, and that it is what its content type says.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    Router,
    extract::Request,
    middleware::from_fn,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, StatusCode, Uri, header, uri::PathAndQuery};
use service::{
    doors::{self, Door},
    problem::Problem,
    trace,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::{ServiceExt, util::MapResponseLayer};
use tower_http::catch_panic::CatchPanicLayer;

/// How long a client should wait for services that have not begun.
const BEGINS_WITHIN_S: u32 = 5;

/// The routes of an address. More of them may come while they are served.
///
/// Printed (`{:?}`), they are what the services gave, as axum prints a router: each path with its methods. So a test knows every
/// route that is served, however it was put together.
#[derive(Clone)]
pub struct Routes(Arc<RwLock<Present>>);

struct Present {
    /// As the services gave them.
    given: Router,
    /// As they are served.
    served: Router,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.read().unwrap_or_else(PoisonError::into_inner).given.fmt(f)
    }
}

impl Routes {
    /// All there will be.
    pub fn all(routes: Router) -> Self {
        Self(Arc::new(RwLock::new(Present { given: routes.clone(), served: whole(routes) })))
    }

    /// Those that are there already. What is none of them is answered 503, until [`Routes::complete`].
    pub fn first(routes: Router) -> Self {
        let given = routes.clone();
        let served = guarded(routes.method_not_allowed_fallback(not_begun).fallback(not_begun));
        Self(Arc::new(RwLock::new(Present { given, served })))
    }

    /// These instead, and there will be no others.
    pub fn complete(&self, routes: Router) {
        let present = Present { given: routes.clone(), served: whole(routes) };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = present;
    }

    fn now(&self) -> Router {
        self.0.read().unwrap_or_else(PoisonError::into_inner).served.clone()
    }
}

async fn not_begun() -> Problem {
    Problem::unavailable("not-begun", BEGINS_WITHIN_S)
        .detail("This service waits for its database. Repeating is safe.")
}

/// Serves `routes` on `listener` until `stop`, then finishes the requests in hand.
///
/// # Errors
/// As [`doors::serve`].
pub async fn serve(
    listener: TcpListener,
    door: Door,
    routes: Routes,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let answer = move |request: Request| {
        let answer = routes.now().oneshot(normalise(request));
        async move {
            match answer.await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    };
    doors::serve(listener, door, answer, stop).await
}

/// The routes with what every one of them has: a problem where there is no such path or method, and where we fail; refusals carry the
/// id of their request.
fn whole(routes: Router) -> Router {
    guarded(routes.method_not_allowed_fallback(other_method).fallback(unknown))
}

fn guarded(routes: Router) -> Router {
    let panicked = CatchPanicLayer::custom(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal")
            .detail("The request failed on our side.")
            .into_response()
    });
    routes.layer(panicked).layer(from_fn(trace::refusals)).layer(MapResponseLayer::new(not_kept))
}

/// Answers are for who asked: no cache keeps them, and no browser guesses what they are.
fn not_kept(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn other_method(method: Method) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method")
        .detail(format!("There is no {method} here; the header Allow says what there is."))
}

async fn unknown(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-such-path").detail(format!("There is nothing at {}.", uri.path()))
}

fn normalise(mut request: Request) -> Request {
    if let Some(path) = normal_path(request.uri().path()) {
        let target = match request.uri().query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        if let Ok(target) = PathAndQuery::from_str(&target) {
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = Some(target);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    request
}

/// The path as routed, or `None` when it is that already.
fn normal_path(path: &str) -> Option<String> {
    let trailing = path.len() > 1 && path.ends_with('/');
    if !trailing && !path.contains("//") {
        return None;
    }
    let mut normal = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty()) {
        normal.push('/');
        normal.push_str(part);
    }
    Some(if normal.is_empty() { "/".to_owned() } else { normal })
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Body,
        routing::{get, post},
    };
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn another_method_and_another_path_are_problems_with_the_id_of_the_request() {
        // As ingest and query-api share a path.
        let routes = Router::new()
            .route("/events", get(|| async { "read" }))
            .merge(Router::new().route("/events", post(|| async { "published" })));
        let whole = whole(routes);
        for (method, path, status, code) in [
            (Method::PUT, "/events", 405, "no-such-method"),
            (Method::GET, "/nothing/01010112345", 404, "no-such-path"),
            (Method::GET, "/%ff", 404, "no-such-path"),
        ] {
            let request = Request::builder().method(&method).uri(path).body(Body::empty()).unwrap();
            let response = whole.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{method} {path}");
            let id = response.headers()[trace::HEADER].clone();
            let allowed = response.headers().get("allow").cloned();
            let body = axum::body::to_bytes(response.into_body(), 4_096).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((&body["code"], &body["traceId"]), (&code.into(), &id.to_str().unwrap().into()));
            assert!(!body.to_string().contains("01010112345"), "{body}");
            if status == 405 {
                let allowed = allowed.unwrap();
                for known in ["GET", "POST"] {
                    assert!(allowed.to_str().unwrap().contains(known), "{allowed:?}");
                }
            }
        }
    }

    #[tokio::test]
    #[allow(clippy::panic, reason = "it is what happens to the request")]
    async fn no_answer_is_kept_or_guessed_at() {
        let routes = Router::new().route("/well", get(|| async { "well" })).route(
            "/panics",
            get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        );
        for (path, status) in [("/well", 200), ("/panics", 500), ("/nowhere", 404)] {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            let answer = whole(routes.clone()).oneshot(request).await.unwrap();
            assert_eq!(answer.status(), status, "{path}");
            assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
        }
    }

    #[test]
    fn slashes_collapse_and_a_trailing_one_is_ignored() {
        assert_eq!(normal_path("/events/api/v1/app"), None);
        assert_eq!(normal_path("/events//api/v1/app/").as_deref(), Some("/events/api/v1/app"));
        assert_eq!(normal_path("/events/").as_deref(), Some("/events"));
        assert_eq!(normal_path("/"), None);
        assert_eq!(normal_path("//").as_deref(), Some("/"));
    }
}
