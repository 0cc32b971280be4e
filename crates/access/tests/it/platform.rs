//! Platform access tokens.

use access::{Access, AuthError, PLATFORM_HEADER, PlatformApp};
use http::{HeaderMap, HeaderValue};
use local_altinn::{Mode, TokenRequest};
use serde_json::json;

use crate::{eventually, platform};

fn headers(tokens: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for token in tokens {
        headers.append(PLATFORM_HEADER, HeaderValue::from_str(token).unwrap());
    }
    headers
}

async fn app(access: &Access, token: &str) -> Result<Option<PlatformApp>, AuthError> {
    access.platform_token(&headers(&[token])).await
}

#[tokio::test]
async fn the_token_of_an_app_names_its_issuer_and_app() {
    let (local, access) = platform().await;
    let token = local.platform_token("ttd", "apps-test");
    for _ in 0..3 {
        let found = app(&access, &token).await.unwrap().unwrap();
        assert_eq!((&*found.issuer, &*found.app), ("ttd", "apps-test"));
    }
    assert_eq!(local.certificate_requests(), 1);
    let component = app(&access, &local.platform_token("platform", "events")).await.unwrap().unwrap();
    assert_eq!(&*component.issuer, "platform");
    assert_eq!(access.platform_token(&HeaderMap::new()).await, Ok(None));
}

#[tokio::test]
async fn an_issuer_that_is_not_a_plain_name_is_never_looked_up() {
    let (local, access) = platform().await;
    for issuer in ["../ttd", "TTD", "ttd/x", "ttd%2fx", "", "http://127.0.0.1", &"a".repeat(41)] {
        let token = local.token(&TokenRequest::platform(issuer, "apps-test"));
        assert_eq!(app(&access, &token).await, Err(AuthError::Invalid), "{issuer}");
    }
    assert_eq!(local.certificate_requests(), 0);
}

#[tokio::test]
async fn an_unknown_issuer_is_looked_up_once() {
    let (local, access) = platform().await;
    for _ in 0..5 {
        let token = local.platform_token("nobody", "apps-test");
        assert_eq!(app(&access, &token).await, Err(AuthError::Invalid));
    }
    assert_eq!(local.certificate_requests(), 1);
}

#[tokio::test]
async fn tokens_that_do_not_count_are_refused() {
    let (local, access) = platform().await;
    let other = crate::local().await;
    let good = local.platform_token("ttd", "apps-test");
    let claims = json!({"iss": "ttd", "urn:altinn:app": "apps-test", "exp": 4_000_000_000_u64});
    for (what, token) in [
        ("expired", local.token(&TokenRequest::platform("ttd", "apps-test").ttl(-15))),
        ("signed by another key", other.platform_token("ttd", "apps-test")),
        ("signed by the key of bearer tokens", local.sign(&claims, None)),
        ("garbage", "abc".to_owned()),
        ("empty", String::new()),
    ] {
        assert_eq!(app(&access, &token).await, Err(AuthError::Invalid), "{what}");
    }
    assert_eq!(access.platform_token(&headers(&[&good, &good])).await, Err(AuthError::Invalid));
}

#[tokio::test]
async fn without_certificates_the_answer_is_unavailable_and_it_recovers() {
    let (local, access) = platform().await;
    let token = local.platform_token("ttd", "apps-test");
    local.set_certificates(Mode::Fail(500));
    assert_eq!(app(&access, &token).await, Err(AuthError::Unavailable));
    local.set_certificates(Mode::Answer);
    let (access, token) = (&access, token.as_str());
    eventually("the token counts", || async move { app(access, token).await.is_ok() }).await;
}
