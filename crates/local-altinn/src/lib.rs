//! A stand-in for Altinn around the platform: tokens, keys, decisions, parties, and a webhook receiver. **For development and
//! tests only**: it gives a token to anybody who asks, says so when it starts, and binds to loopback alone.
//!
//! The platform talks to it exactly as to the real services: over HTTP, by configuration only. Paths and parameters are those of
//! the real services and of Altinn's public test tool. What it knows is in `data/` (see the README there), and people may edit that.
//!
//! [`start`] runs it; the [`LocalAltinn`] that comes back mints tokens, changes rules and scripts webhooks while it runs.

#![warn(missing_docs)]

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc};

use anyhow::Context;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use tokio::task::JoinSet;

mod access_lists;
mod answer;
mod claims;
mod data;
mod exchange;
mod fault;
mod generator;
mod keys;
mod mode;
mod openid;
mod pages;
mod pdp;
mod policies;
mod question;
mod register;
mod tokens;
mod webhooks;

pub use data::{Party, Rule};
pub use mode::Mode;
pub use pdp::{PdpHandle, RuleId};
pub use register::RegisterHandle;
pub use tokens::{Holder, TokenRequest};
pub use webhooks::{NotSeen, Received, Reply, Webhook};

use keys::KeyRing;
use mode::Switch;
use pdp::Pdp;
use register::Register;
use webhooks::Webhooks;

/// The port of Altinn's own local test.
pub const PORT: u16 = 5101;
/// Largest request body.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Folder with `parties.json`, `roles.json`, `access-lists.json` and `policies/*.xml` in place of the built-in ones.
    pub data_folder: Option<PathBuf>,
    /// File that keeps the signing keys over a restart; made when it is not there.
    pub key_file: Option<PathBuf>,
    /// Requests that each webhook remembers; older ones are forgotten and still counted.
    pub webhook_requests_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { port: 0, data_folder: None, key_file: None, webhook_requests_max: 10_000 }
    }
}

/// A running stand-in. Dropping it stops it.
#[derive(Debug)]
pub struct LocalAltinn {
    /// Where it answers, without a slash at the end.
    pub base_url: String,
    state: Shared,
    server: JoinSet<()>,
}

/// What the handlers share.
pub(crate) type Shared = Arc<State>;

pub(crate) struct State {
    pub(crate) base_url: String,
    pub(crate) keys: KeyRing,
    pub(crate) openid: Switch,
    pub(crate) certificates: Switch,
    pub(crate) pdp: Pdp,
    pub(crate) register: Register,
    pub(crate) webhooks: Webhooks,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// Starts it and returns when it answers.
///
/// # Errors
/// When the port is taken, a data file has a mistake, or the key file cannot be read or written.
pub async fn start(options: Options) -> anyhow::Result<LocalAltinn> {
    let data = data::Data::load(options.data_folder.as_deref())?;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))
        .await
        .with_context(|| format!("port {} for the local Altinn is not free", options.port))?;
    let port = listener.local_addr().context("the local Altinn has no address")?.port();
    let base_url = format!("http://{}:{port}", Ipv4Addr::LOCALHOST);
    let register = Register::new(Arc::clone(&data.parties));
    let state = Arc::new(State {
        base_url: base_url.clone(),
        keys: KeyRing::open(options.key_file.as_deref())?,
        openid: Switch::default(),
        certificates: Switch::default(),
        pdp: Pdp::new(data),
        register,
        webhooks: Webhooks::new(&base_url, options.webhook_requests_max),
    });
    tracing::warn!(
        url = base_url,
        "the local Altinn is for development: it gives a token to anybody who asks, nothing it says is true"
    );
    let app = router(Arc::clone(&state));
    let mut server = JoinSet::new();
    server.spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the local Altinn stopped");
        }
    });
    Ok(LocalAltinn { base_url, state, server })
}

fn router(state: Shared) -> Router {
    Router::new()
        .route("/", get(pages::index))
        .route("/authentication/api/v1/openid/.well-known/openid-configuration", get(openid::metadata))
        .route("/authentication/api/v1/openid/.well-known/openid-configuration/jwks", get(openid::jwks))
        .route("/authentication/api/v1/exchange/{provider}", get(exchange::exchange))
        .route("/authentication/api/v1/refresh", get(exchange::refresh))
        .route("/platform-certificates/{name}", get(openid::certificate))
        .route("/api/GetEnterpriseToken", get(generator::enterprise))
        .route("/api/GetPersonalToken", get(generator::personal))
        .route("/api/GetSystemUserToken", get(generator::system_user))
        .route("/api/GetPlatformAccessToken", get(generator::platform))
        .route("/api/GetMaskinportenToken", get(generator::maskinporten))
        .route("/api/GetIdportenToken", get(generator::idporten))
        .route("/authorization/api/v1/decision", post(pdp::decision))
        .route("/register/api/v1/parties/lookup", post(register::lookup))
        .route("/register/api/v2/internal/parties/query", post(register::query))
        .route("/register/api/v2/internal/parties/main-units", post(register::main_units))
        .route("/webhooks", get(webhooks::names))
        .route("/webhooks/{name}", post(webhooks::receive).get(webhooks::list).put(webhooks::script))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(state)
}

impl LocalAltinn {
    /// A token of a service owner, or of an organisation when `org` is none.
    pub fn enterprise_token(&self, org: Option<&str>, org_number: &str, scopes: &[&str]) -> String {
        self.token(&TokenRequest::enterprise(org, org_number, scopes))
    }

    /// A token of a person.
    pub fn personal_token(&self, user_id: i64, party_id: i64, scopes: &[&str]) -> String {
        self.token(&TokenRequest::personal(user_id, party_id, scopes))
    }

    /// A token of a system user of an organisation.
    pub fn system_user_token(&self, system_user_id: &str, org_number: &str, scopes: &[&str]) -> String {
        self.token(&TokenRequest::system_user(system_user_id, org_number, scopes))
    }

    /// The platform access token of an app; `org` signs it.
    pub fn platform_token(&self, org: &str, app: &str) -> String {
        self.token(&TokenRequest::platform(org, app))
    }

    /// A token of Maskinporten for an organisation, to exchange.
    pub fn maskinporten_token(&self, org_number: &str, scopes: &[&str]) -> String {
        self.token(&TokenRequest::maskinporten(org_number, scopes))
    }

    /// A token of ID-porten for a person, to exchange.
    pub fn idporten_token(&self, person_number: &str, scopes: &[&str]) -> String {
        self.token(&TokenRequest::idporten(person_number, scopes))
    }

    /// Any token that the generator gives.
    pub fn token(&self, request: &TokenRequest) -> String {
        generator::signed(request, &self.state)
    }

    /// Signs any claims with the bearer key, under its own key id or under another one.
    pub fn sign(&self, claims: &serde_json::Value, key_id: Option<&str>) -> String {
        self.state.keys.sign_bearer(claims, key_id)
    }

    /// Signs any claims as a provider whose tokens are to be exchanged.
    pub fn sign_foreign(&self, claims: &serde_json::Value) -> String {
        self.state.keys.sign_platform(claims)
    }

    /// The id of the key that signs bearer tokens now.
    pub fn key_id(&self) -> String {
        self.state.keys.bearer_key_id()
    }

    /// Takes a new key for bearer tokens; with `keep_old` the old ones stay in the key set.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn rotate_keys(&self, keep_old: bool) -> anyhow::Result<()> {
        self.state.keys.rotate(keep_old)
    }

    /// How OpenID metadata and keys answer from now on.
    pub fn set_openid(&self, mode: Mode) {
        self.state.openid.set(mode);
    }

    /// How often metadata or keys were asked for.
    pub fn openid_requests(&self) -> u64 {
        self.state.openid.count()
    }

    /// How certificates answer from now on.
    pub fn set_certificates(&self, mode: Mode) {
        self.state.certificates.set(mode);
    }

    /// How often a certificate was asked for.
    pub fn certificate_requests(&self) -> u64 {
        self.state.certificates.count()
    }

    /// The decision point: its policies and rules, its counters, its moods.
    pub fn pdp(&self) -> PdpHandle<'_> {
        PdpHandle(&self.state.pdp)
    }

    /// Register: its counters, its moods.
    pub fn register(&self) -> RegisterHandle<'_> {
        RegisterHandle(&self.state.register)
    }

    /// A webhook receiver by name: its address, what it received, how it answers.
    pub fn webhook(&self, name: &str) -> Webhook {
        self.state.webhooks.get(name)
    }

    /// The same stand-in's webhooks, for whoever must not own it.
    pub fn webhooks(&self) -> Vec<String> {
        self.state.webhooks.names()
    }

    /// Runs until it dies by itself, which it never should; for processes that are nothing else.
    pub async fn wait(mut self) {
        while self.server.join_next().await.is_some() {}
    }

    /// Stops it.
    pub async fn stop(mut self) {
        self.server.shutdown().await;
    }
}
