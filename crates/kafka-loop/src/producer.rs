//! Appends records and tells when all in-sync replicas have them.
//!
//! A [`Producer`] is a handle: the client behind it is made anew when it is out of touch ([`watch`](crate::watch)). No record is
//! handed to the new client before every record of the old one has its answer: those still open are taken back from the old
//! client and fail as [`AppendError::Timeout`]. So nothing newer is ever acknowledged while something older, of the same key, is
//! open and may still be. What was on the wire when it was taken back may arrive later, behind newer records, as after any
//! time-out; its owner was told that it failed, and repeating it gives a second copy.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak, mpsc},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use rdkafka::{
    error::{KafkaError as ClientError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _, PurgeConfig},
};
use service::lifecycle::Ready;

use crate::{
    appends::Appends,
    clients::{Watched, let_go},
    error::{AppendError, KafkaError},
    pulse::Pulses,
    settings::KafkaSettings,
    watch::{RENEW_AFTER, Verdict},
};

/// `linger.ms` of records that somebody waits for: 5 ms, the default, costs 5 ms a hop and gains nothing at our rates.
const QUICK: &str = "0.2";
/// `linger.ms` of the others.
const PATIENT: &str = "10";
/// Time between two looks at the client.
const LOOK: Duration = Duration::from_millis(500);
/// How long the records of an old client may take to fail. Those that take longer hold the renewal back.
const TAKEN_BACK: Duration = Duration::from_secs(1);

type Client = FutureProducer<Pulses>;

/// An idempotent producer of a process. Clones share one queue and one connection a broker.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Inner>,
    prefix: String,
}

struct Inner {
    client: RwLock<Client>,
    settings: KafkaSettings,
    linger_ms: &'static str,
    watched: Mutex<Watched>,
    appends: Arc<Appends>,
    ready: Mutex<Option<Ready>>,
    /// Ends the thread that looks when the last handle is gone.
    _alive: mpsc::Sender<()>,
}

/// A record on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The topic's short name; the platform's prefix is added.
    pub topic: &'a str,
    /// A fixed partition, or `None` for the key's.
    pub partition: Option<i32>,
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// The headers, in order.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// Where a record landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
}

/// Resolves when the record is acknowledged or has failed. Dropping it does not take the record back.
#[must_use = "a record whose acknowledgement nobody awaits may be lost"]
pub struct Ack(DeliveryFuture, Arc<Appends>);

impl Future for Ack {
    type Output = Result<Position, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| match outcome {
            Ok(Ok(delivery)) => {
                self.1.acknowledged();
                Ok(Position { partition: delivery.partition, offset: delivery.offset })
            }
            Ok(Err((error, _record))) => Err(append_error(&error)),
            Err(_cancelled) => Err(AppendError::Broker("the producer was closed".to_owned())),
        })
    }
}

impl Producer {
    /// A producer for these brokers. It connects in the background.
    ///
    /// # Errors
    /// [`KafkaError::Setup`] when a client setting is wrong.
    pub fn new(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        Self::with(settings, "producer", QUICK)
    }

    /// A producer for records that nobody waits for: it collects them for 10 ms, which costs the broker a fraction of as many
    /// single ones.
    ///
    /// # Errors
    /// [`KafkaError::Setup`] when a client setting is wrong.
    pub fn patient(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        Self::with(settings, "producer.patient", PATIENT)
    }

    fn with(
        settings: &KafkaSettings,
        name: &'static str,
        linger_ms: &'static str,
    ) -> Result<Self, KafkaError> {
        let watched = settings.clients.producer(name);
        let client = make(settings, linger_ms, watched.pulses())?;
        let (alive, ended) = mpsc::channel();
        let inner = Arc::new(Inner {
            client: RwLock::new(client),
            settings: settings.clone(),
            linger_ms,
            watched: Mutex::new(watched),
            appends: Arc::new(Appends::new(Instant::now())),
            ready: Mutex::default(),
            _alive: alive,
        });
        let watched = Arc::downgrade(&inner);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || keep_in_touch(&watched, &ended))
            .map_err(|error| KafkaError::Setup(error.to_string()))?;
        Ok(Self { inner, prefix: settings.prefix.clone() })
    }

    /// Makes a readiness condition hold only while appends are acknowledged.
    pub fn decides(&self, ready: Ready) {
        ready.set(true);
        *self.inner.ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(ready);
    }

    /// Hands a record to the producer without waiting. Records of one key keep the order of these calls.
    ///
    /// # Errors
    /// [`AppendError::QueueFull`] at the bound, [`AppendError::TooLarge`], or what the client says.
    pub fn enqueue(&self, out: Outgoing<'_>) -> Result<Ack, AppendError> {
        let mut headers = OwnedHeaders::new_with_capacity(out.headers.len());
        for (key, value) in out.headers {
            headers = headers.insert(Header { key, value: Some(*value) });
        }
        let topic = if self.prefix.is_empty() {
            std::borrow::Cow::Borrowed(out.topic)
        } else {
            std::borrow::Cow::Owned(format!("{}{}", self.prefix, out.topic))
        };
        let mut record = FutureRecord::to(&topic).key(out.key).payload(out.value).headers(headers);
        if let Some(partition) = out.partition {
            record = record.partition(partition);
        }
        self.inner.appends.tried(Instant::now());
        let sent = self.inner.client().send_result(record);
        sent.map(|sent| Ack(sent, Arc::clone(&self.inner.appends)))
            .map_err(|(error, _record)| append_error(&error))
    }

    /// Appends one record and waits for its acknowledgement.
    ///
    /// # Errors
    /// As [`Producer::enqueue`], and [`AppendError::Timeout`] when none came within the bound.
    pub async fn send(&self, out: Outgoing<'_>) -> Result<Position, AppendError> {
        self.enqueue(out)?.await
    }

    /// Waits until everything handed over is acknowledged or failed, at most this long. Blocks the thread.
    ///
    /// # Errors
    /// [`AppendError::Timeout`] when records were left.
    pub fn flush(&self, wait: Duration) -> Result<(), AppendError> {
        let client = self.inner.client().clone();
        client.flush(wait).map_err(|_| AppendError::Timeout)
    }
}

fn make(settings: &KafkaSettings, linger_ms: &str, pulses: Pulses) -> Result<Client, KafkaError> {
    let mut config = settings.producer(linger_ms);
    Pulses::ask(&mut config);
    config.create_with_context(pulses).map_err(|error| KafkaError::Setup(error.to_string()))
}

/// Looks after the client until the last handle is gone, or the client has failed for good.
fn keep_in_touch(inner: &Weak<Inner>, ended: &mpsc::Receiver<()>) {
    while let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK) {
        let Some(inner) = inner.upgrade() else { return };
        if let Err(why) = inner.look(Instant::now()) {
            inner.settings.clients.fail(why);
            return;
        }
    }
}

impl Inner {
    fn client(&self) -> RwLockReadGuard<'_, Client> {
        self.client.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews a client that is out of touch.
    ///
    /// # Errors
    /// Why there is no going on.
    fn look(&self, now: Instant) -> Result<(), String> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = watched.look(now);
        let silent = watched.silent();
        let fatal = self.client().client().fatal_error();
        if let Some((code, reason)) = fatal {
            self.show(false);
            return Err(format!("a producer failed for good: {code}: {reason}"));
        }
        self.show(silent < RENEW_AFTER && !self.appends.starve(now));
        match verdict {
            Verdict::Keep => {}
            Verdict::Renew => self.renew(&mut watched)?,
            Verdict::GiveUp => return Err(format!("a producer has heard nothing from Kafka for {silent:?}")),
        }
        Ok(())
    }

    fn show(&self, is_ready: bool) {
        if let Some(ready) = &*self.ready.lock().unwrap_or_else(PoisonError::into_inner) {
            ready.set(is_ready);
        }
    }

    fn renew(&self, watched: &mut Watched) -> Result<(), String> {
        // Nobody hands anything over while the old client's records fail; that takes milliseconds.
        let mut slot = self.client.write().unwrap_or_else(PoisonError::into_inner);
        slot.purge(PurgeConfig::default().queue().inflight());
        if slot.flush(TAKEN_BACK).is_err() {
            tracing::warn!("records of an old producer have no answer yet; it stays until they have");
            return Ok(());
        }
        let new =
            make(&self.settings, self.linger_ms, watched.renewed()).map_err(|error| error.to_string())?;
        let old = std::mem::replace(&mut *slot, new);
        drop(slot);
        let_go(old);
        Ok(())
    }
}

fn append_error(error: &ClientError) -> AppendError {
    let code = error.rdkafka_error_code();
    let open_for_too_long = [
        RDKafkaErrorCode::MessageTimedOut,
        // Taken back from a client that was made anew.
        RDKafkaErrorCode::PurgeQueue,
        RDKafkaErrorCode::PurgeInflight,
    ];
    if code == Some(RDKafkaErrorCode::QueueFull) {
        AppendError::QueueFull
    } else if code == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
        AppendError::TooLarge
    } else if code.is_some_and(|code| open_for_too_long.contains(&code)) {
        AppendError::Timeout
    } else {
        AppendError::Broker(error.to_string())
    }
}
