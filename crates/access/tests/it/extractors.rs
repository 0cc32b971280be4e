//! The caller kinds that handlers name, and what clients see when they are not it.

use access::{Access, AppPublisher, Authenticated, Caller, GenericReader, PLATFORM_HEADER, Publisher};
use axum::{Router, body::Body, extract::FromRef, response::Response, routing::get};
use http::{Request, header};
use local_altinn::{LocalAltinn, Mode};
use tower::ServiceExt;

use crate::platform;

/// A state of which access is a part, as the services have it.
#[derive(Clone)]
struct State {
    access: Access,
}

impl FromRef<State> for Access {
    fn from_ref(state: &State) -> Self {
        state.access.clone()
    }
}

fn router(access: &Access) -> Router {
    Router::new()
        .route("/any", get(|Authenticated(caller): Authenticated| async move { caller.consumer().unwrap() }))
        .route("/app", get(|publisher: AppPublisher| async move { publisher.app.app.to_string() }))
        .route("/publish", get(|Publisher(caller): Publisher| async move { app_of(&caller) }))
        .route("/read", get(|_: GenericReader| async {}))
        .with_state(State { access: access.clone() })
}

fn app_of(caller: &Caller) -> String {
    caller.platform.as_ref().map(|platform| platform.app.to_string()).unwrap_or_default()
}

async fn ask(access: &Access, path: &str, bearer: Option<&str>, platform: Option<&str>) -> Response {
    let mut request = Request::builder().uri(path);
    if let Some(token) = bearer {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if let Some(token) = platform {
        request = request.header(PLATFORM_HEADER, token);
    }
    router(access).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn status(access: &Access, path: &str, bearer: Option<&str>, platform: Option<&str>) -> u16 {
    let response = ask(access, path, bearer, platform).await;
    let status = response.status().as_u16();
    assert_eq!(response.headers().contains_key(header::WWW_AUTHENTICATE), status == 401);
    assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == 503);
    status
}

fn org(local: &LocalAltinn, scopes: &[&str]) -> String {
    local.enterprise_token(Some("ttd"), "991825827", scopes)
}

#[tokio::test]
async fn every_caller_kind_answers_as_the_contract_says() {
    let (local, access) = platform().await;
    let plain = org(&local, &[]);
    let publisher = org(&local, &["ALTINN:events.publish"]);
    let reader = org(&local, &["altinn:events.subscribe"]);
    let app = local.platform_token("ttd", "apps-test");
    let (plain, publisher, reader) = (Some(plain.as_str()), Some(publisher.as_str()), Some(reader.as_str()));
    let app = Some(app.as_str());
    for (path, bearer, platform, expected) in [
        ("/any", None, None, 401),
        ("/any", Some(""), None, 401),
        ("/any", Some("x"), None, 401),
        ("/any", None, app, 401),
        ("/any", plain, None, 200),
        ("/any", plain, Some("bad"), 200),
        ("/app", None, app, 401),
        ("/app", plain, None, 403),
        ("/app", plain, Some("bad"), 403),
        ("/app", plain, app, 200),
        ("/publish", None, app, 401),
        ("/publish", plain, None, 403),
        ("/publish", plain, Some("bad"), 403),
        ("/publish", plain, app, 200),
        ("/publish", publisher, None, 200),
        ("/read", plain, None, 403),
        ("/read", plain, app, 403),
        ("/read", reader, None, 200),
    ] {
        assert_eq!(status(&access, path, bearer, platform).await, expected, "{path} {bearer:?} {platform:?}");
    }
}

#[tokio::test]
async fn a_publisher_with_the_scope_is_known_as_its_app_too() {
    let (local, access) = platform().await;
    let (publisher, plain) = (org(&local, &["altinn:events.publish"]), org(&local, &[]));
    let app = local.platform_token("ttd", "apps-test");
    for (bearer, platform, expected) in [
        (&publisher, Some(app.as_str()), "apps-test"),
        (&plain, Some(app.as_str()), "apps-test"),
        (&publisher, Some("bad"), ""),
        (&publisher, None, ""),
    ] {
        let response = ask(&access, "/publish", Some(bearer), platform).await;
        assert_eq!(response.status(), 200);
        let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
        assert_eq!(body, expected, "{platform:?}");
    }
}

#[tokio::test]
async fn without_keys_the_client_is_told_when_to_repeat() {
    let (local, access) = platform().await;
    let token = org(&local, &[]);
    local.set_openid(Mode::Fail(500));
    assert_eq!(status(&access, "/any", Some(&token), None).await, 503);
}

#[tokio::test]
async fn only_those_who_need_a_certificate_wait_for_it() {
    let (local, access) = platform().await;
    local.set_certificates(Mode::Fail(500));
    let (plain, publisher) = (org(&local, &[]), org(&local, &["altinn:events.publish"]));
    let app = local.platform_token("ttd", "apps-test");
    for (path, bearer, expected) in [
        ("/app", &plain, 503),
        ("/publish", &plain, 503),
        ("/publish", &publisher, 200),
        ("/any", &plain, 200),
    ] {
        assert_eq!(status(&access, path, Some(bearer), Some(&app)).await, expected, "{path}");
    }
}
