//! The match loop: event → subscriptions → rights → one record a delivery on `deliveries`.
//!
//! Two stages that hand batches on in event order: the first ([`decoding`]) decodes and looks repeated events up, the second
//! matches, asks for rights and appends. An event is settled when the log has acknowledged every one of its deliveries; a crash
//! before that matches it again, and the deliveries' ids stay the same.
//!
//! Where subscriptions include sub-units, Register tells the main unit beside the two stages: the event goes to its other
//! subscriptions at once, and is settled when it has also gone to those of the main unit, or, without an answer in time, lies on
//! a tier as a record of kind `match`. Such records come back here when they are due.
//!
//! Bounds: a batch of events; two batches between the stages; [`HELD_MAX`] events that wait for Register; deliveries are appended
//! in chunks, each acknowledged before the next, however many subscriptions an event matches.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use access::{Access, Decision};
use bytes::Bytes;
use event::{Event, MatchHeaders, Micros, SubscriptionId, topics};
use kafka_loop::{LedgerLoop, Producer, Settle, Work};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

use crate::{
    append::{OwnedRecord, append_all},
    caught::{Panicked, REASON, caught},
    config::MatchConfig,
    finish,
    matching::{
        decoding::{Decoded, Decoding},
        matches::{Match, Matched, questions_about, record_of},
        refusals::Refusals,
        reject::{Origin, rejected},
        repeats::{LookUp, Window},
        subunits::{Answered, Asked, HELD_MAX, NoAnswer, unit_of},
        undecided::Undecided,
    },
    metrics::Metrics,
    pushing::endpoint::key_of,
    subscriptions::View,
};

mod decoding;
pub(crate) mod filters;
mod matches;
mod refusals;
pub(crate) mod reject;
pub(crate) mod repeats;
pub(crate) mod subunits;
pub(crate) mod undecided;

/// How long rights are waited for; without an answer the delivery is appended anyway, and asked about again before it is sent.
const RIGHTS_WAIT: Duration = Duration::from_secs(1);
/// The same while the last answer did not come in time.
const RIGHTS_SHORT_WAIT: Duration = Duration::from_millis(20);

/// An event that is not settled before its main unit is known, or it lies on a tier.
type Held = (Arc<Matched>, Settle);

/// The loop's second stage, which owns its state.
pub(crate) struct Matching {
    view: Arc<View>,
    producer: Producer,
    access: Access,
    metrics: Arc<Metrics>,
    config: MatchConfig,
    window: Window,
    rights_wait: Duration,
    refusals: Refusals,
    pending: Vec<Match>,
    /// Events that wait for Register.
    held: usize,
    /// Whether the last question to it had no answer.
    is_silent: bool,
    /// Records of events that go elsewhere: those whose matching panicked, to be parked; the undecided, to a tier.
    aside: Vec<OwnedRecord>,
    /// Events all of whose matches are pending or appended, or that are to be parked.
    complete: Vec<Settle>,
}

impl Matching {
    /// Nothing is in hand yet.
    pub(crate) fn new(
        view: Arc<View>,
        producer: Producer,
        access: Access,
        metrics: Arc<Metrics>,
        config: MatchConfig,
    ) -> Self {
        let window = Window::new(config.repeats_window);
        Self {
            view,
            producer,
            access,
            metrics,
            config,
            window,
            rights_wait: RIGHTS_WAIT,
            refusals: Refusals::default(),
            pending: Vec::new(),
            held: 0,
            is_silent: false,
            aside: Vec::new(),
            complete: Vec::new(),
        }
    }

    /// Runs until `stop`, or until the ledger ends. `due`: records of kind `match`, from the push loop.
    ///
    /// # Errors
    /// When the ledger failed.
    pub(crate) async fn run(
        mut self,
        ledger: LedgerLoop,
        due: UnboundedReceiver<Work>,
        look_up: LookUp,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let (hand_on, decoded) = mpsc::channel(2);
        let (ask, asked) = mpsc::unbounded_channel();
        let (answer, answered) = mpsc::unbounded_channel();
        let access = self.access.clone();
        let (producer, metrics) = (self.producer.clone(), Arc::clone(&self.metrics));
        let first = Decoding::new(look_up, producer, metrics, self.config.batch);
        let both = async {
            let stages = async {
                tokio::join!(
                    first.run(ledger.records, hand_on, &stop),
                    self.match_all(decoded, due, &ask, answered)
                );
            };
            // What still waits for Register when the stages end stays unsettled, and comes again.
            tokio::select! {
                () = stages => {}
                () = subunits::ask_all(&access, asked, answer) => {}
            }
        };
        finish::until_grace_is_over(&stop, both).await;
        finish::ended(ledger.ended).await
    }

    /// Answers first: there are never more of them than events that came before. While Register answers, too many that wait for
    /// it hold the others up for a moment; while it is silent nobody waits for it.
    async fn match_all(
        &mut self,
        mut decoded: mpsc::Receiver<Vec<Decoded>>,
        mut due: UnboundedReceiver<Work>,
        ask: &UnboundedSender<Asked<Held>>,
        mut answered: UnboundedReceiver<Answered<Held>>,
    ) {
        let (mut answers, mut works, mut is_fed) = (Vec::new(), Vec::new(), true);
        loop {
            let has_room = self.held < HELD_MAX || self.is_silent;
            tokio::select! {
                biased;
                _ = answered.recv_many(&mut answers, self.config.batch) => {
                    self.match_main_units(answers.drain(..)).await;
                }
                batch = decoded.recv(), if has_room => match batch {
                    Some(batch) => self.match_batch(batch, ask).await,
                    None => return,
                },
                taken = due.recv_many(&mut works, self.config.batch), if has_room && is_fed => {
                    is_fed = taken > 0;
                    self.match_again(works.drain(..), ask).await;
                }
            }
        }
    }

    async fn match_main_units(&mut self, answers: impl Iterator<Item = Answered<Held>>) {
        for Answered { main_unit, event: (matched, settle) } in answers {
            self.held = self.held.saturating_sub(1);
            self.is_silent = main_unit.is_err();
            if !settle.is_held() {
                continue;
            }
            match main_unit {
                Ok(None) => {}
                Ok(Some(main_unit)) => match caught(|| self.matches_of_main_unit(&matched, &main_unit)) {
                    Ok(ids) => self.collect(&matched, &ids).await,
                    Err(Panicked) => self.park(matched.rejected()),
                },
                Err(NoAnswer { unit }) => self.put_back(&matched, unit),
            }
            self.complete.push(settle);
        }
        self.flush().await;
    }

    fn matches_of_main_unit(&self, matched: &Matched, main_unit: &str) -> Vec<SubscriptionId> {
        self.view.read(|index| {
            let found = index.matches_of_main_unit(&matched.event, matched.subject.as_deref(), main_unit);
            found.iter().map(|found| found.id).collect()
        })
    }

    /// Events that waited on a tier for their main unit.
    async fn match_again(&mut self, works: impl Iterator<Item = Work>, ask: &UnboundedSender<Asked<Held>>) {
        for Work { record, settle } in works.filter(|work| work.settle.is_held()) {
            let from = Origin::of(topics::DUE, &record);
            let read = caught(|| undecided::read(&record)).unwrap_or_else(|Panicked| Err(REASON.to_owned()));
            let (key, body) = (Bytes::from(record.key), Bytes::from(record.value.unwrap_or_default()));
            match read {
                Ok((headers, event)) => {
                    let MatchHeaders { unit, created, subject, traceparent } = headers;
                    let identity = event.identity();
                    let matched = Matched { key, from, event, subject, identity, body, traceparent, created };
                    self.hold(unit, (Arc::new(matched), settle), ask);
                }
                Err(why) => {
                    tracing::error!(
                        why,
                        kafka.offset = from.at.offset,
                        "a record of kind match is parked in events.rejected"
                    );
                    self.park(undecided::parked(key, body, from, &why));
                    self.complete.push(settle);
                }
            }
        }
        self.flush().await;
    }

    async fn match_batch(&mut self, batch: Vec<Decoded>, ask: &UnboundedSender<Asked<Held>>) {
        for decoded in batch {
            let Decoded { key, event, subject, identity, body, traceparent, at, stored_elsewhere, settle } =
                decoded;
            // The next owner of a partition that was taken away matches it.
            if !settle.is_held() {
                continue;
            }
            if self.window.is_repeat(identity, at, stored_elsewhere) {
                self.metrics.repeated_events.inc();
                self.complete.push(settle);
                continue;
            }
            self.metrics.matched_events.inc();
            let from = Origin { topic: topics::EVENTS, at };
            let Ok((ids, unit)) = caught(|| self.matches_of(&event, subject.as_deref())) else {
                self.park(rejected(key, body, from));
                self.complete.push(settle);
                continue;
            };
            if ids.is_empty() && unit.is_none() {
                self.complete.push(settle);
                continue;
            }
            let created = Micros::now();
            let matched = Matched { key, from, event, subject, identity, body, traceparent, created };
            let matched = Arc::new(matched);
            self.collect(&matched, &ids).await;
            match unit {
                None => self.complete.push(settle),
                Some(unit) => self.hold(unit, (matched, settle), ask),
            }
        }
        self.flush().await;
    }

    /// The subscriptions of an event, and the unit whose main unit is to be asked for.
    fn matches_of(&self, event: &Event, subject: Option<&str>) -> (Vec<SubscriptionId>, Option<String>) {
        let (ids, subunits) = self.view.read(|index| {
            let ids: Vec<SubscriptionId> =
                index.matches(event, subject).iter().map(|found| found.id).collect();
            (ids, index.includes_subunits(event))
        });
        (ids, if subunits { unit_of(event, subject) } else { None })
    }

    /// Appends with the next chunk the record of an event whose matching panicked.
    fn park(&mut self, rejected: OwnedRecord) {
        self.metrics.faults.inc();
        self.aside.push(rejected);
    }

    /// Asks for a main unit, or puts the event back at once while Register is silent. While the loop runs somebody listens; after
    /// that the event comes again.
    fn hold(&mut self, unit: String, (matched, settle): Held, ask: &UnboundedSender<Asked<Held>>) {
        if self.is_silent && self.held >= HELD_MAX {
            self.put_back(&matched, unit);
            self.complete.push(settle);
        } else if ask.send(Asked { unit, event: (matched, settle) }).is_ok() {
            self.held += 1;
        }
    }

    /// The undecided part of an event goes to a tier, or is given up.
    fn put_back(&mut self, matched: &Matched, unit: String) {
        let headers = MatchHeaders {
            unit,
            created: matched.created,
            subject: matched.subject.clone(),
            traceparent: matched.traceparent.clone(),
        };
        let Matched { key, body, from, .. } = matched;
        let record = Undecided { key, body, headers, from: *from }.onward(self.config.ladder, Micros::now());
        if record.topic == topics::REJECTED {
            tracing::error!(
                "an event is parked in events.rejected: its main unit stayed unknown for three days"
            );
            self.metrics.matches_given_up.inc();
        } else {
            self.metrics.matches_put_back.inc();
        }
        self.aside.push(record);
    }

    /// Makes matches of subscriptions, appending whenever a chunk is full.
    async fn collect(&mut self, event: &Arc<Matched>, ids: &[SubscriptionId]) {
        let mut rest = ids;
        while !rest.is_empty() {
            let room = self.config.chunk.saturating_sub(self.pending.len()).max(1).min(rest.len());
            let (now, later) = rest.split_at(room);
            self.view.read(|index| {
                self.pending.extend(now.iter().filter_map(|id| {
                    let found = index.get(*id)?;
                    Some(Match {
                        event: Arc::clone(event),
                        subscription: found.id,
                        mark: found.mark,
                        position: found.position,
                        endpoint: key_of(found.endpoint),
                        consumer: found.consumer.to_owned(),
                    })
                }));
            });
            rest = later;
            if self.pending.len() >= self.config.chunk {
                self.flush().await;
            }
        }
    }

    /// Appends what is pending and may go, then settles the events that are complete.
    async fn flush(&mut self) {
        if !self.pending.is_empty() || !self.aside.is_empty() {
            let matches = std::mem::take(&mut self.pending);
            let decisions = self.decide(&matches).await;
            let (mut records, mut told) = (Vec::with_capacity(matches.len()), Vec::new());
            for (matched, decision) in matches.iter().zip(decisions) {
                match decision {
                    Decision::Permit | Decision::Unknown => match caught(|| record_of(matched)) {
                        Ok(record) => records.push(record),
                        Err(Panicked) => self.park(matched.event.rejected()),
                    },
                    Decision::Refuse => told.extend(self.refused(matched)),
                }
            }
            self.metrics.matched_deliveries.inc_by(records.len() as u64);
            records.append(&mut self.aside);
            records.append(&mut told);
            append_all(&self.producer, &records, &self.metrics).await;
        }
        self.metrics.main_units_awaited.set(i64::try_from(self.held).unwrap_or(i64::MAX));
        self.complete.drain(..).for_each(Settle::done);
    }

    /// What tells the owner of a subscription that it may not receive the event, where that is to be told.
    fn refused(&mut self, matched: &Match) -> Option<OwnedRecord> {
        self.metrics.match_refused.inc();
        let Match { event, subscription, mark, .. } = matched;
        let record =
            || refusals::record(*subscription, *mark, event.identity, event.event.resource(), Micros::now());
        self.refusals.tells(*subscription, Instant::now()).then(record)
    }

    /// One decision a match.
    async fn decide(&mut self, matches: &[Match]) -> Vec<Decision> {
        let (questions, asked) = questions_about(matches);
        let answer = tokio::time::timeout(self.rights_wait, self.access.decide(questions)).await;
        self.rights_wait = if answer.is_ok() { RIGHTS_WAIT } else { RIGHTS_SHORT_WAIT };
        let answer = answer.unwrap_or_default();
        let answer_to = |number: &Option<usize>| number.and_then(|number| answer.get(number)).copied();
        asked.iter().map(|number| answer_to(number).unwrap_or(Decision::Unknown)).collect()
    }
}
