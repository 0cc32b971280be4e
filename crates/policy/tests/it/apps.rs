//! Three policies of different shapes, as apps and the resource registry ship them (in `tests/apps`), and who may do what by them.

use policy::{Decision, Outcome, Request, SUBJECT, Value};

use crate::{DENY, NOT_APPLICABLE, PERHAPS_DENY, PERHAPS_PERMIT, PERMIT, asks, outcome};

const BUILDING_PERMIT: &str = include_str!("../apps/building_permit.xml");
const QUOTA: &str = include_str!("../apps/quota.xml");
const NOTICES: &str = include_str!("../apps/notices.xml");

const ROLE: &str = "urn:altinn:rolecode";
const ORG: &str = "urn:altinn:org";
const APP: &str = "urn:altinn:app";
const TASK: &str = "urn:altinn:task";
const NUMBER: &str = "urn:altinn:organization:identifier-no";
const SYSTEM_USER: &str = "urn:altinn:systemuser:uuid";

/// Category and value of each level that is asked for.
fn levels(outcome: &Outcome) -> Vec<(String, String)> {
    let assignments = outcome.obligations.iter().flat_map(|obligation| &obligation.assignments);
    assignments.map(|one| (one.category.clone().unwrap_or_default(), one.value.text())).collect()
}

fn least(level: &str) -> (String, String) {
    ("urn:altinn:minimum-authenticationlevel".to_owned(), level.to_owned())
}

#[test]
fn an_app_with_everything_in_targets() {
    let app = [(ORG, "ttd"), (APP, "building-permit")];
    let with = |more: (&'static str, &'static str)| [app[0], app[1], more];
    let (in_form, handed_in, events) =
        (with((TASK, "Task_1")), with((TASK, "EndEvent_1")), with(("urn:altinn:appresource", "events")));
    for (who, action, what, expected) in [
        ((ROLE, "DAGL"), "instantiate", app.as_slice(), PERMIT),
        ((ROLE, "regna"), "write", &in_form, PERMIT),
        ((ROLE, "regna"), "write", &handed_in, DENY),
        ((ROLE, "regna"), "read", &handed_in, PERMIT),
        ((ROLE, "UTINN"), "read", &app, NOT_APPLICABLE),
        ((ROLE, "DAGL"), "publish", &app, NOT_APPLICABLE),
        ((ROLE, "DAGL"), "read", &[(ORG, "ttd"), (APP, "other")], NOT_APPLICABLE),
        ((ROLE, "DAGL"), "read", &[(ORG, "ttd")], NOT_APPLICABLE),
        ((ORG, "ttd"), "publish", &app, PERMIT),
        ((ORG, "ttd"), "write", &app, NOT_APPLICABLE),
        ((ORG, "ttd"), "write", &handed_in, DENY),
        ((ORG, "kve"), "subscribe", &events, PERMIT),
        ((ORG, "kve"), "subscribe", &app, NOT_APPLICABLE),
        ((ORG, "TTD"), "publish", &app, NOT_APPLICABLE),
        (("urn:altinn:userid", "1"), "read", &app, NOT_APPLICABLE),
    ] {
        let outcome = outcome(BUILDING_PERMIT, &asks(&[who], action, what));
        assert_eq!(outcome.decision, expected, "{who:?} {action} {what:?}");
        let of_org = ("urn:altinn:minimum-authenticationlevel-org".to_owned(), "3".to_owned());
        let expected = if expected == PERMIT { vec![least("2"), of_org] } else { vec![] };
        assert_eq!(levels(&outcome), expected);
    }
}

#[test]
fn an_app_with_conditions_under_a_policy_target() {
    let app = [(ORG, "kve"), (APP, "quota")];
    let suspended = [(ORG, "kve"), (APP, "quota"), ("urn:altinn:status", "suspended")];
    for (who, action, what, expected, levels_are) in [
        ((ROLE, "DAGL"), "read", app.as_slice(), PERMIT, vec![least("3")]),
        ((ROLE, "dagl"), "read", &app, NOT_APPLICABLE, vec![]),
        ((ROLE, "LEDE"), "read", &suspended, NOT_APPLICABLE, vec![]),
        ((ROLE, "DAGL"), "write", &app, DENY, vec![least("4")]),
        ((ROLE, "DAGL"), "read", &[(ORG, "kve"), (APP, "other")], NOT_APPLICABLE, vec![]),
        ((ROLE, "DAGL"), "read", &[(APP, "other")], NOT_APPLICABLE, vec![]),
        ((ROLE, "DAGL"), "read", &[(APP, "quota")], PERHAPS_PERMIT, vec![]),
        ((ROLE, "DAGL"), "write", &[(APP, "quota")], PERHAPS_DENY, vec![]),
    ] {
        let outcome = outcome(QUOTA, &asks(&[who], action, what));
        assert_eq!(outcome.decision, expected, "{who:?} {action} {what:?}");
        assert_eq!(levels(&outcome), levels_are);
    }
}

#[test]
fn a_level_that_must_be_told_decides_who_writes() {
    let write = |number: &str, levels: &[i64]| -> Decision {
        let request = asks(&[(NUMBER, number)], "write", &[(ORG, "kve"), (APP, "quota")]);
        let told = |request: Request, level: &i64| {
            request.with(SUBJECT, "urn:altinn:authlevel", Value::Integer(*level))
        };
        outcome(QUOTA, &levels.iter().fold(request, told)).decision
    };
    assert_eq!(write("310926728", &[3]), PERMIT);
    assert_eq!(write("310926728", &[2]), DENY);
    assert_eq!(write("31092672", &[4]), DENY);
    let either = Decision::Indeterminate(policy::Possible::Either);
    assert_eq!(write("310926728", &[]), either, "it must be present");
    assert_eq!(write("310926728", &[3, 4]), either, "there must be one");
}

#[test]
fn a_resource_of_the_registry_with_one_right_in_each_rule() {
    let system_user = "a1b2c3d4-0000-4000-8000-000000000001";
    for (who, action, name, expected) in [
        ((ORG, "kve"), "publish", "kve-notices", PERMIT),
        ((ORG, "kve"), "subscribe", "kve-notices", PERMIT),
        ((ORG, "kve"), "read", "kve-notices", NOT_APPLICABLE),
        ((ORG, "ttd"), "publish", "kve-notices", NOT_APPLICABLE),
        ((ORG, "kve"), "publish", "kve-notices-2", NOT_APPLICABLE),
        ((ROLE, "DAGL"), "subscribe", "kve-notices", PERMIT),
        ((ROLE, "regna"), "subscribe", "kve-notices", PERMIT),
        ((ROLE, "regnar"), "subscribe", "kve-notices", NOT_APPLICABLE),
        ((ROLE, "DAGL"), "publish", "kve-notices", NOT_APPLICABLE),
        ((SYSTEM_USER, system_user), "read", "kve-notices", PERMIT),
        ((SYSTEM_USER, "nobody"), "read", "kve-notices", NOT_APPLICABLE),
    ] {
        let outcome = outcome(NOTICES, &asks(&[who], action, &[("urn:altinn:resource", name)]));
        assert_eq!(outcome.decision, expected, "{who:?} {action} {name}");
    }
}
