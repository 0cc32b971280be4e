//! What is shown of a process's clients, and the end of a process whose clients cannot go on.
//!
//! Each client that lives as long as its service (a producer, a loop's consumer) is watched by its owner through [`Watched`].
//! The clients of `admin` and `whole` live for one question, which has a bound of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use service::{
    lifecycle::{Lifecycle, Ready},
    prometheus::{self, IntCounterVec, IntGaugeVec, Opts, Registry},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    pulse::Pulses,
    watch::{Verdict, Watch},
};

/// How long a loop may hear nothing before it is not ready.
const NOT_READY_AFTER: Duration = Duration::from_secs(30);

/// Who is told about the clients of a process. Clones share it; the default tells nobody.
#[derive(Clone, Debug, Default)]
pub struct Clients(Option<Arc<Observed>>);

#[derive(Debug)]
struct Observed {
    connected: IntGaugeVec,
    renewed: IntCounterVec,
    life: Lifecycle,
    needs_producers: bool,
    end: watch::Sender<Option<String>>,
}

impl Clients {
    /// Clients that are shown in this registry and in the readiness of this process. A process that does not need its producers
    /// all the time, such as one that answers readers, goes on without them; a loop always needs its consumer.
    ///
    /// # Errors
    /// When the registry has the series already.
    pub fn observed(
        registry: &Registry,
        life: &Lifecycle,
        needs_producers: bool,
    ) -> Result<Self, prometheus::Error> {
        let connected =
            Opts::new("kafka_client_connected", "1 while the client is in touch with a broker, by client.");
        let renewed =
            Opts::new("kafka_client_renewed_total", "Times a client out of touch was made anew, by client.");
        let connected = IntGaugeVec::new(connected, &["client"])?;
        let renewed = IntCounterVec::new(renewed, &["client"])?;
        registry.register(Box::new(connected.clone()))?;
        registry.register(Box::new(renewed.clone()))?;
        let (life, end) = (life.clone(), watch::Sender::new(None));
        Ok(Self(Some(Arc::new(Observed { connected, renewed, life, needs_producers, end }))))
    }

    /// A part of the process that ends with an error when a producer cannot go on.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn until_one_fails(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Some(observed) = self.0 else {
            stop.cancelled().await;
            return Ok(());
        };
        let mut end = observed.end.subscribe();
        let why = stop.run_until_cancelled(end.wait_for(Option::is_some)).await;
        match why {
            Some(Ok(why)) => Err(anyhow::Error::msg(why.clone().unwrap_or_default())),
            Some(Err(_)) | None => Ok(()),
        }
    }

    /// Ends the process, if there is one to end.
    pub(crate) fn fail(&self, why: String) {
        tracing::error!(why, "a Kafka client cannot go on");
        if let Some(observed) = &self.0 {
            observed.end.send_replace(Some(why));
        }
    }

    /// The watch over a producer. It gives up where there is a process to end that needs it.
    pub(crate) fn producer(&self, name: &'static str) -> Watched {
        let gives_up = self.0.as_ref().is_some_and(|observed| observed.needs_producers);
        self.watched(name, gives_up, None)
    }

    /// The watch over a loop's consumer, on which the readiness of the process depends.
    pub(crate) fn consumer(&self, name: &'static str) -> Watched {
        let ready = self.0.as_ref().map(|observed| observed.life.readiness(name));
        self.watched(name, true, ready)
    }

    fn watched(&self, name: &'static str, gives_up: bool, ready: Option<Ready>) -> Watched {
        let watch = Watch::new(Instant::now(), gives_up);
        let watched = Watched { clients: self.clone(), name, pulses: Pulses::default(), watch, ready };
        watched.tell();
        watched
    }

    fn show(&self, name: &str, connected: bool) {
        if let Some(observed) = &self.0 {
            observed.connected.with_label_values(&[name]).set(i64::from(connected));
        }
    }
}

/// One client, whatever it is made anew as.
#[derive(Debug)]
pub(crate) struct Watched {
    clients: Clients,
    name: &'static str,
    pulses: Pulses,
    watch: Watch,
    ready: Option<Ready>,
}

impl Watched {
    /// Where the client's callbacks leave what it tells.
    pub(crate) fn pulses(&self) -> Pulses {
        self.pulses.clone()
    }

    /// Judges the client and shows it.
    pub(crate) fn look(&mut self, now: Instant) -> Verdict {
        let verdict = self.watch.look(self.pulses.news(), now);
        self.tell();
        verdict
    }

    fn tell(&self) {
        self.clients.show(self.name, self.watch.is_connected());
        if let Some(ready) = &self.ready {
            ready.set(self.watch.silent() < NOT_READY_AFTER);
        }
    }

    /// For how long nothing was heard.
    pub(crate) fn silent(&self) -> Duration {
        self.watch.silent()
    }

    /// The client was made anew, and tells here.
    pub(crate) fn renewed(&mut self) -> Pulses {
        tracing::error!(
            client = self.name,
            silent_s = self.watch.silent().as_secs(),
            "a Kafka client was out of touch and is made anew"
        );
        if let Some(observed) = &self.clients.0 {
            observed.renewed.with_label_values(&[self.name]).inc();
        }
        self.watch.renewed();
        self.pulses = Pulses::default();
        self.pulses.clone()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(observed) = &self.clients.0 {
            // A client that is gone is neither connected nor not.
            observed.connected.remove_label_values(&[self.name]).ok();
        }
    }
}

/// Lets go of a client that is out of touch. Closing it may wait for answers that never come, so nobody waits for it.
pub(crate) fn let_go(client: impl Send + 'static) {
    let thread = std::thread::Builder::new().name("old client".to_owned()).spawn(move || drop(client));
    if let Err(error) = thread {
        tracing::warn!(%error, "a client was closed in place");
    }
}
