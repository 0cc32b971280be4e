//! Obligations (§7.18): who adds them, when they count, and what happens when they cannot be told.

use policy::{Decision, Outcome, Request, Value};

use crate::{
    DENY, NOT_APPLICABLE, PERHAPS_DENY, PERHAPS_PERMIT, PERMIT, outcome, subject,
    xml::{attribute, failing, literal, matches_not, obligation, obligations, policy, rules, target},
};

fn ids(outcome: &Outcome) -> Vec<&str> {
    outcome.obligations.iter().map(|obligation| obligation.id.as_str()).collect()
}

/// An obligation for either decision.
fn both(name: &str) -> String {
    let one = |on: &str| obligation(&format!("{name} {on}"), on, &literal("integer", "2"));
    obligations(&[&one("Permit"), &one("Deny")])
}

#[test]
fn obligations_go_with_the_decision_they_name() {
    for (effect, decision) in [("Permit", PERMIT), ("Deny", DENY)] {
        let body = rules(&[(effect, &both("rule"))]) + &both("policy");
        let outcome = outcome(&policy("deny-overrides", "", &body), &Request::new());
        assert_eq!(outcome.decision, decision);
        assert_eq!(ids(&outcome), [format!("rule {effect}"), format!("policy {effect}")]);
    }
}

#[test]
fn obligations_of_rules_that_decided_otherwise_do_not_count() {
    let elsewhere = target(&matches_not()) + &both("elsewhere");
    let body = rules(&[
        ("Permit", &both("a")),
        ("Deny", &both("b")),
        ("Permit", &both("c")),
        ("Permit", &elsewhere),
    ]);
    for (algorithm, expected) in [
        ("deny-overrides", vec!["b Deny"]),
        ("permit-overrides", vec!["a Permit", "c Permit"]),
        ("deny-unless-permit", vec!["a Permit", "c Permit"]),
        ("first-applicable", vec!["a Permit"]),
    ] {
        assert_eq!(ids(&outcome(&policy(algorithm, "", &body), &Request::new())), expected, "{algorithm}");
    }
}

#[test]
fn no_other_decision_has_obligations() {
    let perhaps = obligations(&[&obligation("fails", "Permit", &failing())]);
    for (body, expected) in [
        (rules(&[("Permit", &(target(&matches_not()) + &both("rule")))]) + &both("policy"), NOT_APPLICABLE),
        (rules(&[("Permit", &perhaps)]) + &both("policy"), PERHAPS_PERMIT),
    ] {
        let outcome = outcome(&policy("deny-overrides", "", &body), &Request::new());
        assert_eq!((outcome.decision, ids(&outcome)), (expected, vec![]));
    }
}

#[test]
fn an_obligation_that_cannot_be_told_makes_the_decision_indeterminate() {
    let decide = |effect: &str, on: &str, is_of_rule: bool| -> Decision {
        let failing = obligations(&[&obligation("o", on, &failing())]);
        let body = if is_of_rule { rules(&[(effect, &failing)]) } else { rules(&[(effect, "")]) + &failing };
        outcome(&policy("deny-overrides", "", &body), &Request::new()).decision
    };
    for is_of_rule in [true, false] {
        assert_eq!(decide("Permit", "Permit", is_of_rule), PERHAPS_PERMIT);
        assert_eq!(decide("Deny", "Deny", is_of_rule), PERHAPS_DENY);
        assert_eq!(decide("Permit", "Deny", is_of_rule), PERMIT, "it is not due");
    }
}

#[test]
fn an_assignment_carries_its_value_and_a_bag_one_for_each() {
    let level = obligation("level", "Permit", &literal("integer", " 3 "));
    let names = obligation("names", "Permit", &attribute("name", "string", false));
    let body = rules(&[("Permit", "")]) + &obligations(&[&level, &names]);
    let policy = policy("deny-overrides", "", &body);
    let both = outcome(&policy, &subject(&[("name", "a"), ("name", "b")]));
    let level = &both.obligations[0].assignments[0];
    assert_eq!(
        (level.attribute_id.as_str(), level.category.as_deref(), level.issuer.as_deref()),
        ("a", Some("c"), None)
    );
    assert_eq!((&level.value, level.value.text().as_str()), (&Value::Integer(3), "3"));
    let names: Vec<_> = both.obligations[1].assignments.iter().map(|one| one.value.text()).collect();
    assert_eq!(names, ["a", "b"]);
    let nobody = outcome(&policy, &Request::new());
    assert!(nobody.obligations[1].assignments.is_empty());
}
