//! Who calls, and what they may do (design §7, contract §2 and §3).
//!
//! * Tokens: [`Access::authenticate`] turns a bearer token into a [`Caller`], [`Access::platform_token`] the token of an app into a
//!   [`PlatformApp`]. Handlers name who may call by taking one of the types of [`extract`].
//! * Rights: [`question`] builds what is asked, [`Access::decide`] answers it, from memory or from the PDP.
//! * Parties: [`Access::party_of_organisation`], [`Access::party_of_person`] and [`Access::main_unit_of`] ask Register.
//!
//! Everything outside is asked over HTTP with bounded patience; where nobody answers, the result says so and is never taken for a
//! no. The modules stand in the order in which a request meets them.

#![warn(missing_docs)]

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, Method};
use service::prometheus::{self, Registry};

mod attribute;
mod bearer;
mod caller;
mod callers;
mod claims;
mod decisions;
mod error;
mod evidence;
pub mod extract;
mod halving;
mod health;
mod keys;
mod metrics;
mod neighbour;
mod outcome;
mod own_token;
mod pdp;
mod platform;
pub mod question;
mod register;
pub mod scope;
mod settings;
mod subject;
mod token;
mod visitors;
mod xacml;

pub use caller::{Caller, Identity, PlatformApp, Scopes};
pub use callers::{CallerBusy, Turn};
pub use error::{AuthError, SetupError, Unavailable};
pub use extract::{AppPublisher, Authenticated, GenericReader, Publisher, Visitor};
pub use outcome::Decision;
pub use question::Question;
pub use settings::AccessSettings;
pub use token::PLATFORM_HEADER;

use bearer::Bearer;
use callers::Callers;
use decisions::Decisions;
use keys::Keys;
use metrics::AccessMetrics;
use neighbour::Neighbour;
use own_token::OwnToken;
use pdp::Pdp;
use platform::Platform;
use register::Register;
use visitors::Visitors;

/// The one way to find out who calls and what they may do. Clones share caches and connections.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
    asks_for: Asker,
}

/// For whom the PDP and Register are asked. Each has connections to them, and a judgement of them, of its own: none can silence
/// them for another.
#[derive(Clone, Copy)]
enum Asker {
    Readers,
    Publishers,
    Receivers,
}

struct Inner {
    bearer: Bearer,
    platform: Platform,
    readers: Rights,
    publishers: Rights,
    receivers: Rights,
    visitors: Visitors,
    callers: Callers,
    metrics: AccessMetrics,
}

/// The PDP and Register as one kind of asker has them.
struct Rights {
    decisions: Decisions,
    register: Arc<Register>,
}

impl Access {
    /// Nothing is asked yet: the neighbours may start later than we do.
    ///
    /// # Errors
    /// [`SetupError`] when the HTTP client cannot be built or an address does not join.
    pub fn new(settings: &AccessSettings) -> Result<Self, SetupError> {
        let client = neighbour::client(settings)?;
        let neighbour = |name| Neighbour::new(name, client.clone(), settings);
        let metrics = AccessMetrics::new();
        let keys = Arc::new(Keys::new(neighbour("OpenID"), settings)?);
        let own_token = settings.platform_key.as_deref().map(OwnToken::new).transpose()?;
        let register = Register::new(neighbour("Register").with_token(own_token), settings)?;
        let evidence = evidence::Shared::default();
        let rights = || -> Result<Rights, SetupError> {
            let register = Arc::new(register.apart());
            let (asked, seen) = (Arc::clone(&register), Arc::clone(&evidence));
            let pdp = Pdp::new(neighbour("PDP"), settings, asked, metrics.clone(), seen)?;
            let decisions = Decisions::new(pdp, settings.permit_ttl, settings.refusal_ttl, metrics.clone());
            Ok(Rights { decisions, register })
        };
        Ok(Self {
            inner: Arc::new(Inner {
                bearer: Bearer::new(keys, settings.cookie_name.clone()),
                platform: Platform::new(neighbour("certificates"), settings.platform_certificates.clone()),
                readers: rights()?,
                publishers: rights()?,
                receivers: rights()?,
                visitors: Visitors::new(settings),
                callers: Callers::new(settings),
                metrics,
            }),
            asks_for: Asker::Readers,
        })
    }

    /// The same for those who publish, whom no reader can keep from an answer.
    #[must_use]
    pub fn for_publishers(&self) -> Self {
        Self { asks_for: Asker::Publishers, ..self.clone() }
    }

    /// The same for those to whom events are sent.
    #[must_use]
    pub fn for_receivers(&self) -> Self {
        Self { asks_for: Asker::Receivers, ..self.clone() }
    }

    fn rights(&self) -> &Rights {
        match self.asks_for {
            Asker::Readers => &self.inner.readers,
            Asker::Publishers => &self.inner.publishers,
            Asker::Receivers => &self.inner.receivers,
        }
    }

    /// Adds the series of this crate to a registry; call it once for each registry.
    ///
    /// # Errors
    /// When the registry has series of these names already.
    pub fn register_metrics(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.inner.metrics.register(registry)
    }

    /// Who sent these headers with this method (contract §2.2). The cookie counts for GET alone.
    ///
    /// # Errors
    /// [`AuthError::Missing`] or [`AuthError::Invalid`] when no token counts, [`AuthError::Unavailable`] when nobody can tell.
    pub async fn authenticate(&self, headers: &HeaderMap, method: &Method) -> Result<Caller, AuthError> {
        let caller = self.inner.bearer.authenticate(headers, method).await;
        self.count(caller)
    }

    /// The app that signed the platform access token among these headers; nothing when there is none (contract §2.6).
    ///
    /// # Errors
    /// [`AuthError::Invalid`] when the token does not count, [`AuthError::Unavailable`] when nobody can tell.
    pub async fn platform_token(&self, headers: &HeaderMap) -> Result<Option<PlatformApp>, AuthError> {
        let app = self.inner.platform.app(headers).await;
        self.count(app)
    }

    /// The anonymous caller, for a request without a bearer token that came from `peer`; the real address may stand in the headers
    /// of a trusted proxy.
    ///
    /// # Errors
    /// [`AuthError::TooMany`] when the address has come too often in this minute.
    pub async fn visitor(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Caller, AuthError> {
        let address = self.inner.visitors.address(peer, headers);
        if self.inner.visitors.admits(address).await {
            Ok(Caller::anonymous())
        } else {
            Err(AuthError::TooMany)
        }
    }

    /// The decisions, in the order of the questions. Waits at most the configured timeout for a free connection to the PDP and as long
    /// again for its answer; without one the decision is [`Decision::Unknown`].
    pub async fn decide(&self, questions: Vec<Question>) -> Vec<Decision> {
        self.rights().decisions.decide(questions, None).await
    }

    /// A turn of this caller's, within what one caller may have at once and how often it may come.
    ///
    /// # Errors
    /// [`CallerBusy`] at these bounds.
    pub async fn turn(&self, caller: &Caller) -> Result<Turn, CallerBusy> {
        self.inner.callers.turn(caller).await
    }

    /// The same as [`Access::decide`] for a caller, within the questions that it may have under way. Beyond them nothing is asked: what
    /// is not remembered is [`Decision::Unknown`], and [`Turn::is_over`] says why.
    pub async fn decide_in(&self, turn: &mut Turn, questions: Vec<Question>) -> Vec<Decision> {
        self.rights().decisions.decide(questions, Some(turn)).await
    }

    /// The decision about one question.
    pub async fn decide_one(&self, question: Question) -> Decision {
        self.decide(vec![question]).await.pop().unwrap_or(Decision::Unknown)
    }

    /// The party id of an organisation; nothing when Register does not know the number or it does not have nine digits.
    ///
    /// # Errors
    /// [`Unavailable`] when Register gives no answer.
    pub async fn party_of_organisation(&self, number: &str) -> Result<Option<i64>, Unavailable> {
        self.rights().register.party_of_organisation(number).await
    }

    /// The party id of a person; nothing when Register does not know the number or it does not have eleven digits.
    ///
    /// # Errors
    /// [`Unavailable`] when Register gives no answer.
    pub async fn party_of_person(&self, number: &str) -> Result<Option<i64>, Unavailable> {
        self.rights().register.party_of_person(number).await
    }

    /// The party id of the main unit that an organisation is a sub-unit of; nothing when it is none, when Register does not take the number, or
    /// when it does not have nine digits.
    ///
    /// # Errors
    /// [`Unavailable`] when Register gives no answer.
    pub async fn main_unit_of(&self, subject: &str) -> Result<Option<i64>, Unavailable> {
        self.rights().register.main_unit_of(subject).await
    }

    fn count<T>(&self, result: Result<T, AuthError>) -> Result<T, AuthError> {
        if matches!(result, Err(AuthError::Invalid)) {
            self.inner.metrics.refused_tokens.inc();
        }
        result
    }
}
