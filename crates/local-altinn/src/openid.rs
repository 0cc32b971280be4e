//! Who issues tokens: OpenID metadata, the key set, and the certificates of those who sign platform access tokens.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::Shared;

/// The issuer of the platform's own tokens.
pub(crate) fn issuer(base_url: &str) -> String {
    format!("{base_url}/authentication/api/v1/openid/")
}

/// Whose tokens are taken in exchange for the platform's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    Maskinporten,
    Idporten,
    Studio,
}

impl Provider {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "maskinporten" => Some(Self::Maskinporten),
            "id-porten" => Some(Self::Idporten),
            "altinnstudio" => Some(Self::Studio),
            _other => None,
        }
    }

    /// The `iss` of its tokens.
    pub(crate) fn issuer(self, base_url: &str) -> String {
        let name = match self {
            Self::Maskinporten => "maskinporten",
            Self::Idporten => "idporten",
            Self::Studio => "altinnstudio",
        };
        format!("{base_url}/{name}/")
    }
}

pub(crate) async fn metadata(State(state): State<Shared>) -> Response {
    if let Err(status) = state.openid.pass().await {
        return status.into_response();
    }
    let issuer = issuer(&state.base_url);
    let jwks = format!("{issuer}.well-known/openid-configuration/jwks");
    Json(json!({
        "issuer": issuer,
        "jwks_uri": jwks,
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
    }))
    .into_response()
}

pub(crate) async fn jwks(State(state): State<Shared>) -> Response {
    match state.openid.pass().await {
        Ok(()) => Json(state.keys.jwks()).into_response(),
        Err(status) => status.into_response(),
    }
}

/// `{issuer}-access-token-public-cert`: of the platform itself and of every service owner among the parties.
pub(crate) async fn certificate(State(state): State<Shared>, Path(name): Path<String>) -> Response {
    if let Err(status) = state.certificates.pass().await {
        return status.into_response();
    }
    match name.strip_suffix("-access-token-public-cert") {
        Some(issuer) if state.register.signs(issuer) => state.keys.platform_certificate().into_response(),
        Some(_) | None => StatusCode::NOT_FOUND.into_response(),
    }
}
