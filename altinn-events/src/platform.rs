//! Any set of the four services in one process: built first (sockets bound, Kafka reached), then run. What needs the database
//! begins when it answers; ingest needs none, and does not wait for it.

use std::{net::SocketAddr, time::Duration};

use access::Access;
use anyhow::Context;
use axum::Router;
use event::topics::Topics;
use kafka_loop::{Clients, Producer, admin};
use service::{
    doors::{Door, DoorMetrics},
    lifecycle::{Lifecycle, Stage},
    prometheus::Registry,
    telemetry::chain,
};
use store::{Store, StoreError};
use tokio::net::TcpListener;

use crate::{
    facade::{self, Routes},
    settings::{Service, Settings},
    starts,
};

/// A running set of services.
pub struct Platform {
    /// The life of all its parts.
    pub life: Lifecycle,
    /// The public address, when a service with HTTP runs here.
    pub public: Option<SocketAddr>,
    /// The address of the admin port.
    pub admin: SocketAddr,
    /// The metrics of all its parts.
    pub registry: Registry,
    /// What the public address serves, when a service with HTTP runs here.
    pub routes: Routes,
    /// What the admin port serves.
    pub admin_routes: Routes,
    producer: Producer,
}

/// How long the database is asked whether it answers, and the pause before it is asked again.
const ASK: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_secs(1);

/// What the services are started with.
struct Parts {
    settings: Settings,
    life: Lifecycle,
    registry: Registry,
    producer: Producer,
    access: Access,
}

impl Platform {
    /// Reaches what the services need, binds the sockets and starts every part.
    ///
    /// # Errors
    /// When a socket is taken, Kafka does not answer, or a topic does not fit.
    pub async fn start(mut settings: Settings) -> anyhow::Result<Self> {
        let public = TcpListener::bind(settings.listen)
            .await
            .with_context(|| format!("cannot listen on {} (LISTEN)", settings.listen))?;
        let admin = TcpListener::bind(settings.admin_listen)
            .await
            .with_context(|| format!("cannot listen on {} (ADMIN_LISTEN)", settings.admin_listen))?;
        prepare_topics(&settings).await?;
        let (life, registry) = (Lifecycle::new(), Registry::new());
        watch_clients(&mut settings, &registry, &life)?;
        let (public_at, admin_at) = (public.local_addr()?, admin.local_addr()?);
        let (services, producer) = (settings.services.clone(), Producer::new(&settings.kafka)?);
        let access = Access::new(&settings.access)?;
        let doors = DoorMetrics::new(&registry)?;
        let admin_door = Door { settings: settings.doors.for_operators(), metrics: doors.port("admin") };
        let public_door = Door { settings: settings.doors.clone(), metrics: doors.port("public") };
        let connections_max = settings.doors.connections_max;
        let parts = Parts {
            settings,
            life: life.clone(),
            registry: registry.clone(),
            producer: producer.clone(),
            access,
        };
        let routes = start_services(parts)?;
        let admin_routes = Routes::all(service::admin::router(registry.clone(), life.clone()));
        // It answers when every condition of readiness is known, and until the end, so that a probe can see the stop.
        let served = admin_routes.clone();
        life.spawn(Stage::Output, "admin port", |stop| facade::serve(admin, admin_door, served, stop));
        let has_http = services.has_http();
        if has_http {
            let served = routes.clone();
            life.spawn(Stage::Http, "public port", |stop| facade::serve(public, public_door, served, stop));
        }
        tracing::info!(
            services = ?services.0, public = has_http.then(|| public_at.to_string()), admin = %admin_at, connections_max,
            "the platform runs"
        );
        let public = has_http.then_some(public_at);
        Ok(Self { life, public, admin: admin_at, registry, routes, admin_routes, producer })
    }

    /// Stops every part in order, then hands out what the producer still holds.
    ///
    /// # Errors
    /// The part that had died or had to be cut.
    pub async fn stop(self) -> anyhow::Result<()> {
        let ended = self.life.shutdown().await;
        let producer = self.producer;
        let flushed =
            tokio::task::spawn_blocking(move || producer.flush(std::time::Duration::from_secs(5))).await?;
        ended.map_err(|died| anyhow::Error::msg(chain(&died)))?;
        flushed.context("records were left in the producer")
    }
}

/// The clients that are made from now on are shown, and end the process when they cannot go on. Readers do not need the log: a
/// process that only answers them goes on without it.
fn watch_clients(settings: &mut Settings, registry: &Registry, life: &Lifecycle) -> anyhow::Result<()> {
    let needs_producers = settings.services.0.iter().any(|service| *service != Service::QueryApi);
    let clients = Clients::observed(registry, life, needs_producers)?;
    settings.kafka.clients = clients.clone();
    life.spawn(Stage::Output, "producers", |stop| clients.until_one_fails(stop));
    Ok(())
}

async fn prepare_topics(settings: &Settings) -> anyhow::Result<()> {
    if !settings.topics {
        return Ok(());
    }
    let report = admin::ensure_topics(&settings.kafka, &Topics::load(), settings.topic_overrides).await?;
    anyhow::ensure!(
        report.mismatches.is_empty(),
        "topics do not fit schemas/topics.toml:\n  {}",
        report.mismatches.join("\n  ")
    );
    if !report.created.is_empty() {
        tracing::info!(topics = report.created.len(), "topics were created");
    }
    Ok(())
}

/// Starts ingest, and a part that starts the others when the database answers.
fn start_services(parts: Parts) -> anyhow::Result<Routes> {
    let Parts { settings, life, registry, producer, access } = &parts;
    access.register_metrics(registry)?;
    let mut routes = Router::new();
    if settings.services.has(Service::Ingest) {
        producer.decides(life.readiness("appends"));
        life.is_decided_by("appends");
        let state = ingest::Ingest::new(
            settings.ingest.clone(),
            producer.clone(),
            access.for_publishers(),
            registry,
        )?;
        routes = routes.merge(ingest::router(state));
    }
    if !settings.services.has(Service::QueryApi) {
        routes = routes.merge(service::admin::health(life.clone()));
    }
    if !settings.services.has_store() {
        return Ok(Routes::all(routes));
    }
    let served = Routes::first(routes.clone());
    let (life, later) = (life.clone(), served.clone());
    let ready = life.readiness("database");
    life.spawn(Stage::Loops, "services with a database", |stop| async move {
        let Some(store) = stop.run_until_cancelled(settled_store(&parts.settings)).await else {
            return Ok(());
        };
        later.complete(start_with_store(&parts, store?, routes)?);
        ready.set(true);
        stop.cancelled().await;
        Ok(())
    });
    Ok(served)
}

/// The database, once it answers and has its schema, and every group of ours a position to start from.
async fn settled_store(settings: &Settings) -> anyhow::Result<Store> {
    let store = reached_store(settings).await?;
    if settings.topics {
        starts::settle(&settings.kafka, &store, &settings.services).await?;
    }
    Ok(store)
}

/// The database, once it answers and has its schema.
async fn reached_store(settings: &Settings) -> anyhow::Result<Store> {
    let store = Store::connect(&settings.store)?;
    loop {
        let reached = if settings.migrate { store.migrate().await } else { store.answers(ASK).await };
        match reached {
            Ok(()) => return Ok(store),
            Err(error @ StoreError::Unavailable(_)) => {
                let error = anyhow::Error::new(error);
                tracing::warn!(error = format!("{error:#}"), "services wait for the database");
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(error).context("the migrations did not run"),
        }
    }
}

/// Starts what needs the database, and adds its routes.
fn start_with_store(parts: &Parts, store: Store, mut routes: Router) -> anyhow::Result<Router> {
    let Parts { settings, life, registry, producer, access } = parts;
    let services = &settings.services;
    if services.has(Service::Projector) {
        let (store, producer) = (store.clone(), producer.clone());
        let needs = projector::Needs { kafka: &settings.kafka, store, producer, registry, life };
        projector::start(settings.projector.clone(), needs)?;
    }
    if services.has(Service::Dispatcher) {
        let access = access.for_receivers();
        dispatcher::start(
            settings.dispatcher.clone(),
            &settings.kafka,
            store.clone(),
            producer.clone(),
            access,
            registry,
            life,
        )?;
    }
    if services.has(Service::QueryApi) {
        let store = Store::connect_for_reads(&settings.store)?;
        let needs =
            query_api::Needs { store, access: access.clone(), producer: producer.clone(), registry, life };
        let state = query_api::QueryApi::new(settings.query_api.clone(), needs)?;
        routes = routes.merge(query_api::router(state));
    }
    Ok(routes)
}
