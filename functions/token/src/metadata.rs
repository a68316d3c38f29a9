//! What a client can find out by itself: the authorization server's metadata (RFC 8414) and the public
//! keys of agent tokens (RFC 7517).

use std::sync::Arc;

use axum::{extract::State, response::IntoResponse};
use deputize_core::{
    Core,
    jwt::ALGORITHM_NAMES,
    tokens::{PublicKey, SCOPE},
};
use deputize_service::{ErrorBody, Result, extract::Json};
use http::header;
use serde::Serialize;
use utoipa::ToSchema;

/// How long a document may be kept. A rotated key is published before the first token that it signs is
/// seen, and whoever meets an unknown `kid` asks again.
const CACHE: &str = "public, max-age=300";

/// RFC 8414 section 2.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuthorizationServer {
    issuer: String,
    token_endpoint: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    jwks_uri: String,
    scopes_supported: [&'static str; 1],
    /// None: nobody logs in here.
    response_types_supported: [&'static str; 0],
    grant_types_supported: [&'static str; 2],
    token_endpoint_auth_methods_supported: [&'static str; 3],
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 9],
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 9],
    revocation_endpoint_auth_methods_supported: [&'static str; 3],
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 9],
}

/// The authorization server's metadata
#[utoipa::path(
    get,
    path = "/.well-known/oauth-authorization-server",
    tag = "discovery",
    responses((status = 200, body = AuthorizationServer)),
    security(()),
)]
pub(crate) async fn authorization_server(State(core): State<Arc<Core>>) -> impl IntoResponse {
    const METHODS: [&str; 3] = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
    let issuer = core.settings.issuer.clone();
    let metadata = AuthorizationServer {
        token_endpoint: format!("{issuer}/api/v1/oauth/token"),
        introspection_endpoint: format!("{issuer}/api/v1/oauth/introspect"),
        revocation_endpoint: format!("{issuer}/api/v1/oauth/revoke"),
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        issuer,
        scopes_supported: [SCOPE],
        response_types_supported: [],
        grant_types_supported: ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"],
        token_endpoint_auth_methods_supported: METHODS,
        token_endpoint_auth_signing_alg_values_supported: ALGORITHM_NAMES,
        introspection_endpoint_auth_methods_supported: METHODS,
        introspection_endpoint_auth_signing_alg_values_supported: ALGORITHM_NAMES,
        revocation_endpoint_auth_methods_supported: METHODS,
        revocation_endpoint_auth_signing_alg_values_supported: ALGORITHM_NAMES,
    };
    ([(header::CACHE_CONTROL, CACHE)], Json(metadata))
}

/// A JWK Set (RFC 7517 section 5).
#[derive(Serialize, ToSchema)]
pub(crate) struct JwkSet {
    #[schema(value_type = Vec<Object>)]
    keys: Vec<PublicKey>,
}

/// The public keys that agent tokens can be verified with
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "discovery",
    responses(
        (status = 200, body = JwkSet),
        (status = 503, description = "The store is unavailable", body = ErrorBody),
    ),
    security(()),
)]
pub(crate) async fn jwks(State(core): State<Arc<Core>>) -> Result<impl IntoResponse> {
    let keys = core.latest_keyring().await?.published();
    Ok(([(header::CACHE_CONTROL, CACHE)], Json(JwkSet { keys })))
}
