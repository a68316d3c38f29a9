//! `/api/v1/servers/{id}/connect` and `…/connection`: the caller's own OAuth session at a server.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::{
    connections::{Connect, Connecting, Connection},
    path,
};
use deputize_core::{
    Core,
    connections::{self, begin::BEGUN_FOR},
    ids::ServerId,
    sessions,
};
use deputize_service::{
    Changed, Changing, ErrorBody, Errors, Result, connecting,
    extract::{Json, NoBody, Path, User},
    handlers,
    routes::Routes,
    shown,
};
use http::{HeaderName, StatusCode, header::SET_COOKIE};

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(connect)).mount(handlers!(connection, disconnect))
}

/// Connect to an OAuth-protected server
///
/// Finds the server's authorization server (RFC 9728, RFC 8414), registers this service there if need be, and
/// answers where the user's browser is to go. It comes back to `/api/v1/oauth/callback`, which finishes.
/// Called from a browser, the answer sets a cookie by which that browser is known again; otherwise the user
/// is asked to confirm when they come back.
#[utoipa::path(
    post,
    path = path::CONNECT,
    operation_id = "connect",
    tag = "connections",
    params(("server_id" = String, Path)),
    request_body = Option<Connect>,
    responses(
        (status = 200, description = "Where the user's browser is to go.", body = Connecting),
        (status = 502, description = "The MCP server or its authorization server failed.", body = ErrorBody),
        (status = 504, description = "The MCP server or its authorization server took too long.", body = ErrorBody),
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
    let cookie = connecting::cookie(&core.settings, &begun);
    let connecting =
        Connecting { authorization_url: begun.authorization_url, expires_in: BEGUN_FOR.as_secs() };
    Ok(([(SET_COOKIE, cookie)], Json(connecting)))
}

/// The caller's own connection to a server
#[utoipa::path(
    get,
    path = path::CONNECTION,
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
    let has_ended = connections::has_ended(&core, &session).await?;
    Ok(Json(shown::connection(session, has_ended)))
}

/// Disconnect from a server
///
/// Asks the server's authorization server to revoke the caller's tokens, if it offers that (RFC 7009), and deletes them
/// here in any case. The audit event says what it answered. Grants that rest on them remain, and calls that need them get 401
/// `OAuth session not found`.
#[utoipa::path(
    delete,
    path = path::CONNECTION,
    operation_id = "delete_connection",
    tag = "connections",
    params(("server_id" = String, Path)),
    responses((status = 204), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn disconnect(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Changing(request): Changing,
    Path(server): Path<ServerId>,
    _: NoBody,
) -> Result<StatusCode> {
    connections::disconnect(&core, &caller, &request, &server).await?;
    Ok(StatusCode::NO_CONTENT)
}
