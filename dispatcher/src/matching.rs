//! The match loop: event → subscriptions → rights → one record a delivery on `deliveries`.
//!
//! Two stages that hand batches on in event order: the first decodes and looks repeated events up, the second matches, asks for
//! rights and appends. An event is settled when the log has acknowledged every one of its deliveries; a crash before that
//! matches it again, and the deliveries' ids stay the same.
//!
//! Where subscriptions include sub-units, Register tells the main unit beside the two stages: the event goes to its other
//! subscriptions at once, and is settled when it has also gone to those of the main unit.
//!
//! Bounds: a batch of events; two batches between the stages; deliveries are appended in chunks, each acknowledged before the
//! next, however many subscriptions an event matches.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use access::{Access, Decision, Question, question};
use bytes::Bytes;
use event::{
    DeliveryHeaders, DeliveryId, DeliveryKind, Event, EventIdentity, Micros, SubscriptionId, topics,
};
use kafka_loop::{LedgerLoop, Position, Producer, Settle, Work};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

use crate::{
    append::{self, OwnedRecord, append_all},
    caught::{Panicked, caught},
    config::MatchConfig,
    endpoint::{EndpointKey, key_of},
    finish,
    metrics::Metrics,
    refusals::{self, Refusals},
    reject::rejected,
    repeats::{LookUp, Window},
    subscriptions::View,
    subunits::{self, Answered, Asked, unit_of},
};

/// How long rights are waited for; without an answer the delivery is appended anyway, and asked about again before it is sent.
const RIGHTS_WAIT: Duration = Duration::from_secs(1);
/// The same while the last answer did not come in time.
const RIGHTS_SHORT_WAIT: Duration = Duration::from_millis(20);

/// An event in hand.
struct Decoded {
    key: Bytes,
    event: Event,
    /// In its canonical form.
    subject: Option<String>,
    identity: EventIdentity,
    body: Bytes,
    traceparent: Option<String>,
    at: Position,
    stored_elsewhere: bool,
    settle: Settle,
}

/// A subscription that an event matched.
struct Match {
    event: Arc<Matched>,
    subscription: SubscriptionId,
    position: i64,
    endpoint: EndpointKey,
    consumer: String,
}

struct Matched {
    key: Bytes,
    at: Position,
    event: Event,
    subject: Option<String>,
    identity: EventIdentity,
    body: Bytes,
    traceparent: Option<String>,
    created: Micros,
}

impl Matched {
    /// The record with which it is parked.
    fn rejected(&self) -> OwnedRecord {
        rejected(self.key.clone(), self.body.clone(), self.at)
    }
}

/// An event that is not settled before its main unit is known.
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
    /// Records of events whose matching panicked, to be parked.
    faults: Vec<OwnedRecord>,
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
            faults: Vec::new(),
            complete: Vec::new(),
        }
    }

    /// Runs until `stop`, or until the ledger ends.
    ///
    /// # Errors
    /// When the ledger failed.
    pub(crate) async fn run(
        mut self,
        ledger: LedgerLoop,
        look_up: LookUp,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let (hand_on, decoded) = mpsc::channel(2);
        let (ask, asked) = mpsc::unbounded_channel();
        let (answer, answered) = mpsc::unbounded_channel();
        let (access, metrics) = (self.access.clone(), Arc::clone(&self.metrics));
        let first = Decoding {
            look_up,
            producer: self.producer.clone(),
            faults: Vec::new(),
            metrics: Arc::clone(&self.metrics),
            batch: self.config.batch,
        };
        let both = async {
            let stages = async {
                tokio::join!(
                    first.run(ledger.records, hand_on, &stop),
                    self.match_all(decoded, &ask, answered)
                );
            };
            // What still waits for Register when the stages end stays unsettled, and comes again.
            tokio::select! {
                () = stages => {}
                () = subunits::ask_all(&access, asked, answer, &metrics.main_units_awaited) => {}
            }
        };
        finish::until_grace_is_over(&stop, both).await;
        finish::ended(ledger.ended).await
    }

    /// Answers first: there are never more of them than events that came before.
    async fn match_all(
        &mut self,
        mut decoded: mpsc::Receiver<Vec<Decoded>>,
        ask: &UnboundedSender<Asked<Held>>,
        mut answered: UnboundedReceiver<Answered<Held>>,
    ) {
        let mut answers = Vec::new();
        loop {
            tokio::select! {
                biased;
                _ = answered.recv_many(&mut answers, self.config.batch) => {
                    self.match_main_units(answers.drain(..)).await;
                }
                batch = decoded.recv() => match batch {
                    Some(batch) => self.match_batch(batch, ask).await,
                    None => return,
                }
            }
        }
    }

    async fn match_main_units(&mut self, answers: impl Iterator<Item = Answered<Held>>) {
        for Answered { main_unit, event: (matched, settle) } in answers {
            if !settle.is_held() {
                continue;
            }
            if let Some(main_unit) = main_unit {
                let ids: Result<Vec<SubscriptionId>, Panicked> = caught(|| {
                    self.view.read(|index| {
                        index
                            .matches_of_main_unit(&matched.event, matched.subject.as_deref(), &main_unit)
                            .iter()
                            .map(|found| found.id)
                            .collect()
                    })
                });
                match ids {
                    Ok(ids) => self.collect(&matched, &ids).await,
                    Err(Panicked) => self.park(matched.rejected()),
                }
            }
            self.complete.push(settle);
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
            let Ok((ids, unit)) = caught(|| self.matches_of(&event, subject.as_deref())) else {
                self.park(rejected(key, body, at));
                self.complete.push(settle);
                continue;
            };
            if ids.is_empty() && unit.is_none() {
                self.complete.push(settle);
                continue;
            }
            let created = Micros::now();
            let matched = Matched { key, at, event, subject, identity, body, traceparent, created };
            let matched = Arc::new(matched);
            self.collect(&matched, &ids).await;
            match unit {
                None => self.complete.push(settle),
                Some(unit) => self.hold(Asked { unit, event: (matched, settle) }, ask),
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
        (ids, if subunits { unit_of(event) } else { None })
    }

    /// Appends with the next chunk the record of an event whose matching panicked.
    fn park(&mut self, rejected: OwnedRecord) {
        self.metrics.faults.inc();
        self.faults.push(rejected);
    }

    /// Asks for a main unit. While the loop runs somebody listens; after that the event comes again.
    fn hold(&self, asked: Asked<Held>, ask: &UnboundedSender<Asked<Held>>) {
        if ask.send(asked).is_ok() {
            self.metrics.main_units_awaited.inc();
        }
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
        if !self.pending.is_empty() || !self.faults.is_empty() {
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
            records.append(&mut self.faults);
            records.append(&mut told);
            append_all(&self.producer, &records, &self.metrics).await;
        }
        self.complete.drain(..).for_each(Settle::done);
    }

    /// What tells the owner of a subscription that it may not receive the event, where that is to be told.
    fn refused(&mut self, matched: &Match) -> Option<OwnedRecord> {
        self.metrics.match_refused.inc();
        let Match { event, subscription, .. } = matched;
        let record =
            || refusals::record(*subscription, event.identity, event.event.resource(), Micros::now());
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

/// The questions, and for each match the number of its own: each pair of event and consumer is asked about once. None where the
/// question cannot be put, so that the push loop meets it and parks the delivery.
fn questions_about(matches: &[Match]) -> (Vec<Question>, Vec<Option<usize>>) {
    let mut questions = Vec::new();
    let mut numbers: HashMap<(*const Matched, &str), Option<usize>> = HashMap::new();
    let mut asked = Vec::with_capacity(matches.len());
    for matched in matches {
        let number = *numbers.entry((Arc::as_ptr(&matched.event), &matched.consumer)).or_insert_with(|| {
            let question = caught(|| question::push(&matched.consumer, &matched.event.event)).ok()?;
            questions.push(question);
            Some(questions.len() - 1)
        });
        asked.push(number);
    }
    (questions, asked)
}

fn record_of(matched: &Match) -> OwnedRecord {
    let event = &matched.event;
    let headers = DeliveryHeaders {
        subscription: matched.subscription,
        position: matched.position,
        delivery: DeliveryId::of(matched.subscription, event.identity),
        attempt: 0,
        put_backs: 0,
        created: event.created,
        first_failure: None,
        last_outcome: None,
        kind: DeliveryKind::Event,
        traceparent: event.traceparent.clone(),
        reason: None,
    };
    OwnedRecord {
        topic: topics::DELIVERIES,
        key: Bytes::copy_from_slice(matched.endpoint.as_bytes()),
        value: event.body.clone(),
        headers: append::headers(headers.to_pairs()),
    }
}

/// The loop's first stage.
struct Decoding {
    look_up: LookUp,
    producer: Producer,
    /// Events whose decoding panicked, to be parked.
    faults: Vec<(OwnedRecord, Settle)>,
    metrics: Arc<Metrics>,
    batch: usize,
}

impl Decoding {
    async fn run(
        mut self,
        mut records: mpsc::Receiver<Work>,
        hand_on: mpsc::Sender<Vec<Decoded>>,
        stop: &CancellationToken,
    ) {
        let mut works = Vec::with_capacity(self.batch);
        loop {
            let taken = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                taken = records.recv_many(&mut works, self.batch) => taken,
            };
            if taken == 0 {
                return;
            }
            let mut batch: Vec<Decoded> = works.drain(..).filter_map(|work| self.decode(work)).collect();
            self.park().await;
            let asked: Vec<_> = batch.iter().map(|decoded| (decoded.identity, decoded.at)).collect();
            let elsewhere = self.look_up.stored_elsewhere(&asked).await;
            for (decoded, elsewhere) in batch.iter_mut().zip(elsewhere) {
                decoded.stored_elsewhere = elsewhere;
            }
            if hand_on.send(batch).await.is_err() {
                return;
            }
        }
    }

    /// An event that cannot be decoded is settled here; the projector parks it with its reason. One whose decoding panics is ours
    /// to park.
    fn decode(&mut self, work: Work) -> Option<Decoded> {
        let Work { mut record, settle } = work;
        let value = record.value.take().unwrap_or_default();
        let at = Position { partition: record.partition, offset: record.offset };
        let read = caught(|| {
            let event = Event::stored(&value).ok()?;
            let subject = event.resolved_subject(record.header("subject"));
            Some((event.identity(), event, subject))
        });
        let (identity, event, subject) = match read {
            Ok(Some(read)) => read,
            Ok(None) => {
                self.metrics.undecodable_events.inc();
                settle.done();
                return None;
            }
            Err(Panicked) => {
                self.metrics.faults.inc();
                self.faults.push((rejected(record.key.into(), value.into(), at), settle));
                return None;
            }
        };
        let traceparent = record.header("traceparent");
        let traceparent = traceparent.and_then(|value| String::from_utf8(value.to_vec()).ok());
        let (key, body, stored_elsewhere) = (Bytes::from(record.key), Bytes::from(value), false);
        Some(Decoded { key, event, subject, identity, body, traceparent, at, stored_elsewhere, settle })
    }

    /// Parks the events whose decoding panicked.
    async fn park(&mut self) {
        if self.faults.is_empty() {
            return;
        }
        let (records, settles): (Vec<OwnedRecord>, Vec<Settle>) = self.faults.drain(..).unzip();
        append_all(&self.producer, &records, &self.metrics).await;
        settles.into_iter().for_each(Settle::done);
    }
}
