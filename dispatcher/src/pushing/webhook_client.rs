//! The only way out to receivers (contract §7).
//!
//! Every request: https to a public address ([`event::address`]), checked on the URL and again on what its name resolves to
//! ([`PublicNames`]), because a client asks its resolver for names only; what passed is what is connected to, so a name that changes
//! its mind between check and use gains nothing, and a connection that stays open stays with the address that passed. No redirects, no
//! proxy. Of the answer the status and `Retry-After` count; its body is read up to 64 KiB for a second at most, only so that the
//! connection can be used again. The caller bounds the time of the whole.

use std::{
    error::Error as _,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use event::{
    DeliveryId, Micros,
    address::{AddressPolicy, AddressRefusal},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::{
    Client, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use url::{Position, Url};

use crate::pushing::{
    names::{NoAddress, PublicNames},
    sockets::Idle,
};

mod odd_answers;
mod retry_after;

/// How much of an answer is read.
const ANSWER_MAX: usize = 64 * 1_024;
/// How long reading the rest of an answer may take once the status is known.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a socket without a request stays open.
const IDLE: Duration = Duration::from_secs(20);
/// So long after the start of a request its socket may be idle: its time-out, and [`IDLE`].
const REMEMBERED: Duration = Duration::from_secs(90);

/// The client. Clones share connections.
#[derive(Clone, Debug)]
pub(crate) struct WebhookClient {
    /// Its sockets stay open for a while.
    keeping: Client,
    /// Its sockets are closed after the answer.
    closing: Client,
    idle: Arc<Mutex<Idle>>,
    policy: AddressPolicy,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The webhook address, as its owner wrote it.
    pub(crate) address: String,
    /// The event, as it is stored.
    pub(crate) body: Bytes,
    /// Goes out as `webhook-id`, the same for every attempt.
    pub(crate) delivery: DeliveryId,
    /// Goes out as `webhook-timestamp`, in seconds.
    pub(crate) now: Micros,
}

/// What the receiver answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// How long it asks us to wait.
    pub(crate) retry_after: Option<Duration>,
}

/// Why there is no answer. The text goes into the delivery log: it never holds the address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The policy forbids it.
    #[error("{0}")]
    Refused(#[from] AddressRefusal),
    /// No connection: the name is unknown, could not be looked up in time, nobody listens, or the certificate is not trusted.
    #[error("no connection could be made")]
    Connect,
    /// The time ran out.
    #[error("no answer in time")]
    TimedOut,
    /// The connection broke, or what came is not HTTP.
    #[error("the connection broke")]
    Broken,
}

/// The client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the webhook client could not be set up")]
pub(crate) struct SetupError(#[from] reqwest::Error);

impl WebhookClient {
    /// A client under this policy, with so many idle sockets at most.
    ///
    /// # Errors
    /// [`SetupError`] when the TLS roots cannot be loaded.
    pub(crate) fn new(
        policy: AddressPolicy,
        names: PublicNames,
        idle_per_host: usize,
        idle: usize,
    ) -> Result<Self, SetupError> {
        let names = Arc::new(names);
        let client = |idle_per_host| {
            let client = Client::builder()
                .user_agent("altinn-events")
                .redirect(redirect::Policy::none())
                .referer(false)
                .no_proxy()
                .dns_resolver(Arc::clone(&names))
                .tcp_nodelay(true)
                .pool_max_idle_per_host(idle_per_host)
                .pool_idle_timeout(IDLE);
            odd_answers::read(client).build()
        };
        let idle = Arc::new(Mutex::new(Idle::new(idle, idle_per_host, REMEMBERED)));
        Ok(Self { keeping: client(idle_per_host)?, closing: client(0)?, idle, policy })
    }

    /// The client for this URL: sockets stay open where there is room for idle ones.
    fn client_for(&self, url: &Url) -> &Client {
        let origin = &url[..Position::AfterPort];
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.may_stay(origin, Instant::now()) { &self.keeping } else { &self.closing }
    }

    /// Sends one request.
    ///
    /// # Errors
    /// [`Fault`] when there is no answer.
    pub(crate) async fn post(&self, request: Request) -> Result<Answer, Fault> {
        let url = self.policy.check_url(&request.address)?;
        let body = body_for(&request);
        let client = self.client_for(&url);
        let sent = client.post(url).headers(headers_for(&request)).body(body).send().await;
        let response = sent.map_err(|error| fault(&error))?;
        let answer = Answer {
            status: response.status(),
            retry_after: retry_after::read(response.headers(), request.now),
        };
        // What is left of the answer changes nothing any more.
        tokio::time::timeout(DRAIN, drain(response)).await.unwrap_or_default();
        Ok(answer)
    }
}

/// Slack's address takes a text of its own form (contract §7).
fn body_for(request: &Request) -> Bytes {
    if !request.address.contains("hooks.slack.com") {
        return request.body.clone();
    }
    let text = String::from_utf8_lossy(&request.body);
    Bytes::from(serde_json::json!({ "text": text }).to_string())
}

fn headers_for(request: &Request) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    if let Ok(id) = HeaderValue::try_from(request.delivery.to_string()) {
        headers.insert("webhook-id", id);
    }
    headers.insert("webhook-timestamp", HeaderValue::from(request.now.millis().div_euclid(1_000)));
    headers
}

/// Reads the body to its end, or drops the connection when it is too long.
async fn drain(mut response: Response) {
    let mut left = ANSWER_MAX;
    while let Ok(Some(chunk)) = response.chunk().await {
        let Some(rest) = left.checked_sub(chunk.len()) else { return };
        left = rest;
    }
}

/// Classifies by type, never by text.
fn fault(error: &reqwest::Error) -> Fault {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(NoAddress::Refused(refused)) = inner.downcast_ref() {
            return Fault::Refused(*refused);
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        Fault::TimedOut
    } else if error.is_connect() {
        Fault::Connect
    } else {
        Fault::Broken
    }
}

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let found = names.of(name.as_str()).await?;
            let addresses: Addrs = Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests;
