//! What cannot be an event, or cannot be stored, is parked with its reason; everything else goes on.

use event::topics::{EVENTS, REJECTED};
use kafka_loop::{Outgoing, Position, whole};
use platform_tests::{
    client::generic,
    wait::until,
    world::{ALL, World},
};

use crate::probe;

/// A value, its headers, and the reason it is parked with.
type Garbage<'a> = (&'a [u8], &'a [(&'a str, &'a [u8])], &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_fails_silently() {
    let world = World::new("poison").await;
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    client.subscribe_and_wait(&world.receiver.url("poison")).await;
    probe::changes_are_in_force(&world, &client).await;
    let key = b"/party/1";
    let producer = world.producer();
    let valid = generic("nul-in-its-header", "/party/1").to_string();
    let valid_too = generic("not-of-our-profile", "/party/1").to_string().replace("\"type\"", "\"Type\"");
    let nested = format!(r#"{{"specversion":"1.0","data":{}1{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    let garbage: [Garbage<'_>; 8] = [
        (b"\x00\xff\xfe raw bytes \x80", &[], "undecodable"),
        (b"", &[], "undecodable"),
        (b"{\"specversion\":\"1.0\",\"id\":", &[], "undecodable"),
        (b"{\"specversion\":\"1.0\"}", &[("subject", b"/party/1")], "undecodable"),
        (b"[1,2,3]", &[], "undecodable"),
        (nested.as_bytes(), &[], "undecodable"),
        (valid_too.as_bytes(), &[], "undecodable"),
        (valid.as_bytes(), &[("subject", b"/party/\x001")], "unstorable"),
    ];
    let mut parked = Vec::new();
    let mut good = Vec::new();
    for (n, (value, headers, reason)) in garbage.into_iter().enumerate() {
        // A good one before each, on the same partition.
        let id = format!("good-{n}");
        assert_eq!(client.publish(&generic(&id, "/party/1")).await.unwrap(), 200);
        good.push(id);
        let at =
            producer.send(Outgoing { topic: EVENTS, partition: None, key, value, headers }).await.unwrap();
        parked.push((at, value.to_vec(), reason));
    }
    assert_eq!(client.publish(&generic("good-last", "/party/1")).await.unwrap(), 200);
    good.push("good-last".to_owned());

    probe::reaches_the_feed(&client, "good-last").await;
    let feed = probe::in_feed(&client).await;
    assert_eq!(feed.keys().cloned().collect::<Vec<_>>(), good);
    assert!(feed.values().all(|count| *count == 1), "{feed:?}");
    until("the good ones are delivered", || async {
        let delivered = probe::delivered(&world, "poison");
        let open: Vec<_> = good.iter().filter(|id| !delivered.contains_key(*id)).collect();
        if open.is_empty() { Ok(()) } else { Err(format!("{open:?} are not")) }
    })
    .await;

    let rejected = whole::read(&world.kafka(), REJECTED).await.unwrap();
    assert_eq!(rejected.len(), parked.len());
    for (at, value, reason) in parked {
        let text = |record: &kafka_loop::Record, name: &str| {
            String::from_utf8(record.header(name).unwrap_or_default().to_vec()).unwrap()
        };
        let Position { partition, offset } = at;
        let record = rejected
            .iter()
            .find(|record| {
                text(record, "origin-partition") == partition.to_string()
                    && text(record, "origin-offset") == offset.to_string()
            })
            .unwrap_or_else(|| panic!("{at:?} ({reason}) was not parked"));
        assert_eq!(text(record, "reason"), reason);
        assert_eq!(text(record, "origin-topic"), EVENTS);
        assert!(!text(record, "detail").is_empty());
        assert_eq!((record.key.as_slice(), record.value.as_deref()), (&key[..], Some(value.as_slice())));
    }
    assert_eq!(platform.metric("projector_rejected_total"), 8.0);
    assert_eq!(platform.metric("dispatcher_undecodable_events_total"), 7.0);
    platform.stop().await;
}
