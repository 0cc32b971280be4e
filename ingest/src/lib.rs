//! HTTP → Kafka. An event that is answered 2xx is on the topic `events`, acknowledged by all in-sync replicas.
//!
//! The modules stand in the order an event meets them. State: limits and metrics, no events. Never connects to Postgres.

use std::sync::Arc;

use access::Access;
use axum::extract::FromRef;
use kafka_loop::Producer;
use service::prometheus::{self, Registry};

mod append;
mod batch;
mod binary;
mod body;
mod config;
mod error;
mod limits;
mod metrics;
mod mode;
mod normalise;
mod parties;
mod publish;
mod rights;
mod router;

pub use config::Config;
pub use router::router;

use limits::Limits;
use metrics::Metrics;

/// Everything a request needs. Clones share it.
#[derive(Clone)]
pub struct Ingest {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    producer: Producer,
    access: Access,
    limits: Limits,
    metrics: Metrics,
}

impl Ingest {
    /// Nothing is reached yet: the producer connects in the background.
    ///
    /// # Errors
    /// When the registry has series of these names already.
    pub fn new(
        config: Config,
        producer: Producer,
        access: Access,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let metrics = Metrics::new();
        metrics.register(registry)?;
        let limits = Limits::new(&config, metrics.in_flight_bytes.clone());
        Ok(Self { inner: Arc::new(Inner { config, producer, access, limits, metrics }) })
    }
}

impl FromRef<Ingest> for Access {
    fn from_ref(ingest: &Ingest) -> Self {
        ingest.inner.access.clone()
    }
}
