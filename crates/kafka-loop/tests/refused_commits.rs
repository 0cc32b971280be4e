//! What a loop does when the broker refuses a commit. A broker does so only in the few milliseconds of a rebalance, so here the
//! client library's own broker stand-in does it on demand.

#![allow(clippy::unwrap_used, reason = "a test fails at the line that is wrong")]

use std::time::{Duration, Instant};

use event::topics;
use kafka_loop::{
    BatchHandler, BatchOptions, Budget, HandlerError, KafkaSettings, LedgerOptions, Outgoing, Producer,
    Record, Source, groups, open_ledger, run_batches,
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const RECORDS: i64 = 10;
/// The answers to the next commits. The group goes on: the broker refuses only while it waits for the members' assignment.
const REFUSALS: [RDKafkaRespErr; 3] = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS; 3];

struct Platform {
    _broker: MockCluster<'static, DefaultProducerContext>,
    settings: KafkaSettings,
    asker: BaseConsumer,
    place: TopicPartitionList,
}

impl Platform {
    /// A topic of one partition with ten records, of which the group has read none.
    async fn new(topic: &str, group: &str) -> Self {
        let broker = MockCluster::new(1).unwrap();
        broker.create_topic(topic, 1, 1).unwrap();
        let settings = KafkaSettings::plain(&broker.bootstrap_servers(), "");
        let producer = Producer::new(&settings).unwrap();
        for _ in 0..RECORDS {
            let out = Outgoing { topic, partition: Some(0), key: b"key", value: b"value", headers: &[] };
            producer.send(out).await.unwrap();
        }
        let asker: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap_servers())
            .set("group.id", group)
            .create()
            .unwrap();
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(topic, 0, Offset::Offset(0)).unwrap();
        asker.commit(&place, CommitMode::Sync).unwrap();
        broker.request_errors(RDKafkaApiKey::OffsetCommit, &REFUSALS);
        Self { _broker: broker, settings, asker, place }
    }

    fn committed(&self) -> Offset {
        let list = self.asker.committed_offsets(self.place.clone(), Duration::from_secs(5)).unwrap();
        list.elements().first().unwrap().offset()
    }

    /// Waits until the group's position is the end of the topic.
    async fn committed_to_the_end(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while tokio::task::block_in_place(|| self.committed()) != Offset::Offset(RECORDS) {
            assert!(Instant::now() < until, "the position stays at {:?}", self.committed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_loop_makes_a_refused_commit_again() {
    let platform = Platform::new(topics::DELIVERIES, groups::PUSH).await;
    let stop = CancellationToken::new();
    let options = LedgerOptions {
        group: groups::PUSH,
        source: Source::Group(vec![topics::DELIVERIES]),
        budget: Budget { records: 64, bytes: 1 << 20 },
        per_partition: None,
        stalled_after: None,
        journal: None,
    };
    let mut ledger = open_ledger(&platform.settings, options, stop.clone()).unwrap();
    let mut running = JoinSet::new();
    running.spawn(async move {
        while let Some(work) = ledger.records.recv().await {
            work.settle.done();
        }
        ledger.ended.await.unwrap()
    });
    platform.committed_to_the_end().await;
    stop.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
}

struct Stores;

impl BatchHandler for Stores {
    async fn positions(&mut self, committed: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        Ok(committed)
    }

    async fn handle(&mut self, _batch: Vec<Record>) -> Result<(), HandlerError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_loop_makes_a_refused_commit_again() {
    let platform = Platform::new(topics::EVENTS, groups::PROJECTOR).await;
    let stop = CancellationToken::new();
    let (settings, until) = (platform.settings.clone(), stop.clone());
    let mut running = JoinSet::new();
    running.spawn(async move {
        let options = BatchOptions {
            group: groups::PROJECTOR,
            topic: topics::EVENTS,
            max_records: 100,
            max_bytes: 1 << 20,
            max_wait: Duration::from_millis(10),
            stalled_after: Duration::from_secs(30),
        };
        run_batches(&settings, &options, Stores, until).await
    });
    platform.committed_to_the_end().await;
    stop.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
}
