//! One service next to ours, asked over HTTP with bounded patience.
//!
//! Invariants: at most `max_connections` requests are under way; no answer takes longer than the timeout, the wait for a free
//! connection included; an answer is read up to [`BODY_BYTES_MAX`]; after a failure everybody is told so at once for
//! [`SILENCE`] instead of waiting again, then one request tries first.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::{sync::Semaphore, time::Instant};
use url::Url;

use crate::{
    error::SetupError, own_token::OwnToken, platform::PLATFORM_HEADER, settings::AccessSettings, token::now_s,
};

/// Largest answer that is read.
pub(crate) const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a failure answers for the neighbour.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);

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
    timeout: Duration,
    /// Sent with every request.
    own_token: Option<OwnToken>,
    /// Nobody is asked before this moment.
    silent_until: Mutex<Option<Instant>>,
}

impl Neighbour {
    pub(crate) fn new(name: &'static str, client: reqwest::Client, settings: &AccessSettings) -> Self {
        Self {
            name,
            client,
            permits: Semaphore::new(settings.max_connections),
            timeout: settings.timeout,
            own_token: None,
            silent_until: Mutex::new(None),
        }
    }

    /// The same neighbour, asked with our platform access token.
    pub(crate) fn with_token(self, own_token: Option<OwnToken>) -> Self {
        Self { own_token, ..self }
    }

    pub(crate) async fn get(&self, url: Url) -> Result<Answer, NoAnswer> {
        self.send(self.client.get(url)).await
    }

    pub(crate) async fn post(&self, url: Url, json: Vec<u8>) -> Result<Answer, NoAnswer> {
        let content = HeaderValue::from_static("application/json");
        self.send(self.client.post(url).header(header::CONTENT_TYPE, content).body(json)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, NoAnswer> {
        self.enter()?;
        let token = self.own_token.as_ref().and_then(|own| own.at(now_s()));
        let request =
            token.into_iter().fold(request, |request, token| request.header(PLATFORM_HEADER, token));
        let outcome = tokio::time::timeout(self.timeout, async {
            let _permit = self.permits.acquire().await.map_err(|_closed| NoAnswer::Silent)?;
            receive(request).await
        });
        let answer = outcome.await.unwrap_or(Err(NoAnswer::TimedOut));
        self.leave(answer.as_ref().err());
        answer
    }

    /// Refuses during the silence. The first one after it becomes the probe: the silence is prolonged by one timeout for all
    /// others, until the probe tells.
    fn enter(&self) -> Result<(), NoAnswer> {
        let mut silent_until = self.silence();
        match *silent_until {
            Some(until) if Instant::now() < until => Err(NoAnswer::Silent),
            Some(_past) => {
                *silent_until = Some(Instant::now() + self.timeout);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn leave(&self, failure: Option<&NoAnswer>) {
        let mut silent_until = self.silence();
        if let Some(failure) = failure {
            if silent_until.is_none() {
                tracing::warn!(
                    neighbour = self.name,
                    error = describe(failure),
                    "a neighbour gave no answer; it is asked again after a pause"
                );
            }
            *silent_until = Some(Instant::now() + SILENCE);
        } else if silent_until.take().is_some() {
            tracing::info!(neighbour = self.name, "a neighbour answers again");
        }
    }

    fn silence(&self) -> MutexGuard<'_, Option<Instant>> {
        self.silent_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The chain of an error in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
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
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
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
