use proptest::prelude::*;

use super::*;
use crate::Draft;

const GOOD: &str = r#"{"specversion":"1.0","id":"1","source":"https://ttd.apps.altinn.no/ttd/apps-test/instances/50001337/a","type":"app.instance.created","subject":"party/50001337","time":"2026-11-23T12:00:00.1234567+01:00","resource":"urn:altinn:resource:app_ttd_apps-test","myext":1,"flag":true,"data":{"b":0.10,"a":12345678901234567890123}}"#;

fn with(change: impl FnOnce(&mut Draft)) -> Result<Event, Violations> {
    let mut draft = Draft::parse(GOOD.as_bytes()).unwrap();
    change(&mut draft);
    draft.validate()
}

fn wrong(result: Result<Event, Violations>) -> Vec<String> {
    result.err().map_or_else(Vec::new, |wrong| wrong.0.iter().map(ToString::to_string).collect())
}

#[test]
fn a_good_event_is_kept_byte_for_byte() {
    let event = Event::parse(GOOD.as_bytes()).unwrap();
    assert_eq!(event.json(), GOOD);
    assert_eq!(event.canonical_subject().as_deref(), Some("/party/50001337"));
    assert_eq!(event.subject(), Some("party/50001337"));
    assert_eq!(event.time().unwrap().to_rfc3339(), "2026-11-23T11:00:00.123456Z");
    assert_eq!(event.kafka_key(), "/party/50001337");
}

#[test]
fn all_violations_are_told_at_once() {
    let told = wrong(Event::parse(
        br#"{"id":"","source":"a b","Bad-Name":1,"x":1.5,"time":"now","data":1,"data_base64":"AA=="}"#,
    ));
    for part in [
        "id is empty",
        "source is not a URI reference",
        "Bad-Name is not a name",
        "x is neither",
        "time is not",
        "data_base64 stands beside data",
        "specversion is missing",
        "type is missing",
        "resource is missing",
    ] {
        assert!(told.iter().any(|text| text.starts_with(part)), "{part} is not in {told:?}");
    }
}

#[test]
fn what_a_publisher_may_not_send_is_refused() {
    for (change, expected) in [
        (r#"{"specversion":"0.3"}"#, "specversion is not"),
        (r#"{"id":7}"#, "id is not a string"),
        (r#"{"id":"a\u0007"}"#, "id holds a control character"),
        (r#"{"ext":{"a":1}}"#, "ext is neither"),
        (r#"{"ext":2147483648}"#, "ext is neither"),
        (r#"{"ext":[1]}"#, "ext is neither"),
        (r#"{"resource":"urn:Altinn:x"}"#, "resource is not a valid URN"),
        (r#"{"dataschema":"relative"}"#, "dataschema is not an absolute URI"),
        (r#"{"time":"2026-11-23 12:00:00Z"}"#, "time is not"),
        (r#"{"subject":"/person/02857010053"}"#, "subject names a person by what is no person's number"),
        (r#"{"time":"1990-12-31T23:59:60Z"}"#, "time is a leap second"),
        (r#"{"time":"0001-01-01T00:00:00+14:00"}"#, "time is not within the years 0001 to 9999"),
        (r#"{"time":"2026-01-01T00:00:00.12345678901234567890Z"}"#, "time has more than 9"),
        (r#"{"datacontenttype":"json"}"#, "datacontenttype is not"),
        (r#"{"data":"x\u0000y"}"#, "RequestBody holds the character U+0000"),
    ] {
        let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(change).unwrap();
        let told = wrong(with(|draft| {
            for name in members.keys() {
                let text = change.split_once(':').unwrap().1;
                draft.set_raw(name, text.strip_suffix('}').unwrap()).unwrap();
            }
        }));
        assert!(told.iter().any(|text| text.starts_with(expected)), "{change}: {told:?}");
    }
    assert_eq!(wrong(Event::parse(br#"{"id":"1","id":"2"}"#)), ["id stands there more than once"]);
    assert!(wrong(Event::parse(b"[]")).first().unwrap().starts_with("RequestBody is not a JSON object"));
}

#[test]
fn what_some_reader_after_us_could_not_hold_is_refused() {
    for (data, expected) in [
        (r#""x\u0000y""#, "RequestBody holds the character U+0000"),
        (r#"{"a":["\ud83d"]}"#, "RequestBody holds half of a surrogate pair"),
        (&format!("{}{}", "[".repeat(64), "]".repeat(64)), "RequestBody holds more than 64"),
    ] {
        let told = wrong(with(|draft| draft.set_raw("data", data).unwrap()));
        assert!(told.iter().any(|text| text.starts_with(expected)), "{data}: {told:?}");
    }
    for good in [r#""a\\u0000""#, r#""\ud83d\ude00""#, r#""tab\tline\n""#] {
        assert!(with(|draft| draft.set_raw("data", good).unwrap()).is_ok(), "{good}");
    }
}

#[test]
fn escaped_names_and_values_are_read_like_plain_ones() {
    let escaped = GOOD.replace(r#""id":"1""#, r#""\u0069d":"\u00311""#);
    let event = Event::parse(escaped.as_bytes()).unwrap();
    assert_eq!((event.id(), event.json()), ("11", escaped.as_str()));
    let twice = GOOD.replace(r#""id":"1""#, r#""id":"1","\u0069d":"2""#);
    assert_eq!(wrong(Event::parse(twice.as_bytes())), ["id stands there more than once"]);
    let half = GOOD.replace(r#""id":"1""#, r#""id":"\ud83d""#);
    assert!(wrong(Event::parse(half.as_bytes())).contains(&"id is not a string".to_owned()));
}

#[test]
fn absent_null_and_empty_are_told_apart() {
    let with_raw = |name: &'static str, raw: &'static str| with(|draft| draft.set_raw(name, raw).unwrap());
    assert_eq!(wrong(with_raw("id", "null")), ["id is missing"]);
    assert_eq!(wrong(with_raw("id", "\"\"")), ["id is empty"]);
    assert_eq!(wrong(with_raw("subject", "\"\"")), ["subject is empty"]);
    assert_eq!(with_raw("subject", "null").unwrap().subject(), None);
    assert_eq!(with_raw("alternativesubject", "\"\"").unwrap().alternative_subject(), None);
    assert_eq!(with_raw("resourceinstance", "\"1/2\"").unwrap().resource_instance(), Some("1/2"));
    assert!(with_raw("data", "null").is_ok() && with_raw("myext", "null").is_ok());
}

#[test]
fn null_members_are_removed_at_the_door_and_every_other_byte_stays() {
    let check = |sent: &str, kept: &str| {
        let event = Event::parse(sent.as_bytes()).unwrap_or_else(|wrong| panic!("{sent}: {wrong}"));
        assert_eq!(event.json(), kept, "{sent}");
        assert_eq!(Event::parse(kept.as_bytes()).unwrap(), event);
    };
    let must =
        r#""specversion":"1.0","id":"1","source":"/s" , "type":"t","resource":"urn:altinn:resource:x""#;
    check(&format!(r#"{{"ext":null,"time":null,{must}}}"#), &format!("{{{must}}}"));
    check(
        &format!(r#"{{ {must} , "subject" : null , "a":"null" }}"#),
        &format!(r#"{{ {must} , "a":"null" }}"#),
    );
    check(&format!("{{{must},\n\t\"resourceInstance\":\tnull\n}}"), &format!("{{{must}\n}}"));
    check(&format!(r#"{{"x":null , {must}}}"#), &format!("{{ {must}}}"));
    let data = r#""data":{"a":null, "b":[null]}"#;
    check(&format!(r#"{{{must},{data}}}"#), &format!(r#"{{{must},{data}}}"#));
    check(&format!(r#"{{{must},{data},"data_base64":null}}"#), &format!(r#"{{{must},{data}}}"#));
    check(
        &format!(r#"{{{must},"data_base64":"AA==","data":null}}"#),
        &format!(r#"{{{must},"data_base64":"AA=="}}"#),
    );
    check(&format!(r#"{{{must},"data":null,"data_base64":null}}"#), &format!(r#"{{{must},"data":null}}"#));
}

#[test]
fn the_letters_of_a_time_are_stored_large() {
    for (sent, kept) in [
        ("2026-11-23t12:00:00.120z", "2026-11-23T12:00:00.120Z"),
        ("2026-11-23t12:00:00+01:00", "2026-11-23T12:00:00+01:00"),
        ("2026-11-23\\u007412:00:00z", "2026-11-23T12:00:00Z"),
    ] {
        let with_time = |time: &str| GOOD.replace("2026-11-23T12:00:00.1234567+01:00", time);
        let event = Event::parse(with_time(sent).as_bytes()).unwrap();
        assert_eq!((event.json(), event.time_text()), (with_time(kept).as_str(), Some(kept)));
    }
}

#[test]
fn a_resource_of_the_old_form_gets_its_present_name() {
    let legacy = GOOD.replace(":app_ttd_apps-test", ":altinnapp.ttd.apps-test");
    let event = Event::parse(legacy.as_bytes()).unwrap();
    assert_eq!((event.json(), event.resource()), (GOOD, "urn:altinn:resource:app_ttd_apps-test"));
}

#[test]
fn what_was_accepted_before_is_read_byte_for_byte_although_the_door_refuses_it_now() {
    for time in ["1990-12-31T23:59:60Z", "0000-01-01T00:00:00Z", "2026-01-01T00:00:00.1234567890Z"] {
        let old = GOOD
            .replace("2026-11-23T12:00:00.1234567+01:00", time)
            .replace(r#""flag":true"#, r#""flag":null"#);
        assert!(Event::parse(old.as_bytes()).is_err(), "{time}");
        let event = Event::stored(old.as_bytes()).unwrap();
        assert_eq!((event.json(), event.time_text(), event.time()), (old.as_str(), Some(time), None));
    }
    let old = GOOD.replace(r#""party/50001337""#, r#""/person/02857010053""#);
    assert!(old != GOOD && Event::parse(old.as_bytes()).is_err() && Event::stored(old.as_bytes()).is_ok());
    for never in ["{}", "[]", "", &GOOD.replace("2026-11-23T", "2026-11-23 ")] {
        assert!(Event::stored(never.as_bytes()).is_err(), "{never}");
    }
}

#[test]
fn only_json_whitespace_around_an_event_is_let_through_and_dropped() {
    let event = Event::parse(format!(" \r\n\t{GOOD}\n").as_bytes()).unwrap();
    assert_eq!(event.json(), GOOD);
    for odd in ["\u{feff}", "\u{a0}", "\u{b}"] {
        assert!(Event::parse(format!("{odd}{GOOD}").as_bytes()).is_err());
    }
    assert!(Event::parse(b"\xff").is_err());
}

#[test]
fn a_very_long_name_is_not_sent_back_whole() {
    let told = wrong(with(|draft| draft.set_text(&"Ø".repeat(5_000), "x")));
    assert!(told.iter().all(|text| text.len() < 300), "{told:?}");
}

#[test]
fn an_event_shows_neither_data_nor_subject_in_logs() {
    let event = with(|draft| draft.set_text("subject", "/person/30819230052")).unwrap();
    let shown = format!("{event:?}");
    assert!(!shown.contains("30819230052") && !shown.contains("0.10"), "{shown}");
}

#[test]
fn a_person_number_is_never_a_key() {
    for subject in
        ["urn:altinn:person:identifier-no:30819230052", "urn:altinn:ssn:30819230052", " /person/30819230052"]
    {
        let event = with(|draft| draft.set_text("subject", subject)).unwrap();
        assert_eq!(event.kafka_key(), event.source(), "{subject}");
    }
}

/// Any JSON text with blanks, long numbers and escapes in it, at most some levels deep.
fn any_json() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?";
    let text = r#""([a-zæøå .,:{}\[\]]|\\(["\\/bfnrt]|u00[2-7][0-9a-f]|u20[aA][cC])){0,20}""#;
    let leaf = prop_oneof![Just("null".to_owned()), Just("true".to_owned()), number, text];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let members = prop::collection::vec(("[a-z]{0,3}", inner.clone()), 0..5).prop_map(|members| {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!(" \"{name}\" :\t{value}")).collect();
            format!("{{{} }}", members.join(","))
        });
        let items = prop::collection::vec(inner, 0..5).prop_map(|items| format!("[{}]", items.join(" , ")));
        prop_oneof![members, items]
    })
}

proptest! {
    #[test]
    fn data_and_extensions_come_out_as_they_went_in(data in any_json(), extension in any::<i32>()) {
        let event = with(|draft| {
            draft.set_raw("data", &data).unwrap();
            draft.set_raw("ext", &extension.to_string()).unwrap();
        }).unwrap();
        let expected = format!("\"data\":{data},\"ext\":{extension}}}");
        prop_assert!(event.json().ends_with(&expected), "{} {}", event.json(), expected);
    }

    #[test]
    fn an_accepted_text_is_kept_byte_for_byte_and_accepted_again(
        id in "[a-zæøå0-9 ]{1,40}", data in any_json(), blank in "[ \t\r\n]{0,3}",
    ) {
        let text = GOOD.replacen(
            r#"{"specversion":"1.0","id":"1""#,
            &format!(r#"{{{blank}"x":{data_text},{blank}"id"{blank}:{blank}"{id}","specversion":"1.0""#, data_text = 1),
            1,
        );
        let text = text.replacen(r#""flag":true"#, &format!(r#""flag":false{blank}"#), 1);
        let text = format!("{}{data}}}", text.split_inclusive("\"data\":").next().unwrap());
        let event = Event::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(event.json(), &text);
        prop_assert_eq!(event.id(), &id);
        prop_assert_eq!(Draft::parse(text.as_bytes()).unwrap().validate().unwrap(), event);
    }

    #[test]
    fn damaging_a_good_text_never_makes_the_parser_panic(at in 0..GOOD.len(), byte in any::<u8>()) {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[at] = byte;
        if let Ok(event) = Event::parse(&bytes) {
            // But for the letters of the time.
            prop_assert_eq!(event.json().to_uppercase().into_bytes(), String::from_utf8(bytes).unwrap().to_uppercase().into_bytes());
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        Event::parse(&bytes).ok();
    }
}
