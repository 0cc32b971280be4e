//! The one HTTP server in front: any mix of ingest's and query-api's routes on one address.
//!
//! Before routing it does what the gateway of the existing service did (contract §10, trap 1): doubled slashes collapse, and one
//! trailing slash is ignored.

use std::{net::SocketAddr, str::FromStr};

use axum::{Router, ServiceExt, extract::Request, response::IntoResponse, serve::ListenerExt};
use http::{StatusCode, Uri, uri::PathAndQuery};
use service::problem::Problem;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::Layer;
use tower::util::MapRequestLayer;
use tower_http::catch_panic::CatchPanicLayer;

/// Serves `routes` on `listener` until `stop`, then finishes the requests in hand.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) -> anyhow::Result<()> {
    let routes = routes.fallback(unknown).layer(CatchPanicLayer::custom(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal")
            .detail("The request failed on our side.")
            .into_response()
    }));
    let service = MapRequestLayer::new(normalise).layer(routes);
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
    });
    let make = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(service);
    axum::serve(listener, make).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
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
    use super::*;

    #[test]
    fn slashes_collapse_and_a_trailing_one_is_ignored() {
        assert_eq!(normal_path("/events/api/v1/app"), None);
        assert_eq!(normal_path("/events//api/v1/app/").as_deref(), Some("/events/api/v1/app"));
        assert_eq!(normal_path("/events/").as_deref(), Some("/events"));
        assert_eq!(normal_path("/"), None);
        assert_eq!(normal_path("//").as_deref(), Some("/"));
    }
}
