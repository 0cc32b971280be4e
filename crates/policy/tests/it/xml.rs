//! Pieces of policies as text.

pub(crate) const STRING: &str = "http://www.w3.org/2001/XMLSchema#string";
pub(crate) const SUBJECT: &str = policy::SUBJECT;

/// A policy of the standard's namespace with everything between its target and its end.
pub(crate) fn policy(algorithm: &str, target: &str, rest: &str) -> String {
    let version = match algorithm {
        "first-applicable" => "1.0",
        _other => "3.0",
    };
    format!(
        r#"<Policy xmlns="urn:oasis:names:tc:xacml:3.0:core:schema:wd-17" PolicyId="p" Version="1.0"
            RuleCombiningAlgId="urn:oasis:names:tc:xacml:{version}:rule-combining-algorithm:{algorithm}">
            <Target>{target}</Target>{rest}</Policy>"#
    )
}

/// Rules in order, each with an id of its own.
pub(crate) fn rules(bodies: &[(&str, &str)]) -> String {
    let rule = |(number, (effect, body)): (usize, &(&str, &str))| {
        format!(r#"<Rule RuleId="r{number}" Effect="{effect}">{body}</Rule>"#)
    };
    bodies.iter().enumerate().map(rule).collect()
}

/// A target that matches when an attribute of the subject has this value.
pub(crate) fn target(parts: &str) -> String {
    format!("<Target>{parts}</Target>")
}

pub(crate) fn any_of(parts: &[&str]) -> String {
    format!("<AnyOf>{}</AnyOf>", parts.concat())
}

pub(crate) fn all_of(parts: &[&str]) -> String {
    format!("<AllOf>{}</AllOf>", parts.concat())
}

/// Compares an attribute of the subject with a text.
pub(crate) fn matching(id: &str, text: &str, must_be_present: bool) -> String {
    format!(
        r#"<Match MatchId="urn:oasis:names:tc:xacml:1.0:function:string-equal">{}{}</Match>"#,
        literal("string", text),
        attribute(id, "string", must_be_present)
    )
}

pub(crate) fn literal(data_type: &str, text: &str) -> String {
    format!(
        r#"<AttributeValue DataType="http://www.w3.org/2001/XMLSchema#{data_type}">{text}</AttributeValue>"#
    )
}

/// An attribute of the subject.
pub(crate) fn attribute(id: &str, data_type: &str, must_be_present: bool) -> String {
    format!(
        r#"<AttributeDesignator Category="{SUBJECT}" AttributeId="{id}" MustBePresent="{must_be_present}"
            DataType="http://www.w3.org/2001/XMLSchema#{data_type}"/>"#
    )
}

/// A function of version 1.0, unless the name begins with another.
pub(crate) fn apply(function: &str, arguments: &[&str]) -> String {
    let function = if function.contains(":function:") {
        function.to_owned()
    } else {
        format!("1.0:function:{function}")
    };
    format!(r#"<Apply FunctionId="urn:oasis:names:tc:xacml:{function}">{}</Apply>"#, arguments.concat())
}

pub(crate) fn condition(expression: &str) -> String {
    format!("<Condition>{expression}</Condition>")
}

/// Targets that match, match not, and cannot be told, for a subject without attributes.
pub(crate) fn matches() -> String {
    String::new()
}

pub(crate) fn matches_not() -> String {
    any_of(&[&all_of(&[&matching("absent", "x", false)])])
}

pub(crate) fn cannot_be_told() -> String {
    any_of(&[&all_of(&[&matching("absent", "x", true)])])
}

/// Expressions that are true, false, and fail.
pub(crate) fn truth() -> String {
    literal("boolean", "true")
}

pub(crate) fn falsehood() -> String {
    literal("boolean", "false")
}

pub(crate) fn failing() -> String {
    apply("boolean-one-and-only", &[&attribute("absent", "boolean", false)])
}

/// An obligation with one assignment.
pub(crate) fn obligation(id: &str, on: &str, expression: &str) -> String {
    format!(
        r#"<ObligationExpression ObligationId="{id}" FulfillOn="{on}">
            <AttributeAssignmentExpression AttributeId="a" Category="c">{expression}</AttributeAssignmentExpression>
        </ObligationExpression>"#
    )
}

pub(crate) fn obligations(parts: &[&str]) -> String {
    format!("<ObligationExpressions>{}</ObligationExpressions>", parts.concat())
}
