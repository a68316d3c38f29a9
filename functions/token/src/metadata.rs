//! What a client can find out by itself: the authorization server's metadata (RFC 8414), each server's as a
//! protected resource (RFC 9728), and the public keys of agent tokens (RFC 7517).

use std::sync::Arc;

use axum::{extract::State, response::IntoResponse};
use deputize_core::{
    Core,
    ids::ServerId,
    jwt::ALGORITHM_NAMES,
    tokens::{Audience, PublicKey, SCOPE},
};
use deputize_service::{
    ErrorBody, Result,
    extract::{Json, Path},
};
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
    /// It refuses everybody: it is here for clients that read no metadata without.
    authorization_endpoint: String,
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
        authorization_endpoint: format!("{issuer}/api/v1/oauth/authorize"),
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

/// RFC 9728 section 2.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProtectedResource {
    resource: String,
    authorization_servers: [String; 1],
    scopes_supported: [&'static str; 1],
    bearer_methods_supported: [&'static str; 1],
}

fn protected_resource(core: &Core, audience: &Audience) -> impl IntoResponse + use<> {
    let metadata = ProtectedResource {
        resource: audience.resource(&core.settings),
        authorization_servers: [core.settings.issuer.clone()],
        scopes_supported: [SCOPE],
        bearer_methods_supported: ["header"],
    };
    ([(header::CACHE_CONTROL, CACHE)], Json(metadata))
}

/// A server's metadata as a protected resource
///
/// The same for every server, whether there is one or not: it must not tell anybody which there are.
#[utoipa::path(
    get,
    path = "/.well-known/oauth-protected-resource/api/v1/proxy/{server_id}/mcp",
    operation_id = "get_server_metadata",
    tag = "discovery",
    params(("server_id" = String, Path)),
    responses(
        (status = 200, body = ProtectedResource),
        (status = 404, description = "No server can have this id", body = ErrorBody),
    ),
    security(()),
)]
pub(crate) async fn server(State(core): State<Arc<Core>>, Path(server): Path<ServerId>) -> impl IntoResponse {
    protected_resource(&core, &Audience::Server(server))
}

/// The whole proxy's metadata as a protected resource
#[utoipa::path(
    get,
    path = "/.well-known/oauth-protected-resource/api/v1/proxy",
    operation_id = "get_proxy_metadata",
    tag = "discovery",
    responses((status = 200, body = ProtectedResource)),
    security(()),
)]
pub(crate) async fn proxy(State(core): State<Arc<Core>>) -> impl IntoResponse {
    protected_resource(&core, &Audience::Proxy)
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
