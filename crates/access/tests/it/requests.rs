//! The five requests of the contract (§3.2 to §3.5), attribute by attribute, as the PDP receives them.

use access::{Access, Question, question};
use event::Event;
use local_altinn::LocalAltinn;
use serde_json::{Value, json};

use crate::{app_event, caller, generic_event, parse, platform};

const XSD: &str = "http://www.w3.org/2001/XMLSchema#";
/// The party that nobody has.
const NOBODY: (&str, &str, &str, bool) = ("urn:altinn:partyid", "0", "xsd:integer", false);

async fn request(local: &LocalAltinn, access: &Access, question: Question) -> Value {
    access.decide_one(question).await;
    local.pdp().asked().pop().unwrap()["request"].clone()
}

/// (name, value, type, issuer, asked back)
fn rows(category: &Value) -> Vec<(String, String, String, String, bool)> {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let row = |row: &Value| {
        assert_eq!(row.as_object().unwrap().len(), 5);
        (
            text(row, "attributeId"),
            text(row, "value"),
            text(row, "dataType"),
            text(row, "issuer"),
            row["includeInResult"].as_bool().unwrap(),
        )
    };
    category["attribute"].as_array().unwrap().iter().map(row).collect()
}

fn check(category: &Value, expected: &[(&str, &str, &str, bool)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(id, value, data_type, back)| {
            let data_type = data_type.replace("xsd:", XSD);
            ((*id).to_owned(), (*value).to_owned(), data_type, "Altinn".to_owned(), *back)
        })
        .collect();
    assert_eq!(rows(category), expected);
}

fn check_action(request: &Value, action: &str) {
    let id = "urn:oasis:names:tc:xacml:1.0:action:action-id";
    check(&request["action"][0], &[(id, action, "string", true)]);
}

fn org_caller(local: &LocalAltinn) -> String {
    local.enterprise_token(Some("ttd"), "991825827", &["altinn:events.publish"])
}

fn dialog_event() -> Event {
    parse(&json!({
        "specversion": "1.0", "id": "d1", "type": "dialogporten.dialog.created.v1", "subject": "/party/50001337",
        "source": "https://platform.altinn.no/dialogporten/api/v1/enduser/dialogs/1",
        "resource": "urn:altinn:resource:app_ttd_my_app", "resourceinstance": "1",
    }))
}

#[tokio::test]
async fn members_that_are_not_set_go_out_as_null_and_flags_as_false() {
    let (local, access) = platform().await;
    let caller = caller(&access, &org_caller(&local)).await;
    let publish = question::publish(&caller, &generic_event("e1", "/party/1"));
    let request = request(&local, &access, publish).await;
    for member in [
        "xPathVersion",
        "category",
        "recipientSubject",
        "intermediarySubject",
        "requestingMachine",
        "multiRequests",
    ] {
        assert_eq!(request.get(member), Some(&Value::Null), "{member}");
    }
    for flag in ["returnPolicyIdList", "combinedDecision"] {
        assert_eq!(request[flag], false, "{flag}");
    }
    for category in ["accessSubject", "action", "resource"] {
        let category = &request[category][0];
        assert_eq!(
            (&category["id"], &category["categoryId"], &category["content"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
    }
}

#[tokio::test]
async fn publish_asks_about_the_token_and_the_event() {
    let (local, access) = platform().await;
    let caller = caller(&access, &org_caller(&local)).await;
    let event = parse(&json!({
        "specversion": "1.0", "id": "e1", "type": "t", "subject": "party/50001337", "source": "https://ttd.example/s",
        "resource": "urn:altinn:resource:ttd-altinn-events-automated-tests", "resourceinstance": "r-1",
    }));
    let request = request(&local, &access, question::publish(&caller, &event)).await;
    check_action(&request, "publish");
    check(
        &request["resource"][0],
        &[
            ("urn:altinn:event-id", "e1", "string", true),
            ("urn:altinn:eventtype", "t", "string", false),
            ("urn:altinn:eventsource", "https://ttd.example/s", "string", false),
            ("urn:altinn:resource", "ttd-altinn-events-automated-tests", "string", false),
            ("urn:altinn:partyid", "50001337", "xsd:integer", false),
            ("urn:altinn:resource:instance-id", "r-1", "string", false),
        ],
    );
    let subject = rows(&request["accessSubject"][0]);
    let issuer = format!("{}/authentication/api/v1/openid/", local.base_url);
    assert!(subject.iter().all(|row| row.2 == "string" && row.3 == issuer && !row.4));
    let mut names: Vec<_> = subject.iter().map(|row| row.0.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "urn:altinn:authenticatemethod",
            "urn:altinn:authlevel",
            "urn:altinn:org",
            "urn:altinn:organization:identifier-no",
            "urn:altinn:organizationnumber",
            "urn:altinn:sessionid",
            "urn:scope",
        ]
    );
}

#[tokio::test]
async fn an_app_feed_asks_about_the_instance() {
    let (local, access) = platform().await;
    let caller = caller(&access, &org_caller(&local)).await;
    let question = question::read_app(&caller, &app_event("e1", 50_001_337));
    let request = request(&local, &access, question).await;
    check_action(&request, "read");
    check(
        &request["resource"][0],
        &[
            ("urn:altinn:instance-id", "50001337/6fb3f738", "string", true),
            ("urn:altinn:appresource", "events", "string", false),
            ("urn:altinn:event-id", "e1", "string", true),
            ("urn:altinn:partyid", "50001337", "string", false),
            ("urn:altinn:org", "ttd", "string", false),
            ("urn:altinn:app", "apps-test", "string", false),
        ],
    );
    assert_eq!(request["multiRequests"], json!({"requestReference": [{"referenceId": ["s1", "a1", "r1"]}]}));
    for (category, id) in [("accessSubject", "s1"), ("action", "a1"), ("resource", "r1")] {
        assert_eq!(request[category][0]["id"], id);
    }
}

#[tokio::test]
async fn an_app_feed_asks_about_the_party_that_nobody_has_where_the_subject_is_no_party() {
    let (local, access) = platform().await;
    let caller = caller(&access, &org_caller(&local)).await;
    for (instance, subject) in ["/user/1337", "/org/ttd", "/party/x"].into_iter().enumerate() {
        let event = parse(&json!({
            "specversion": "1.0", "id": "e", "type": "app.instance.created", "subject": subject,
            "source": format!("https://ttd.apps.altinn.no/ttd/apps-test/instances/1/{instance}"),
            "resource": "urn:altinn:resource:app_ttd_apps-test",
        }));
        let request = request(&local, &access, question::read_app(&caller, &event)).await;
        let asked = rows(&request["resource"][0]);
        let parties: Vec<&str> =
            asked.iter().filter(|row| row.0 == "urn:altinn:partyid").map(|row| row.1.as_str()).collect();
        assert_eq!(parties, ["0"], "{subject}");
    }
}

#[tokio::test]
async fn a_generic_feed_asks_for_subscribe_on_each_event() {
    let (local, access) = platform().await;
    let caller = caller(&access, &org_caller(&local)).await;
    let questions = ["a", "b"].map(|subject| question::read_generic(&caller, &generic_event("e", subject)));
    access.decide(questions.into()).await;
    // Free text is the party that nobody has, so both ask the same: one reference.
    let request = &local.pdp().asked().pop().unwrap()["request"];
    check_action(request, "subscribe");
    assert_eq!(request["multiRequests"]["requestReference"].as_array().unwrap().len(), 1);
    let questions =
        ["/party/1", "/party/2"].map(|subject| question::read_generic(&caller, &generic_event("e", subject)));
    access.decide(questions.into()).await;
    let request = &local.pdp().asked().pop().unwrap()["request"];
    assert_eq!(request["accessSubject"].as_array().unwrap().len(), 1);
    assert_eq!(request["resource"].as_array().unwrap().len(), 2);
    let references = json!([{"referenceId": ["s1", "a1", "r1"]}, {"referenceId": ["s1", "a1", "r2"]}]);
    assert_eq!(request["multiRequests"]["requestReference"], references);
}

#[tokio::test]
async fn a_subscription_asks_about_the_consumer_and_its_filter() {
    let (local, access) = platform().await;
    let caller = caller(&access, &org_caller(&local)).await;
    let question = question::subscribe(
        &caller,
        "/organisation/991825827",
        "urn:altinn:resource:app_ttd_apps-test",
        Some("/party/1"),
    );
    let app = request(&local, &access, question).await;
    check_action(&app, "read");
    let consumer = ("urn:altinn:organization:identifier-no", "991825827", "xsd:string", true);
    check(&app["accessSubject"][0], &[consumer]);
    check(
        &app["resource"][0],
        &[
            ("urn:altinn:resource", "app_ttd_apps-test", "string", false),
            ("urn:altinn:partyid", "1", "xsd:integer", false),
            ("urn:altinn:org", "ttd", "string", false),
            ("urn:altinn:app", "apps-test", "string", false),
            ("urn:altinn:appresource", "events", "string", false),
        ],
    );
    let question = question::subscribe(&caller, "/org/ttd", "urn:altinn:resource:kve-notices", None);
    let generic = request(&local, &access, question).await;
    check_action(&generic, "subscribe");
    check(&generic["accessSubject"][0], &[("urn:altinn:org", "ttd", "xsd:string", true)]);
    check(&generic["resource"][0], &[("urn:altinn:resource", "kve-notices", "string", false)]);
}

#[tokio::test]
async fn a_push_asks_about_all_consumers_of_one_event_together() {
    let (local, access) = platform().await;
    let event = app_event("e1", 50_001_337);
    let questions = ["/org/ttd", "/user/1337"].map(|consumer| question::push(consumer, &event));
    access.decide(questions.into()).await;
    let request = &local.pdp().asked().pop().unwrap()["request"];
    check_action(request, "read");
    check(&request["accessSubject"][0], &[("urn:altinn:org", "ttd", "xsd:string", true)]);
    check(&request["accessSubject"][1], &[("urn:altinn:userid", "1337", "xsd:string", true)]);
    assert_eq!(request["resource"].as_array().unwrap().len(), 1);
    check(
        &request["resource"][0],
        &[
            ("urn:altinn:partyid", "50001337", "xsd:integer", true),
            ("urn:altinn:instance-id", "50001337/6fb3f738", "string", true),
            ("urn:altinn:org", "ttd", "string", false),
            ("urn:altinn:app", "apps-test", "string", false),
            ("urn:altinn:appresource", "events", "string", false),
        ],
    );
    let references = json!([{"referenceId": ["s1", "a1", "r1"]}, {"referenceId": ["s2", "a1", "r1"]}]);
    assert_eq!(request["multiRequests"]["requestReference"], references);
}

#[tokio::test]
async fn a_push_of_another_type_on_an_app_takes_the_app_from_the_resource() {
    let (local, access) = platform().await;
    let request = request(&local, &access, question::push("/org/ttd", &dialog_event())).await;
    check(
        &request["resource"][0],
        &[
            ("urn:altinn:partyid", "50001337", "xsd:integer", true),
            ("urn:altinn:org", "ttd", "string", false),
            ("urn:altinn:app", "my_app", "string", false),
            ("urn:altinn:appresource", "events", "string", false),
        ],
    );
}

#[tokio::test]
async fn a_person_number_is_asked_about_as_a_party_id() {
    let (local, access) = platform().await;
    let person = local.register().parties().into_iter().find(|party| party.user_id == Some(1337)).unwrap();
    let number = person.person_number.unwrap();
    let event = generic_event("e1", &format!("urn:altinn:person:identifier-no:{number}"));
    let known = request(&local, &access, question::push("/org/ttd", &event)).await;
    let row = (
        "urn:altinn:party:uuid".to_owned(),
        person.party_uuid,
        "string".to_owned(),
        "Altinn".to_owned(),
        false,
    );
    assert!(rows(&known["resource"][0]).contains(&row));
    let stranger = generic_event("e1", "urn:altinn:person:identifier-no:30819230052");
    let unknown = request(&local, &access, question::push("/org/ttd", &stranger)).await;
    check(&json!({"attribute": [unknown["resource"][0]["attribute"][4]]}), &[NOBODY]);
    for asked in local.pdp().asked() {
        let text = asked.to_string();
        assert!(!text.contains(&number) && !text.contains("30819230052"));
    }
}

#[tokio::test]
async fn a_subject_that_is_a_urn_is_never_asked_back() {
    let (local, access) = platform().await;
    let event = parse(&json!({
        "specversion": "1.0", "id": "u1", "type": "app.instance.created",
        "subject": "urn:altinn:organization:identifier-no:991825827",
        "source": "https://ttd.apps.altinn.no/ttd/apps-test/instances/1/2",
        "resource": "urn:altinn:resource:app_ttd_apps-test",
    }));
    let request = request(&local, &access, question::push("/org/ttd", &event)).await;
    let (id, value, data_type, _, back) = rows(&request["resource"][0]).remove(0);
    assert_eq!((id.as_str(), value.as_str()), ("urn:altinn:organization:identifier-no", "991825827"));
    assert_eq!((data_type.as_str(), back), ("string", false));
}

#[tokio::test]
async fn an_event_whose_subject_is_no_party_is_about_the_party_that_nobody_has() {
    let (local, access) = platform().await;
    let org = "urn:altinn:organization:identifier-no";
    let uuid = "urn:altinn:party:uuid";
    for (subject, expected) in [
        ("/party/50001337", vec![("urn:altinn:partyid", "50001337", "xsd:integer", false)]),
        ("free text", vec![NOBODY]),
        ("/party/x", vec![("urn:altinn:partyid", "x", "xsd:integer", false), NOBODY]),
        ("/user/1337", vec![("urn:altinn:userid", "1337", "xsd:string", false), NOBODY]),
        ("/org/ttd", vec![NOBODY]),
        ("urn:altinn:resource:app_ttd_apps-test", vec![NOBODY]),
        ("urn:altinn:resource:instance-id:1", vec![NOBODY]),
        ("urn:other:thing:1", vec![("urn:other:thing", "1", "string", false), NOBODY]),
        ("/organisation/313500004", vec![(org, "313500004", "xsd:string", false)]),
        ("/org/313500004", vec![(org, "313500004", "xsd:string", false)]),
        ("urn:altinn:organization:identifier-no:313500004", vec![(org, "313500004", "string", false)]),
        ("urn:altinn:organization:identifier-no:999999999", vec![NOBODY]),
        ("/organisation/999999999", vec![NOBODY]),
        ("/person/02857010054", vec![(uuid, "7d5f3a10-0000-4000-8000-000050001337", "string", false)]),
        ("/person/30819230052", vec![NOBODY]),
        ("/person/02857010053", vec![NOBODY]),
        ("urn:altinn:person:identifier-no:02857010053", vec![NOBODY]),
        (
            "urn:altinn:party:uuid:7d5f3a10-0000-4000-8000-000050001337",
            vec![(uuid, "7d5f3a10-0000-4000-8000-000050001337", "string", false)],
        ),
        ("urn:altinn:party:uuid:7d5f3a10-0000-4000-8000-000000000000", vec![NOBODY]),
    ] {
        // The type keeps any two from being the same question.
        let event = parse(&json!({
            "specversion": "1.0", "id": "e", "type": subject, "subject": subject, "source": "/s",
            "resource": "urn:altinn:resource:ttd-altinn-events-automated-tests",
        }));
        let request = request(&local, &access, question::push("/org/ttd", &event)).await;
        let about = &request["resource"][0]["attribute"].as_array().unwrap()[4..];
        check(&json!({ "attribute": about }), &expected);
    }
    let nobody = parse(&json!({
        "specversion": "1.0", "id": "e", "type": "test.created", "source": "https://ttd.example/automated-tests",
        "resource": "urn:altinn:resource:ttd-altinn-events-automated-tests",
    }));
    let request = request(&local, &access, question::push("/org/kve", &nobody)).await;
    assert_eq!(rows(&request["resource"][0]).len(), 4, "an event without a subject is about nobody");
}
