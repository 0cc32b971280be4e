//! Access lists: what they restrict, and what a rule on a list grants (contract §3.8).

use local_altinn::{Options, Rule};
use serde_json::{Value, json};

use crate::{
    ACCOUNTANT, APPS_TEST, GENERIC, KVE, NOTICES, SYSTEM, TTD, ask, attribute, consumer, generic,
    in_app_feed, start, subject, user, without_party,
};

const LIST: &str = "kve:approved-systems";
/// On the list of the built-in data; `VENDOR` is named by a rule of the policy.
const CLIENT: (&str, &str) = ("urn:altinn:organization:identifier-no", "311783777");
const VENDOR: (&str, &str) = ("urn:altinn:organization:identifier-no", "315596688");
const CLIENT_PARTY: i64 = 51_000_002;

#[tokio::test]
async fn a_rule_on_a_list_grants_to_those_on_it_without_party_instance_and_app_alone() {
    let local = start().await;
    let old_number = ("urn:altinn:organizationnumber", ACCOUNTANT.1);
    let by_party = ("urn:altinn:partyid", "51000004");
    let by_uuid = ("urn:altinn:party:uuid", "7d5f3a10-0000-4000-8000-000051000004");
    let of_the_list = ("urn:altinn:systemuser:uuid", "a1b2c3d4-0000-4000-8000-000000000003");
    for (who, action, decision) in [
        (ACCOUNTANT, "subscribe", "Permit"),
        (by_uuid, "subscribe", "Permit"),
        (ACCOUNTANT, "read", "NotApplicable"),
        (ACCOUNTANT, "publish", "NotApplicable"),
        (old_number, "subscribe", "NotApplicable"),
        (by_party, "subscribe", "NotApplicable"),
        (of_the_list, "subscribe", "NotApplicable"),
        (CLIENT, "subscribe", "NotApplicable"),
        (SYSTEM, "subscribe", "NotApplicable"),
        (user("2003"), "subscribe", "NotApplicable"),
        (TTD, "subscribe", "NotApplicable"),
        (KVE, "subscribe", "Permit"),
    ] {
        for resource in [without_party(NOTICES), without_party("KVE-Notices")] {
            let result = ask(&local, &consumer(who), action, &resource).await;
            assert_eq!(result["decision"], decision, "{who:?} {action}");
        }
    }
    let string = |id: &str, value: &str| attribute(id, value, "string");
    let more = |id: &str, value: &str| json!([string("urn:altinn:resource", NOTICES), string(id, value)]);
    for (what, resource) in [
        ("a party", generic(NOTICES, CLIENT_PARTY)),
        ("a party that nobody is", generic(NOTICES, 0)),
        ("an organisation", more("urn:altinn:organization:identifier-no", CLIENT.1)),
        ("a known uuid", more("urn:altinn:party:uuid", "7d5f3a10-0000-4000-8000-000051000002")),
        ("an instance", more("urn:altinn:resource:instance-id", "1")),
        ("an app", more("urn:altinn:app", "x")),
    ] {
        let result = ask(&local, &consumer(ACCOUNTANT), "subscribe", &resource).await;
        assert_eq!(result["decision"], "NotApplicable", "{what}");
    }
    // These two count as no party, and so widen.
    for resource in [
        more("urn:altinn:party:uuid", "7d5f3a10-0000-4000-8000-000000000000"),
        more("urn:altinn:userid", "2001"),
    ] {
        assert_eq!(ask(&local, &consumer(ACCOUNTANT), "subscribe", &resource).await["decision"], "Permit");
    }
}

#[tokio::test]
async fn a_rule_by_organisation_permits_for_all_parties_and_without_one() {
    let local = start().await;
    let parties = [50_000_001, CLIENT_PARTY, 51_001_006].map(|party| generic(NOTICES, party));
    for resource in parties.into_iter().chain([without_party(NOTICES)]) {
        for subject in [subject(VENDOR), consumer(VENDOR)] {
            let result = ask(&local, &subject, "subscribe", &resource).await;
            assert_eq!(result["decision"], "Permit", "{resource}");
        }
        assert_eq!(ask(&local, &subject(VENDOR), "publish", &resource).await["decision"], "NotApplicable");
    }
}

#[tokio::test]
async fn organisations_come_onto_a_list_and_off_it_while_it_runs() {
    let local = start().await;
    let asked = |who, resource| {
        let local = &local;
        async move { ask(local, &consumer(who), "subscribe", &without_party(resource)).await["decision"].clone() }
    };
    assert_eq!(asked(CLIENT, NOTICES).await, "NotApplicable");
    local.pdp().approve(LIST, CLIENT.1);
    assert_eq!(asked(CLIENT, NOTICES).await, "Permit");
    assert_eq!(
        asked(CLIENT, GENERIC).await,
        "NotApplicable",
        "a policy that does not name the list gives nothing"
    );
    assert!(local.pdp().withdraw(LIST, CLIENT.1) && !local.pdp().withdraw(LIST, CLIENT.1));
    assert_eq!(asked(CLIENT, NOTICES).await, "NotApplicable");
    assert!(local.pdp().withdraw(LIST, ACCOUNTANT.1));
    assert_eq!(asked(ACCOUNTANT, NOTICES).await, "NotApplicable");
}

#[tokio::test]
async fn a_list_that_is_connected_to_a_resource_only_restricts_and_by_the_party_of_the_resource() {
    let local = start().await;
    let pdp = local.pdp();
    pdp.restrict(NOTICES, LIST, &[]);
    pdp.restrict(NOTICES, "kve:others", &["read"]);
    pdp.approve("kve:others", CLIENT.1);
    let asked = |who, action: &'static str, resource: Value| {
        let local = &local;
        async move { ask(local, &subject(who), action, &resource).await }
    };
    for (who, action, party, decision) in [
        (KVE, "publish", 51_000_004, "Permit"),
        (KVE, "publish", CLIENT_PARTY, "Deny"),
        (KVE, "read", CLIENT_PARTY, "Permit"),
        (KVE, "read", 51_001_006, "Deny"),
        (KVE, "read", 0, "Deny"),
        (ACCOUNTANT, "read", 51_000_004, "NotApplicable"),
        (VENDOR, "subscribe", 51_000_004, "Permit"),
        (VENDOR, "subscribe", CLIENT_PARTY, "Deny"),
    ] {
        let result = asked(who, action, generic(NOTICES, party)).await;
        assert_eq!(result["decision"], decision, "{who:?} {action} {party}");
        assert!(result["category"].is_null() || decision != "Deny");
    }
    assert_eq!(asked(KVE, "publish", without_party(NOTICES)).await["decision"], "Indeterminate", "it throws");
    assert_eq!(asked(TTD, "publish", without_party(NOTICES)).await["decision"], "NotApplicable");
    pdp.silence_access_lists(true);
    assert_eq!(asked(KVE, "publish", generic(NOTICES, 51_000_004)).await["decision"], "Deny");
    pdp.restrict(APPS_TEST, "kve:nobody", &[]);
    let app = asked(user("1337"), "read", in_app_feed(APPS_TEST, 50_001_337)).await;
    assert_eq!(app["decision"], "Permit", "apps are never restricted");
}

#[tokio::test]
async fn a_folder_replaces_the_access_lists_and_rights_of_a_test_are_restricted_too() {
    let folder = tempfile::tempdir().unwrap();
    let lists = json!({
        "lists": [{"id": LIST, "organisations": [CLIENT.1]}],
        "restricted": [{"resource": GENERIC, "lists": [{"id": LIST, "actions": ["read"]}]}],
    });
    std::fs::write(folder.path().join("access-lists.json"), lists.to_string()).unwrap();
    let options = Options { data_folder: Some(folder.path().to_owned()), ..Options::default() };
    let local = local_altinn::start(options).await.unwrap();
    for (who, decision) in [(CLIENT, "Permit"), (ACCOUNTANT, "NotApplicable")] {
        let result = ask(&local, &consumer(who), "subscribe", &without_party(NOTICES)).await;
        assert_eq!(result["decision"], decision, "{who:?}");
    }
    let resource = format!("urn:altinn:resource:{GENERIC}");
    local.pdp().permit(Rule::new(user("1337"), &["read", "subscribe"], &resource));
    for (action, party, decision) in
        [("read", CLIENT_PARTY, "Permit"), ("read", 51_000_004, "Deny"), ("subscribe", CLIENT_PARTY, "Deny")]
    {
        let result = ask(&local, &subject(user("1337")), action, &generic(GENERIC, party)).await;
        assert_eq!(result["decision"], decision, "{action} {party}");
    }
}
