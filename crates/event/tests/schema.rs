//! `schemas/event.schema.json` says what the code does: every limit in it is tried from both sides.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails at the line that is wrong")]

use event::{
    Draft, Event,
    limits::{DEPTH_MAX, EVENT_MAX, MEMBERS_MAX, NAME_MAX},
};
use serde_json::{Map, Value, json};

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../schemas/event.schema.json")).unwrap()
}

fn properties() -> Map<String, Value> {
    schema()["properties"].as_object().unwrap().clone()
}

fn example() -> Draft {
    let mut draft = Draft::parse(schema()["examples"][0].to_string().as_bytes()).unwrap();
    for (name, text) in [("datacontenttype", "text/plain"), ("dataschema", "https://example.no/s")] {
        draft.set_text(name, text);
    }
    draft
}

fn accepts(name: &str, value: &Value) -> bool {
    let mut draft = example();
    draft.set_raw(name, &value.to_string()).unwrap();
    draft.validate().is_ok()
}

/// A text of that many bytes that is a good value of the attribute but for its length.
fn text_of(name: &str, length: usize) -> String {
    let start = match name {
        "resource" => "urn:a-namespace-of-thirty-letters:",
        "dataschema" => "https://example.no/",
        "datacontenttype" => "text/",
        _ => "",
    };
    let mut text = start.to_owned();
    while text.len() < length {
        // A group of a URN has at most 100 characters.
        let ends_group = name == "resource" && (text.len() - start.len()) % 101 == 100;
        text.push(if ends_group { ':' } else { 'a' });
    }
    text
}

#[test]
fn the_examples_are_accepted() {
    for example in schema()["examples"].as_array().unwrap() {
        assert!(Event::parse(example.to_string().as_bytes()).is_ok(), "{example}");
    }
}

#[test]
fn what_the_schema_requires_is_required_and_nothing_else() {
    let required: Vec<Value> = schema()["required"].as_array().unwrap().clone();
    for name in properties().keys().filter(|name| !name.starts_with("data_")) {
        let mut draft = example();
        draft.remove(name);
        let told = draft.validate().err().map(|wrong| wrong.to_string());
        let expected = required.contains(&json!(name)).then(|| format!("{name} is missing"));
        assert_eq!(told, expected, "{name}");
    }
}

#[test]
fn lengths_types_and_nulls_are_those_of_the_schema() {
    for (name, rules) in properties() {
        let Some(kind) = rules.get("type") else { continue };
        let nullable = kind.as_array().is_some_and(|kinds| kinds.contains(&json!("null")));
        let required = schema()["required"].as_array().unwrap().contains(&json!(name));
        assert_eq!(accepts(&name, &Value::Null), nullable, "{name} null");
        assert!(!accepts(&name, &json!(1)) && !accepts(&name, &json!({})), "{name} of another type");
        if name == "data_base64" {
            continue;
        }
        assert_eq!(accepts(&name, &json!("")), rules.get("minLength").is_none(), "{name} empty");
        assert!(!required || rules["minLength"] == 1, "{name}");
        let max = usize::try_from(rules["maxLength"].as_u64().unwrap()).unwrap();
        let fits = name == "time" || accepts(&name, &json!(text_of(&name, max)));
        assert!(fits, "{name} of {max} bytes");
        let wrong = {
            let mut draft = example();
            draft.set_text(&name, &text_of(&name, max + 1));
            draft.validate().unwrap_err().to_string()
        };
        assert!(wrong.contains(&format!("{name} is longer than {max} bytes")), "{name}: {wrong}");
    }
}

#[test]
fn names_and_values_of_extensions_are_those_of_the_schema() {
    let schema = schema();
    let pattern = format!("^[a-z0-9]{{1,{NAME_MAX}}}$");
    assert!(schema["patternProperties"].get(&pattern).is_some());
    assert_eq!(schema["propertyNames"]["anyOf"][1]["pattern"], pattern.as_str());
    assert!(accepts(&"a".repeat(NAME_MAX), &json!("x")) && !accepts(&"a".repeat(NAME_MAX + 1), &json!("x")));
    for name in ["", "A", "a_b", "a-b", "é"] {
        assert!(!accepts(name, &json!("x")), "{name}");
    }
    let bounds = &schema["patternProperties"][&pattern]["then"]["then"];
    let (min, max) = (bounds["minimum"].as_i64().unwrap(), bounds["maximum"].as_i64().unwrap());
    for (value, good) in [
        (json!(min), true),
        (json!(max), true),
        (json!(min - 1), false),
        (json!(max + 1), false),
        (json!(""), true),
        (json!(false), true),
        (json!(null), true),
        (json!(1.0), false),
        (json!([]), false),
        (json!({}), false),
        (json!("a\nb"), false),
    ] {
        assert_eq!(accepts("ext", &value), good, "{value}");
    }
}

#[test]
fn the_limits_of_the_whole_are_those_of_the_schema() {
    let schema = schema();
    assert_eq!(schema["maxProperties"], MEMBERS_MAX);
    let description = schema["description"].as_str().unwrap();
    assert!(description.contains(&format!("at most {EVENT_MAX} bytes")), "{description}");
    assert!(description.contains(&format!("at most {DEPTH_MAX} deep")), "{description}");

    let mut draft = example();
    let present = draft.names().count();
    for n in 0..MEMBERS_MAX - present {
        draft.set_text(&format!("ext{n}"), "x");
    }
    assert!(draft.clone().validate().is_ok());
    draft.set_text("onemore", "x");
    assert!(draft.validate().is_err());

    let length = example().validate().unwrap().json().len();
    let data = |bytes: usize| json!("x".repeat(bytes - length - r#","data":"""#.len()));
    assert!(accepts("data", &data(EVENT_MAX)) && !accepts("data", &data(EVENT_MAX + 1)));

    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (depth, good) in [(DEPTH_MAX - 1, true), (DEPTH_MAX, false)] {
        let mut draft = example();
        draft.set_raw("data", &nested(depth)).unwrap();
        assert_eq!(draft.validate().is_ok(), good, "{depth}");
    }
    assert_eq!(schema["not"]["required"], json!(["data", "data_base64"]));
    let mut both = example();
    both.set_text("data", "x");
    both.set_text("data_base64", "AA==");
    assert!(both.validate().is_err());
}
