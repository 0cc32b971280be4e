//! Round trip with the cloudevents-sdk: what it writes we accept, what we store and push it reads, attribute by attribute.

use std::collections::BTreeMap;

use cloudevents::{
    AttributesReader, Event as SdkEvent, EventBuilder, EventBuilderV10, event::ExtensionValue,
};
use platform_tests::{
    client::Client,
    wait::until,
    world::{ALL, RESOURCE, World},
};
use serde_json::{Value, json};

use crate::probe;

fn builder(id: &str) -> EventBuilderV10 {
    EventBuilderV10::new()
        .id(id)
        .source("https://ttd.example.no/things/1?a=b#c")
        .ty("no.altinn.example.created")
        .subject("/party/50001337")
        .time("2026-11-23T12:00:00.123456Z")
        .extension("resource", RESOURCE)
        .extension("alternativesubject", "/organisation/991825827")
        .extension("text", "a \"quoted\" \\ text € æøå")
        .extension("count", -7_i64)
        .extension("flag", true)
}

/// One event of each kind that the SDK can build.
fn events() -> Vec<SdkEvent> {
    let built = [
        EventBuilderV10::new().id("bare").source("urn:ttd:x").ty("t").extension("resource", RESOURCE).build(),
        builder("no-data").build(),
        builder("json").data("application/json", json!({"a": [1, 2.5, null, "é"], "b": {}})).build(),
        builder("json-null").data("application/json", Value::Null).build(),
        builder("schema")
            .data_with_schema("application/vnd.x+json", "https://ttd.example.no/schema", json!([1]))
            .build(),
        builder("text").data("text/plain", "plain text".to_owned()).build(),
        builder("bytes").data("application/octet-stream", vec![0_u8, 159, 146, 150]).build(),
    ];
    built.into_iter().map(Result::unwrap).collect()
}

fn extensions(event: &SdkEvent) -> BTreeMap<String, ExtensionValue> {
    event.iter_extensions().map(|(name, value)| (name.to_owned(), value.clone())).collect()
}

fn assert_same(read: &SdkEvent, written: &SdkEvent, place: &str) {
    let what = format!("{} {place}", written.id());
    assert_eq!(read.id(), written.id(), "{what}");
    assert_eq!(read.specversion(), written.specversion(), "{what}");
    assert_eq!(read.source(), written.source(), "{what}");
    assert_eq!(read.ty(), written.ty(), "{what}");
    assert_eq!(read.subject(), written.subject(), "{what}");
    assert_eq!(read.time(), written.time(), "{what}");
    assert_eq!(read.datacontenttype(), written.datacontenttype(), "{what}");
    assert_eq!(read.dataschema(), written.dataschema(), "{what}");
    assert_eq!(extensions(read), extensions(written), "{what}");
    assert_eq!(read.data(), written.data(), "{what}");
}

async fn publish(client: &Client, kind: &str, body: String) {
    let request = client.post("/events/api/v1/events").header("content-type", kind);
    let answer = request.body(body.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{body}: {}", answer.text().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sdk_writes_is_accepted_and_what_is_stored_and_pushed_it_reads() {
    let world = World::new("sdk").await;
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    client.subscribe_and_wait(&world.receiver.url("sdk")).await;
    probe::changes_are_in_force(&world, &client).await;
    let written = events();
    let (single, batch) = written.split_at(4);
    for event in single {
        publish(&client, "application/cloudevents+json", serde_json::to_string(event).unwrap()).await;
    }
    publish(&client, "application/cloudevents-batch+json", serde_json::to_string(batch).unwrap()).await;

    probe::everything_is_stored(&world).await;
    let resource = format!("/events/api/v1/events?resource={RESOURCE}&after=0&size=1000");
    let stored: Vec<SdkEvent> = client.get(&resource).send().await.unwrap().json().await.unwrap();
    for event in &written {
        let read = stored.iter().find(|stored| stored.id() == event.id());
        assert_same(read.unwrap(), event, "in the feed");
        let body = until("the event is pushed", || async {
            let received = world.receiver.events("sdk").into_iter();
            let mut bodies = received.filter(|request| request.event_id() == event.id());
            bodies.next().map(|request| request.body).ok_or_else(|| format!("{} is not", event.id()))
        })
        .await;
        assert_same(&serde_json::from_slice(&body).unwrap(), event, "at the webhook");
    }
    platform.stop().await;
}
