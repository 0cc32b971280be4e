//! Tokens over HTTP: exchanged, renewed, and made by every parameter of the generator (contract §2.1, §2.7).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy grants tests these only inside test functions, not in what they share"
)]

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use local_altinn::{Holder, LocalAltinn, Options, TokenRequest};
use serde_json::{Value, json};

const PERSON: &str = "02857010054";
const SYSTEM_USER: &str = "a1b2c3d4-0000-4000-8000-000000000002";

async fn start() -> LocalAltinn {
    local_altinn::start(Options::default()).await.unwrap()
}

async fn send(local: &LocalAltinn, path: &str, headers: &[(&str, String)]) -> (u16, String) {
    let mut request = reqwest::Client::new().get(format!("{}{path}", local.base_url));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn with_token(local: &LocalAltinn, path: &str, token: &str) -> (u16, String) {
    send(local, path, &[("Authorization", format!("Bearer {token}"))]).await
}

/// What the token says that comes of an exchange.
async fn exchanged(local: &LocalAltinn, provider: &str, token: &str) -> Value {
    let path = format!("/authentication/api/v1/exchange/{provider}");
    let (status, token) = with_token(local, &path, token).await;
    assert_eq!(status, 200, "{token}");
    claims(&token)
}

async fn made(local: &LocalAltinn, path: &str) -> Value {
    let (status, token) = send(local, path, &[]).await;
    assert_eq!(status, 200, "{path}: {token}");
    claims(&token)
}

fn claims(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn authority(number: &str) -> Value {
    json!({"authority": "iso6523-actorid-upis", "ID": format!("0192:{number}")})
}

fn lifetime(claims: &Value) -> i64 {
    claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
}

/// Compares members; null means that the member is not there.
fn assert_says(claims: &Value, expected: &Value, what: &str) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(claims.get(name).unwrap_or(&Value::Null), value, "{what}: {name}");
    }
}

#[tokio::test]
async fn every_provider_takes_its_own_valid_tokens_and_no_others() {
    let local = start().await;
    let maskinporten = local.maskinporten_token("991825827", &["altinn:serviceowner"]);
    let idporten = local.idporten_token(PERSON, &["openid", "altinn:portal/enduser"]);
    let studio = json!({"iss": format!("{}/altinnstudio/", local.base_url), "exp": 9_999_999_999_u64});
    let studio = local.sign_foreign(&studio);
    let own = local.personal_token(1337, 50_001_337, &["altinn:portal/enduser"]);
    let ended = |seconds| TokenRequest::maskinporten("991825827", &["x"]).ttl(seconds);
    let forged = format!("{}.{}", studio.rsplit_once('.').unwrap().0, own.rsplit_once('.').unwrap().1);
    let no_consumer = json!({"iss": format!("{}/maskinporten/", local.base_url), "exp": 9_999_999_999_u64});
    let elsewhere = start().await.maskinporten_token("991825827", &[]);
    for (provider, what, token, status) in [
        ("maskinporten", "its own", &maskinporten, 200),
        ("Maskinporten", "its own", &maskinporten, 200),
        ("id-porten", "its own", &idporten, 200),
        ("altinnstudio", "its own", &studio, 200),
        ("maskinporten", "ID-porten's", &idporten, 401),
        ("id-porten", "Maskinporten's", &maskinporten, 401),
        ("altinnstudio", "Maskinporten's", &maskinporten, 401),
        ("maskinporten", "Altinn's", &own, 401),
        ("id-porten", "Altinn's", &own, 401),
        ("maskinporten", "ended within the skew", &local.token(&ended(-5)), 200),
        ("maskinporten", "ended", &local.token(&ended(-15)), 401),
        ("altinnstudio", "forged", &forged, 401),
        ("maskinporten", "of another stand-in", &elsewhere, 401),
        ("maskinporten", "without a consumer", &local.sign_foreign(&no_consumer), 401),
        ("maskinporten", "no token", &"x".to_owned(), 401),
        ("id-porten", "no altinn scope", &local.idporten_token(PERSON, &["openid", "profile"]), 403),
        ("id-porten", "no scope", &local.idporten_token(PERSON, &[]), 403),
        ("id-porten", "unknown person", &local.idporten_token("30819230052", &["altinn:x"]), 401),
        ("idporten", "unknown provider", &idporten, 400),
    ] {
        let path = format!("/authentication/api/v1/exchange/{provider}?test=true");
        let (found, text) = with_token(&local, &path, token).await;
        assert_eq!(found, status, "{provider}, {what}: {text}");
    }
}

#[tokio::test]
async fn an_exchange_needs_a_bearer_token_and_refuses_the_retired_enterprise_user() {
    let local = start().await;
    let token = local.maskinporten_token("991825827", &[]);
    let path = "/authentication/api/v1/exchange/maskinporten";
    let bearer = ("Authorization", format!("Bearer {token}"));
    for (headers, status) in [
        (vec![], 401),
        (vec![("Authorization", token.clone())], 401),
        (vec![("Authorization", format!("Basic {token}"))], 401),
        (vec![("Authorization", format!("bearer {token}"))], 200),
        (vec![bearer.clone(), ("X-Altinn-EnterpriseUser-Authentication", "eDp5".to_owned())], 410),
    ] {
        assert_eq!(send(&local, path, &headers).await.0, status, "{headers:?}");
    }
    local.rotate_keys(false).unwrap();
    assert_eq!(with_token(&local, path, &token).await.0, 200, "the providers have keys of their own");
}

#[tokio::test]
async fn a_token_of_maskinporten_becomes_one_of_an_organisation() {
    let local = start().await;
    let foreign = local.maskinporten_token("991825827", &["altinn:serviceowner"]);
    let issuer =
        |claims: &Value| claims["iss"].as_str().unwrap().strip_prefix(&local.base_url).unwrap().to_owned();
    assert_eq!(issuer(&claims(&foreign)), "/maskinporten/");
    assert!(claims(&foreign).as_object().unwrap().keys().all(|name| !name.starts_with("urn:altinn:")));
    let owner = exchanged(&local, "maskinporten", &foreign).await;
    assert_eq!(issuer(&owner), "/authentication/api/v1/openid/");
    assert_eq!(lifetime(&owner), 1_800);
    for (number, scope, org) in [
        ("991825827", "altinn:serviceowner", json!("ttd")),
        ("310926728", "altinn:serviceowner/instances.read", json!("kve")),
        ("991825827", "altinn:events.subscribe", Value::Null),
        ("310075728", "altinn:serviceowner", Value::Null),
        ("999999999", "altinn:serviceowner", Value::Null),
    ] {
        let foreign = TokenRequest::maskinporten(number, &["a", scope]).supplied_by("315596688");
        let token = exchanged(&local, "maskinporten", &local.token(&foreign)).await;
        let expected = json!({
            "urn:altinn:org": org,
            "urn:altinn:orgNumber": number,
            "urn:altinn:authlevel": "3",
            "urn:altinn:authenticatemethod": "maskinporten",
            "scope": format!("a {scope}"),
            "consumer": authority(number),
            "supplier": authority("315596688"),
            "authorization_details": null,
        });
        assert_says(&token, &expected, &format!("{number} {scope}"));
    }
    assert_eq!(owner.get("supplier"), None);
}

#[tokio::test]
async fn what_a_foreign_token_says_in_the_name_of_altinn_is_dropped() {
    let local = start().await;
    let mut foreign = claims(&local.maskinporten_token("310075728", &["x"]));
    foreign["urn:altinn:org"] = json!("ttd");
    foreign["urn:altinn:userid"] = json!("1337");
    let token = exchanged(&local, "maskinporten", &local.sign_foreign(&foreign)).await;
    let expected =
        json!({"urn:altinn:org": null, "urn:altinn:userid": null, "urn:altinn:orgNumber": "310075728"});
    assert_says(&token, &expected, "no claim of its own");
}

#[tokio::test]
async fn a_system_user_stays_one_through_the_exchange() {
    let local = start().await;
    let path = format!(
        "/api/GetMaskinportenToken?orgNo=311783777&systemUserId={SYSTEM_USER}&scopes=altinn:events.subscribe"
    );
    let (_, foreign) = send(&local, &path, &[]).await;
    let token = exchanged(&local, "maskinporten", &foreign).await;
    let details = &token["authorization_details"][0];
    let expected = json!({
        "type": "urn:altinn:systemuser",
        "systemuser_id": [SYSTEM_USER],
        "systemuser_org": authority("311783777"),
        "system_id": "311783777_local_system",
    });
    assert_eq!(details, &expected);
}

#[tokio::test]
async fn digdir_is_ttd_in_test() {
    let folder = tempfile::tempdir().unwrap();
    let digdir =
        json!([{"partyId": 1, "partyUuid": "u", "name": "D", "orgNumber": "991825827", "org": "digdir"}]);
    std::fs::write(folder.path().join("parties.json"), digdir.to_string()).unwrap();
    let options = Options { data_folder: Some(folder.path().to_owned()), ..Options::default() };
    let local = local_altinn::start(options).await.unwrap();
    let foreign = local.maskinporten_token("991825827", &["altinn:serviceowner"]);
    for (provider, org) in [
        ("maskinporten?test=true", "ttd"),
        ("maskinporten?test=True", "ttd"),
        ("maskinporten?test=false", "digdir"),
        ("maskinporten", "digdir"),
    ] {
        assert_eq!(exchanged(&local, provider, &foreign).await["urn:altinn:org"], org, "{provider}");
    }
}

#[tokio::test]
async fn a_token_of_id_porten_becomes_one_of_the_person_at_the_level_of_the_login() {
    let local = start().await;
    let scopes = "openid altinn:portal/enduser";
    for (acr, level) in [
        ("idporten-loa-high", "4"),
        ("idporten-loa-substantial", "3"),
        ("idporten-loa-low", "0"),
        ("Level4", "0"),
    ] {
        let mut foreign = TokenRequest::idporten(PERSON, &["openid", "altinn:portal/enduser"]);
        foreign.holder = Holder::Idporten { pid: PERSON.to_owned(), acr: Some(acr.to_owned()) };
        let foreign = local.token(&foreign);
        assert!(claims(&foreign).as_object().unwrap().keys().all(|name| !name.starts_with("urn:altinn:")));
        let token = exchanged(&local, "id-porten", &foreign).await;
        let expected = json!({
            "urn:altinn:userid": "1337",
            "urn:altinn:partyid": 50_001_337,
            "urn:altinn:party:uuid": "7d5f3a10-0000-4000-8000-000050001337",
            "urn:altinn:authlevel": level,
            "pid": PERSON,
            "acr": acr,
            "scope": scopes,
        });
        assert_says(&token, &expected, acr);
    }
}

#[tokio::test]
async fn a_token_of_altinn_studio_keeps_its_claims() {
    let local = start().await;
    let iss = format!("{}/altinnstudio/", local.base_url);
    let foreign = json!({"iss": iss, "exp": 9_999_999_999_u64, "urn:altinn:app": "studio.designer"});
    let token = exchanged(&local, "altinnstudio", &local.sign_foreign(&foreign)).await;
    assert_eq!(token["urn:altinn:app"], "studio.designer");
    assert_eq!((token["iss"] != iss, lifetime(&token)), (true, 1_800));
}

#[tokio::test]
async fn a_token_is_renewed_with_the_same_claims_and_a_new_lifetime() {
    let local = start().await;
    let path = "/authentication/api/v1/refresh";
    let old = local.token(&TokenRequest::personal(1337, 50_001_337, &["altinn:portal/enduser"]).ttl(60));
    let (status, new) = with_token(&local, path, &old).await;
    assert_eq!(status, 200);
    let (mut old, mut new) = (claims(&old), claims(&new));
    assert_eq!((lifetime(&old), lifetime(&new)), (60, 1_800));
    assert_ne!(old["jti"], new["jti"]);
    for claims in [&mut old, &mut new] {
        claims
            .as_object_mut()
            .unwrap()
            .retain(|name, _| !["iat", "nbf", "exp", "jti"].contains(&name.as_str()));
    }
    assert_eq!(old, new);
}

#[tokio::test]
async fn only_a_valid_token_of_altinn_is_renewed() {
    let local = start().await;
    let path = "/authentication/api/v1/refresh";
    let of = |seconds| local.token(&TokenRequest::enterprise(Some("ttd"), "991825827", &[]).ttl(seconds));
    for (what, token, status) in [
        ("valid", of(60), 200),
        ("ended within the skew", of(-5), 200),
        ("ended", of(-15), 401),
        ("of Maskinporten", local.maskinporten_token("991825827", &[]), 401),
        ("of ID-porten", local.idporten_token(PERSON, &["altinn:x"]), 401),
        ("of an app", local.platform_token("ttd", "apps-test"), 401),
        ("none", String::new(), 401),
    ] {
        assert_eq!(with_token(&local, path, &token).await.0, status, "{what}");
    }
    assert_eq!(send(&local, path, &[]).await.0, 401);
}

#[tokio::test]
async fn every_parameter_of_the_generator_counts_where_it_makes_sense() {
    let local = start().await;
    let common = "env=at22&bulkCount=5";
    let uuid = |party: i64| format!("7d5f3a10-0000-4000-8000-0000{party}");
    let enterprise = json!({"consumer": authority("991825827"), "urn:altinn:orgNumber": "991825827"});
    let system = json!({"consumer": authority("311783777"), "supplier": authority("315596688")});
    let person = |user: &str, party: i64| json!({"urn:altinn:userid": user, "urn:altinn:partyid": party, "urn:altinn:party:uuid": uuid(party)});
    for (path, expected) in [
        ("Enterprise?org=ttd&orgNo=991825827", json!({"urn:altinn:org": "ttd"})),
        ("Enterprise?org=ttd", enterprise.clone()),
        ("Enterprise?orgNo=991825827", enterprise.clone()),
        ("Enterprise?partyId=50000001", enterprise),
        (
            "Enterprise?orgNo=310075728&authLvl=2",
            json!({"urn:altinn:authlevel": "2", "urn:altinn:org": null}),
        ),
        ("Enterprise?orgNo=310075728&supplierOrgNo=315596688", json!({"supplier": authority("315596688")})),
        ("Personal?userId=2001", person("2001", 51_001_001)),
        ("Personal?partyId=51001002", person("2002", 51_001_002)),
        ("Personal?pid=10907931760", person("2003", 51_001_003)),
        ("Personal?userId=1337&partyId=51001004", person("1337", 51_001_004)),
        (
            "Personal?pid=30819230052&userId=99&partyId=77",
            json!({"pid": "30819230052", "urn:altinn:party:uuid": null}),
        ),
        ("Personal?scopes=x", person("1337", 50_001_337)),
        ("Personal?authLvl=3", json!({"urn:altinn:authlevel": "3", "acr": "idporten-loa-substantial"})),
        ("SystemUser?systemUserId=s&orgNo=311783777&supplierOrgNo=315596688", system),
        ("SystemUser?systemUserId=s&partyId=51000002&authLvl=4", json!({"urn:altinn:authlevel": "4"})),
        ("PlatformAccess?app=apps-test", json!({"iss": "platform", "urn:altinn:app": "apps-test"})),
        ("PlatformAccess?app=apps-test&org=ttd", json!({"iss": "ttd"})),
        ("Maskinporten?orgNo=310075728&supplierOrgNo=315596688", json!({"supplier": authority("315596688")})),
        (
            "Maskinporten?orgNo=310075728",
            json!({"consumer": authority("310075728"), "authorization_details": null}),
        ),
        ("Idporten?pid=02857010054", json!({"pid": PERSON, "acr": "idporten-loa-high"})),
        ("Idporten?pid=02857010054&authLvl=3", json!({"acr": "idporten-loa-substantial"})),
        ("Idporten?pid=02857010054&authLvl=0", json!({"acr": "idporten-loa-low"})),
        ("Idporten?pid=02857010054&acr=Level4&authLvl=3", json!({"acr": "Level4"})),
    ] {
        let (name, query) = path.split_once('?').unwrap();
        for query in [query.to_owned(), names_in_capitals(query)] {
            let path = format!("/api/Get{name}Token?{common}&{query}&TTL=42&ttl=40");
            let token = made(&local, &path).await;
            assert_says(&token, &expected, &path);
            assert_eq!(lifetime(&token), 40, "{path}");
        }
    }
}

/// The same query with the names of its parameters in capitals.
fn names_in_capitals(query: &str) -> String {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| format!("{}={value}", name.to_uppercase())).collect::<Vec<_>>().join("&")
}

#[tokio::test]
async fn scopes_are_separated_by_commas_or_spaces_in_every_kind_of_token() {
    let local = start().await;
    for path in [
        "GetEnterpriseToken?org=ttd",
        "GetPersonalToken?userId=1337",
        "GetSystemUserToken?systemUserId=s&org=ttd",
        "GetMaskinportenToken?orgNo=991825827",
        "GetIdportenToken?pid=02857010054",
    ] {
        for scopes in ["a:b,c", "a:b%20c", "a:b+c", ",a:b,%20c,"] {
            let token = made(&local, &format!("/api/{path}&scopes={scopes}")).await;
            assert_eq!(token["scope"], "a:b c", "{path} {scopes}");
        }
        assert_eq!(made(&local, &format!("/api/{path}")).await.get("scope"), None, "{path}");
    }
}

#[tokio::test]
async fn what_the_generator_lacks_is_named() {
    let local = start().await;
    for (path, word) in [
        ("GetMaskinportenToken", "orgNo"),
        ("GetIdportenToken", "pid"),
        ("GetSystemUserToken?orgNo=991825827", "systemUserId"),
        ("GetSystemUserToken?systemUserId=s", "orgNo"),
        ("GetPersonalToken?pid=30819230052", "userId"),
        ("GetPersonalToken?partyId=51000002", "userId"),
        ("GetEnterpriseToken?org=ttd&ttl=x", "ttl"),
    ] {
        let (status, text) = send(&local, &format!("/api/{path}"), &[]).await;
        assert_eq!(status, 400, "{path}");
        assert!(text.contains(word), "{path}: {text}");
    }
}
