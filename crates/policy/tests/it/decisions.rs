//! Rules and policies (§7.9 to §7.14) and how algorithms combine them (appendix C).

use policy::{DataType, Decision, Failure, Request};

use crate::{
    DENY, NOT_APPLICABLE, PERHAPS_DENY, PERHAPS_EITHER, PERHAPS_PERMIT, PERMIT, outcome,
    xml::{
        cannot_be_told, condition, failing, falsehood, matches, matches_not, policy, rules, target, truth,
    },
};

fn decision(policy: &str) -> Decision {
    outcome(policy, &Request::new()).decision
}

#[test]
fn a_rule_is_table_4() {
    let (yes, no, perhaps) = (matches(), matches_not(), cannot_be_told());
    let (truth, falsehood, failing) = (truth(), falsehood(), failing());
    for (target_is, condition_is, permit, deny) in [
        (&yes, Some(&truth), PERMIT, DENY),
        (&yes, None, PERMIT, DENY),
        (&yes, Some(&falsehood), NOT_APPLICABLE, NOT_APPLICABLE),
        (&yes, Some(&failing), PERHAPS_PERMIT, PERHAPS_DENY),
        (&no, Some(&truth), NOT_APPLICABLE, NOT_APPLICABLE),
        (&no, Some(&failing), NOT_APPLICABLE, NOT_APPLICABLE),
        (&perhaps, Some(&truth), PERHAPS_PERMIT, PERHAPS_DENY),
        (&perhaps, Some(&falsehood), PERHAPS_PERMIT, PERHAPS_DENY),
        (&perhaps, None, PERHAPS_PERMIT, PERHAPS_DENY),
    ] {
        let body = target(target_is) + &condition_is.map(|is| condition(is)).unwrap_or_default();
        for (effect, expected) in [("Permit", permit), ("Deny", deny)] {
            let policy = policy("deny-overrides", "", &rules(&[(effect, &body)]));
            assert_eq!(decision(&policy), expected, "{policy}");
        }
    }
}

#[test]
fn a_rule_without_a_target_is_about_everything() {
    assert_eq!(decision(&policy("deny-overrides", "", &rules(&[("Permit", "")]))), PERMIT);
}

#[test]
fn a_policy_is_tables_5_and_7() {
    let perhaps = target(&cannot_be_told());
    let nothing = target(&matches_not());
    let (permit, deny) = (("Permit", ""), ("Deny", ""));
    let perhaps_permit = ("Permit", perhaps.as_str());
    let perhaps_deny = ("Deny", perhaps.as_str());
    for (body, under_a_match, under_an_indeterminate) in [
        (vec![permit], PERMIT, PERHAPS_PERMIT),
        (vec![deny], DENY, PERHAPS_DENY),
        (vec![("Permit", nothing.as_str())], NOT_APPLICABLE, NOT_APPLICABLE),
        (vec![], NOT_APPLICABLE, NOT_APPLICABLE),
        (vec![perhaps_permit], PERHAPS_PERMIT, PERHAPS_PERMIT),
        (vec![perhaps_deny], PERHAPS_DENY, PERHAPS_DENY),
        (vec![perhaps_deny, permit], PERHAPS_EITHER, PERHAPS_EITHER),
    ] {
        let body = rules(&body);
        for (target_is, expected) in [
            (matches(), under_a_match),
            (matches_not(), NOT_APPLICABLE),
            (cannot_be_told(), under_an_indeterminate),
        ] {
            let policy = policy("deny-overrides", &target_is, &body);
            assert_eq!(decision(&policy), expected, "{policy}");
        }
    }
}

#[test]
fn every_algorithm_has_its_names_and_its_rules() {
    let perhaps = target(&cannot_be_told());
    let nothing = target(&matches_not());
    let pairs = [
        [("Permit", ""), ("Deny", "")],
        [("Permit", ""), ("Deny", perhaps.as_str())],
        [("Permit", perhaps.as_str()), ("Deny", "")],
        [("Permit", &nothing), ("Deny", perhaps.as_str())],
        [("Permit", &nothing), ("Deny", nothing.as_str())],
    ];
    let overrides_deny = [DENY, PERHAPS_EITHER, DENY, PERHAPS_DENY, NOT_APPLICABLE];
    let overrides_permit = [PERMIT, PERMIT, PERHAPS_EITHER, PERHAPS_DENY, NOT_APPLICABLE];
    let old = |decisions: [Decision; 5]| {
        decisions.map(|decision| if decision == PERHAPS_DENY { PERHAPS_EITHER } else { decision })
    };
    for (algorithm, expected) in [
        ("3.0:rule-combining-algorithm:deny-overrides", overrides_deny),
        ("3.0:rule-combining-algorithm:ordered-deny-overrides", overrides_deny),
        ("1.0:rule-combining-algorithm:deny-overrides", old(overrides_deny)),
        ("1.1:rule-combining-algorithm:ordered-deny-overrides", old(overrides_deny)),
        ("3.0:rule-combining-algorithm:permit-overrides", overrides_permit),
        ("3.0:rule-combining-algorithm:ordered-permit-overrides", overrides_permit),
        ("1.0:rule-combining-algorithm:permit-overrides", old(overrides_permit)),
        ("1.1:rule-combining-algorithm:ordered-permit-overrides", old(overrides_permit)),
        ("3.0:rule-combining-algorithm:deny-unless-permit", [PERMIT, PERMIT, DENY, DENY, DENY]),
        ("3.0:rule-combining-algorithm:permit-unless-deny", [DENY, PERMIT, DENY, PERMIT, PERMIT]),
        (
            "1.0:rule-combining-algorithm:first-applicable",
            [PERMIT, PERMIT, PERHAPS_PERMIT, PERHAPS_DENY, NOT_APPLICABLE],
        ),
    ] {
        for (pair, expected) in pairs.iter().zip(expected) {
            let policy = policy("deny-overrides", "", &rules(pair))
                .replace("3.0:rule-combining-algorithm:deny-overrides", algorithm);
            assert_eq!(decision(&policy), expected, "{policy}");
        }
    }
}

#[test]
fn an_indeterminate_decision_says_why() {
    let missing = outcome(
        &policy("deny-overrides", "", &rules(&[("Permit", &target(&cannot_be_told()))])),
        &Request::new(),
    );
    let failure = missing.failure.unwrap();
    assert_eq!(failure.status(), "urn:oasis:names:tc:xacml:1.0:status:missing-attribute");
    assert_eq!(
        failure,
        Failure::MissingAttribute {
            category: policy::SUBJECT.to_owned(),
            id: "absent".to_owned(),
            data_type: DataType::String
        }
    );
    let processing =
        outcome(&policy("deny-overrides", "", &rules(&[("Deny", &condition(&failing()))])), &Request::new());
    let failure = processing.failure.unwrap();
    assert_eq!(failure.status(), "urn:oasis:names:tc:xacml:1.0:status:processing-error");
    assert_eq!(failure.to_string(), "one boolean is needed, and there are 0");
}

#[test]
fn a_decision_that_was_reached_tells_no_failure() {
    let perhaps = target(&cannot_be_told());
    let body = rules(&[("Permit", ""), ("Permit", &perhaps)]);
    let outcome = outcome(&policy("deny-overrides", "", &body), &Request::new());
    assert_eq!((outcome.decision, outcome.failure), (PERMIT, None));
}
