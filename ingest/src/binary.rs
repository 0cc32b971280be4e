//! Binary mode: attributes in `ce-` headers, data in the body. Pure.
//!
//! Values are percent-decoded (HTTP binding §3.1.3.2). JSON data is checked and kept as it came; any other data becomes base64.

use base64::{Engine, prelude::BASE64_STANDARD};
use event::{Draft, MediaType, Violation, Violations};
use http::{HeaderMap, HeaderValue, header};
use percent_encoding::percent_decode;

/// The header that tells binary mode.
pub(crate) const VERSION_HEADER: &str = "ce-specversion";
/// Members that are not attributes: as headers they would forge the data.
const NOT_ATTRIBUTES: [&str; 3] = ["data", "data_base64", "datacontenttype"];

/// The draft that a request in binary mode stands for.
pub(crate) fn draft(headers: &HeaderMap, body: &[u8]) -> Result<Draft, Violations> {
    let mut draft = Draft::new();
    let mut wrong = Vec::new();
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        match attribute_value(headers, name.as_str(), attribute) {
            Ok(value) => draft.set_text(attribute, &value),
            Err(message) => wrong.push(Violation::new(name.as_str(), message)),
        }
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if let Some(content_type) = content_type {
        draft.set_text("datacontenttype", content_type);
    }
    if let Err(violations) = data(&mut draft, content_type, body) {
        wrong.extend(violations.0);
    }
    if wrong.is_empty() { Ok(draft) } else { Err(Violations(wrong)) }
}

fn attribute_value(headers: &HeaderMap, header: &str, attribute: &str) -> Result<String, &'static str> {
    if NOT_ATTRIBUTES.contains(&attribute) {
        return Err("is not an attribute; data is the body and its type is the header content-type");
    }
    let mut values = headers.get_all(header).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => decode(value).ok_or("is not percent-encoded UTF-8"),
        (_, _) => Err("stands there more than once"),
    }
}

/// The text of a header: without the quotes and backslashes it may have, percent-decoded.
fn decode(value: &HeaderValue) -> Option<String> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?.trim();
    let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let plain = match quoted {
        Some(inner) => unescaped(inner),
        None => text.to_owned(),
    };
    percent_decode(plain.as_bytes()).decode_utf8().ok().map(|text| text.into_owned())
}

fn unescaped(quoted: &str) -> String {
    let mut chars = quoted.chars();
    let mut text = String::with_capacity(quoted.len());
    while let Some(char) = chars.next() {
        text.extend(if char == '\\' { chars.next() } else { Some(char) });
    }
    text
}

fn data(draft: &mut Draft, content_type: Option<&str>, body: &[u8]) -> Result<(), Violations> {
    if body.is_empty() {
        return Ok(());
    }
    if content_type.and_then(MediaType::parse).is_some_and(|media| media.is_json()) {
        let json = std::str::from_utf8(body)
            .map_err(|_| Violations::one("data", "is not UTF-8, although the content type is JSON"))?;
        return draft.set_raw("data", json);
    }
    draft.set_text("data_base64", &BASE64_STANDARD.encode(body));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 6] = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "https://ttd.example.no/a"),
        ("ce-type", "t"),
        ("ce-resource", "urn:altinn:resource:ttd-x"),
        ("content-type", "application/json"),
    ];

    fn headers(others: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in GOOD.iter().chain(others) {
            headers.insert(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn read(others: &[(&'static str, &str)], body: &[u8]) -> Result<String, String> {
        draft(&headers(others), body)
            .and_then(Draft::validate)
            .map(|event| event.json().to_owned())
            .map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn json_data_is_kept_as_it_came() {
        let json = read(&[("ce-ext", "5")], br#"{ "b" : 0.10, "a":12345678901234567890123}"#).unwrap();
        assert!(json.contains(r#""data":{ "b" : 0.10, "a":12345678901234567890123}"#), "{json}");
        assert!(json.contains(r#""ext":"5""#), "{json}");
        assert!(json.contains(r#""datacontenttype":"application/json""#), "{json}");
    }

    #[test]
    fn other_data_becomes_base64_and_no_data_none() {
        let json = read(&[("content-type", "text/plain; charset=utf-8")], b"hei").unwrap();
        assert!(json.contains(r#""data_base64":"aGVp""#), "{json}");
        let json = read(&[], b"").unwrap();
        assert!(!json.contains("\"data\"") && !json.contains("data_base64"), "{json}");
    }

    #[test]
    fn values_are_percent_decoded_and_unquoted() {
        for (value, expected) in [
            ("bl%C3%A5b%c3%a6r%20%25", "blåbær %"),
            ("blå", "blå"),
            ("\"a \\\"b\\\"\"", "a \\\"b\\\""),
            ("100%", "100%"),
        ] {
            let json = read(&[("ce-subject", value)], b"").unwrap();
            assert!(json.contains(&format!("\"subject\":\"{expected}\"")), "{value}: {json}");
        }
    }

    #[test]
    fn headers_cannot_forge_data_or_stand_twice() {
        for (name, value, expected) in [
            ("ce-data", "1", "ce-data is not an attribute"),
            ("ce-data_base64", "AA==", "ce-data_base64 is not an attribute"),
            ("ce-bad_name", "1", "bad_name is not a name"),
            ("ce-subject", "%FF", "ce-subject is not percent-encoded UTF-8"),
            ("ce-subject", "a%00", "subject holds a control character"),
        ] {
            let wrong = read(&[(name, value)], b"{}").unwrap_err();
            assert!(wrong.contains(expected), "{name}: {wrong}");
        }
        assert!(read(&[], b"{").unwrap_err().starts_with("data is not JSON"));
        assert!(read(&[], b"\xff").unwrap_err().starts_with("data is not UTF-8"));
        let mut twice = headers(&[]);
        twice.append("ce-id", "2".parse().unwrap());
        assert_eq!(draft(&twice, b"").unwrap_err().to_string(), "ce-id stands there more than once");
    }
}
