//! Postgres → HTTP.
//!
//! [`mod@router`] is the API on one page. Feeds: [`query`] reads parameters, [`cursor`] and [`position`] tell where a reader starts, [`recent`]
//! how far the feed has come, [`feed`] scans within its [`room`] and asks for
//! rights, [`answer`] writes the page; [`app_feed`], [`generic_feed`], [`seed_feed`] and [`instance_feed`] are the kinds of feed. [`head`]
//! wakes readers who wait, [`waiting`] holds their places, [`interest`] tells whom an event may concern. Subscriptions: [`wish`] checks what is asked for, [`subscriptions`] are the handlers, [`log`] shows what became of deliveries, [`validation`]
//! sends the event that proves an endpoint, [`in_force`] tells whether every dispatcher knows of a change.

use std::sync::Arc;

use access::Access;
use axum::extract::FromRef;
use kafka_loop::Producer;
use service::{
    lifecycle::{Lifecycle, Stage},
    prometheus::Registry,
};
use store::Store;

pub mod answer;
pub mod app_feed;
pub mod body;
pub mod checks;
pub mod config;
pub mod cursor;
pub mod error;
pub mod feed;
pub mod generic_feed;
pub mod head;
pub mod health;
pub mod in_force;
pub mod instance_feed;
pub mod interest;
pub mod log;
pub mod metrics;
pub mod position;
pub mod query;
pub mod recent;
pub mod room;
pub mod router;
pub mod rules;
pub mod seed_feed;
pub mod subscriptions;
pub mod validation;
pub mod waiting;
pub mod wish;

pub use config::Config;
pub use router::router;

/// Everything a request needs. Clones share it.
#[derive(Clone)]
pub struct QueryApi {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    store: Store,
    access: Access,
    producer: Producer,
    metrics: metrics::Metrics,
    waiting: waiting::Waiting,
    head: recent::RecentHead,
    room: room::Room,
    health: health::Health,
    in_force: Arc<in_force::InForce>,
}

impl FromRef<QueryApi> for Access {
    fn from_ref(api: &QueryApi) -> Self {
        api.inner.access.clone()
    }
}

/// What the query-api works with.
pub struct Needs<'a> {
    /// Where events and subscriptions are.
    pub store: Store,
    /// Who calls and what they may do.
    pub access: Access,
    /// Where validations go.
    pub producer: Producer,
    /// Where its series are registered.
    pub registry: &'a Registry,
    /// What its parts live in.
    pub life: &'a Lifecycle,
}

impl QueryApi {
    /// Starts the part that watches the head and the one that repeats validations.
    ///
    /// # Errors
    /// When a metric is registered twice.
    pub fn new(config: Config, needs: Needs<'_>) -> anyhow::Result<Self> {
        let Needs { store, access, producer, registry, life } = needs;
        let metrics = metrics::Metrics::register(registry)?;
        let waiting = waiting::Waiting::new(
            waiting::Most { readers: config.waiters_max, per_caller: config.waiters_per_caller },
            metrics.waiting.clone(),
        );
        let health = health::Health::new(metrics.health_questions.clone());
        let (head, room) = (recent::RecentHead::default(), room::Room::new(config.pages_bytes));
        let in_force = Arc::<in_force::InForce>::default();
        let (watcher, held_in) = (Arc::clone(&in_force), store.clone());
        let inner = Inner { config, store, access, producer, metrics, waiting, head, room, health, in_force };
        let api = Self { inner: Arc::new(inner) };
        let watched = api.clone();
        // It stops with the HTTP port, so that nobody who waits holds up the stop.
        life.spawn(Stage::Http, "head watch", |stop| async move {
            let Inner { config, store, waiting, .. } = &*watched.inner;
            head::watch(waiting, store, config.head_poll, stop).await
        });
        life.spawn(Stage::Http, "in force watch", |stop| watcher.watch(held_in, stop));
        let swept = api.clone();
        life.spawn(Stage::Loops, "validation sweep", |stop| validation::sweep(swept, stop));
        Ok(api)
    }
}
