//! Platforms to measure: topics, schema and settings as in production, but for one broker and addresses on loopback.

use std::{collections::VecDeque, time::Duration};

use anyhow::Context;
use event::{Event, Subscription, address::endpoint_key, topics, topics::Topics};
use kafka_loop::{
    Ack, Outgoing, Producer,
    admin::{self, TopicOverrides},
};
use platform_tests::world::World;
use store::NewSubscription;

use crate::{
    sample::{self, FIRST_PARTY, GENERIC},
    sink::Sink,
};

/// Partitions of each topic.
pub(crate) const PARTITIONS: i32 = 6;
/// Records that wait for their acknowledgement at once.
const WINDOW: usize = 10_000;

/// The Kafka and the Postgres of the run.
pub(crate) struct Bench {
    pub(crate) brokers: String,
    pub(crate) database_url: String,
}

impl Bench {
    /// A platform of its own, with its topics and tables; nothing of it runs yet.
    pub(crate) async fn world(&self, name: &str) -> anyhow::Result<World> {
        let mut world =
            World::on(&format!("bench_{name}"), self.brokers.clone(), self.database_url.clone()).await;
        let partitions = PARTITIONS.to_string();
        for (name, value) in [
            ("TOPIC_PARTITIONS", partitions.as_str()),
            ("DATABASE_MAX_CONNECTIONS", "16"),
            ("RETRY_DELAY_DIVISOR", "1"),
        ] {
            world.set(name, value);
        }
        let overrides = TopicOverrides { partitions: Some(PARTITIONS), replication: Some(1) };
        admin::ensure_topics(&world.kafka(), &Topics::load(), overrides).await?;
        world.store().migrate().await?;
        Ok(world)
    }
}

/// Appends records with a window, as fast as the log takes them.
pub(crate) struct Filler {
    producer: Producer,
    acks: VecDeque<Ack>,
}

impl Filler {
    pub(crate) fn new(producer: Producer) -> Self {
        Self { producer, acks: VecDeque::with_capacity(WINDOW) }
    }

    pub(crate) async fn append(&mut self, out: Outgoing<'_>) -> anyhow::Result<()> {
        if self.acks.len() == WINDOW
            && let Some(oldest) = self.acks.pop_front()
        {
            oldest.await?;
        }
        self.acks.push_back(self.producer.enqueue(out)?);
        Ok(())
    }

    /// An event, as ingest appends it.
    pub(crate) async fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        let key = event.kafka_key();
        let out = Outgoing {
            topic: topics::EVENTS,
            partition: None,
            key: key.as_bytes(),
            value: event.json().as_bytes(),
            headers: &[("content-type", b"application/cloudevents+json")],
        };
        self.append(out).await
    }

    /// A delivery, as the matching appends it.
    pub(crate) async fn delivery(&mut self, to: &Subscription, event: &Event) -> anyhow::Result<()> {
        let pairs = sample::delivery(to, event).to_pairs();
        let headers: Vec<(&str, &[u8])> =
            pairs.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let key = endpoint_key(&to.endpoint);
        let out = Outgoing {
            topic: topics::DELIVERIES,
            partition: None,
            key: key.as_bytes(),
            value: event.json().as_bytes(),
            headers: &headers,
        };
        self.append(out).await
    }

    /// Waits until all of them are acknowledged.
    pub(crate) async fn finish(mut self) -> anyhow::Result<()> {
        while let Some(ack) = self.acks.pop_front() {
            ack.await?;
        }
        Ok(())
    }
}

/// One validated subscription an endpoint, each to the events about a party of its own.
pub(crate) async fn subscribe(world: &World, sink: &Sink) -> anyhow::Result<Vec<Subscription>> {
    let (store, mut subscriptions) = (world.store(), Vec::new());
    for (number, endpoint) in sink.urls().into_iter().enumerate() {
        let new = NewSubscription {
            endpoint,
            source_filter: None,
            resource_filter: Some(GENERIC.to_owned()),
            subject_filter: Some(format!("/party/{}", FIRST_PARTY + number)),
            subject_sent: None,
            type_filter: None,
            include_subunits: false,
            consumer: "/org/ttd".to_owned(),
            created_by: "/org/ttd".to_owned(),
        };
        let made = store.create_subscription(&new).await?.0;
        store.set_validated(made.proof()).await?;
        subscriptions.push(store.subscription(made.id).await?.context("the subscription is there")?);
    }
    Ok(subscriptions)
}

/// Waits until so many events are stored.
pub(crate) async fn stored(store: &store::Store, events: i64, most: Duration) -> anyhow::Result<()> {
    let end = std::time::Instant::now() + most;
    while store.feed_head().await?.last.0 < events {
        anyhow::ensure!(std::time::Instant::now() < end, "{events} events are not stored after {most:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// The department's token with all rights.
pub(crate) fn token(world: &World) -> String {
    let scopes = ["altinn:events.publish", "altinn:events.subscribe", "altinn:serviceowner"];
    world.altinn.enterprise_token(Some("ttd"), "991825827", &scopes)
}
