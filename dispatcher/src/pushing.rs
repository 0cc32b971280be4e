//! The push loop: what the log hands out is opened, judged by the view, asked about, and put into its endpoint's lane.
//!
//! Nothing here waits for a receiver or for rights ([`rights`]). What must wait for the view is held aside. [`sending`] does the rest when a delivery's turn comes.
//!
//! Bounds: the budgets of the two loops; everything in hand hangs on one of their records.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use access::{Access, Question};
use event::{AttemptOutcome, DeliveryKind, Micros};
use kafka_loop::{Journal, Producer, Record, Settle, Work};
use store::Store;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    append::append_all,
    caught::{Panicked, REASON, caught, caught_in},
    config::PushConfig,
    matching::undecided,
    metrics::Metrics,
    pushing::{
        delivery::{Delivery, Told, Try},
        held::Held,
        lane::Lane,
        outcome::{Ended, Ladder, Next, PutBack, Verdict},
        queue::{Queue, Start},
        settled::{Begin, Settled},
        webhook_client::WebhookClient,
    },
    subscriptions::{Standing, Target, View},
};

use put_backs::PutBacks;

mod backlog;
pub(crate) mod circuit;
pub(crate) mod delivery;
mod drain;
pub(crate) mod endpoint;
mod held;
pub(crate) mod lane;
mod line;
pub(crate) mod names;
pub(crate) mod outcome;
mod overdue;
mod overloads;
pub(crate) mod permits;
mod put_backs;
pub(crate) mod queue;
mod rights;
mod sending;
pub(crate) mod settled;
pub(crate) mod sockets;
mod validations;
pub(crate) mod webhook_client;

/// Records that are looked at together at most.
const BATCH: usize = 256;
/// How often what is held is looked at without a poll of the view.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What both push loops and all sends share.
pub(crate) struct Push {
    /// The subscriptions.
    pub(crate) view: Arc<View>,
    /// Who may receive what.
    pub(crate) access: Access,
    /// The way out.
    pub(crate) client: WebhookClient,
    /// The settings.
    pub(crate) config: PushConfig,
    /// The series.
    pub(crate) metrics: Arc<Metrics>,
    /// Told when nothing new may start.
    pub(crate) stop: CancellationToken,
    matches: mpsc::UnboundedSender<Work>,
    producer: Producer,
    ladder: Ladder,
    settled: Arc<Settled<Settle>>,
    journal: Journal,
    queue: Mutex<Queue<Box<Ready>>>,
    put_backs: PutBacks,
    tasks: TaskTracker,
    cut: CancellationToken,
    /// Something panicked that belongs to no delivery.
    pub(crate) panicked: CancellationToken,
}

/// What a push needs from outside.
pub(crate) struct Parts {
    /// The subscriptions.
    pub(crate) view: Arc<View>,
    /// Who may receive what.
    pub(crate) access: Access,
    /// The way out.
    pub(crate) client: WebhookClient,
    /// Where events go whose matching waited and is due.
    pub(crate) matches: mpsc::UnboundedSender<Work>,
    /// Where outcomes go.
    pub(crate) producer: Producer,
    /// Where it stands which endpoints are overloaded.
    pub(crate) store: Store,
    /// The series.
    pub(crate) metrics: Arc<Metrics>,
    /// Which attempts are in hand and which were settled.
    pub(crate) settled: Arc<Settled<Settle>>,
    /// What says so on the log.
    pub(crate) journal: Journal,
}

/// A delivery that may be sent when its turn comes.
pub(crate) struct Ready {
    /// The delivery.
    pub(crate) delivery: Delivery,
    /// What was asked about it; nothing for a validation.
    pub(crate) question: Option<Question>,
    /// When that was permitted.
    pub(crate) permitted: Instant,
}

struct Going {
    delivery: Delivery,
    target: Target,
    question: Option<Question>,
}

impl Push {
    /// Nothing is in hand yet.
    pub(crate) fn new(
        parts: Parts,
        config: PushConfig,
        ladder: Ladder,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let Parts { view, access, client, matches, producer, store, metrics, settled, journal } = parts;
        let (put_backs, incoming) = PutBacks::new();
        let push = Arc::new(Self {
            view,
            access,
            client,
            metrics,
            stop,
            matches,
            producer,
            ladder,
            settled,
            journal,
            queue: Mutex::new(Queue::new(config.limits)),
            put_backs,
            tasks: TaskTracker::new(),
            cut: CancellationToken::new(),
            panicked: CancellationToken::new(),
            config,
        });
        push.run_put_backs(incoming);
        push.run_overloads(store);
        push.run_overdue();
        push
    }

    /// Takes what one loop hands out, until the stop or the loop's end.
    pub(crate) async fn take(self: &Arc<Self>, mut records: mpsc::Receiver<Work>, lane: Lane) {
        let mut held = Held::new(Instant::now());
        let mut counted = 0;
        let mut polls = self.view.polls();
        let mut works = Vec::with_capacity(BATCH);
        loop {
            let look = async {
                // Either is a reason to look; the view outlives this loop.
                tokio::time::timeout(LOOK_EVERY, polls.changed()).await.is_ok()
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                taken = records.recv_many(&mut works, BATCH) => if taken == 0 { return },
                _ = look, if !held.is_empty() => {}
            }
            let mut deliveries = held.reached(self.view.position());
            for late in held.given_up(Instant::now()) {
                self.conclude(late, Ended::PutBack(PutBack::ViewBehind), Duration::ZERO);
            }
            deliveries.extend(works.drain(..).filter_map(|work| self.open(work)));
            let going = self.judge(deliveries, &mut held);
            let now_held = i64::try_from(held.len()).unwrap_or(i64::MAX);
            self.metrics.held.add(now_held - std::mem::replace(&mut counted, now_held));
            self.ask(going, lane);
        }
    }

    /// Opens a record. One that is no delivery, or a second copy, ends here.
    fn open(self: &Arc<Self>, work: Work) -> Option<Delivery> {
        if undecided::is_one(&work.record) {
            // A match loop that is gone takes nothing; the record comes again.
            self.matches.send(work).ok();
            return None;
        }
        let Work { record, settle } = work;
        if !settle.is_held() {
            return None;
        }
        let headers = match caught(|| delivery::headers_of(&record)) {
            Ok(Ok(headers)) => headers,
            Ok(Err(why)) => return self.park(record, settle, format!("unreadable: {why}")),
            Err(Panicked) => {
                self.metrics.faults.inc();
                return self.park(record, settle, REASON.to_owned());
            }
        };
        match self.settled.begin((headers.delivery, headers.attempt), settle) {
            Begin::First(hand) => {
                let opened = Delivery::open(headers, record, hand);
                if opened.is_readable() {
                    return Some(opened);
                }
                self.metrics.unreadable.inc();
                self.conclude(
                    opened,
                    Ended::Unreadable("the event cannot be read".to_owned()),
                    Duration::ZERO,
                );
            }
            Begin::Shared => self.metrics.repeated_deliveries.inc(),
            Begin::Repeated(settle) => {
                self.metrics.repeated_deliveries.inc();
                settle.done();
            }
        }
        None
    }

    /// Parks a record that is no delivery.
    fn park(self: &Arc<Self>, record: Record, settle: Settle, reason: String) -> Option<Delivery> {
        self.metrics.unreadable.inc();
        tracing::error!(
            reason,
            kafka.offset = record.offset,
            "a record is no delivery and goes to the dead letters"
        );
        let (key, value) = (record.key.into(), record.value.unwrap_or_default().into());
        let push = Arc::clone(self);
        self.spawn(async move {
            append_all(&push.producer, &[delivery::parked(key, value, reason)], &push.metrics).await;
            settle.done();
        });
        None
    }

    /// Asks the view about each delivery; what it does not know yet is held.
    fn judge(self: &Arc<Self>, deliveries: Vec<Delivery>, held: &mut Held<Delivery>) -> Vec<Going> {
        let mut going = Vec::with_capacity(deliveries.len());
        for mut delivery in deliveries {
            let standing = caught(|| self.view.standing(&delivery.headers));
            match standing.unwrap_or(Standing::Ends(Ended::Fault)) {
                Standing::Goes(target) => match caught(|| delivery.take_question(&target.consumer)) {
                    Ok(question) => going.push(Going { delivery, target, question }),
                    Err(Panicked) => self.conclude(delivery, Ended::Fault, Duration::ZERO),
                },
                Standing::Behind => {
                    self.view.hurry();
                    held.keep(delivery.headers.position, Instant::now(), delivery);
                }
                Standing::Ends(ended) => self.conclude(delivery, ended, Duration::ZERO),
            }
        }
        going
    }

    /// Starts whatever may start now.
    pub(crate) fn start(self: &Arc<Self>) {
        loop {
            if self.stop.is_cancelled() {
                return;
            }
            let next = self.queue().next();
            match next {
                Some(Start::Send(key, permit, ready)) => {
                    self.spawn(sending::send(Arc::clone(self), key, permit, ready));
                }
                Some(Start::Skip(ready)) => self.conclude(ready.delivery, Ended::Skipped, Duration::ZERO),
                None => break,
            }
        }
        self.observe();
    }

    /// The queue, for as long as one call takes.
    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue<Box<Ready>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a try beside the caller.
    fn conclude(self: &Arc<Self>, delivery: Delivery, ended: Ended, took: Duration) {
        if let Ended::PutBack(why) = ended {
            self.put_backs.take(delivery, why);
            return;
        }
        let push = Arc::clone(self);
        self.spawn(async move { push.settle(delivery, ended, took).await });
    }

    /// Ends a try: its records are appended and acknowledged one after the other, then the delivery's own record is settled.
    pub(crate) async fn settle(self: &Arc<Self>, mut delivery: Delivery, ended: Ended, took: Duration) {
        if let Ended::PutBack(why) = ended {
            self.put_backs.take(delivery, why);
            return;
        }
        // What was sent has to be told; anything else is for the next owner of the partition.
        if !ended.was_sent() && !delivery.is_held() {
            return;
        }
        let told = caught(|| self.tell(&delivery, &ended, took)).unwrap_or_else(|_| {
            self.metrics.faults.inc();
            delivery.parked()
        });
        if let Some(next) = told.next {
            append_all(&self.producer, &[next], &self.metrics).await;
        }
        self.end(delivery, told.attempt, true).await;
    }

    /// What follows from a try, in records.
    fn tell(&self, delivery: &Delivery, ended: &Ended, took: Duration) -> Told {
        let now = Micros::now();
        let headers = &delivery.headers;
        let verdict = outcome::decide(self.ladder, headers.attempt, headers.created, ended, now);
        self.note(delivery, ended, &verdict, now);
        delivery.records(Try { ended, verdict: &verdict, took, now }, self.ladder)
    }

    fn note(&self, delivery: &Delivery, ended: &Ended, verdict: &Verdict, now: Micros) {
        let headers = &delivery.headers;
        let (id, subscription) = (headers.delivery, headers.subscription);
        self.metrics.attempt(verdict.outcome);
        if *ended == Ended::Fault {
            self.metrics.faults.inc();
        }
        if let Ended::PutBack(why) = ended {
            self.metrics.put_back.with_label_values(&[why.text()]).inc();
        }
        if let Ended::Dropped(why) = ended {
            tracing::info!(delivery.id = %id, subscription.id = %subscription, reason = why.text(), "a delivery is dropped");
        }
        if let Next::Dead(reason) = &verdict.next {
            tracing::warn!(delivery.id = %id, subscription.id = %subscription, reason, "a delivery goes to the dead letters");
        }
        let is_first = headers.attempt == 0 && headers.kind == DeliveryKind::Event;
        if is_first && verdict.outcome == AttemptOutcome::Delivered {
            self.metrics.match_to_answer_seconds.observe(now.since(headers.created).as_secs_f64());
        }
    }

    fn observe(&self) {
        let (quick, slow, fresh, due) = {
            let queue = self.queue();
            let waiting = |lane| queue.load(lane).count;
            let (quick, slow) = queue.in_flight();
            (quick, slow, waiting(Lane::Fresh), waiting(Lane::Due))
        };
        let metrics = &self.metrics;
        for (gauge, value) in [
            (&metrics.in_flight_quick, quick),
            (&metrics.in_flight_slow, slow),
            (&metrics.waiting_fresh, fresh),
            (&metrics.waiting_due, due),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    /// A panic in it that belongs to no delivery ends the process: somebody may wait for what it would have done.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let (cut, panicked) = (self.cut.clone(), self.panicked.clone());
        self.tasks.spawn(async move {
            if let Some(Err(Panicked)) = cut.run_until_cancelled_owned(caught_in(work)).await {
                panicked.cancel();
            }
        });
    }

    /// After the stop: what waits is given back, what is on its way may finish within a grace.
    pub(crate) async fn finish(&self) {
        let left = self.queue().clear();
        drop(left);
        self.tasks.close();
        if !crate::finish::within_grace(self.tasks.wait()).await {
            tracing::warn!(sends = self.tasks.len(), "sends are cut; their deliveries come again");
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }
}
