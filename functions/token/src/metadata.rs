//! What a client can find out by itself: the metadata of the authorization server (RFC 8414), the metadata of each
//! server as a protected resource (RFC 9728), and the public keys of agent tokens (RFC 7517).

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use deputize_api::{
    path,
    token::{AUTHORIZATION_CODE, CLIENT_CREDENTIALS, REFRESH_TOKEN, TOKEN_EXCHANGE},
};
use deputize_core::{
    Core, Error,
    ids::ServerId,
    jwt::ALGORITHM_NAMES,
    scope,
    tokens::{PublicKey, Resource},
};
use deputize_service::{
    ErrorBody, Result,
    extract::{Json, Path},
    handlers,
    routes::Routes,
};
use http::header;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new()
        .mount(handlers!(authorization_server(..)))
        .mount(handlers!(openid_configuration(..)))
        .mount(handlers!(server(..)))
        .mount(handlers!(proxy(..)))
        .mount(handlers!(management(..)))
        .route(path::RESOURCE_METADATA, get(root))
        .mount(handlers!(jwks(..)))
        .route(&below(path::ISSUER_METADATA), get(of_issuer))
        .route(&below(path::OPENID_METADATA), get(of_openid_issuer))
        .route(&below(path::RESOURCE_METADATA), get(of_resource))
}

/// Every path below a document's place.
fn below(place: &str) -> String {
    format!("{place}/{{*path}}")
}

/// How long a document may be cached. A rotated key is published before its first token is used. A verifier that sees
/// an unknown `kid` asks again.
const CACHE: &str = "public, max-age=300";

/// RFC 8414 section 2.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuthorizationServer {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    /// RFC 7591.
    registration_endpoint: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    jwks_uri: String,
    scopes_supported: [&'static str; 3],
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 1],
    grant_types_supported: [&'static str; 4],
    /// RFC 7636 section 6.2.
    code_challenge_methods_supported: [&'static str; 1],
    /// RFC 9207 section 3.
    authorization_response_iss_parameter_supported: bool,
    /// draft-ietf-oauth-client-id-metadata-document section 5.
    client_id_metadata_document_supported: bool,
    token_endpoint_auth_methods_supported: [&'static str; 4],
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 10],
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 10],
    revocation_endpoint_auth_methods_supported: [&'static str; 4],
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 10],
}

/// The authorization server's metadata
#[utoipa::path(
    get,
    path = path::ISSUER_METADATA,
    operation_id = "get_issuer_metadata",
    tag = "discovery",
    responses((status = 200, description = "The metadata (RFC 8414 section 2).", body = AuthorizationServer)),
    security(()),
)]
async fn authorization_server(State(core): State<Arc<Core>>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, CACHE)], Json(described(&core)))
}

/// The authorization server's metadata, at the address of OpenID Connect
///
/// For clients that look for an authorization server below a path, such as a stage of API Gateway. There the MCP
/// specification makes clients look at this address, and at none of RFC 8414. The server is no OpenID provider. The
/// two fields that OpenID Connect Discovery requires beside RFC 8414's are included for its readers.
#[utoipa::path(
    get,
    path = path::OPENID_METADATA,
    operation_id = "get_openid_configuration",
    tag = "discovery",
    responses((status = 200, description = "The metadata (RFC 8414 section 2).", body = AuthorizationServer)),
    security(()),
)]
async fn openid_configuration(State(core): State<Arc<Core>>) -> impl IntoResponse {
    #[derive(Serialize)]
    struct AsOpenId {
        #[serde(flatten)]
        metadata: AuthorizationServer,
        subject_types_supported: [&'static str; 1],
        id_token_signing_alg_values_supported: [&'static str; 1],
    }
    let metadata = AsOpenId {
        metadata: described(&core),
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["ES256"],
    };
    ([(header::CACHE_CONTROL, CACHE)], Json(metadata))
}

/// The metadata of an issuer with a path, with that path at the end of the URL (RFC 8414 section 3.1), if the
/// operator routes that URL here. Other paths are 404.
async fn of_issuer(State(core): State<Arc<Core>>, Path(path): Path<String>) -> Result<Response> {
    require_own(&core, &path)?;
    Ok(authorization_server(State(core)).await.into_response())
}

/// The same at the address of OpenID Connect.
async fn of_openid_issuer(State(core): State<Arc<Core>>, Path(path): Path<String>) -> Result<Response> {
    require_own(&core, &path)?;
    Ok(openid_configuration(State(core)).await.into_response())
}

fn require_own(core: &Core, path: &str) -> Result<()> {
    if core.settings.path().strip_prefix('/') == Some(path) {
        Ok(())
    } else {
        Err(Error::NotFound("endpoint").into())
    }
}

/// The same for a resource (RFC 9728 section 3.1).
async fn of_resource(State(core): State<Arc<Core>>, Path(path): Path<String>) -> Result<Response> {
    let named = format!("{}/{path}", core.settings.origin());
    match Resource::parse(&core.settings, &named) {
        // Only under this name, since the reader compares it; or under the one that ends with a slash, with which a
        // client may have been given the endpoint's address.
        Some(resource) if resource.name(&core.settings) == named => {
            Ok(protected_resource(&core, &resource, named).into_response())
        }
        Some(resource @ Resource::Server(_))
            if named.strip_suffix('/') == Some(&resource.name(&core.settings)) =>
        {
            Ok(protected_resource(&core, &resource, named).into_response())
        }
        _ => Err(Error::NotFound("endpoint").into()),
    }
}

fn described(core: &Core) -> AuthorizationServer {
    const METHODS: [&str; 3] = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
    // With the method of public clients, which are apps.
    const AND_NONE: [&str; 4] = [METHODS[0], METHODS[1], METHODS[2], "none"];
    let issuer = core.settings.issuer.clone();
    let at = |path: &str| format!("{issuer}{path}");
    AuthorizationServer {
        authorization_endpoint: at(path::AUTHORIZE),
        token_endpoint: at(path::TOKEN),
        registration_endpoint: at(path::REGISTER),
        introspection_endpoint: at(path::INTROSPECT),
        revocation_endpoint: at(path::REVOKE),
        jwks_uri: at(path::JWKS),
        issuer,
        scopes_supported: [scope::TOOLS_CALL, scope::MANAGE, scope::OFFLINE_ACCESS],
        response_types_supported: ["code"],
        response_modes_supported: ["query"],
        grant_types_supported: [AUTHORIZATION_CODE, REFRESH_TOKEN, CLIENT_CREDENTIALS, TOKEN_EXCHANGE],
        code_challenge_methods_supported: ["S256"],
        authorization_response_iss_parameter_supported: true,
        client_id_metadata_document_supported: true,
        token_endpoint_auth_methods_supported: AND_NONE,
        token_endpoint_auth_signing_alg_values_supported: ALGORITHM_NAMES,
        introspection_endpoint_auth_methods_supported: METHODS,
        introspection_endpoint_auth_signing_alg_values_supported: ALGORITHM_NAMES,
        revocation_endpoint_auth_methods_supported: AND_NONE,
        revocation_endpoint_auth_signing_alg_values_supported: ALGORITHM_NAMES,
    }
}

/// RFC 9728 section 2.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProtectedResource {
    resource: String,
    authorization_servers: [String; 1],
    scopes_supported: [&'static str; 1],
    bearer_methods_supported: [&'static str; 1],
}

/// The metadata of a resource under the name that its reader knows it by. Clients ask for all of its scopes, so
/// `offline_access` is not among them: that is for the authorization server to offer.
fn protected_resource(core: &Core, resource: &Resource, name: String) -> impl IntoResponse + use<> {
    let scope = match resource {
        Resource::Proxy | Resource::Server(_) => scope::TOOLS_CALL,
        Resource::Management => scope::MANAGE,
    };
    let metadata = ProtectedResource {
        resource: name,
        authorization_servers: [core.settings.issuer.clone()],
        scopes_supported: [scope],
        bearer_methods_supported: ["header"],
    };
    ([(header::CACHE_CONTROL, CACHE)], Json(metadata))
}

/// A server's metadata as a protected resource
///
/// The answer is the same for every server id, whether the server exists or not, so that it does not tell which servers
/// exist.
#[utoipa::path(
    get,
    path = path::SERVER_METADATA,
    operation_id = "get_server_metadata",
    tag = "discovery",
    params(("server_id" = String, Path)),
    responses(
        (status = 200, description = "The metadata (RFC 9728 section 2).", body = ProtectedResource),
        (status = 404, description = "No server can have this id.", body = ErrorBody),
    ),
    security(()),
)]
async fn server(State(core): State<Arc<Core>>, Path(server): Path<ServerId>) -> impl IntoResponse {
    named(&core, &Resource::Server(server))
}

/// The whole proxy's metadata as a protected resource
#[utoipa::path(
    get,
    path = path::PROXY_METADATA,
    operation_id = "get_proxy_metadata",
    tag = "discovery",
    responses((status = 200, description = "The metadata (RFC 9728 section 2).", body = ProtectedResource)),
    security(()),
)]
async fn proxy(State(core): State<Arc<Core>>) -> impl IntoResponse {
    named(&core, &Resource::Proxy)
}

/// The management API's metadata as a protected resource
#[utoipa::path(
    get,
    path = path::MANAGEMENT_METADATA,
    operation_id = "get_management_metadata",
    tag = "discovery",
    responses((status = 200, body = ProtectedResource)),
    security(()),
)]
async fn management(State(core): State<Arc<Core>>) -> impl IntoResponse {
    named(&core, &Resource::Management)
}

/// The metadata of the origin, which is the whole proxy for clients that know no path of it. Some ask here for whatever
/// they have been given.
async fn root(State(core): State<Arc<Core>>) -> impl IntoResponse {
    protected_resource(&core, &Resource::Proxy, core.settings.issuer.clone())
}

/// A resource's metadata under its own name.
fn named(core: &Core, resource: &Resource) -> impl IntoResponse + use<> {
    protected_resource(core, resource, resource.name(&core.settings))
}

/// A JWK Set (RFC 7517 section 5).
#[derive(Serialize, ToSchema)]
pub(crate) struct JwkSet {
    #[schema(value_type = Vec<HashMap<String, Value>>)]
    keys: Vec<PublicKey>,
}

/// The public keys that agent tokens can be verified with
#[utoipa::path(
    get,
    path = path::JWKS,
    operation_id = "get_jwks",
    tag = "discovery",
    responses(
        (status = 200, description = "The keys (RFC 7517 section 5). They may be cached for five minutes.", body = JwkSet),
        (status = 503, description = "The store is unavailable.", body = ErrorBody),
    ),
    security(()),
)]
async fn jwks(State(core): State<Arc<Core>>) -> Result<impl IntoResponse> {
    let keys = core.latest_keyring().await?.published();
    Ok(([(header::CACHE_CONTROL, CACHE)], Json(JwkSet { keys })))
}
