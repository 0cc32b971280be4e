//! The batch loop against a real broker: nothing is lost or passed over by failures, restarts and rebalances.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use event::topics;
use kafka_loop::{BatchHandler, BatchOptions, HandlerError, Record, admin, groups, run_batches};
use tokio_util::sync::CancellationToken;

use crate::broker::{WAIT, number, platform, publish};

/// Stores in memory, fails now and then, and refuses a batch that does not go on where the last one ended.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Stored>>);

/// Next offsets, numbers, calls.
type Stored = (BTreeMap<i32, i64>, Vec<usize>, usize);

impl BatchHandler for Memory {
    async fn positions(&mut self, committed: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        let (next, _, _) = &*self.0.lock().unwrap();
        Ok(committed
            .into_iter()
            .map(|(partition, start)| (partition, *next.get(&partition).unwrap_or(&start)))
            .collect())
    }

    async fn handle(&mut self, batch: Vec<Record>) -> Result<(), HandlerError> {
        let (next, stored, calls) = &mut *self.0.lock().unwrap();
        *calls += 1;
        if *calls % 5 == 2 {
            return Err(HandlerError::Transient(anyhow::anyhow!("not now")));
        }
        if *calls % 7 == 3 {
            return Err(HandlerError::Lost(anyhow::anyhow!("somebody else wrote")));
        }
        for record in &batch {
            let expected = next.entry(record.partition).or_insert(0);
            assert_eq!(*expected, record.offset, "a record was left out or came twice");
            *expected += 1;
            stored.push(number(record));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_keep_their_order_through_failures_and_restarts() {
    let settings = platform("batches", 3).await;
    publish(&settings, topics::EVENTS, 1_000).await;
    let memory = Memory::default();
    let options = BatchOptions {
        group: groups::PROJECTOR,
        topic: topics::EVENTS,
        max_records: 37,
        max_bytes: 1 << 20,
        max_wait: Duration::from_millis(10),
        stalled_after: WAIT,
    };
    for goal in [400, 1_000] {
        let stop = CancellationToken::new();
        let run = run_batches(&settings, &options, memory.clone(), stop.clone());
        let watch = async {
            while memory.0.lock().unwrap().1.len() < goal {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stop.cancel();
        };
        let (ended, ()) = tokio::time::timeout(WAIT, async { tokio::join!(run, watch) }).await.unwrap();
        ended.unwrap();
    }
    let mut stored = memory.0.lock().unwrap().1.clone();
    stored.sort_unstable();
    assert_eq!(stored, (0..1_000).collect::<Vec<_>>());
}

/// Never gets a batch stored.
struct Stuck;

impl BatchHandler for Stuck {
    async fn positions(&mut self, committed: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        Ok(committed)
    }

    async fn handle(&mut self, _: Vec<Record>) -> Result<(), HandlerError> {
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_never_answers_ends_the_loop() {
    let settings = platform("stuck", 1).await;
    publish(&settings, topics::EVENTS, 3).await;
    let options = BatchOptions {
        group: groups::PROJECTOR,
        topic: topics::EVENTS,
        max_records: 1,
        max_bytes: 1 << 20,
        max_wait: Duration::ZERO,
        stalled_after: Duration::from_millis(200),
    };
    let run = run_batches(&settings, &options, Stuck, CancellationToken::new());
    let error = tokio::time::timeout(WAIT, run).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("has work in hand that is unfinished"), "{error}");
}

/// Everything is stored already; there is nothing to hand over.
struct Whole;

impl BatchHandler for Whole {
    async fn positions(&mut self, oldest: Vec<(i32, i64)>) -> Result<Vec<(i32, i64)>, HandlerError> {
        Ok(oldest.into_iter().map(|(partition, _)| (partition, 5)).collect())
    }

    async fn handle(&mut self, batch: Vec<Record>) -> Result<(), HandlerError> {
        panic!("{} records came again", batch.len())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_partition_over_commits_where_it_starts_so_that_no_lag_is_shown_where_none_is() {
    let settings = platform("takes-over", 1).await;
    publish(&settings, topics::EVENTS, 5).await;
    let options = BatchOptions {
        group: groups::PROJECTOR,
        topic: topics::EVENTS,
        max_records: 10,
        max_bytes: 1 << 20,
        max_wait: Duration::ZERO,
        stalled_after: WAIT,
    };
    let stop = CancellationToken::new();
    let run = run_batches(&settings, &options, Whole, stop.clone());
    let watch = async {
        while admin::lag(&settings, groups::PROJECTOR, topics::EVENTS).await.unwrap() != 0 {}
        stop.cancel();
    };
    let (ended, ()) = tokio::time::timeout(WAIT, async { tokio::join!(run, watch) }).await.unwrap();
    ended.unwrap();
}
