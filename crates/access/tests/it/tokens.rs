//! Bearer tokens of every kind, good and bad.

use std::time::Duration;

use access::{Access, AuthError};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Method, header};
use local_altinn::{Mode, TokenRequest};
use serde_json::json;

use crate::{bearer, caller, eventually, local, platform, settings};

const SYSTEM_USER: &str = "a1b2c3d4-0000-4000-8000-000000000001";

async fn refusal(access: &Access, token: &str) -> Option<AuthError> {
    access.authenticate(&bearer(token), &Method::GET).await.err()
}

#[tokio::test]
async fn a_token_of_every_kind_makes_its_caller() {
    let (local, access) = platform().await;
    let org =
        caller(&access, &local.enterprise_token(Some("ttd"), "991825827", &["altinn:events.publish"])).await;
    assert_eq!(org.consumer().unwrap(), "/org/ttd");
    assert_eq!((org.org_number.as_deref(), org.auth_level), (Some("991825827"), 3));
    assert!(org.has_scope("altinn:events.publish") && !org.has_scope("altinn:events.subscribe"));

    let organisation = caller(&access, &local.enterprise_token(None, "310075728", &[])).await;
    assert_eq!(organisation.consumer().unwrap(), "/organisation/310075728");

    let person = caller(&access, &local.personal_token(1337, 50_001_337, &[])).await;
    assert_eq!(person.consumer().unwrap(), "/user/1337");
    assert_eq!((person.party_id, person.auth_level), (Some(50_001_337), 4));

    let system = caller(&access, &local.system_user_token(SYSTEM_USER, "991825827", &[])).await;
    assert_eq!(system.consumer().unwrap(), format!("/systemuser/{SYSTEM_USER}"));

    let request = TokenRequest::enterprise(None, "991825827", &[]).supplied_by("310075728");
    assert!(caller(&access, &local.token(&request)).await.is_by_delegation());
}

#[tokio::test]
async fn tokens_that_do_not_count_are_refused() {
    let (local, access) = platform().await;
    let other = crate::local().await;
    let claims = json!({"exp": 4_000_000_000_u64, "urn:altinn:org": "ttd"});
    let good = local.sign(&claims, None);
    let parts: Vec<_> = good.split('.').collect();
    let with_header = |header: &str| format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(header), parts[1], parts[2]);
    let kid = local.key_id();
    let hmac = jsonwebtoken::encode(
        &jsonwebtoken::Header { kid: Some(kid.clone()), ..jsonwebtoken::Header::default() },
        &claims,
        &jsonwebtoken::EncodingKey::from_secret(b"the public key, which everybody knows"),
    );
    assert_eq!(refusal(&access, &good).await, None);
    for (what, token) in [
        ("expired", local.token(&TokenRequest::enterprise(Some("ttd"), "991825827", &[]).ttl(-15))),
        ("signed by another key under our key's id", other.sign(&claims, Some(&kid))),
        ("of an unknown key", local.sign(&claims, Some("unknown"))),
        ("without an end", local.sign(&json!({"urn:altinn:org": "ttd"}), None)),
        ("not begun", local.sign(&json!({"exp": 4_000_000_000_u64, "nbf": 3_999_999_000_u64}), None)),
        ("without a signature", format!("{}.{}.", URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"none","kid":"{kid}"}}"#)), parts[1])),
        ("alg none, signature kept", with_header(&format!(r#"{{"alg":"none","kid":"{kid}"}}"#))),
        ("another algorithm of the same key", with_header(&format!(r#"{{"alg":"PS256","kid":"{kid}"}}"#))),
        ("elliptic with an RSA key", with_header(&format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#))),
        ("HMAC", hmac.unwrap()),
        ("without a key id", with_header(r#"{"alg":"RS256"}"#)),
        ("changed payload", format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(r#"{"exp":4000000000}"#), parts[2])),
        ("impossible claim", local.sign(&json!({"exp": 4_000_000_000_u64, "urn:altinn:userid": "x"}), None)),
        ("10,000 scopes", local.sign(&json!({"exp": 4_000_000_000_u64, "scope": (0..10_000).map(|n| n.to_string()).collect::<Vec<_>>().join(" ")}), None)),
        ("garbage", "a.b.c".to_owned()),
        ("one part", "abc".to_owned()),
    ] {
        assert_eq!(refusal(&access, &token).await, Some(AuthError::Invalid), "{what}");
    }
}

#[tokio::test]
async fn clocks_may_differ_by_ten_seconds() {
    let (local, access) = platform().await;
    let just_over = local.token(&TokenRequest::enterprise(Some("ttd"), "991825827", &[]).ttl(-5));
    assert_eq!(refusal(&access, &just_over).await, None);
}

#[tokio::test]
async fn a_cookie_authenticates_get_alone() {
    let (local, access) = platform().await;
    let cookie = format!("AltinnStudioRuntime={}", local.personal_token(1337, 50_001_337, &[]));
    let mut headers = HeaderMap::new();
    headers.insert(header::COOKIE, HeaderValue::from_str(&cookie).unwrap());
    assert!(access.authenticate(&headers, &Method::GET).await.is_ok());
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let refused = access.authenticate(&headers, &method).await.err();
        assert_eq!(refused, Some(AuthError::Missing), "{method}");
    }
}

#[tokio::test]
async fn the_keys_are_loaded_once_and_an_unknown_key_reloads_at_most_once_a_pause() {
    let (local, access) = platform().await;
    let token = local.enterprise_token(Some("ttd"), "991825827", &[]);
    let many = (0..50).map(|_| refusal(&access, &token));
    assert!(futures::future::join_all(many).await.iter().all(Option::is_none));
    assert_eq!(local.openid_requests(), 2, "metadata and keys");
    for n in 0..20 {
        let stranger = local.sign(&json!({"exp": 4_000_000_000_u64}), Some(&format!("stranger-{n}")));
        assert_eq!(refusal(&access, &stranger).await, Some(AuthError::Invalid));
    }
    assert_eq!(local.openid_requests(), 2);
}

#[tokio::test]
async fn a_new_key_is_found_and_tokens_of_a_withdrawn_one_are_dropped_from_the_cache() {
    let local = local().await;
    let mut settings = settings(&local);
    settings.key_reload_pause = Duration::ZERO;
    let access = Access::new(&settings).unwrap();
    let old = local.enterprise_token(Some("ttd"), "991825827", &[]);
    assert_eq!(refusal(&access, &old).await, None);
    local.rotate_keys(true).unwrap();
    let new = local.enterprise_token(Some("ttd"), "991825827", &[]);
    assert_eq!(refusal(&access, &new).await, None);
    assert_eq!(refusal(&access, &old).await, None, "its key is still in the set");
    local.rotate_keys(false).unwrap();
    let newest = local.enterprise_token(Some("ttd"), "991825827", &[]);
    assert_eq!(refusal(&access, &newest).await, None);
    assert_eq!(refusal(&access, &old).await, Some(AuthError::Invalid));
    assert_eq!(refusal(&access, &new).await, Some(AuthError::Invalid));
}

#[tokio::test]
async fn a_withdrawn_key_is_noticed_without_a_new_one() {
    let local = local().await;
    let mut settings = settings(&local);
    (settings.key_reload_pause, settings.key_refresh) = (Duration::ZERO, Duration::ZERO);
    let access = Access::new(&settings).unwrap();
    let token = local.enterprise_token(Some("ttd"), "991825827", &[]);
    assert_eq!(refusal(&access, &token).await, None);
    local.rotate_keys(false).unwrap();
    let (access, token) = (&access, token.as_str());
    eventually("the token is refused", || async move { refusal(access, token).await.is_some() }).await;
}

#[tokio::test]
async fn a_withdrawn_key_is_noticed_when_every_token_is_a_new_one() {
    let local = local().await;
    let mut settings = settings(&local);
    (settings.key_reload_pause, settings.key_refresh) = (Duration::ZERO, Duration::ZERO);
    let access = Access::new(&settings).unwrap();
    let token = |user| local.personal_token(user, 50_001_337, &[]);
    assert_eq!(refusal(&access, &token(1)).await, None);
    let signed: Vec<String> = (2..1_000).map(token).collect();
    local.rotate_keys(false).unwrap();
    let (mut unseen, access) = (signed.iter(), &access);
    eventually("a token is refused", || {
        let token = unseen.next().unwrap();
        async move { refusal(access, token).await == Some(AuthError::Invalid) }
    })
    .await;
}

#[tokio::test]
async fn keys_that_are_too_old_verify_nothing() {
    let local = local().await;
    let mut settings = settings(&local);
    (settings.key_reload_pause, settings.key_age_max) = (Duration::ZERO, Duration::from_secs(1));
    let access = &Access::new(&settings).unwrap();
    let (first, second) = (&local.personal_token(1, 1, &[]), &local.personal_token(2, 2, &[]));
    let counts = async |token: &String| refusal(access, token).await.is_none();
    assert!(counts(first).await, "it is remembered now");
    local.set_openid(Mode::Fail(500));
    for token in [first, second] {
        let unavailable = || async { refusal(access, token).await == Some(AuthError::Unavailable) };
        eventually("nobody can say whether it counts", unavailable).await;
    }
    local.set_openid(Mode::Answer);
    eventually("it counts again", || async { counts(first).await && counts(second).await }).await;
}

#[tokio::test]
async fn without_keys_the_answer_is_unavailable_and_it_recovers() {
    let (local, access) = platform().await;
    let token = local.enterprise_token(Some("ttd"), "991825827", &[]);
    local.set_openid(Mode::Fail(500));
    assert_eq!(refusal(&access, &token).await, Some(AuthError::Unavailable));
    local.set_openid(Mode::Answer);
    let (access, token) = (&access, token.as_str());
    eventually("the token counts", || async move { refusal(access, token).await.is_none() }).await;
    local.set_openid(Mode::Fail(500));
    let known = local.enterprise_token(Some("ttd"), "991825827", &[]);
    assert_eq!(refusal(access, &known).await, None, "known keys go on counting");
}

#[tokio::test]
async fn when_the_keys_hang_one_request_waits_and_the_others_are_told_at_once() {
    let local = local().await;
    let mut settings = settings(&local);
    settings.timeout = Duration::from_millis(200);
    let access = Access::new(&settings).unwrap();
    let token = local.enterprise_token(Some("ttd"), "991825827", &[]);
    local.set_openid(Mode::Hang);
    let many = (0..50).map(|_| refusal(&access, &token));
    let answers = futures::future::join_all(many).await;
    assert!(answers.iter().all(|answer| *answer == Some(AuthError::Unavailable)));
    assert_eq!(local.openid_requests(), 1);
}
