//! How the real decision point fails (contract §3.8).

use local_altinn::Rule;
use serde_json::{Value, json};

use crate::{
    APPS_TEST, GENERIC, SYSTEM, TTD, XSD, ask, ask_all, attribute, consumer, generic, in_app_feed, send,
    start, subject, user, without_party,
};

const NOBODY: &str = "02857010053";
const PERSON: &str = "02857010054";

/// A resource with one more attribute.
fn with(mut resource: Value, more: Value) -> Value {
    resource.as_array_mut().unwrap().push(more);
    resource
}

/// What throws, with a name.
fn poison() -> Vec<(&'static str, Value, Value)> {
    let ttd = || subject(TTD);
    let resource = || generic(GENERIC, 50_001_337);
    let string = |id: &str, value: &str| attribute(id, value, "string");
    vec![
        ("no subject", json!([]), resource()),
        ("a system user beside others", with(subject(SYSTEM), string("urn:scope", "s")), resource()),
        ("a user id that is no number", consumer(user("x")), resource()),
        ("an unknown resource", ttd(), generic("unknown", 50_001_337)),
        ("an unknown app", ttd(), in_app_feed("app_ttd_unknown", 50_001_337)),
        ("no resource", ttd(), json!([string("urn:altinn:partyid", "50001337")])),
        ("an org alone", ttd(), json!([string("urn:altinn:org", "ttd")])),
        ("a person's number as subject", consumer(("urn:altinn:person:identifier-no", PERSON)), resource()),
        ("a wrong number as subject", consumer(("urn:altinn:person:identifier-no", NOBODY)), resource()),
        (
            "a person's number as resource",
            ttd(),
            with(without_party(GENERIC), string("urn:altinn:person:identifier-no", PERSON)),
        ),
        (
            "an unknown organisation as subject",
            consumer(("urn:altinn:organization:identifier-no", "999999999")),
            resource(),
        ),
        (
            "an unknown organisation as resource",
            ttd(),
            with(without_party(GENERIC), string("urn:altinn:organization:identifier-no", "999999999")),
        ),
        ("an odd data type", ttd(), with(resource(), attribute("x", "1", &format!("{XSD}#duck")))),
        ("a null value", ttd(), with(resource(), json!({"attributeId": "x", "value": null}))),
        ("no value", ttd(), with(resource(), json!({"attributeId": "x"}))),
    ]
}

fn assert_one_indeterminate(results: &[Value], what: &str) {
    let processing = "urn:oasis:names:tc:xacml:1.0:status:processing-error";
    assert_eq!(results.len(), 1, "{what}");
    let result = &results[0];
    assert_eq!((&result["decision"], &result["category"]), (&json!("Indeterminate"), &Value::Null), "{what}");
    assert_eq!(result["obligations"], Value::Null, "{what}");
    assert_eq!(result["status"]["statusCode"]["value"], processing, "{what}");
}

#[tokio::test]
async fn what_throws_in_one_part_takes_the_results_of_all() {
    let local = start().await;
    let good = || (subject(TTD), "publish", generic(GENERIC, 50_001_337));
    assert_eq!(ask_all(&local, &[good(), good()]).await.len(), 2);
    for (what, subject, resource) in poison() {
        let bad = || (subject.clone(), "publish", resource.clone());
        assert_one_indeterminate(&[ask(&local, &bad().0, "publish", &bad().2).await], what);
        assert_one_indeterminate(&ask_all(&local, &[good(), bad(), good()]).await, what);
        assert_one_indeterminate(&ask_all(&local, &[bad(), good()]).await, what);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_one_indeterminate_with_status_200() {
    let local = start().await;
    for body in
        ["", "{", "[]", "{}", r#"{"request":{}}"#, r#"{"request":{"accessSubject":[{"attribute":[]}]}}"#]
    {
        let results = send(&local, body.to_owned()).await;
        assert_eq!(results.len(), 1, "{body}");
        assert_eq!(results[0]["decision"], "Indeterminate", "{body}");
        let code = &results[0]["status"]["statusCode"]["value"];
        assert_eq!(code, "urn:oasis:names:tc:xacml:1.0:status:syntax-error", "{body}");
    }
}

#[tokio::test]
async fn what_does_not_throw_is_evaluated() {
    let local = start().await;
    let string = |id: &str, value: &str| attribute(id, value, "string");
    let number = string("urn:altinn:person:identifier-no", PERSON);
    for (what, resource) in [
        ("an unknown name", with(without_party(GENERIC), string("urn:x:y", "z"))),
        ("an unknown party id", generic(GENERIC, 0)),
        (
            "an unknown party uuid",
            with(
                without_party(GENERIC),
                string("urn:altinn:party:uuid", "7d5f3a10-0000-4000-8000-000000000000"),
            ),
        ),
        ("a user as the event's subject", with(without_party(GENERIC), string("urn:altinn:userid", "x"))),
        ("a person's number beside a party id", with(generic(GENERIC, 50_001_337), number)),
    ] {
        assert_eq!(ask(&local, &subject(TTD), "publish", &resource).await["decision"], "Permit", "{what}");
        assert_eq!(
            ask(&local, &subject(user("1337")), "publish", &resource).await["decision"],
            "NotApplicable",
            "{what}"
        );
    }
}

#[tokio::test]
async fn results_stand_in_the_order_of_references() {
    let local = start().await;
    let asked: Vec<_> = [TTD, user("1337"), TTD, TTD, user("1337")]
        .into_iter()
        .map(|who| (subject(who), "publish", generic(GENERIC, 50_001_337)))
        .collect();
    let decisions: Vec<_> =
        ask_all(&local, &asked).await.into_iter().map(|result| result["decision"].clone()).collect();
    assert_eq!(decisions, ["Permit", "NotApplicable", "Permit", "Permit", "NotApplicable"]);
}

#[tokio::test]
async fn fewer_than_two_references_are_a_single_question() {
    let local = start().await;
    let results = ask_all(&local, &[(subject(TTD), "publish", generic(GENERIC, 50_001_337))]).await;
    assert_eq!(results.len(), 1);
    assert_eq!(results[0]["decision"], "Permit");
    // Alone, what the reference names does not count: the first of each category does.
    let request = json!({"request": {
        "accessSubject": [{"attribute": subject(TTD)}, {"id": "s2", "attribute": subject(user("1337"))}],
        "action": [{"id": "a", "attribute": [crate::action("publish")]}],
        "resource": [{"id": "r", "attribute": generic(GENERIC, 50_001_337)}],
        "multiRequests": {"requestReference": [{"referenceId": ["s2", "a", "r"]}]},
    }});
    assert_eq!(send(&local, request.to_string()).await[0]["decision"], "Permit");
}

#[tokio::test]
async fn every_member_of_a_result_is_there_and_null_where_it_is_empty() {
    let local = start().await;
    let back = |mut resource: Value| {
        resource[0]["includeInResult"] = json!(true);
        resource
    };
    let permitted =
        ask(&local, &subject(user("1337")), "read", &back(in_app_feed(APPS_TEST, 50_001_337))).await;
    let refused = ask(&local, &subject(user("1338")), "read", &in_app_feed(APPS_TEST, 50_001_337)).await;
    let failed = ask(&local, &subject(TTD), "read", &back(generic("unknown", 1))).await;
    for (result, decision) in
        [(&permitted, "Permit"), (&refused, "NotApplicable"), (&failed, "Indeterminate")]
    {
        let mut members: Vec<_> = result.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        let expected =
            ["associateAdvice", "category", "decision", "obligations", "policyIdentifierList", "status"];
        assert_eq!((members.as_slice(), &result["decision"]), (expected.as_slice(), &json!(decision)));
        let status = result["status"].as_object().unwrap();
        assert!(
            ["statusMessage", "statusDetails", "statusCode"].iter().all(|name| status.contains_key(*name))
        );
        assert_eq!(result["status"]["statusCode"]["statusCode"], Value::Null);
        assert_eq!(
            (&result["associateAdvice"], &result["policyIdentifierList"]),
            (&Value::Null, &Value::Null)
        );
        let is_permit = decision == "Permit";
        assert_eq!(
            (result["obligations"].is_null(), result["category"].is_null()),
            (!is_permit, !is_permit),
            "{decision}"
        );
    }
    let category = &permitted["category"][0];
    assert_eq!(category["categoryId"], Value::Null, "ids are not copied");
    assert_eq!(category["attribute"][0]["attributeId"], "urn:altinn:instance-id");
}

#[tokio::test]
async fn a_resource_stays_known_when_its_rights_are_gone_and_throws_when_a_test_breaks_it() {
    let local = start().await;
    let asked = |name: &'static str| {
        let local = &local;
        async move { ask(local, &subject(TTD), "publish", &generic(name, 1)).await["decision"].clone() }
    };
    assert_eq!(asked("new").await, "Indeterminate");
    let id = local.pdp().permit(Rule::new(TTD, &["publish"], "urn:altinn:resource:new"));
    assert_eq!(asked("new").await, "Permit");
    assert!(local.pdp().revoke(id));
    assert_eq!(asked("new").await, "NotApplicable");
    local.pdp().break_resource("NEW");
    assert_eq!((asked("new").await, asked(GENERIC).await), (json!("Indeterminate"), json!("Permit")));
    local.pdp().mend_resource("new");
    assert_eq!(asked("new").await, "NotApplicable");
    local.pdp().break_all(true);
    assert_eq!(asked(GENERIC).await, "Indeterminate");
    local.pdp().break_all(false);
    assert_eq!(asked(GENERIC).await, "Permit");
}
