//! The dispatcher (design §6): events become deliveries, deliveries become requests to webhooks.
//!
//! The modules stand in the order in which an event meets them.

mod config;
mod finish;
mod metrics;

// The view that both loops read.
mod subscriptions;

// What both loops do.
mod append;
mod caught;

// `events` → `deliveries`.
mod matching;

// `deliveries` and `deliveries.due` → webhooks, tiers, dead letters.
mod pushing;

// `deliveries.retry.*` → `deliveries.due`.
mod tiers;

use std::{sync::Arc, time::Duration};

use access::Access;
use event::topics::{self, TIERS};
use kafka_loop::{
    Budget, Journal, KafkaSettings, LedgerOptions, LoopError, Producer, Source, Work, groups, open_ledger,
};
use service::{
    lifecycle::{Lifecycle, Stage},
    prometheus::Registry,
};
use store::Store;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use subscriptions::index;

use config::PushConfig;
use matching::{Matching, filters, repeats::LookUp};
use metrics::Metrics;
use pushing::{
    Parts, Push,
    lane::Lane,
    names::{PublicNames, SystemNames},
    outcome::Ladder,
    settled::{Settled, settled_by},
    webhook_client::{SetupError, WebhookClient},
};
use subscriptions::{View, follower::Follower};
use tiers::Tiers;

/// How long a record may be unfinished. Far above what a lane of an endpoint that takes its time, a wait for the view or for rights
/// may last; an outage of the broker alone, which holds outcomes back, should not end the process.
const STALLED_AFTER: Duration = Duration::from_secs(3_600);

/// Starts the dispatcher's parts. They join their groups when the view of the subscriptions is whole; until then the readiness
/// condition `dispatcher` does not hold.
///
/// # Errors
/// When the webhook client or a producer cannot be set up, or the registry has the series already.
#[expect(
    clippy::too_many_arguments,
    reason = "every service starts with what the process has; a struct would name them twice"
)]
pub fn start(
    config: Config,
    kafka: &KafkaSettings,
    store: Store,
    producer: Producer,
    access: Access,
    registry: &Registry,
    life: &Lifecycle,
) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new(registry)?);
    let view = View::new();
    let client = webhook_client(&config.push, &metrics)?;
    let outcomes = Producer::patient(kafka)?;
    let loops = Loops { config, kafka: kafka.clone(), view, metrics, producer, outcomes, access };
    // Events whose main unit is asked for again go from the push loop to the match loop; the budget of the first bounds them.
    let (again, due) = mpsc::unbounded_channel();
    loops.follow(store.clone(), life);
    loops.match_events(store.clone(), due, life);
    loops.push_deliveries(client, again, store, life);
    loops.release_tiers(life);
    Ok(())
}

fn webhook_client(push: &PushConfig, metrics: &Metrics) -> Result<WebhookClient, SetupError> {
    let directory = Arc::new(SystemNames::default());
    let names = PublicNames::new(push.addresses, directory, push.lookups, metrics.lookups.clone());
    WebhookClient::new(push.addresses, names, push.limits.window, push.idle_sockets)
}

/// What the parts share.
struct Loops {
    config: Config,
    kafka: KafkaSettings,
    view: Arc<View>,
    metrics: Arc<Metrics>,
    /// For deliveries, which are pushed at once.
    producer: Producer,
    /// For what happened to them.
    outcomes: Producer,
    access: Access,
}

impl Loops {
    fn follow(&self, store: Store, life: &Lifecycle) {
        let ready = life.readiness("dispatcher");
        let (view, metrics) = (Arc::clone(&self.view), Arc::clone(&self.metrics));
        let follower = Follower::new(view, store, metrics, ready, self.config.subscriptions.poll);
        life.spawn(Stage::Loops, "dispatcher.subscriptions", |stop| follower.run(stop));
    }

    fn match_events(&self, store: Store, due: UnboundedReceiver<Work>, life: &Lifecycle) {
        let config = self.config.matching;
        let (kafka, view, metrics) = (self.kafka.clone(), Arc::clone(&self.view), Arc::clone(&self.metrics));
        let (stored, series) = (store.clone(), Arc::clone(&metrics));
        life.spawn(Stage::Loops, "dispatcher.filters", |stop| filters::keep(stored, series, stop));
        let look_up = LookUp::new(store, Arc::clone(&metrics), config.repeats_wait);
        let shows = Arc::clone(&metrics);
        let (whole, using) = (Arc::clone(&view), view.user());
        let matching = Matching::new(view, self.producer.clone(), self.access.clone(), metrics, config);
        let options = LedgerOptions {
            group: groups::MATCH,
            source: Source::Group(vec![topics::EVENTS]),
            budget: config.budget,
            per_partition: None,
            stalled_after: Some(STALLED_AFTER),
            journal: None,
        };
        life.spawn(Stage::Loops, "dispatcher.match", |stop| async move {
            let _using = using;
            if !whole.whole(&stop).await {
                return Ok(());
            }
            let ledger = open_ledger(&kafka, options, stop.clone())?;
            let shown = shows.show("match", ledger.progress.clone());
            tokio::join!(matching.run(ledger, due, look_up, stop), shown).0
        });
    }

    fn push_deliveries(
        &self,
        client: WebhookClient,
        again: UnboundedSender<Work>,
        store: Store,
        life: &Lifecycle,
    ) {
        let (kafka, config, ladder) = (self.kafka.clone(), self.config.push.clone(), self.config.ladder);
        let settled = Settled::new(config.settled_window);
        let remembers = Arc::clone(&settled);
        let journal = Journal::new(topics::ATTEMPTS, move |record| {
            if let Some(attempt) = settled_by(record) {
                remembers.remember(attempt);
            }
        });
        let parts = Parts {
            settled,
            journal,
            view: Arc::clone(&self.view),
            access: self.access.clone(),
            client,
            matches: again,
            producer: self.outcomes.clone(),
            store,
            metrics: Arc::clone(&self.metrics),
        };
        let using = self.view.user();
        life.spawn(Stage::Loops, "dispatcher.push", |stop| async move {
            let _using = using;
            if !parts.view.whole(&stop).await {
                return Ok(());
            }
            push_from(&kafka, parts, config, ladder, stop).await
        });
    }

    fn release_tiers(&self, life: &Lifecycle) {
        let kafka = self.kafka.clone();
        let tiers = Tiers::new(self.producer.clone(), Arc::clone(&self.metrics), self.config.ladder);
        let shows = Arc::clone(&self.metrics);
        let options = LedgerOptions {
            group: groups::TIERS,
            source: Source::Group(TIERS.iter().map(|(topic, _)| *topic).collect()),
            // Bounded a partition only: a bound in all would let records that wait for hours hold those that wait for seconds.
            budget: Budget { records: 1 << 20, bytes: usize::MAX / 2 },
            per_partition: Some(self.config.tier_budget_per_partition),
            stalled_after: None,
            journal: None,
        };
        life.spawn(Stage::Loops, "dispatcher.tiers", |stop| async move {
            let ledger = open_ledger(&kafka, options, stop.clone())?;
            let shown = shows.show("tiers", ledger.progress.clone());
            tokio::join!(tiers.run(ledger, stop), shown).0
        });
    }
}

/// Both push loops: fresh deliveries, and beside them, in the same partitions, those that are due again.
async fn push_from(
    kafka: &KafkaSettings,
    parts: Parts,
    config: PushConfig,
    ladder: Ladder,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let budget = config.budget;
    let stalled_after = Some(STALLED_AFTER);
    let journal = parts.journal.clone();
    let options = |source| LedgerOptions {
        group: groups::PUSH,
        source,
        budget,
        per_partition: None,
        stalled_after,
        journal: Some(journal.clone()),
    };
    // The first loop that ends ends both: the process starts again from the committed positions.
    let stop = stop.child_token();
    let all = Source::Group(vec![topics::DELIVERIES]);
    let fresh = open_ledger(kafka, options(all), stop.clone())?;
    let same = Source::Follow { topic: topics::DUE, of: fresh.assignment };
    let due = open_ledger(kafka, options(same), stop.clone())?;
    let push = Push::new(parts, config, ladder, stop.clone());
    let pushed = async {
        tokio::select! {
            () = push.take(fresh.records, Lane::Fresh) => {}
            () = push.take(due.records, Lane::Due) => {}
            () = push.panicked.cancelled() => {}
        }
        stop.cancel();
        push.finish().await;
        let (fresh, due) = tokio::join!(finish::ended(fresh.ended), finish::ended(due.ended));
        if push.panicked.is_cancelled() {
            return Err(LoopError::Thread("a part of it panicked".to_owned()).into());
        }
        fresh.and(due)
    };
    let shown = (push.metrics.show("push", fresh.progress), push.metrics.show("due", due.progress));
    tokio::join!(pushed, shown.0, shown.1).0
}
