//! `/api/v1/…/session-grants`: whose OAuth credentials an agent uses at a server.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::{
    path,
    session_grants::{CreateSessionGrant, SessionGrant, ToggleSessionGrant},
};
use deputize_core::{
    Core,
    ids::{AgentAccountId, GrantId, ServerId, UserId},
    session_grants::{self, Displaced, Filter, GrantView},
};
use deputize_service::{
    Errors, Paged, Result,
    extract::{Context, Json, NoBody, Paging, PagingParams, Path, Query, User},
    handlers,
    routes::Routes,
};
use http::{StatusCode, Uri};
use serde::Deserialize;
use utoipa::IntoParams;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new()
        .mount(handlers!(list(ListFilter, PagingParams), create))
        .mount(handlers!(toggle))
        .mount(handlers!(revoke))
}

fn shown(GrantView { grant, grantor_email, shared, is_active, displaced }: GrantView) -> SessionGrant {
    let (by_user_id, by_email, at) = match displaced {
        Some(Displaced { by_user_id, by_email, at }) => (Some(by_user_id), by_email, Some(at)),
        None => (None, None, None),
    };
    SessionGrant {
        id: grant.id.to_string(),
        agent_account_id: grant.agent_account_id.to_string(),
        server_id: grant.server_id.to_string(),
        grantor_user_id: grant.grantor_user_id.to_string(),
        grantor_email: grantor_email.map(String::from),
        shared,
        is_active,
        displaced_by_user_id: by_user_id.map(|id| id.to_string()),
        displaced_by_email: by_email.map(String::from),
        displaced_at: at.map(|at| at.to_string()),
        created_at: grant.created_at.to_string(),
        updated_at: grant.updated_at.to_string(),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListFilter {
    /// Only grants for this server.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    server_id: Option<ServerId>,
    /// Only grants from this user. Even so, another user's personal grants are not shown.
    #[param(value_type = Option<Uuid>)]
    grantor_user_id: Option<UserId>,
}

impl From<ListFilter> for Filter {
    fn from(ListFilter { server_id, grantor_user_id }: ListFilter) -> Self {
        Self { server_id, grantor_user_id }
    }
}

/// The session grants for an agent account that the caller may see
///
/// The caller's own grants, and the shared ones, but never another user's personal grant. If another user has displaced
/// a grant of the caller, the grant says who and when.
#[utoipa::path(
    get,
    path = path::SESSION_GRANTS,
    operation_id = "list_session_grants",
    tag = "session grants",
    params(("agent_account_id" = Uuid, Path), ListFilter, PagingParams),
    responses((status = 200, body = Vec<SessionGrant>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(agent): Path<AgentAccountId>,
    Query(filter): Query<ListFilter>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<SessionGrant>> {
    let listing = session_grants::list(&core, &caller, agent, &filter.into(), &page).await?;
    Ok(Paged::new(&uri, listing, shown))
}

/// Grant the use of the caller's OAuth session
///
/// The caller must be connected to the server. Granting again answers the existing grant, made shared or personal as
/// requested. Sharing revokes all other users' grants for this agent account and server. If the account's
/// `shared_grants` is `managers`, only its owner and admins may share.
#[utoipa::path(
    post,
    path = path::SESSION_GRANTS,
    operation_id = "create_session_grant",
    tag = "session grants",
    params(("agent_account_id" = Uuid, Path)),
    request_body = CreateSessionGrant,
    responses((status = 201, body = SessionGrant), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn create(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Path(agent): Path<AgentAccountId>,
    Json(body): Json<CreateSessionGrant<ServerId>>,
) -> Result<(StatusCode, Json<SessionGrant>)> {
    let grant = session_grants::create(&core, &caller, &request, agent, &body.server_id, body.shared).await?;
    Ok((StatusCode::CREATED, Json(shown(grant))))
}

/// Switch the caller's grant between personal and shared
///
/// Not idempotent: `shared` in the answer says what the grant is now. Making it shared revokes all other users' grants
/// for this agent account and server. If the account's `shared_grants` is `managers`, only its owner and admins may do
/// that.
#[utoipa::path(
    post,
    path = path::TOGGLE_SESSION_GRANT,
    operation_id = "toggle_session_grant",
    tag = "session grants",
    params(("agent_account_id" = Uuid, Path)),
    request_body = ToggleSessionGrant,
    responses((status = 200, body = SessionGrant), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn toggle(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Path(agent): Path<AgentAccountId>,
    Json(body): Json<ToggleSessionGrant<ServerId>>,
) -> Result<Json<SessionGrant>> {
    Ok(Json(shown(session_grants::toggle(&core, &caller, &request, agent, &body.server_id).await?)))
}

/// Revoke a session grant
///
/// Users can revoke their own grants, admins every grant. Delegations are not changed.
#[utoipa::path(
    delete,
    path = path::SESSION_GRANT,
    operation_id = "revoke_session_grant",
    tag = "session grants",
    params(("session_grant_id" = Uuid, Path)),
    responses((status = 200, body = SessionGrant), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn revoke(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Path(id): Path<GrantId>,
    _: NoBody,
) -> Result<Json<SessionGrant>> {
    Ok(Json(shown(session_grants::revoke(&core, &caller, &request, id).await?)))
}
