//! Who may do what by the built-in policies and roles.

use local_altinn::{Options, Rule};
use serde_json::json;

use crate::{
    ACCOUNTANT, ANONYMOUS, APPS_TEST, GENERIC, KVE, MAIL, PERMITS, REPORT, SYSTEM, TTD, XSD, ask, attribute,
    consumer, generic, in_app_feed, levels, start, subject, user, without_party,
};

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
    let built_in = include_str!("../../data/policies/ttd-altinn-events-automated-tests.xml");
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

#[tokio::test]
async fn whoever_has_no_token_reads_only_where_the_policy_permits_it() {
    let local = start().await;
    let nobody = json!([attribute(ANONYMOUS.0, ANONYMOUS.1, "string")]);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/policies");
    let mut permitted = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        let mut resources = vec![without_party(&name)];
        for party in [50_001_337, 51_000_002] {
            resources.push(generic(&name, party));
            resources.extend(name.starts_with("app_").then(|| in_app_feed(&name, party)));
        }
        for action in ["read", "subscribe", "publish", "write"] {
            for resource in &resources {
                let decision = ask(&local, &nobody, action, resource).await["decision"].clone();
                let open = name == PERMITS && action == "read";
                assert_eq!(decision == "Permit", open, "{action} {resource}: {decision}");
                permitted.extend((decision == "Permit").then(|| name.clone()));
            }
        }
    }
    assert_eq!(permitted.len(), 5, "every question about reading the open permits: {permitted:?}");
}

#[tokio::test]
async fn an_open_resource_still_asks_those_with_a_token_for_their_rights() {
    let local = start().await;
    let false_claim = ("urn:altinn:anonymous", "false");
    for (who, action, party, decision) in [
        (TTD, "publish", 51_000_002, "Permit"),
        (TTD, "subscribe", 51_000_002, "Permit"),
        (user("1337"), "read", 50_001_337, "Permit"),
        (user("2001"), "write", 51_000_002, "Permit"),
        (user("2005"), "read", 51_000_002, "NotApplicable"),
        (KVE, "read", 51_000_002, "NotApplicable"),
        (false_claim, "read", 51_000_002, "NotApplicable"),
    ] {
        let result = ask(&local, &subject(who), action, &in_app_feed(PERMITS, party)).await;
        assert_eq!(result["decision"], decision, "{who:?} {action} {party}");
    }
}
