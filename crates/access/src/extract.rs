//! Who may call, as types in the signatures of handlers. A handler that takes one of these cannot forget to ask.
//!
//! They work over every state that an [`Access`] can be taken from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use http::request::Parts;

use crate::{
    Access,
    caller::{Caller, PlatformApp},
    error::AuthError,
    scope::{PUBLISH, SUBSCRIBE},
};

/// Anybody with a bearer token that counts; else 401.
#[derive(Clone, Debug)]
pub struct Authenticated(pub Caller);

/// An app: a bearer token (else 401) and a platform access token (else 403).
#[derive(Clone, Debug)]
pub struct AppPublisher {
    /// Who calls; knows the app too.
    pub caller: Caller,
    /// Which app it is.
    pub app: PlatformApp,
}

/// A publisher of generic events: a bearer token (else 401) with [`PUBLISH`], or a platform access token beside it (else 403). Its
/// caller knows the app wherever that token counts.
#[derive(Clone, Debug)]
pub struct Publisher(pub Caller);

/// A reader of the generic feed: a bearer token (else 401) with [`SUBSCRIBE`] (else 403).
#[derive(Clone, Debug)]
pub struct GenericReader(pub Caller);

/// Anybody: with a bearer token that counts (else 401) its caller, without one the anonymous caller, of whom there may be so many
/// a minute from one address (else 429).
#[derive(Clone, Debug)]
pub struct Visitor(pub Caller);

impl<S> FromRequestParts<S> for Authenticated
where
    S: Clone + Send + Sync,
    Access: FromRef<S>,
{
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AuthError> {
        Access::from_ref(state).authenticate(&parts.headers, &parts.method).await.map(Self)
    }
}

impl<S> FromRequestParts<S> for AppPublisher
where
    S: Clone + Send + Sync,
    Access: FromRef<S>,
{
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AuthError> {
        let access = Access::from_ref(state);
        let caller = access.authenticate(&parts.headers, &parts.method).await?;
        let app = app_in(parts, &access).await?;
        Ok(Self { caller: caller.with_platform(Some(app.clone())), app })
    }
}

impl<S> FromRequestParts<S> for Publisher
where
    S: Clone + Send + Sync,
    Access: FromRef<S>,
{
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AuthError> {
        let access = Access::from_ref(state);
        let caller = access.authenticate(&parts.headers, &parts.method).await?;
        if caller.has_scope(PUBLISH) {
            // Nothing depends on the app alone: without an answer about it the caller is asked about like any other.
            let app = access.platform_token(&parts.headers).await.unwrap_or_default();
            return Ok(Self(caller.with_platform(app)));
        }
        let app = app_in(parts, &access).await?;
        Ok(Self(caller.with_platform(Some(app))))
    }
}

/// The app behind a caller that is known already: without one that counts it is 403, not 401.
async fn app_in(parts: &Parts, access: &Access) -> Result<PlatformApp, AuthError> {
    match access.platform_token(&parts.headers).await {
        Ok(app) => app.ok_or(AuthError::Forbidden),
        Err(AuthError::Unavailable) => Err(AuthError::Unavailable),
        Err(AuthError::Missing | AuthError::Invalid | AuthError::Forbidden | AuthError::TooMany) => {
            Err(AuthError::Forbidden)
        }
    }
}

impl<S> FromRequestParts<S> for GenericReader
where
    S: Clone + Send + Sync,
    Access: FromRef<S>,
{
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AuthError> {
        let Authenticated(caller) = Authenticated::from_request_parts(parts, state).await?;
        if caller.has_scope(SUBSCRIBE) { Ok(Self(caller)) } else { Err(AuthError::Forbidden) }
    }
}

impl<S> FromRequestParts<S> for Visitor
where
    S: Clone + Send + Sync,
    Access: FromRef<S>,
{
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AuthError> {
        let access = Access::from_ref(state);
        match access.authenticate(&parts.headers, &parts.method).await {
            Err(AuthError::Missing) => access.visitor(peer(parts), &parts.headers).await.map(Self),
            known => known.map(Self),
        }
    }
}

/// Who opened the connection; requests that came over none are one stranger.
fn peer(parts: &Parts) -> IpAddr {
    let connection = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    connection.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip())
}
