//! `/api/v1/servers/{id}/connect` and `…/connection`: the caller's own OAuth session at a server.

use std::sync::Arc;

use axum::extract::State;
use cookie::{Cookie, SameSite};
use deputize_core::{
    Core,
    clock::Timestamp,
    connections::{self, CALLBACK_PATH, begin::BEGUN_FOR},
    ids::ServerId,
    secret::shown_once,
    sessions,
};
use deputize_service::{
    ErrorBody, Errors, Result,
    extract::{Context, Json, Path, User},
};
use http::{HeaderName, StatusCode, header::SET_COOKIE};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn routes() -> OpenApiRouter<Arc<Core>> {
    OpenApiRouter::new().routes(routes!(connect)).routes(routes!(connection, disconnect))
}

/// The cookie by which the browser that began a connection shows, when it comes back, that it is the same.
/// Each connection has its own, so that two can be under way.
pub(crate) fn cookie_name(connection: &str) -> String {
    format!("deputize_connect_{connection}")
}

#[derive(Debug, Default, Deserialize, ToSchema)]
struct Connect {
    /// Scope to ask for beside what the server asks for and the present session has (RFC 6749 section 3.3):
    /// what an `insufficient_scope` error named.
    #[serde(default)]
    #[schema(example = "chat:write")]
    scope: Option<String>,
}

/// The way to the server's authorization server.
#[derive(Debug, Serialize, ToSchema)]
struct Connecting {
    /// To be opened in the caller's browser.
    #[schema(format = "uri")]
    authorization_url: String,
    /// For how many seconds it can be used.
    expires_in: u64,
}

/// Connect to an OAuth-protected server
///
/// Finds the server's authorization server (RFC 9728, RFC 8414), registers this service there if need be, and
/// answers where the user's browser is to go. It comes back to `/api/v1/oauth/callback`, which finishes.
/// Called from a browser, the answer sets a cookie by which that browser is known again; otherwise the user
/// is asked to confirm when they come back.
#[utoipa::path(
    post,
    path = "/api/v1/servers/{server_id}/connect",
    operation_id = "connect",
    tag = "connections",
    params(("server_id" = String, Path)),
    request_body = Option<Connect>,
    responses(
        (status = 200, body = Connecting),
        (status = 502, description = "The MCP server or its authorization server failed", body = ErrorBody),
        (status = 504, description = "The MCP server or its authorization server took too long", body = ErrorBody),
        Errors,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn connect(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(server): Path<ServerId>,
    body: Option<Json<Connect>>,
) -> Result<([(HeaderName, String); 1], Json<Connecting>)> {
    let scope = body.and_then(|Json(body)| body.scope);
    let begun = connections::begin(&core, &caller, &server, scope.as_deref()).await?;
    let cookie = Cookie::build((cookie_name(&begun.id), shown_once(&begun.binding)))
        .path(CALLBACK_PATH)
        .http_only(true)
        .secure(core.settings.issuer.starts_with("https://"))
        // It is needed on the way back, which is another site's link.
        .same_site(SameSite::Lax)
        .max_age(cookie::time::Duration::try_from(BEGUN_FOR).unwrap_or_default())
        .to_string();
    let connecting =
        Connecting { authorization_url: begun.authorization_url, expires_in: BEGUN_FOR.as_secs() };
    Ok(([(SET_COOKIE, cookie)], Json(connecting)))
}

/// The caller's OAuth session at a server, without its tokens.
#[derive(Debug, Serialize, ToSchema)]
struct Connection {
    #[schema(value_type = String)]
    server_id: ServerId,
    status: Status,
    #[schema(value_type = String, format = DateTime)]
    connected_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Whether the session outlives `expires_at`: its tokens are then refreshed when they are needed.
    renewable: bool,
    scope: Option<String>,
}

/// Whether the connection can be used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    Connected,
    /// Its owner must connect again.
    Expired,
}

/// The caller's own connection to a server
#[utoipa::path(
    get,
    path = "/api/v1/servers/{server_id}/connection",
    operation_id = "get_connection",
    tag = "connections",
    params(("server_id" = String, Path)),
    responses((status = 200, body = Connection), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn connection(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(server): Path<ServerId>,
) -> Result<Json<Connection>> {
    let session = sessions::get(&core, &caller, &server).await?.value;
    let status = if session.has_ended(core.clock.now()) { Status::Expired } else { Status::Connected };
    Ok(Json(Connection {
        server_id: session.server_id,
        status,
        renewable: session.renewable,
        connected_at: session.connected_at,
        expires_at: session.expires_at,
        scope: session.scope,
    }))
}

/// Disconnect from a server
///
/// Deletes the caller's tokens there. Grants that rest on them remain, and calls that need them get 401
/// `OAuth session not found`.
#[utoipa::path(
    delete,
    path = "/api/v1/servers/{server_id}/connection",
    operation_id = "delete_connection",
    tag = "connections",
    params(("server_id" = String, Path)),
    responses((status = 204), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn disconnect(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Path(server): Path<ServerId>,
) -> Result<StatusCode> {
    sessions::disconnect(&core, &caller, &request, &server).await?;
    Ok(StatusCode::NO_CONTENT)
}
