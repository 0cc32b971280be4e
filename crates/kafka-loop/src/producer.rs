//! Appends records and tells when all in-sync replicas have them.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rdkafka::{
    error::{KafkaError as ClientError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _},
};

use crate::{
    error::{AppendError, KafkaError},
    settings::KafkaSettings,
};

/// `linger.ms` of records that somebody waits for: 5 ms, the default, costs 5 ms a hop and gains nothing at our rates.
const QUICK: &str = "0.2";
/// `linger.ms` of the others.
const PATIENT: &str = "10";

/// The idempotent producer of a process. Clones share one queue and one connection a broker.
#[derive(Clone)]
pub struct Producer {
    inner: FutureProducer,
    prefix: String,
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
pub struct Ack(DeliveryFuture);

impl Future for Ack {
    type Output = Result<Position, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| match outcome {
            Ok(Ok(delivery)) => Ok(Position { partition: delivery.partition, offset: delivery.offset }),
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
        Self::with(settings, QUICK)
    }

    /// A producer for records that nobody waits for: it collects them for 10 ms, which costs the broker a fraction of as many
    /// single ones.
    ///
    /// # Errors
    /// [`KafkaError::Setup`] when a client setting is wrong.
    pub fn patient(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        Self::with(settings, PATIENT)
    }

    fn with(settings: &KafkaSettings, linger_ms: &str) -> Result<Self, KafkaError> {
        let inner =
            settings.producer(linger_ms).create().map_err(|error| KafkaError::Setup(error.to_string()))?;
        Ok(Self { inner, prefix: settings.prefix.clone() })
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
        self.inner.send_result(record).map(Ack).map_err(|(error, _record)| append_error(&error))
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
        self.inner.flush(wait).map_err(|_| AppendError::Timeout)
    }

    /// Records that wait for their acknowledgement.
    pub fn in_flight(&self) -> i32 {
        self.inner.in_flight_count()
    }
}

fn append_error(error: &ClientError) -> AppendError {
    let code = error.rdkafka_error_code();
    if code == Some(RDKafkaErrorCode::QueueFull) {
        AppendError::QueueFull
    } else if code == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
        AppendError::TooLarge
    } else if code == Some(RDKafkaErrorCode::MessageTimedOut) {
        AppendError::Timeout
    } else {
        AppendError::Broker(error.to_string())
    }
}
