//! What a journal tells the next owner of a partition, on a real broker.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use event::topics;
use kafka_loop::{
    Entry, Journal, KafkaSettings, LedgerLoop, LedgerOptions, Outgoing, Producer, Work, admin, groups,
    open_ledger,
};
use local_stack::Front;
use tokio_util::sync::CancellationToken;

use crate::broker::{WAIT, next, number, platform, publish, pushing};

/// A loop with a journal, and the numbers that were read back of it.
struct Member {
    ledger: LedgerLoop,
    journal: Journal,
    recalled: Arc<Mutex<Vec<usize>>>,
    stop: CancellationToken,
}

impl Member {
    fn open(settings: &KafkaSettings) -> Self {
        let recalled: Arc<Mutex<Vec<usize>>> = Arc::default();
        let into = Arc::clone(&recalled);
        let journal = Journal::new(topics::ATTEMPTS, move |record| into.lock().unwrap().push(number(record)));
        let stop = CancellationToken::new();
        let options = LedgerOptions { journal: Some(journal.clone()), ..pushing() };
        let ledger = open_ledger(settings, options, stop.clone()).unwrap();
        Self { ledger, journal, recalled, stop }
    }

    /// The next record, and its entry on the journal.
    async fn journaled(&mut self, producer: &Producer) -> (Work, Entry) {
        let work = next(&mut self.ledger).await;
        let entry = self.journal.begin();
        let value = work.record.value.clone().unwrap();
        let out = Outgoing {
            topic: topics::ATTEMPTS,
            partition: None,
            key: &work.record.key,
            value: &value,
            headers: &[("n", &value)],
        };
        entry.acknowledged(producer.send(out).await.unwrap());
        (work, entry)
    }

    async fn stop(self) -> Vec<usize> {
        self.stop.cancel();
        drop(self.ledger.records);
        self.ledger.ended.await.unwrap().unwrap();
        self.recalled.lock().unwrap().clone()
    }
}

async fn until_left(settings: &KafkaSettings, count: i64) {
    let left =
        async { while admin::lag(settings, groups::PUSH, topics::DELIVERIES).await.unwrap() != count {} };
    tokio::time::timeout(WAIT, left).await.unwrap_or_else(|_| panic!("never {count} left"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gets_no_answer_is_made_anew_also_where_it_reads_the_journal() {
    let direct = platform("journal-deaf", 1).await;
    let front = Front::start(direct.brokers.clone()).await.unwrap();
    let settings = KafkaSettings { brokers: front.brokers(), ..direct.clone() };
    publish(&direct, topics::DELIVERIES, 1).await;
    // Each breaks off after five seconds; one client alone gives up long before the last.
    front.be_deaf_to("altinn-events.journal", 7);
    let mut member = Member::open(&settings);
    next(&mut member.ledger).await.settle.done();
    assert_eq!(front.still_to_come(), 0, "the journal was never asked for");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_owner_reads_what_no_commit_told_and_no_more() {
    let settings = platform("journal", 1).await;
    let producer = Producer::new(&settings).unwrap();
    publish(&settings, topics::DELIVERIES, 30).await;
    let mut first = Member::open(&settings);
    for round in [9, 1] {
        for _ in 0..round {
            let (work, entry) = first.journaled(&producer).await;
            entry.settles(|| work.settle.done());
        }
        until_left(&settings, if round == 9 { 21 } else { 20 }).await;
    }
    let mut unsettled = BTreeSet::new();
    let mut in_hand = Vec::new();
    for _ in 0..20 {
        let journaled = first.journaled(&producer).await;
        unsettled.insert(number(&journaled.0.record));
        in_hand.push(journaled);
    }
    first.stop.cancel();
    drop(in_hand);
    assert!(first.stop().await.is_empty(), "the journal was empty");

    let mut second = Member::open(&settings);
    for _ in 0..20 {
        let work = next(&mut second.ledger).await;
        let recalled: BTreeSet<usize> = second.recalled.lock().unwrap().iter().copied().collect();
        assert!(recalled.is_superset(&unsettled), "a record was handed out before the journal was read");
        work.settle.done();
    }
    until_left(&settings, 0).await;
    let recalled = second.stop().await;
    assert!(recalled.len() <= 21, "{} of 30 were read; the commits told of nine", recalled.len());

    publish(&settings, topics::DELIVERIES, 1).await;
    let mut third = Member::open(&settings);
    next(&mut third.ledger).await.settle.done();
    let read = third.stop().await;
    assert!(read.len() <= recalled.len(), "{} were read", read.len());
    let mut fourth = Member::open(&settings);
    let held = async {
        while fourth.ledger.assignment.now().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WAIT, held).await.unwrap();
    publish(&settings, topics::DELIVERIES, 1).await;
    next(&mut fourth.ledger).await.settle.done();
    assert!(fourth.stop().await.is_empty(), "nothing lay beyond its position");
}
