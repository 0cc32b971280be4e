//! Targets and matches (§7.6, §7.7), attributes (§7.3).

use policy::{Decision, Request, SUBJECT, Value};

use crate::{
    NOT_APPLICABLE, PERHAPS_PERMIT, PERMIT, outcome, subject,
    xml::{all_of, any_of, cannot_be_told, literal, matching, policy, rules, target},
};

fn decision(parts: &str, request: &Request) -> Decision {
    outcome(&policy("deny-overrides", "", &rules(&[("Permit", &target(parts))])), request).decision
}

/// Matches that give true, false, and a failure for a subject whose only attribute `here` is `x`.
fn match_that_is(what: char) -> String {
    match what {
        'T' => matching("here", "x", false),
        'F' => matching("here", "y", false),
        'I' => matching("absent", "x", true),
        other => panic!("{other}"),
    }
}

#[test]
fn all_of_is_table_3() {
    for (parts, expected) in [
        ("T", PERMIT),
        ("TT", PERMIT),
        ("TF", NOT_APPLICABLE),
        ("FI", NOT_APPLICABLE),
        ("IF", NOT_APPLICABLE),
        ("TI", PERHAPS_PERMIT),
        ("I", PERHAPS_PERMIT),
    ] {
        let parts_are: Vec<_> = parts.chars().map(match_that_is).collect();
        let parts_are: Vec<_> = parts_are.iter().map(String::as_str).collect();
        let target = any_of(&[&all_of(&parts_are)]);
        assert_eq!(decision(&target, &subject(&[("here", "x")])), expected, "{parts}");
    }
}

#[test]
fn any_of_is_table_2() {
    for (parts, expected) in [
        ("T", PERMIT),
        ("FT", PERMIT),
        ("IT", PERMIT),
        ("TI", PERMIT),
        ("FI", PERHAPS_PERMIT),
        ("II", PERHAPS_PERMIT),
        ("FF", NOT_APPLICABLE),
    ] {
        let parts_are: Vec<_> = parts.chars().map(|what| all_of(&[&match_that_is(what)])).collect();
        let parts_are: Vec<_> = parts_are.iter().map(String::as_str).collect();
        assert_eq!(decision(&any_of(&parts_are), &subject(&[("here", "x")])), expected, "{parts}");
    }
}

#[test]
fn a_target_is_table_1() {
    for (parts, expected) in [
        ("", PERMIT),
        ("T", PERMIT),
        ("TT", PERMIT),
        ("TF", NOT_APPLICABLE),
        ("FI", NOT_APPLICABLE),
        ("IF", NOT_APPLICABLE),
        ("TI", PERHAPS_PERMIT),
    ] {
        let target: String = parts.chars().map(|what| any_of(&[&all_of(&[&match_that_is(what)])])).collect();
        assert_eq!(decision(&target, &subject(&[("here", "x")])), expected, "{parts}");
    }
}

#[test]
fn one_value_of_a_bag_is_enough() {
    let roles = |roles: &[&str]| {
        roles.iter().fold(Request::new(), |request, role| request.with(SUBJECT, "role", Value::string(*role)))
    };
    let target = any_of(&[&all_of(&[&matching("role", "DAGL", false)])]);
    assert_eq!(decision(&target, &roles(&["REGNA", "DAGL"])), PERMIT);
    assert_eq!(decision(&target, &roles(&["REGNA", "dagl"])), NOT_APPLICABLE);
    assert_eq!(decision(&target, &roles(&[])), NOT_APPLICABLE);
}

#[test]
fn an_attribute_is_told_by_category_name_and_type() {
    let target = cannot_be_told();
    assert_eq!(decision(&target, &subject(&[("absent", "x")])), PERMIT);
    assert_eq!(decision(&target, &subject(&[("absent", "y")])), NOT_APPLICABLE);
    let elsewhere = Request::new().with(policy::RESOURCE, "absent", Value::string("x"));
    let of_other_type = Request::new().with(SUBJECT, "absent", Value::AnyUri("x".to_owned()));
    let of_other_name = subject(&[("Absent", "x")]);
    for request in [elsewhere, of_other_type, of_other_name] {
        assert_eq!(decision(&target, &request), PERHAPS_PERMIT);
    }
}

#[test]
fn the_literal_is_the_first_argument_of_a_match() {
    let at_least = |function: &str, level: i64| {
        let part = matching("level", "", false)
            .replace("string-equal", function)
            .replace(&literal("string", ""), &literal("integer", "3"))
            .replace("#string", "#integer");
        let request = Request::new().with(SUBJECT, "level", Value::Integer(level));
        decision(&any_of(&[&all_of(&[&part])]), &request)
    };
    assert_eq!(at_least("integer-less-than-or-equal", 3), PERMIT);
    assert_eq!(at_least("integer-less-than-or-equal", 4), PERMIT);
    assert_eq!(at_least("integer-less-than-or-equal", 2), NOT_APPLICABLE);
    assert_eq!(at_least("integer-greater-than", 2), PERMIT);
    let pattern = matching("name", "^app_.+$", false).replace("string-equal", "string-regexp-match");
    let target = any_of(&[&all_of(&[&pattern])]);
    assert_eq!(decision(&target, &subject(&[("name", "app_ttd_apps-test")])), PERMIT);
    assert_eq!(decision(&target, &subject(&[("name", "^app_.+$")])), NOT_APPLICABLE);
}
