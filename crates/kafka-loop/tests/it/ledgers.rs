//! The ledger loop against a real broker: nothing is lost or passed over by restarts and rebalances, and nothing blocks silently.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use event::topics;
use kafka_loop::{Budget, KafkaSettings, LedgerOptions, LoopError, Source, admin, groups, open_ledger};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::{WAIT, next, number, platform, publish, pushing};

#[tokio::test(flavor = "multi_thread")]
async fn records_that_finish_in_any_order_are_read_again_only_when_they_were_unfinished() {
    let settings = platform("any-order", 3).await;
    publish(&settings, topics::DELIVERIES, 300).await;
    let stop = CancellationToken::new();
    let mut first = open_ledger(&settings, pushing(), stop.clone()).unwrap();
    let (mut settled, mut left) = (BTreeSet::new(), Vec::new());
    while settled.len() < 100 {
        let work = next(&mut first).await;
        let n = number(&work.record);
        if n.is_multiple_of(7) && left.len() < 20 {
            left.push(work);
        } else {
            work.settle.done();
            assert!(settled.insert(n), "{n} came twice");
        }
    }
    stop.cancel();
    drop(left);
    while let Some(work) = first.records.recv().await {
        work.settle.done();
        settled.insert(number(&work.record));
    }
    first.ended.await.unwrap().unwrap();

    let stop = CancellationToken::new();
    let mut second = open_ledger(&settings, pushing(), stop.clone()).unwrap();
    let mut again = BTreeSet::new();
    while settled.len() + again.len() < 300 {
        let work = next(&mut second).await;
        let n = number(&work.record);
        assert!(!settled.contains(&n), "{n} was settled and came again");
        work.settle.done();
        again.insert(n);
    }
    stop.cancel();
    second.ended.await.unwrap().unwrap();
    assert_eq!(admin::lag(&settings, groups::PUSH, topics::DELIVERIES).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_member_takes_over_half_and_nothing_is_lost() {
    two_members(platform("two-members", 4).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_the_broker_keeps_shares_its_partitions_and_loses_nothing() {
    let settings = platform("kept-group", 4).await;
    let extra = vec![("group.protocol".to_owned(), "consumer".to_owned())];
    two_members(KafkaSettings { extra, ..settings }).await;
}

async fn two_members(settings: KafkaSettings) {
    publish(&settings, topics::DELIVERIES, 2_000).await;
    let seen: Arc<Mutex<BTreeMap<usize, usize>>> = Arc::default();
    let stops = [CancellationToken::new(), CancellationToken::new()];
    let mut members = JoinSet::new();
    let count = {
        let seen = Arc::clone(&seen);
        move || seen.lock().unwrap().len()
    };
    for stop in &stops {
        let mut member = open_ledger(&settings, pushing(), stop.clone()).unwrap();
        let seen = Arc::clone(&seen);
        let started = count();
        members.spawn(async move {
            while let Some(work) = member.records.recv().await {
                *seen.lock().unwrap().entry(number(&work.record)).or_default() += 1;
                tokio::task::yield_now().await;
                work.settle.done();
            }
            member.ended.await.unwrap().unwrap();
        });
        let until = tokio::time::Instant::now() + WAIT;
        while count() < (started + 300).min(2_000) && tokio::time::Instant::now() < until {
            tokio::task::yield_now().await;
        }
    }
    publish(&settings, topics::DELIVERIES, 2_000).await;
    let until = tokio::time::Instant::now() + WAIT;
    let total = || seen.lock().unwrap().values().sum::<usize>();
    while total() < 4_000 {
        assert!(tokio::time::Instant::now() < until, "only {} of 4,000 came", total());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for stop in &stops {
        stop.cancel();
    }
    while let Some(ended) = members.join_next().await {
        ended.unwrap();
    }
    assert_eq!(admin::lag(&settings, groups::PUSH, topics::DELIVERIES).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_reads_the_partitions_of_the_loop_it_follows() {
    let settings = platform("follower", 3).await;
    publish(&settings, topics::DUE, 90).await;
    let stop = CancellationToken::new();
    let leader = open_ledger(&settings, pushing(), stop.clone()).unwrap();
    let options = LedgerOptions {
        group: groups::PUSH,
        source: Source::Follow { topic: topics::DUE, of: leader.assignment.clone() },
        budget: Budget { records: 10, bytes: 1 << 20 },
        per_partition: Some(2),
        stalled_after: None,
        journal: None,
    };
    let mut follower = open_ledger(&settings, options, stop.clone()).unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 90 {
        let work = next(&mut follower).await;
        assert!(seen.insert(number(&work.record)));
        work.settle.done();
    }
    stop.cancel();
    follower.ended.await.unwrap().unwrap();
    leader.ended.await.unwrap().unwrap();
    assert_eq!(admin::lag(&settings, groups::PUSH, topics::DUE).await.unwrap(), 0);
}

/// Takes one record in hand and settles all others, for as long as there are any.
async fn all_but_the_first(settings: &KafkaSettings, options: LedgerOptions, count: usize) -> LoopError {
    publish(settings, topics::DELIVERIES, count).await;
    let mut ledger = open_ledger(settings, options, CancellationToken::new()).unwrap();
    let held = next(&mut ledger).await;
    while let Some(work) = ledger.records.recv().await {
        work.settle.done();
    }
    drop(held);
    ledger.ended.await.unwrap().unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_never_settled_ends_its_loop_also_while_others_are() {
    let settings = platform("idle-hands", 1).await;
    let options = LedgerOptions { stalled_after: Some(Duration::from_secs(1)), ..pushing() };
    let mut busy = JoinSet::new();
    let theirs = settings.clone();
    let done = CancellationToken::new();
    let stop = done.clone();
    busy.spawn(async move {
        while !stop.is_cancelled() {
            publish(&theirs, topics::DELIVERIES, 1).await;
        }
    });
    let error = tokio::time::timeout(WAIT, all_but_the_first(&settings, options, 3)).await.unwrap();
    done.cancel();
    assert!(matches!(error, LoopError::Stalled { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_dropped_unfinished_ends_its_loop() {
    let settings = platform("dropped", 1).await;
    publish(&settings, topics::DELIVERIES, 3).await;
    let mut ledger = open_ledger(&settings, pushing(), CancellationToken::new()).unwrap();
    next(&mut ledger).await.settle.done();
    drop(next(&mut ledger).await);
    next(&mut ledger).await.settle.done();
    let error = tokio::time::timeout(WAIT, ledger.ended).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, LoopError::Dropped { partition: 0, offset: 1, .. }), "{error}");
    let committed = admin::committed(&settings, groups::PUSH, topics::DELIVERIES).await.unwrap();
    assert!(committed[&0] <= 1, "{committed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_without_a_stop_ends_the_loop() {
    let settings = platform("no-reader", 1).await;
    let ledger = open_ledger(&settings, pushing(), CancellationToken::new()).unwrap();
    drop(ledger.records);
    publish(&settings, topics::DELIVERIES, 1).await;
    let error = tokio::time::timeout(WAIT, ledger.ended).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, LoopError::Dropped { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_position_stops_the_loop_and_says_so() {
    let stack = local_stack::shared().await;
    let named = platform("lost", 1).await;
    publish(&named, topics::DELIVERIES, 3).await;
    let settings = KafkaSettings { brokers: stack.brokers(), ..named };
    let mut options = pushing();
    options.group = "never-positioned";
    let lost = open_ledger(&settings, options, CancellationToken::new()).unwrap();
    let error = tokio::time::timeout(WAIT, lost.ended).await.unwrap().unwrap().unwrap_err();
    assert!(error.to_string().contains("has no position on"), "{error}");
}
