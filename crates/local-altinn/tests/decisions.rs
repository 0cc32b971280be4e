//! Who may do what by the built-in policies and roles, asked as the platform asks (contract §3.1 to §3.4).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy grants tests these only inside test functions, not in what they share"
)]

use local_altinn::{LocalAltinn, Options, Rule};
use serde_json::{Value, json};

const APPS_TEST: &str = "app_ttd_apps-test";
const MAIL: &str = "app_ttd_restricted-mail";
const REPORT: &str = "app_kve_catch-report";
const GENERIC: &str = "ttd-altinn-events-automated-tests";
const XSD: &str = "http://www.w3.org/2001/XMLSchema";

const TTD: (&str, &str) = ("urn:altinn:org", "ttd");
const KVE: (&str, &str) = ("urn:altinn:org", "kve");
const ACCOUNTANT: (&str, &str) = ("urn:altinn:organization:identifier-no", "313810135");
const SYSTEM: (&str, &str) = ("urn:altinn:systemuser:uuid", "a1b2c3d4-0000-4000-8000-000000000002");

const fn user(id: &str) -> (&str, &str) {
    ("urn:altinn:userid", id)
}

fn attribute(id: &str, value: &str, data_type: &str) -> Value {
    json!({"attributeId": id, "value": value, "issuer": "Altinn", "dataType": data_type, "includeInResult": false})
}

/// As a token's subject: bare strings, and more claims than the one that counts.
fn subject((id, value): (&str, &str)) -> Value {
    json!([
        attribute("urn:scope", "altinn:events.subscribe", "string"),
        attribute("urn:altinn:authlevel", "3", "string"),
        attribute(id, value, "string"),
    ])
}

/// As a consumer: the one attribute, of an XSD type.
fn consumer((id, value): (&str, &str)) -> Value {
    json!([attribute(id, value, &format!("{XSD}#string"))])
}

/// An event in an app feed.
fn in_app_feed(resource: &str, party: i64) -> Value {
    let (org, app) = resource.strip_prefix("app_").unwrap().split_once('_').unwrap();
    json!([
        attribute("urn:altinn:instance-id", &format!("{party}/6fb3f738"), "string"),
        attribute("urn:altinn:appresource", "events", "string"),
        attribute("urn:altinn:event-id", "e", "string"),
        attribute("urn:altinn:partyid", &party.to_string(), "string"),
        attribute("urn:altinn:org", org, "string"),
        attribute("urn:altinn:app", app, "string"),
    ])
}

/// An event anywhere else: the resource by its name, the party from a subject `/party/…`.
fn generic(resource: &str, party: i64) -> Value {
    json!([
        attribute("urn:altinn:event-id", "e", "string"),
        attribute("urn:altinn:eventtype", "t", "string"),
        attribute("urn:altinn:eventsource", "https://x.no", "string"),
        attribute("urn:altinn:resource", resource, "string"),
        attribute("urn:altinn:partyid", &party.to_string(), &format!("{XSD}#integer")),
    ])
}

async fn start() -> LocalAltinn {
    local_altinn::start(Options::default()).await.unwrap()
}

async fn ask(local: &LocalAltinn, subject: &Value, action: &str, resource: &Value) -> Value {
    let action = attribute("urn:oasis:names:tc:xacml:1.0:action:action-id", action, "string");
    let request = json!({"request": {
        "accessSubject": [{"attribute": subject}],
        "action": [{"attribute": [action]}],
        "resource": [{"attribute": resource}],
        "multiRequests": null,
    }});
    let url = format!("{}/authorization/api/v1/decision", local.base_url);
    let answer = reqwest::Client::new().post(url).json(&request).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["response"][0].clone()
}

fn levels(result: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let obligations = result["obligations"].as_array().unwrap().iter();
    obligations
        .flat_map(|obligation| obligation["attributeAssignment"].as_array().unwrap())
        .map(|one| (text(&one["category"]), text(&one["value"])))
        .collect()
}

#[tokio::test]
async fn roles_count_for_their_party_alone() {
    let local = start().await;
    for (who, resource, party, decision) in [
        (user("1337"), APPS_TEST, 50_001_337, "Permit"),
        (user("1337"), APPS_TEST, 50_001_338, "NotApplicable"),
        (user("1338"), APPS_TEST, 50_001_338, "NotApplicable"),
        (user("1337"), APPS_TEST, 50_000_001, "NotApplicable"),
        (user("2001"), APPS_TEST, 51_000_002, "Permit"),
        (user("2001"), APPS_TEST, 51_000_005, "NotApplicable"),
        (user("2002"), APPS_TEST, 51_000_005, "Permit"),
        (user("2004"), APPS_TEST, 51_000_002, "NotApplicable"),
        (user("2004"), REPORT, 51_000_002, "Permit"),
        (user("2005"), REPORT, 51_000_002, "NotApplicable"),
        (ACCOUNTANT, APPS_TEST, 51_000_002, "Permit"),
        (ACCOUNTANT, REPORT, 51_000_002, "Permit"),
        (ACCOUNTANT, MAIL, 51_000_002, "NotApplicable"),
        (ACCOUNTANT, APPS_TEST, 51_000_004, "NotApplicable"),
        (SYSTEM, APPS_TEST, 51_000_002, "Permit"),
        (SYSTEM, MAIL, 51_000_005, "Deny"),
        (user("2002"), MAIL, 51_000_005, "Permit"),
        (TTD, APPS_TEST, 51_000_005, "Permit"),
        (TTD, REPORT, 51_000_005, "NotApplicable"),
        (KVE, REPORT, 51_000_005, "Permit"),
        (KVE, APPS_TEST, 51_000_005, "NotApplicable"),
    ] {
        let resource = in_app_feed(resource, party);
        for subject in [subject(who), consumer(who)] {
            let result = ask(&local, &subject, "read", &resource).await;
            assert_eq!(result["decision"], decision, "{who:?} {resource} {party}");
        }
    }
}

#[tokio::test]
async fn a_resource_is_told_by_its_name_or_by_org_and_app() {
    let local = start().await;
    for (who, action, resource, decision) in [
        (TTD, "publish", APPS_TEST, "Permit"),
        (TTD, "read", APPS_TEST, "Permit"),
        (TTD, "subscribe", APPS_TEST, "Permit"),
        (TTD, "subscribe", "APP_TTD_Apps-Test", "Permit"),
        (TTD, "publish", GENERIC, "Permit"),
        (TTD, "read", GENERIC, "Permit"),
        (TTD, "subscribe", GENERIC, "Permit"),
        (TTD, "subscribe", "TTD-altinn-events-automated-tests", "Permit"),
        (TTD, "delete", GENERIC, "NotApplicable"),
        (TTD, "publish", "unknown", "NotApplicable"),
        (KVE, "publish", GENERIC, "NotApplicable"),
        (user("1337"), "read", APPS_TEST, "Permit"),
        (user("1337"), "subscribe", APPS_TEST, "NotApplicable"),
        (user("1337"), "publish", APPS_TEST, "NotApplicable"),
        (user("1337"), "subscribe", GENERIC, "NotApplicable"),
        (ACCOUNTANT, "subscribe", GENERIC, "NotApplicable"),
    ] {
        let result = ask(&local, &subject(who), action, &generic(resource, 50_001_337)).await;
        assert_eq!(result["decision"], decision, "{who:?} {action} {resource}");
        assert_eq!(result["status"]["statusCode"]["value"], "urn:oasis:names:tc:xacml:1.0:status:ok");
    }
}

#[tokio::test]
async fn a_service_owner_needs_no_party_and_a_party_that_is_no_number_is_nobodys() {
    let local = start().await;
    let name = attribute("urn:altinn:resource", APPS_TEST, "string");
    let odd = attribute("urn:altinn:partyid", "x", &format!("{XSD}#integer"));
    for resource in [json!([name]), json!([name, odd])] {
        assert_eq!(ask(&local, &subject(TTD), "subscribe", &resource).await["decision"], "Permit");
        assert_eq!(ask(&local, &subject(user("1337")), "read", &resource).await["decision"], "NotApplicable");
    }
    let by_uuid = attribute("urn:altinn:party:uuid", "7d5f3a10-0000-4000-8000-000050001337", "string");
    let result = ask(&local, &subject(user("1337")), "read", &json!([name, by_uuid])).await;
    assert_eq!(result["decision"], "Permit", "the party is found by its id");
}

#[tokio::test]
async fn obligations_come_in_the_form_of_the_json_profile() {
    let local = start().await;
    let level = |level: &str| ("urn:altinn:minimum-authenticationlevel".to_owned(), level.to_owned());
    let of_org = |level: &str| ("urn:altinn:minimum-authenticationlevel-org".to_owned(), level.to_owned());
    for (who, resource, party, expected) in [
        (user("1337"), APPS_TEST, 50_001_337, vec![level("2")]),
        (TTD, APPS_TEST, 50_001_337, vec![]),
        (KVE, REPORT, 51_000_002, vec![level("3")]),
        (user("2006"), MAIL, 51_001_006, vec![level("4"), of_org("3")]),
        (SYSTEM, MAIL, 51_000_005, vec![]),
    ] {
        let result = ask(&local, &subject(who), "read", &in_app_feed(resource, party)).await;
        assert_eq!(levels(&result), expected, "{who:?} {resource}");
    }
    let result = ask(&local, &subject(user("1337")), "read", &in_app_feed(APPS_TEST, 50_001_337)).await;
    let expected = json!([{
        "id": "urn:altinn:obligation:authenticationLevel1",
        "attributeAssignment": [{
            "attributeId": "urn:altinn:obligation1-assignment1",
            "value": "2",
            "category": "urn:altinn:minimum-authenticationlevel",
            "dataType": "http://www.w3.org/2001/XMLSchema#integer",
            "issuer": null,
        }],
    }]);
    assert_eq!(result["obligations"], expected);
}

#[tokio::test]
async fn a_rule_that_is_added_permits_beside_the_policy_and_all_can_be_taken_away() {
    let local = start().await;
    let resource = in_app_feed(MAIL, 51_000_005);
    let asked = || async { ask(&local, &subject(SYSTEM), "read", &resource).await };
    assert_eq!(asked().await["decision"], "Deny");
    let rule = Rule::new(SYSTEM, &["read"], "urn:altinn:resource:app_ttd_restricted-mail").at_level(1);
    let id = local.pdp().permit(rule);
    let permitted = asked().await;
    assert_eq!(permitted["decision"], "Permit");
    assert_eq!(levels(&permitted)[0].1, "1");
    assert!(local.pdp().revoke(id) && !local.pdp().revoke(id));
    assert_eq!(asked().await["decision"], "Deny");
    local.pdp().revoke_all();
    assert_eq!(asked().await["decision"], "NotApplicable");
    let ttd = ask(&local, &subject(TTD), "publish", &generic(GENERIC, 1)).await;
    assert_eq!(ttd["decision"], "NotApplicable");
}

#[tokio::test]
async fn a_folder_of_policies_is_read_at_the_start_and_a_mistake_keeps_it_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    let built_in = include_str!("../data/policies/ttd-altinn-events-automated-tests.xml");
    let of_ours = built_in.replace(GENERIC, "ours").replace(">ttd<", ">kve<");
    std::fs::write(policies.join("ours.xml"), &of_ours).unwrap();
    let options = || Options { data_folder: Some(folder.path().to_owned()), ..Options::default() };
    let local = local_altinn::start(options()).await.unwrap();
    for (who, name, decision) in
        [(KVE, "ours", "Permit"), (TTD, "ours", "NotApplicable"), (TTD, GENERIC, "Permit")]
    {
        let result = ask(&local, &subject(who), "publish", &generic(name, 1)).await;
        assert_eq!(result["decision"], decision, "{who:?} {name}");
    }
    std::fs::write(policies.join("ours.xml"), of_ours.replace("<xacml:Target />", "<xacml:Targets />"))
        .unwrap();
    let error = format!("{:#}", local_altinn::start(options()).await.unwrap_err());
    assert!(error.contains("policies/ours.xml has a mistake: line 5, <Targets>"), "{error}");
}

const NOTICES: &str = "kve-notices";
const OPEN: &str = "app_ttd_open-permits";

async fn decision(local: &LocalAltinn, subject: &Value, action: &str, resource: &Value) -> String {
    ask(local, subject, action, resource).await["decision"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_access_list_lets_its_organisations_subscribe_for_every_party_and_nobody_else() {
    let local = start().await;
    let everybody = json!([attribute("urn:altinn:resource", NOTICES, "string")]);
    let other = ("urn:altinn:organization:identifier-no", "311783777");
    for resource in [everybody.clone(), generic(NOTICES, 51_000_005), generic(NOTICES, 50_001_338)] {
        assert_eq!(decision(&local, &consumer(ACCOUNTANT), "subscribe", &resource).await, "Permit");
        assert_eq!(decision(&local, &subject(ACCOUNTANT), "subscribe", &resource).await, "Permit");
        assert_eq!(decision(&local, &consumer(ACCOUNTANT), "publish", &resource).await, "NotApplicable");
        assert_eq!(decision(&local, &consumer(other), "subscribe", &resource).await, "NotApplicable");
        assert_eq!(decision(&local, &consumer(KVE), "publish", &resource).await, "Permit");
    }
    assert_eq!(
        decision(&local, &consumer(ACCOUNTANT), "subscribe", &generic(GENERIC, 1)).await,
        "NotApplicable"
    );
    local.pdp().approve(NOTICES, "311783777");
    assert_eq!(decision(&local, &consumer(other), "subscribe", &everybody).await, "Permit");
    local.pdp().withdraw(NOTICES, "311783777");
    assert_eq!(decision(&local, &consumer(other), "subscribe", &everybody).await, "NotApplicable");
}

#[tokio::test]
async fn nobody_reads_an_instance_but_where_the_policy_says_so() {
    let local = start().await;
    let nobody = json!([attribute("urn:altinn:anonymous", "true", "string")]);
    assert_eq!(decision(&local, &nobody, "read", &in_app_feed(OPEN, 50_001_337)).await, "Permit");
    assert_eq!(decision(&local, &nobody, "subscribe", &in_app_feed(OPEN, 50_001_337)).await, "NotApplicable");
    for app in [APPS_TEST, MAIL, REPORT] {
        assert_ne!(decision(&local, &nobody, "read", &in_app_feed(app, 50_001_337)).await, "Permit", "{app}");
    }
    assert_ne!(decision(&local, &nobody, "subscribe", &generic(GENERIC, 50_001_337)).await, "Permit");
}
