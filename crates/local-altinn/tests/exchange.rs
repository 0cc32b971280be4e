//! Foreign tokens, their exchange, and the renewal of ours, over HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy grants tests these only inside test functions, not in what they share"
)]

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use local_altinn::{LocalAltinn, Options};
use serde_json::{Value, json};

async fn start() -> LocalAltinn {
    local_altinn::start(Options::default()).await.unwrap()
}

async fn get(
    local: &LocalAltinn,
    path: &str,
    bearer: Option<&str>,
    headers: &[(&str, &str)],
) -> (u16, String) {
    let mut request = reqwest::Client::new().get(format!("{}{path}", local.base_url));
    if let Some(bearer) = bearer {
        request = request.bearer_auth(bearer);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn foreign(local: &LocalAltinn, path: &str) -> String {
    let (status, token) = get(local, path, None, &[]).await;
    assert_eq!(status, 200, "{path}: {token}");
    token
}

async fn exchanged(local: &LocalAltinn, provider: &str, token: &str) -> (u16, Value) {
    let (status, text) =
        get(local, &format!("/authentication/api/v1/exchange/{provider}"), Some(token), &[]).await;
    (status, if status == 200 { claims(&text) } else { Value::Null })
}

fn claims(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

const MASKINPORTEN: &str = "/api/GetMaskinportenToken";
const IDPORTEN: &str = "/api/GetIdportenToken";

#[tokio::test]
async fn a_token_of_maskinporten_becomes_an_organisations_and_with_its_scope_a_service_owners() {
    let local = start().await;
    let owner = "orgNo=991825827&scopes=altinn:serviceowner,altinn:events.publish";
    let (status, owner) =
        exchanged(&local, "maskinporten", &foreign(&local, &format!("{MASKINPORTEN}?{owner}")).await).await;
    assert_eq!((status, &owner["urn:altinn:org"]), (200, &json!("ttd")));
    assert_eq!(owner["urn:altinn:orgNumber"], "991825827");
    assert_eq!(
        (&owner["urn:altinn:authlevel"], &owner["urn:altinn:authenticatemethod"]),
        (&json!("3"), &json!("maskinporten"))
    );
    assert_eq!(owner["scope"], "altinn:serviceowner altinn:events.publish");

    let delegated = "orgNo=991825827&supplierOrgNo=310075728&scopes=altinn:events/ttd/apps-test";
    let (_, delegated) =
        exchanged(&local, "maskinporten", &foreign(&local, &format!("{MASKINPORTEN}?{delegated}")).await)
            .await;
    assert_eq!(delegated.get("urn:altinn:org"), None, "the scope makes a service owner");
    assert_eq!(delegated["supplier"]["ID"], "0192:310075728");
    assert_eq!(delegated["consumer"]["ID"], "0192:991825827");

    let id = "a1b2c3d4-0000-4000-8000-000000000002";
    let system = foreign(&local, &format!("{MASKINPORTEN}?orgNo=311783777&systemUserId={id}")).await;
    let (_, system) = exchanged(&local, "maskinporten", &system).await;
    assert_eq!(system["authorization_details"][0]["systemuser_id"][0], id);
}

#[tokio::test]
async fn a_token_of_idporten_becomes_a_persons() {
    let local = start().await;
    let pid = "pid=02857010054&scopes=openid,altinn:events.subscribe";
    for (acr, level) in
        [("idporten-loa-high", "4"), ("idporten-loa-substantial", "3"), ("selfregistered-email", "0")]
    {
        let token = foreign(&local, &format!("{IDPORTEN}?{pid}&acr={acr}")).await;
        let (status, person) = exchanged(&local, "id-porten", &token).await;
        assert_eq!((status, &person["urn:altinn:userid"]), (200, &json!("1337")));
        assert_eq!(
            (&person["urn:altinn:partyid"], &person["urn:altinn:authlevel"]),
            (&json!(50_001_337), &json!(level))
        );
    }
}

#[tokio::test]
async fn what_cannot_be_exchanged_is_refused_as_the_contract_says() {
    let local = start().await;
    let good = foreign(&local, &format!("{MASKINPORTEN}?orgNo=991825827")).await;
    let ours = local.enterprise_token(Some("ttd"), "991825827", &[]);
    for (provider, token, status) in [
        ("feide", good.clone(), 400),
        ("maskinporten", "x.y.z".to_owned(), 401),
        ("maskinporten", ours, 401),
        ("maskinporten", foreign(&local, &format!("{MASKINPORTEN}?orgNo=991825827&ttl=-60")).await, 401),
        ("maskinporten", foreign(&local, &format!("{IDPORTEN}?pid=02857010054&scopes=altinn:x")).await, 401),
        ("id-porten", foreign(&local, &format!("{IDPORTEN}?pid=02857010054&scopes=openid")).await, 403),
        ("id-porten", foreign(&local, &format!("{IDPORTEN}?pid=01010112345&scopes=altinn:x")).await, 401),
    ] {
        assert_eq!(exchanged(&local, provider, &token).await.0, status, "{provider} {token}");
    }
    let path = "/authentication/api/v1/exchange/maskinporten";
    assert_eq!(get(&local, path, None, &[]).await.0, 401);
    let retired = [("X-Altinn-EnterpriseUser-Authentication", "dTpw")];
    assert_eq!(get(&local, path, Some(&good), &retired).await.0, 410);
    assert_eq!(get(&local, MASKINPORTEN, None, &[]).await.0, 400);
    assert_eq!(get(&local, IDPORTEN, None, &[]).await.0, 400);
}

#[tokio::test]
async fn a_token_is_renewed_with_the_same_claims() {
    let local = start().await;
    let old = local.enterprise_token(Some("ttd"), "991825827", &["altinn:events.publish"]);
    let path = "/authentication/api/v1/refresh";
    let (status, new) = get(&local, path, Some(&old), &[]).await;
    assert_eq!(status, 200);
    let (old, new) = (claims(&old), claims(&new));
    for same in ["scope", "consumer", "urn:altinn:org", "iss"] {
        assert_eq!(old[same], new[same]);
    }
    assert_ne!(old["jti"], new["jti"]);
    let lifetime = |token: &Value| token["exp"].as_i64().unwrap() - token["iat"].as_i64().unwrap();
    assert_eq!(lifetime(&old), lifetime(&new));
    for bad in [None, Some("x.y.z")] {
        assert_eq!(get(&local, path, bad, &[]).await.0, 401);
    }
}
