//! One service next to ours, asked over HTTP with bounded patience.
//!
//! Invariants: at most `max_connections` requests are under way for those who share it; no answer takes longer than the timeout, and
//! no wait for a free connection either; an answer is read up to [`BODY_BYTES_MAX`]; while it fails everybody is told so at once
//! ([`crate::health`]). Who waits for a connection in vain is told, too: that says nothing about the neighbour.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use event::media::JSON;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use service::telemetry::chain;
use tokio::{sync::Semaphore, time::Instant};
use url::Url;

use crate::{
    error::SetupError,
    health::{Change, Health},
    own_token::OwnToken,
    settings::AccessSettings,
    token::{PLATFORM_HEADER, now_s},
};

/// Largest answer that is read.
pub(crate) const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An answer below 500 and other than 429.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("it failed a moment ago and is not asked again yet")]
    Silent,
    #[error("no connection became free in time")]
    Busy,
    #[error("it did not answer in time")]
    TimedOut,
    #[error("the request failed")]
    Failed(#[source] reqwest::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
}

/// See the module.
pub(crate) struct Neighbour {
    pub(crate) name: &'static str,
    client: reqwest::Client,
    permits: Semaphore,
    max_connections: usize,
    timeout: Duration,
    /// Sent with every request.
    own_token: Option<Arc<OwnToken>>,
    health: Mutex<Health>,
}

impl Neighbour {
    pub(crate) fn new(name: &'static str, client: reqwest::Client, settings: &AccessSettings) -> Self {
        Self {
            name,
            client,
            permits: Semaphore::new(settings.max_connections),
            timeout: settings.timeout,
            own_token: None,
            health: Mutex::default(),
            max_connections: settings.max_connections,
        }
    }

    /// The same neighbour for others: they have connections and a judgement of their own, so that neither can silence the other.
    pub(crate) fn apart(&self) -> Self {
        Self {
            name: self.name,
            client: self.client.clone(),
            permits: Semaphore::new(self.max_connections),
            timeout: self.timeout,
            own_token: self.own_token.clone(),
            health: Mutex::default(),
            max_connections: self.max_connections,
        }
    }

    /// The same neighbour, asked with our platform access token.
    pub(crate) fn with_token(self, own_token: Option<OwnToken>) -> Self {
        Self { own_token: own_token.map(Arc::new), ..self }
    }

    pub(crate) async fn get(&self, url: Url) -> Result<Answer, NoAnswer> {
        self.send(self.client.get(url)).await
    }

    pub(crate) async fn post(&self, url: Url, json: Vec<u8>) -> Result<Answer, NoAnswer> {
        let content = HeaderValue::from_static(JSON);
        self.send(self.client.post(url).header(header::CONTENT_TYPE, content).body(json)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, NoAnswer> {
        // Also before the wait: it may be long while all connections hang.
        if self.health().is_silent(Instant::now()) {
            return Err(NoAnswer::Silent);
        }
        let waiting = tokio::time::timeout(self.timeout, self.permits.acquire());
        let Ok(Ok(_permit)) = waiting.await else { return Err(NoAnswer::Busy) };
        if !self.health().admits(Instant::now(), self.timeout) {
            return Err(NoAnswer::Silent);
        }
        let token = self.own_token.as_ref().and_then(|own| own.at(now_s()));
        let request =
            token.into_iter().fold(request, |request, token| request.header(PLATFORM_HEADER, token));
        let answer = tokio::time::timeout(self.timeout, receive(request)).await;
        let answer = answer.unwrap_or(Err(NoAnswer::TimedOut));
        self.judge(answer.as_ref().err());
        answer
    }

    fn judge(&self, failure: Option<&NoAnswer>) {
        let now = Instant::now();
        let change = match failure {
            None => self.health().answered(now),
            Some(_) => self.health().failed(now),
        };
        let error = failure.map(|failure| chain(failure)).unwrap_or_default();
        match change {
            Some(Change::Silenced) => tracing::warn!(
                neighbour = self.name,
                error,
                "a neighbour gives more failures than answers; it is asked again after a pause"
            ),
            Some(Change::Back) => tracing::info!(neighbour = self.name, "a neighbour answers again"),
            None => {}
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn receive(request: reqwest::RequestBuilder) -> Result<Answer, NoAnswer> {
    // The address may hold a name that a caller chose; it is not worth a log line.
    let failed = |error: reqwest::Error| NoAnswer::Failed(error.without_url());
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(NoAnswer::Status(status));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(NoAnswer::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body })
}

/// The one HTTP client of this crate: no redirects, no proxy, idle connections bounded.
pub(crate) fn client(settings: &AccessSettings) -> Result<reqwest::Client, SetupError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static(JSON));
    if let Some(key) = settings.subscription_key.as_deref().and_then(|key| HeaderValue::from_str(key).ok()) {
        headers.insert("ocp-apim-subscription-key", key);
    }
    reqwest::Client::builder()
        .default_headers(headers)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(settings.max_connections)
        .connect_timeout(settings.timeout)
        .build()
        .map_err(SetupError::Client)
}
