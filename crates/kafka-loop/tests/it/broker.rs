//! Topics of a test's own on a real broker.

use std::time::Duration;

use event::topics::{self, Topics};
use kafka_loop::{
    Budget, KafkaSettings, LedgerLoop, LedgerOptions, Outgoing, Producer, Record, Source, Work, admin, groups,
};

pub(crate) const WAIT: Duration = Duration::from_secs(120);

pub(crate) async fn platform(name: &str, partitions: i32) -> KafkaSettings {
    let stack = local_stack::shared().await;
    let run = std::process::id();
    let settings = KafkaSettings::plain(&stack.brokers(), &format!("loop-{run}-{name}."));
    let overrides = admin::TopicOverrides { partitions: Some(partitions), replication: Some(1) };
    admin::ensure_topics(&settings, &Topics::load(), overrides).await.unwrap();
    settings
}

/// Appends the numbers below `count`, in rounds that fit into the producer.
pub(crate) async fn publish(settings: &KafkaSettings, topic: &str, count: usize) {
    let producer = Producer::new(settings).unwrap();
    let numbers: Vec<usize> = (0..count).collect();
    for round in numbers.chunks(50_000) {
        let acks: Vec<_> = round.iter().map(|n| enqueue(&producer, topic, *n)).collect();
        for ack in acks {
            ack.await.unwrap();
        }
    }
}

fn enqueue(producer: &Producer, topic: &str, n: usize) -> kafka_loop::Ack {
    let (key, value) = (format!("key-{}", n % 50), n.to_string());
    let out = Outgoing {
        topic,
        partition: None,
        key: key.as_bytes(),
        value: value.as_bytes(),
        headers: &[("n", value.as_bytes())],
    };
    producer.enqueue(out).unwrap()
}

pub(crate) fn number(record: &Record) -> usize {
    assert_eq!(record.header("n"), record.value.as_deref());
    std::str::from_utf8(record.value.as_deref().unwrap()).unwrap().parse().unwrap()
}

pub(crate) fn pushing() -> LedgerOptions {
    LedgerOptions {
        group: groups::PUSH,
        source: Source::Group(vec![topics::DELIVERIES]),
        budget: Budget { records: 64, bytes: 1 << 20 },
        per_partition: None,
        stalled_after: None,
        journal: None,
    }
}

/// The next record of a loop.
pub(crate) async fn next(ledger: &mut LedgerLoop) -> Work {
    tokio::time::timeout(WAIT, ledger.records.recv())
        .await
        .expect("no record came")
        .expect("the loop has ended")
}
