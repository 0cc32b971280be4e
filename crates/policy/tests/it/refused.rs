//! What cannot be evaluated exactly is refused when it is read, and the error names the element.

use policy::{Policy, PolicyError, Refusal};

use crate::xml::{
    STRING, all_of, any_of, apply, attribute, condition, literal, matching, obligation, obligations, policy,
    rules, target,
};

#[track_caller]
fn refused(text: &str) -> PolicyError {
    match Policy::parse(text) {
        Err(error) => error,
        Ok(_) => panic!("it is not refused: {text}"),
    }
}

/// The same policy with something in place of something else.
#[track_caller]
fn changed(from: &str, to: &str) -> PolicyError {
    let rule = target(&any_of(&[&all_of(&[&matching("role", "DAGL", false)])]))
        + &condition(&apply("string-is-in", &[&literal("string", "x"), &attribute("role", "string", false)]));
    let body =
        rules(&[("Permit", &rule)]) + &obligations(&[&obligation("o", "Permit", &literal("integer", "2"))]);
    let text = policy("deny-overrides", "", &body);
    Policy::parse(&text).unwrap();
    let other = text.replacen(from, to, 1);
    assert_ne!(text, other, "{from} is not there");
    refused(&other)
}

#[track_caller]
fn check(from: &str, to: &str, element: &str, refusal: &Refusal) {
    let error = changed(from, to);
    assert_eq!((error.element.as_str(), &error.refusal), (element, refusal), "{error}");
}

#[test]
fn elements_that_would_change_the_meaning() {
    for (at, element) in [
        ("</Target><Rule", "PolicyIssuer"),
        ("</Target><Rule", "PolicyDefaults"),
        ("</Target><Rule", "VariableDefinition"),
        ("</Target><Rule", "CombinerParameters"),
        ("</Target><Rule", "AdviceExpressions"),
        ("</Target><Rule", "Condition"),
        ("</Target><Rule", "New"),
    ] {
        check(at, &format!("</Target><{element}/><Rule"), element, &Refusal::Element);
    }
    for element in ["VariableReference", "AttributeSelector", "Function", "Condition"] {
        check("<Condition>", &format!("<Condition><{element}/>"), element, &Refusal::Element);
        check("<Apply ", &format!("<{element}/><Apply "), element, &Refusal::Element);
    }
    check("<AnyOf>", "<Subjects/><AnyOf>", "Subjects", &Refusal::Element);
    check("<AllOf>", "<Match/><AllOf>", "Match", &Refusal::Element);
    check("DAGL", "DAGL<b/>", "b", &Refusal::Element);
    check("<Rule", "<Description><b/></Description><Rule", "b", &Refusal::Element);
}

#[test]
fn other_documents_than_policies() {
    let set = r#"<PolicySet xmlns="urn:oasis:names:tc:xacml:3.0:core:schema:wd-17"/>"#;
    assert_eq!(refused(set).refusal, Refusal::Element);
    let of_version_2 = r#"<Policy xmlns="urn:oasis:names:tc:xacml:2.0:policy:schema:os"/>"#;
    assert_eq!(refused(of_version_2).refusal, Refusal::Namespace);
    assert_eq!(refused("<Policy/>").refusal, Refusal::Namespace);
    assert_eq!(refused("<x:Policy/>").refusal, Refusal::Namespace);
    check("<AllOf>", r#"<AllOf xmlns="urn:x">"#, "AllOf", &Refusal::Namespace);
}

#[test]
fn attributes_that_are_unknown_missing_or_wrong() {
    let unknown = |name: &str| Refusal::Attribute(name.to_owned());
    check("<Policy ", r#"<Policy MaxDelegationDepth="1" "#, "Policy", &unknown("MaxDelegationDepth"));
    check("<Rule ", r#"<Rule Priority="1" "#, "Rule", &unknown("Priority"));
    check(
        "<AttributeDesignator ",
        r#"<AttributeDesignator Issuer="x" "#,
        "AttributeDesignator",
        &unknown("Issuer"),
    );
    check("<Target>", r#"<Target xml:lang="no">"#, "Target", &unknown("xml:lang"));
    check("<Target>", r#"<Target a:b="no">"#, "Target", &unknown("a:b"));
    check(" Version=\"1.0\"", "", "Policy", &Refusal::MissingAttribute("Version"));
    check(" PolicyId=\"p\"", "", "Policy", &Refusal::MissingAttribute("PolicyId"));
    check(" RuleId=\"r0\"", "", "Rule", &Refusal::MissingAttribute("RuleId"));
    check(" Effect=\"Permit\"", "", "Rule", &Refusal::MissingAttribute("Effect"));
    check(" MustBePresent=\"false\"", "", "AttributeDesignator", &Refusal::MissingAttribute("MustBePresent"));
    check("Effect=\"Permit\"", "Effect=\"permit\"", "Rule", &Refusal::Value("permit".to_owned()));
    check(
        "FulfillOn=\"Permit\"",
        "FulfillOn=\"Always\"",
        "ObligationExpression",
        &Refusal::Value("Always".to_owned()),
    );
    check(
        "MustBePresent=\"false\"",
        "MustBePresent=\"no\"",
        "AttributeDesignator",
        &Refusal::Value("no".to_owned()),
    );
}

#[test]
fn children_that_are_missing_or_too_many() {
    check("<Target></Target>", "", "Policy", &Refusal::MissingElement("Target"));
    check("<Target></Target>", "<Target/><Target/>", "Target", &Refusal::Repeated("Target".to_owned()));
    check("<Target></Target>", "<Target><AnyOf/></Target>", "AnyOf", &Refusal::MissingElement("AllOf"));
    check("<AllOf>", "<AllOf/><AllOf>", "AllOf", &Refusal::MissingElement("Match"));
    check("<Condition>", "<Condition/><Condition>", "Condition", &Refusal::Repeated("Condition".to_owned()));
    check(
        "<ObligationExpressions>",
        "<ObligationExpressions/><ObligationExpressions>",
        "ObligationExpressions",
        &Refusal::Repeated("ObligationExpressions".to_owned()),
    );
    check(
        "<Rule ",
        r#"<Rule RuleId="r0" Effect="Deny"/><Rule "#,
        "Rule",
        &Refusal::Repeated("r0".to_owned()),
    );
    let text = policy("deny-overrides", "", &rules(&[("Permit", "<Condition/>")]));
    assert_eq!(refused(&text).refusal, Refusal::MissingElement("Expression"));
}

#[test]
fn text_between_elements() {
    check("<AnyOf>", "<AnyOf>or", "AnyOf", &Refusal::Text);
    check("<Target>", "&amp;<Target>", "Policy", &Refusal::Text);
}

#[test]
fn functions_types_and_algorithms_that_are_not_supported() {
    let id = |name: &str| format!("urn:oasis:names:tc:xacml:1.0:function:{name}");
    let function = |name: &str| Refusal::Function(id(name));
    check("function:string-equal", "function:date-equal", "Match", &function("date-equal"));
    check("function:string-equal", "function:string-is-in", "Match", &function("string-is-in"));
    check("function:string-is-in", "function:any-of", "Apply", &function("any-of"));
    check("function:string-is-in", "function:string-", "Apply", &function("string-"));
    let date = "http://www.w3.org/2001/XMLSchema#date";
    check(STRING, date, "AttributeValue", &Refusal::DataType(date.to_owned()));
    check(
        &format!("DataType=\"{STRING}\"/>"),
        &format!("DataType=\"{date}\"/>"),
        "AttributeDesignator",
        &Refusal::DataType(date.to_owned()),
    );
    check(">2<", ">two<", "AttributeValue", &Refusal::Value("two".to_owned()));
    let algorithm = "urn:oasis:names:tc:xacml:3.0:rule-combining-algorithm:only-one-applicable";
    check(
        "algorithm:deny-overrides",
        "algorithm:only-one-applicable",
        "Policy",
        &Refusal::Algorithm(algorithm.to_owned()),
    );
}

#[test]
fn arguments_that_do_not_fit() {
    let one = literal("string", "x");
    let bag = attribute("role", "string", false);
    let integers = attribute("role", "integer", false);
    for expression in [
        apply("string-is-in", &[&one, &integers]),
        apply("string-is-in", &[&one, &one]),
        apply("string-is-in", &[&one]),
        apply("string-equal", &[&one, &bag]),
        apply("string-equal", &[&one, &one, &one]),
        apply("string-one-and-only", &[&one]),
        apply("and", &[&one]),
        apply("not", &[]),
        apply("string-bag", &[&bag]),
        apply("string-regexp-match", &[&one]),
        one.clone(),
        bag.clone(),
        attribute("is", "boolean", false),
        apply("string-bag-size", &[&bag]),
    ] {
        let text = policy("deny-overrides", "", &rules(&[("Permit", &condition(&expression))]));
        let error = refused(&text);
        assert!(matches!(error.refusal, Refusal::Arguments(_)), "{error}");
    }
    let error = changed("#string\"/>", "#integer\"/>");
    assert_eq!(error.element, "Match");
    assert!(matches!(error.refusal, Refusal::Arguments(_)), "{error}");
}

#[test]
fn patterns_that_are_no_literals_or_mean_something_else_here() {
    let name = apply("string-one-and-only", &[&attribute("name", "string", false)]);
    for pattern in [name.clone(), literal("string", "(?i)x"), literal("string", "(")] {
        let expression = apply("string-regexp-match", &[&pattern, &name]);
        let text = policy("deny-overrides", "", &rules(&[("Permit", &condition(&expression))]));
        let error = refused(&text);
        assert!(matches!(error.refusal, Refusal::Pattern(_)), "{error}");
    }
}

#[test]
fn document_types_and_entities_never_expand() {
    let text = policy("deny-overrides", "", &rules(&[("Permit", "")]));
    for prologue in [
        "<!DOCTYPE Policy>",
        r#"<!DOCTYPE Policy SYSTEM "file:///etc/passwd">"#,
        r#"<?xml version="1.0"?><!DOCTYPE p [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>"#,
    ] {
        assert_eq!(refused(&format!("{prologue}{text}")).refusal, Refusal::DocumentType);
    }
    check("DAGL", "&b;", "AttributeValue", &Refusal::Entity("b".to_owned()));
    assert!(matches!(changed("\"role\"", "\"&b;\"").refusal, Refusal::Malformed(_)));
}

#[test]
fn documents_that_are_not_well_formed() {
    let text = policy("deny-overrides", "", &rules(&[("Permit", "")]));
    let without_end = text.strip_suffix("</Policy>").unwrap().to_owned();
    for broken in [
        String::new(),
        "nothing".to_owned(),
        without_end.clone(),
        format!("{without_end}</Rule>"),
        format!("{text}{text}"),
        format!("{text}x"),
        format!("x{text}"),
        text.replace("<Target>", "<Target"),
        text.replace("PolicyId=\"p\"", "PolicyId=\"p\" PolicyId=\"q\""),
        text.replace("PolicyId=\"p\"", "PolicyId=p"),
        text.replace("<Target>", "<Target>&#0;"),
        text.replace("<Target>", "<Target>&amp "),
        text.replace("<Target>", "<Target><!-- a -- b -->"),
    ] {
        let error = refused(&broken);
        assert!(matches!(error.refusal, Refusal::Malformed(_)), "{error}: {broken}");
    }
}

#[test]
fn documents_beyond_a_bound() {
    let too_much = |text: &str| {
        let refusal = refused(text).refusal;
        let Refusal::TooMuch { what, .. } = refusal else { panic!("{refusal}") };
        what
    };
    let text = |body: &str| policy("deny-overrides", "", body);
    assert_eq!(too_much(&text(&format!("<!--{}-->", " ".repeat(512 * 1024)))), "bytes");
    assert_eq!(too_much(&text(&"<Rule/>".repeat(20_001))), "elements");
    assert_eq!(too_much(&text(&"<Rule>".repeat(33))), "levels");
    let pattern = matching("role", "x", false).replace("string-equal", "string-regexp-match");
    let patterns = target(&any_of(&[&all_of(&[&pattern.repeat(101)])]));
    assert_eq!(too_much(&text(&rules(&[("Permit", &patterns)]))), "regular expressions");
    let attributes: String = (0..17).map(|n| format!(" a{n}=\"\"")).collect();
    assert_eq!(too_much(&text(&format!("<Rule{attributes}/>"))), "attributes");
}

#[test]
fn an_error_names_line_element_and_reason() {
    let error = changed("function:string-equal", "function:date-equal");
    assert_eq!(
        error.to_string(),
        "line 3, <Match>: the function `urn:oasis:names:tc:xacml:1.0:function:date-equal` is not supported here"
    );
}
