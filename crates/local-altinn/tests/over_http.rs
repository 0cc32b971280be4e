//! The stand-in as people and tools see it: over HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy grants tests these only inside test functions, not in what they share"
)]

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use local_altinn::{LocalAltinn, Options, Reply};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

async fn start() -> LocalAltinn {
    local_altinn::start(Options::default()).await.unwrap()
}

async fn get(local: &LocalAltinn, path: &str) -> (u16, String) {
    let answer = reqwest::Client::new()
        .get(format!("{}{path}", local.base_url))
        .basic_auth("anybody", Some("anything"))
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn send(local: &LocalAltinn, method: reqwest::Method, path: &str, body: &Value) -> reqwest::Response {
    let request = reqwest::Client::new().request(method, format!("{}{path}", local.base_url));
    request.json(body).send().await.unwrap()
}

async fn post(local: &LocalAltinn, path: &str, body: &Value) -> (u16, Value) {
    let answer = send(local, reqwest::Method::POST, path, body).await;
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

fn claims(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

async fn token(local: &LocalAltinn, path: &str) -> Value {
    let (status, token) = get(local, path).await;
    assert_eq!(status, 200, "{token}");
    claims(&token)
}

#[tokio::test]
async fn it_answers_on_loopback_and_says_what_is_here() {
    let local = start().await;
    assert!(local.base_url.starts_with("http://127.0.0.1:"));
    let (status, page) = get(&local, "/").await;
    assert_eq!(status, 200);
    assert!(page.contains(&format!("{}/api/GetEnterpriseToken?", local.base_url)));
}

#[tokio::test]
async fn the_generator_takes_the_parameters_of_the_public_test_tool() {
    let local = start().await;
    let scopes = "scopes=altinn:events.publish,altinn:serviceowner%20altinn:events.subscribe";
    let org =
        token(&local, &format!("/api/GetEnterpriseToken?env=at22&org=ttd&orgNo=991825827&{scopes}&ttl=60"))
            .await;
    assert_eq!(org["scope"], "altinn:events.publish altinn:serviceowner altinn:events.subscribe");
    assert_eq!((&org["urn:altinn:org"], &org["urn:altinn:orgNumber"]), (&json!("ttd"), &json!("991825827")));
    assert_eq!(org["urn:altinn:authlevel"], "3");
    assert_eq!(org["exp"].as_i64().unwrap() - org["iat"].as_i64().unwrap(), 60);

    let organisation = token(&local, "/api/GetEnterpriseToken?env=tt02&orgNo=310075728&authLvl=2").await;
    assert_eq!(organisation.get("urn:altinn:org"), None);
    assert_eq!(organisation["urn:altinn:authlevel"], "2");

    let person = token(&local, "/api/GetPersonalToken?env=tt02&userId=1337").await;
    assert_eq!(
        (&person["urn:altinn:userid"], &person["urn:altinn:partyid"]),
        (&json!("1337"), &json!(50_001_337))
    );
    let by_pid = token(&local, "/api/GetPersonalToken?env=tt02&pid=14918520067").await;
    assert_eq!(by_pid["urn:altinn:userid"], "1338");

    let id = "a1b2c3d4-0000-4000-8000-000000000001";
    let system = token(&local, &format!("/api/GetSystemUserToken?systemUserId={id}&orgNo=991825827")).await;
    assert_eq!(system["authorization_details"][0]["systemuser_id"], json!([id]));

    let app = token(&local, "/api/GetPlatformAccessToken?env=tt02&org=ttd&app=apps-test").await;
    assert_eq!((&app["iss"], &app["urn:altinn:app"]), (&json!("ttd"), &json!("apps-test")));
    assert_eq!(app["exp"].as_i64().unwrap() - app["iat"].as_i64().unwrap(), 300);
}

#[tokio::test]
async fn a_wrong_parameter_is_named_with_an_example() {
    let local = start().await;
    for (path, word) in [
        ("/api/GetEnterpriseToken?org=unknown", "orgNo"),
        ("/api/GetPersonalToken?userId=99", "partyId"),
        ("/api/GetPersonalToken?userId=abc", "userid"),
        ("/api/GetPlatformAccessToken", "app"),
        ("/api/GetEnterpriseToken?org=ttd&authLvl=9", "authLvl"),
    ] {
        let (status, text) = get(&local, path).await;
        assert_eq!(status, 400, "{path}");
        assert!(text.contains(word), "{path}: {text}");
    }
}

#[tokio::test]
async fn keys_and_certificates_are_where_the_metadata_says() {
    let local = start().await;
    let metadata = "/authentication/api/v1/openid/.well-known/openid-configuration";
    let metadata: Value = serde_json::from_str(&get(&local, metadata).await.1).unwrap();
    let jwks = metadata["jwks_uri"].as_str().unwrap().strip_prefix(&local.base_url).unwrap();
    let jwks: Value = serde_json::from_str(&get(&local, jwks).await.1).unwrap();
    assert_eq!(jwks["keys"][0]["kid"], local.key_id());
    assert!(jwks["keys"][0]["x5c"][0].is_string());
    assert_eq!(get(&local, "/platform-certificates/ttd-access-token-public-cert").await.0, 200);
    assert_eq!(get(&local, "/platform-certificates/nobody-access-token-public-cert").await.0, 404);
}

#[tokio::test]
async fn decisions_come_from_the_policy_of_the_resource() {
    let local = start().await;
    let attribute = |id: &str, value: &str| json!({"attributeId": id, "value": value});
    let ask = |resource: Value| {
        json!({"request": {
            "accessSubject": [{"attribute": [attribute("urn:altinn:org", "ttd")]}],
            "action": [{"attribute": [attribute("urn:oasis:names:tc:xacml:1.0:action:action-id", "publish")]}],
            "resource": [{"attribute": resource}],
        }})
    };
    let known = attribute("urn:altinn:resource", "ttd-altinn-events-automated-tests");
    let person = attribute("urn:altinn:person:identifier-no", "02857010054");
    for (resource, decision) in [
        (json!([known]), "Permit"),
        (json!([attribute("urn:altinn:resource", "other")]), "Indeterminate"),
        (json!([known, person]), "Indeterminate"),
    ] {
        let (_, answer) = post(&local, "/authorization/api/v1/decision", &ask(resource)).await;
        assert_eq!(answer["response"][0]["decision"], decision);
    }
    let (status, answer) = post(&local, "/authorization/api/v1/decision", &json!({})).await;
    assert_eq!((status, &answer["response"][0]["decision"]), (200, &json!("Indeterminate")));
}

#[tokio::test]
async fn register_answers_by_number() {
    let local = start().await;
    let lookup = "/register/api/v1/parties/lookup";
    assert_eq!(post(&local, lookup, &json!({"orgNo": "991825827"})).await.1["partyId"], 50_000_001);
    assert_eq!(post(&local, lookup, &json!({"Ssn": "02857010054"})).await.1["partyId"], 50_001_337);
    assert_eq!(post(&local, lookup, &json!({"Ssn": "30819230052"})).await.0, 404);
    assert_eq!(
        post(&local, lookup, &json!({"Ssn": "02857010053"})).await.0,
        400,
        "its check figures are wrong"
    );
    assert_eq!(post(&local, lookup, &json!({})).await.0, 400);
    let query = "/register/api/v2/internal/parties/query";
    let person = |number: &str| format!("urn:altinn:person:identifier-no:{number}");
    let known = json!({"Data": [person("02857010054"), person("30819230052")]});
    assert_eq!(post(&local, query, &known).await.1["data"].as_array().unwrap().len(), 1);
    let odd = json!({"Data": [person("02857010054"), person("02857010053")]});
    assert_eq!(post(&local, query, &odd).await.0, 400, "one odd number refuses the whole request");
    let urn = "urn:altinn:organization:identifier-no:314000110";
    let main = post(&local, "/register/api/v2/internal/parties/main-units", &json!({"data": urn})).await.1;
    assert_eq!(main["data"][0]["partyId"], 50_000_003);
}

#[tokio::test]
async fn a_webhook_records_and_answers_by_script() {
    let local = start().await;
    let webhook = local.webhook("mine");
    let script = json!([{"status": 503, "retryAfterS": 60}, {"status": 425}]);
    assert_eq!(send(&local, reqwest::Method::PUT, "/webhooks/mine", &script).await.status(), 204);
    let first = send(&local, reqwest::Method::POST, "/webhooks/mine", &json!({"n": 1})).await;
    assert_eq!((first.status().as_u16(), first.headers()["retry-after"].to_str().unwrap()), (503, "60"));
    assert_eq!(post(&local, "/webhooks/mine", &json!({"n": 2})).await.0, 425);
    assert_eq!(post(&local, "/webhooks/mine?code=x", &json!({"n": 3})).await.0, 200);

    let seen = webhook.wait_for(3, PATIENCE).await.unwrap();
    assert_eq!(seen.iter().map(|one| one.json()["n"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    let listed: Value = serde_json::from_str(&get(&local, "/webhooks/mine").await.1).unwrap();
    assert_eq!((&listed["count"], &listed["requests"][1]["status"]), (&json!(3), &json!(425)));
    assert_eq!(get(&local, "/webhooks").await.1, r#"["mine"]"#);
}

#[tokio::test]
async fn a_webhook_that_hangs_records_before_it_hangs() {
    let local = start().await;
    let webhook = local.webhook("slow");
    webhook.script([Reply::hang()]);
    let request = reqwest::Client::new().post(&webhook.url).body("x").send();
    tokio::select! {
        _ = request => panic!("it answered"),
        seen = webhook.wait_for(1, PATIENCE) => assert_eq!(seen.unwrap()[0].status, None),
    }
}

#[tokio::test]
async fn a_webhook_keeps_the_latest_and_counts_all_and_a_wait_tells_what_came() {
    let options = Options { webhook_requests_max: 2, ..Options::default() };
    let local = local_altinn::start(options).await.unwrap();
    let webhook = local.webhook("small");
    for n in 1..=3 {
        post(&local, "/webhooks/small", &json!({ "n": n })).await;
    }
    assert_eq!((webhook.count(), webhook.requests().len()), (3, 2));
    let missed = webhook.wait_until(Duration::from_millis(10), |seen| seen.len() > 5).await.unwrap_err();
    let text = missed.to_string();
    assert!(text.contains(r#"Some(200) {"n":3}"#), "{text}");
}
