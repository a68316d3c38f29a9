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
    session_grants::{self, Filter, GrantFilter},
};
use deputize_service::{
    Changed, Changing, Errors, KeyReused, Once, Paged, Result,
    extract::{Json, NoBody, Paging, PagingParams, Path, Query, User},
    handlers,
    routes::Routes,
    shown,
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

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListFilter {
    /// Only grants for this server.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    server_id: Option<ServerId>,
    /// Only grants from this user. Even so, another user's personal grants are not shown without `all`.
    #[param(value_type = Option<Uuid>)]
    grantor_user_id: Option<UserId>,
    /// Only grants that are in force, or only those that are not.
    active: Option<bool>,
    /// `true` for every user's grants, personal ones too: for admins and the account's owner. Who displaced a grant is not
    /// said then.
    all: Option<bool>,
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
    let ListFilter { server_id, grantor_user_id, active, all } = filter;
    let listing = if all == Some(true) {
        let filter = GrantFilter { server_id, grantor_user_id, active, ..GrantFilter::default() };
        session_grants::list_all_of_agent(&core, &caller, agent, &filter, &page).await?
    } else {
        let filter = Filter { server_id, grantor_user_id, active };
        session_grants::list(&core, &caller, agent, &filter, &page).await?
    };
    Ok(Paged::new(&uri, listing, shown::session_grant))
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
    responses((status = 201, body = SessionGrant), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn create(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(agent): Path<AgentAccountId>,
    Once(request, Json(body)): Once<Json<CreateSessionGrant<ServerId>>>,
) -> Result<(StatusCode, Json<SessionGrant>)> {
    let grant = session_grants::create(&core, &caller, &request, agent, &body.server_id, body.shared).await?;
    Ok((StatusCode::CREATED, Json(shown::session_grant(grant))))
}

/// Switch the caller's grant between personal and shared
///
/// Not idempotent without an `Idempotency-Key`: `shared` in the answer says what the grant is now. Making it shared revokes all other users' grants
/// for this agent account and server. If the account's `shared_grants` is `managers`, only its owner and admins may do
/// that.
#[utoipa::path(
    post,
    path = path::TOGGLE_SESSION_GRANT,
    operation_id = "toggle_session_grant",
    tag = "session grants",
    params(("agent_account_id" = Uuid, Path)),
    request_body = ToggleSessionGrant,
    responses((status = 200, body = SessionGrant), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn toggle(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(agent): Path<AgentAccountId>,
    Once(request, Json(body)): Once<Json<ToggleSessionGrant<ServerId>>>,
) -> Result<Json<SessionGrant>> {
    Ok(Json(shown::session_grant(
        session_grants::toggle(&core, &caller, &request, agent, &body.server_id).await?,
    )))
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
    responses((status = 200, body = SessionGrant), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn revoke(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Changing(request): Changing,
    Path(id): Path<GrantId>,
    _: NoBody,
) -> Result<Json<SessionGrant>> {
    Ok(Json(shown::session_grant(session_grants::revoke(&core, &caller, &request, id).await?)))
}
