//! Topics that are there and do not fit are told at start, each with what mends it.

use event::topics::{self, Topics};
use kafka_loop::{KafkaSettings, admin};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewPartitions},
    client::DefaultClientContext,
};

use crate::broker::platform;

async fn misfits(settings: &KafkaSettings, replicas: i32) -> Vec<String> {
    let overrides = admin::TopicOverrides { partitions: Some(2), replication: Some(replicas) };
    admin::ensure_topics(settings, &Topics::load(), overrides).await.unwrap().mismatches
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_with_too_few_replicas_are_told() {
    let settings = platform("replicas", 2).await;
    assert_eq!(misfits(&settings, 1).await, Vec::<String>::new());
    let told = misfits(&settings, 2).await;
    let events = format!("{} has 1 replicas instead of 2", settings.topic(topics::EVENTS));
    assert!(told.iter().any(|misfit| misfit.starts_with(&events)), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_are_due_have_as_many_partitions_as_fresh_ones() {
    let settings = platform("twins", 2).await;
    let client: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &settings.brokers).create().unwrap();
    let due = settings.topic(topics::DUE);
    let added = client.create_partitions(&[NewPartitions::new(&due, 3)], &AdminOptions::new()).await.unwrap();
    assert!(added.iter().all(Result::is_ok), "{added:?}");
    // The broker that is asked may not have heard of it yet.
    let end = std::time::Instant::now() + crate::broker::WAIT;
    loop {
        let told = misfits(&settings, 1).await;
        if told.iter().any(|misfit| misfit.contains("a key must find the same one on both")) {
            return;
        }
        assert!(std::time::Instant::now() < end, "{told:?}");
    }
}
