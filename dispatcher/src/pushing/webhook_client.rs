//! The only way out to receivers (contract §7).
//!
//! Every request: https to a public address ([`event::address`]), checked on the URL and again on what its name resolves to
//! ([`PublicNames`]), because a client asks its resolver for names only; what passed is what is connected to, so a name that changes
//! its mind between check and use gains nothing, and a connection that stays open stays with the address that passed. No redirects, no
//! proxy. Of the answer the status and `Retry-After` count; its body is read up to 64 KiB for a second at most, only so that the
//! connection can be used again. The caller bounds the time of the whole.

use std::{
    error::Error as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use event::{
    DeliveryId, Micros,
    address::{AddressPolicy, AddressRefusal},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, crypto::aws_lc_rs};
use rustls_platform_verifier::BuilderVerifierExt;
use url::{Position, Url};

use crate::pushing::{
    names::{NoAddress, PublicNames},
    sockets::Idle,
};

use connection::{Beginning, Connector, connector};

mod connection;
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
    keeping: Client<Connector, Full<Bytes>>,
    /// Its sockets are closed after the answer.
    closing: Client<Connector, Full<Bytes>>,
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
pub(crate) struct SetupError(#[from] rustls::Error);

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
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        Ok(Self::over(connector(names, tls), policy, idle_per_host, idle))
    }

    fn over(connector: Connector, policy: AddressPolicy, idle_per_host: usize, idle: usize) -> Self {
        let client = |idle_per_host| {
            let mut builder = Client::builder(TokioExecutor::new());
            builder
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(idle_per_host);
            odd_answers::read(&mut builder);
            builder.build(connector.clone())
        };
        let idle = Arc::new(Mutex::new(Idle::new(idle, idle_per_host, REMEMBERED)));
        Self { keeping: client(idle_per_host), closing: client(0), idle, policy }
    }

    /// The client for this URL: sockets stay open where there is room for idle ones.
    fn client_for(&self, url: &Url) -> &Client<Connector, Full<Bytes>> {
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
        let sent = match self.client_for(&url).request(http_request(&url, &request)?).await {
            Ok(response) => response,
            Err(error) => return odd_answers::before(&error, request.now).ok_or_else(|| fault(&error)),
        };
        if let Some(beginning) = sent.extensions().get::<Beginning>() {
            beginning.take();
        }
        let wish = sent.headers().get(header::RETRY_AFTER);
        let retry_after = wish.and_then(|wish| retry_after::read(wish, request.now));
        let answer = Answer { status: sent.status(), retry_after };
        // What is left of the answer changes nothing any more.
        tokio::time::timeout(DRAIN, drain(sent.into_body())).await.unwrap_or_default();
        Ok(answer)
    }
}

fn http_request(url: &Url, request: &Request) -> Result<http::Request<Full<Bytes>>, Fault> {
    let uri = Uri::try_from(&url[..Position::AfterQuery]).map_err(|_| AddressRefusal::NotAUrl)?;
    let mut http = http::Request::new(Full::new(body_for(request)));
    *http.method_mut() = Method::POST;
    *http.uri_mut() = uri;
    *http.headers_mut() = headers_for(request);
    Ok(http)
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
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::USER_AGENT, HeaderValue::from_static("altinn-events"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    if let Ok(id) = HeaderValue::try_from(request.delivery.to_string()) {
        headers.insert("webhook-id", id);
    }
    headers.insert("webhook-timestamp", HeaderValue::from(request.now.millis().div_euclid(1_000)));
    headers
}

/// Reads the body to its end, or drops the connection when it is too long.
async fn drain(mut body: Incoming) {
    let mut left = ANSWER_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = rest;
    }
}

/// Classifies by type, never by text.
fn fault(error: &Error) -> Fault {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(NoAddress::Refused(refused)) = inner.downcast_ref() {
            return Fault::Refused(*refused);
        }
        cause = inner.source();
    }
    if error.is_connect() { Fault::Connect } else { Fault::Broken }
}

#[cfg(test)]
mod tests;
