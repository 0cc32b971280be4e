//! Functions (appendix A.3), each as the condition of a rule that permits.

use policy::{Decision, Request, SUBJECT, Value};

use crate::{
    NOT_APPLICABLE, PERHAPS_PERMIT, PERMIT, outcome,
    xml::{apply, attribute, condition, failing, falsehood, literal, policy, rules, truth},
};

const TRUE: Decision = PERMIT;
const FALSE: Decision = NOT_APPLICABLE;
const FAILS: Decision = PERHAPS_PERMIT;

/// The subject has two roles, one name, a level, a page, and is somebody.
fn request() -> Request {
    Request::new()
        .with(SUBJECT, "role", Value::string("DAGL"))
        .with(SUBJECT, "role", Value::string("REGNA"))
        .with(SUBJECT, "name", Value::string("Ærlig"))
        .with(SUBJECT, "level", Value::Integer(3))
        .with(SUBJECT, "page", Value::AnyUri("https://a.no/x".to_owned()))
        .with(SUBJECT, "is-somebody", Value::Boolean(true))
}

fn check(cases: &[(String, Decision)]) {
    for (expression, expected) in cases {
        let policy = policy("deny-overrides", "", &rules(&[("Permit", &condition(expression))]));
        assert_eq!(outcome(&policy, &request()).decision, *expected, "{expression}");
    }
}

fn string(text: &str) -> String {
    literal("string", text)
}

fn integer(text: &str) -> String {
    literal("integer", text)
}

fn uri(text: &str) -> String {
    literal("anyURI", text)
}

fn roles() -> String {
    attribute("role", "string", false)
}

fn only(id: &str, data_type: &str) -> String {
    apply(&format!("{data_type}-one-and-only"), &[&attribute(id, data_type, false)])
}

#[test]
fn equality_is_of_characters_numbers_and_truths() {
    let equal = |data_type: &str, left: &str, right: &str| {
        apply(&format!("{data_type}-equal"), &[&literal(data_type, left), &literal(data_type, right)])
    };
    check(&[
        (equal("string", "a", "a"), TRUE),
        (equal("string", "a", "A"), FALSE),
        (equal("string", "a", " a"), FALSE),
        (equal("string", "a&amp;b", "a&#38;b"), TRUE),
        (equal("string", "<![CDATA[<x>]]>", "&lt;x&gt;"), TRUE),
        (equal("string", "a<!-- and -->b", "ab"), TRUE),
        (equal("integer", "007", " +7 "), TRUE),
        (equal("integer", "7", "-7"), FALSE),
        (equal("boolean", "1", "true"), TRUE),
        (equal("boolean", "0", "true"), FALSE),
        (equal("anyURI", " urn:a ", "urn:a"), TRUE),
        (equal("anyURI", "urn:a", "URN:a"), FALSE),
    ]);
}

#[test]
fn case_is_ignored_where_the_function_says_so() {
    let same = |left: &str, right: &str| {
        apply("3.0:function:string-equal-ignore-case", &[&string(left), &string(right)])
    };
    check(&[
        (same("dagl", "DAGL"), TRUE),
        (same("ærlig", "ÆRLIG"), TRUE),
        (same("dagl", "dagl "), FALSE),
        (same("", ""), TRUE),
    ]);
}

#[test]
fn numbers_are_ordered() {
    let compare = |function: &str, left: &str, right: &str| {
        apply(&format!("integer-{function}"), &[&integer(left), &integer(right)])
    };
    check(&[
        (compare("greater-than", "2", "1"), TRUE),
        (compare("greater-than", "2", "2"), FALSE),
        (compare("greater-than-or-equal", "2", "2"), TRUE),
        (compare("less-than", "-2", "1"), TRUE),
        (compare("less-than", "2", "2"), FALSE),
        (compare("less-than-or-equal", "2", "2"), TRUE),
        (compare("less-than-or-equal", "3", "2"), FALSE),
    ]);
}

#[test]
fn a_pattern_matches_anywhere_unless_it_is_anchored() {
    let string_matches =
        |pattern: &str| apply("string-regexp-match", &[&string(pattern), &only("name", "string")]);
    let uri_matches = |pattern: &str| {
        apply("2.0:function:anyURI-regexp-match", &[&string(pattern), &only("page", "anyURI")])
    };
    check(&[
        (string_matches("rli"), TRUE),
        (string_matches("^rli"), FALSE),
        (string_matches(r"^\p{Lu}\p{Ll}+$"), TRUE),
        (string_matches("^ærlig$"), FALSE),
        (uri_matches(r"^https://a\.no/"), TRUE),
        (uri_matches(r"^http:"), FALSE),
    ]);
}

#[test]
fn one_and_only_needs_exactly_one() {
    check(&[
        (apply("string-equal", &[&only("name", "string"), &string("Ærlig")]), TRUE),
        (apply("integer-equal", &[&only("level", "integer"), &integer("3")]), TRUE),
        (apply("anyURI-equal", &[&only("page", "anyURI"), &uri("https://a.no/x")]), TRUE),
        (only("is-somebody", "boolean"), TRUE),
        (apply("string-equal", &[&only("role", "string"), &string("DAGL")]), FAILS),
        (apply("string-equal", &[&only("absent", "string"), &string("")]), FAILS),
        (apply("integer-equal", &[&only("name", "integer"), &integer("3")]), FAILS),
    ]);
}

#[test]
fn bags_are_counted_searched_and_compared() {
    let bag = |texts: &[&str]| {
        let texts: Vec<_> = texts.iter().map(|text| string(text)).collect();
        apply("string-bag", &texts.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let size =
        |bag: &str, size: &str| apply("integer-equal", &[&apply("string-bag-size", &[bag]), &integer(size)]);
    let meet = |left: &str, right: &str| apply("string-at-least-one-member-of", &[left, right]);
    check(&[
        (size(&roles(), "2"), TRUE),
        (size(&attribute("absent", "string", false), "0"), TRUE),
        (size(&attribute("absent", "string", true), "0"), FAILS),
        (size(&bag(&["a", "a"]), "2"), TRUE),
        (apply("string-is-in", &[&string("REGNA"), &roles()]), TRUE),
        (apply("string-is-in", &[&string("regna"), &roles()]), FALSE),
        (apply("integer-is-in", &[&integer("3"), &attribute("level", "integer", false)]), TRUE),
        (meet(&bag(&["LEDE", "REGNA"]), &roles()), TRUE),
        (meet(&bag(&["LEDE"]), &roles()), FALSE),
        (meet(&bag(&[]), &roles()), FALSE),
        (meet(&bag(&["LEDE"]), &attribute("absent", "string", true)), FAILS),
    ]);
}

#[test]
fn and_or_not_are_those_of_the_standard_also_beside_failures() {
    let (t, f, i) = (truth(), falsehood(), failing());
    check(&[
        (apply("and", &[]), TRUE),
        (apply("and", &[&t, &t]), TRUE),
        (apply("and", &[&t, &f]), FALSE),
        (apply("and", &[&f, &i]), FALSE),
        (apply("and", &[&i, &f]), FALSE),
        (apply("and", &[&t, &i]), FAILS),
        (apply("or", &[]), FALSE),
        (apply("or", &[&f, &t]), TRUE),
        (apply("or", &[&t, &i]), TRUE),
        (apply("or", &[&i, &t]), TRUE),
        (apply("or", &[&f, &i]), FAILS),
        (apply("or", &[&f, &f]), FALSE),
        (apply("not", &[&t]), FALSE),
        (apply("not", &[&f]), TRUE),
        (apply("not", &[&i]), FAILS),
        (apply("not", &[&apply("and", &[&t, &apply("or", &[&f, &f])])]), TRUE),
    ]);
}
