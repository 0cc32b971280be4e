//! To and from the types of cloudevents-sdk, for client code and for the round-trip tests.
//!
//! The SDK reads numbers through `f64` and writes extensions in random order, so our own pipeline never passes through it. It is
//! also narrower than the specification in two places: data that is an object needs a content type that it knows as JSON
//! (`application/vnd.x+json; charset=utf-8` is refused), and a blank before the `;` of a content type is too much for it.

use cloudevents::Event as SdkEvent;

use crate::{event::Event, violation::Violations};

/// The SDK cannot hold an event of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the SDK cannot hold the event: {0}")]
pub struct NotForTheSdk(String);

/// The event as the SDK has it. Numbers in data lose digits beyond those of an `f64`.
///
/// # Errors
/// [`NotForTheSdk`] with the SDK's own reason.
pub fn to_sdk(event: &Event) -> Result<SdkEvent, NotForTheSdk> {
    serde_json::from_str(event.json()).map_err(|error| NotForTheSdk(error.to_string()))
}

/// The SDK's event as ours.
///
/// # Errors
/// All violations of our profile.
pub fn from_sdk(event: &SdkEvent) -> Result<Event, Violations> {
    let json = serde_json::to_vec(event)
        .map_err(|error| Violations::one("RequestBody", format!("cannot be written as JSON: {error}")))?;
    Event::parse(&json)
}

impl TryFrom<&SdkEvent> for Event {
    type Error = Violations;

    fn try_from(event: &SdkEvent) -> Result<Self, Violations> {
        from_sdk(event)
    }
}

impl TryFrom<&Event> for SdkEvent {
    type Error = NotForTheSdk;

    fn try_from(event: &Event) -> Result<Self, NotForTheSdk> {
        to_sdk(event)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cloudevents::{AttributesReader, Data, EventBuilder, EventBuilderV10, event::ExtensionValue};
    use serde_json::{Value, json};

    use super::*;

    const SOURCE: &str = "https://ttd.apps.altinn.no/ttd/apps-test/instances/50001337/a";

    fn builder() -> EventBuilderV10 {
        EventBuilderV10::new()
            .id("e-1 æøå")
            .source(SOURCE)
            .ty("app.instance.created")
            .subject("/party/50001337")
            .time("2026-11-23T12:00:00.123456Z")
            .extension("resource", "urn:altinn:resource:app_ttd_apps-test")
            .extension("resourceinstance", "50001337/a")
            .extension("alternativesubject", "/organisation/991825827")
            .extension("text", "a \"quoted\" \\ text €")
            .extension("count", -7_i64)
            .extension("flag", true)
    }

    fn with_each_kind_of_data() -> Vec<SdkEvent> {
        let schema = url::Url::parse("https://example.no/schema#1").unwrap();
        vec![
            builder().build().unwrap(),
            builder().data("application/json", json!({"a": [1, 2.5, null, "é"], "b": {}})).build().unwrap(),
            builder().data("application/json", Value::Null).build().unwrap(),
            builder().data_with_schema("application/vnd.x+json", schema, json!([1])).build().unwrap(),
            builder().data("text/plain", "plain text".to_owned()).build().unwrap(),
            builder().data("application/octet-stream", vec![0_u8, 159, 146, 150]).build().unwrap(),
        ]
    }

    fn extensions(event: &SdkEvent) -> BTreeMap<String, ExtensionValue> {
        event.iter_extensions().map(|(name, value)| (name.to_owned(), value.clone())).collect()
    }

    #[test]
    fn what_the_sdk_writes_we_read_attribute_by_attribute() {
        for sdk in with_each_kind_of_data() {
            let ours = Event::try_from(&sdk).unwrap();
            assert_eq!(ours.id(), sdk.id());
            assert_eq!(ours.source(), sdk.source().as_str());
            assert_eq!(ours.event_type(), sdk.ty());
            assert_eq!(ours.subject(), sdk.subject());
            assert_eq!(ours.time().unwrap().0, sdk.time().unwrap().timestamp_micros());
            let text = |name: &str| sdk.extension(name).map(ToString::to_string);
            assert_eq!(Some(ours.resource().to_owned()), text("resource"));
            assert_eq!(ours.resource_instance().map(str::to_owned), text("resourceinstance"));
            assert_eq!(ours.alternative_subject().map(str::to_owned), text("alternativesubject"));
            let json: Value = serde_json::from_str(ours.json()).unwrap();
            assert_eq!(json["specversion"], "1.0");
            assert_eq!((&json["count"], &json["flag"]), (&json!(-7), &json!(true)));
            assert_eq!(json["text"], text("text").unwrap());
            assert_eq!(json.get("datacontenttype").and_then(Value::as_str), sdk.datacontenttype());
            assert_eq!(
                json.get("dataschema").and_then(Value::as_str),
                sdk.dataschema().map(|url| url.as_str())
            );
            match sdk.data() {
                Some(Data::Json(data)) => assert_eq!(json.get("data"), Some(data)),
                Some(Data::String(data)) => assert_eq!(json["data"], data.as_str()),
                Some(Data::Binary(_)) => assert_eq!(json["data_base64"], "AJ+Slg=="),
                None => assert!(json.get("data").is_none() && json.get("data_base64").is_none()),
            }
        }
    }

    #[test]
    fn what_we_write_the_sdk_reads_attribute_by_attribute() {
        for sdk in with_each_kind_of_data() {
            let again = SdkEvent::try_from(&Event::try_from(&sdk).unwrap()).unwrap();
            assert_eq!(again.id(), sdk.id());
            assert_eq!(again.source(), sdk.source());
            assert_eq!(again.ty(), sdk.ty());
            assert_eq!(again.specversion(), sdk.specversion());
            assert_eq!(again.subject(), sdk.subject());
            assert_eq!(again.time(), sdk.time());
            assert_eq!(again.datacontenttype(), sdk.datacontenttype());
            assert_eq!(again.dataschema(), sdk.dataschema());
            assert_eq!(extensions(&again), extensions(&sdk));
            assert_eq!(again.data(), sdk.data());
        }
    }

    #[test]
    fn every_example_of_the_schema_is_read_by_the_sdk() {
        let schema: Value = serde_json::from_str(include_str!("../../../schemas/event.schema.json")).unwrap();
        for example in schema["examples"].as_array().unwrap() {
            let event = Event::parse(example.to_string().as_bytes()).unwrap();
            let sdk = to_sdk(&event).unwrap();
            assert_eq!((sdk.id(), sdk.ty()), (event.id(), event.event_type()));
        }
    }

    #[test]
    fn what_the_sdk_lets_through_our_profile_refuses() {
        let forged = builder().extension("id", "evil").build().unwrap();
        let wrong = from_sdk(&forged).unwrap_err().to_string();
        assert!(wrong.contains("id stands there more than once"), "{wrong}");
        let large = builder().extension("large", 1_i64 << 40).build().unwrap();
        assert!(from_sdk(&large).is_err());
    }
}
