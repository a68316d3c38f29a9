//! `/api/v1/…/session-grants`: whose OAuth credentials an agent uses at a server.

use std::sync::Arc;

use axum::extract::State;
use deputize_core::{
    Core,
    clock::Timestamp,
    grants::{self, GrantView},
    ids::{AgentAccountId, GrantId, ServerId, UserId},
};
use deputize_service::{
    Errors, Paged, Result,
    extract::{Context, Json, Paging, PagingParams, Path, Query, User},
};
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn routes() -> OpenApiRouter<Arc<Core>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(toggle)).routes(routes!(revoke))
}

/// A session grant.
#[derive(Debug, Serialize, ToSchema)]
struct SessionGrant {
    #[schema(value_type = Uuid)]
    id: GrantId,
    #[schema(value_type = Uuid)]
    agent_account_id: AgentAccountId,
    #[schema(value_type = String)]
    server_id: ServerId,
    #[schema(value_type = Uuid)]
    grantor_user_id: UserId,
    grantor_email: Option<String>,
    /// Whether users without a grant of their own use it too. One grant at most is shared for an agent
    /// account and a server.
    shared: bool,
    is_active: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<GrantView> for SessionGrant {
    fn from(GrantView { grant, grantor_email, shared, is_active }: GrantView) -> Self {
        Self {
            id: grant.id,
            agent_account_id: grant.agent_account_id,
            server_id: grant.server_id,
            grantor_user_id: grant.grantor_user_id,
            grantor_email: grantor_email.map(String::from),
            shared,
            is_active,
            created_at: grant.created_at,
            updated_at: grant.updated_at,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListFilter {
    /// Only grants for this server.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    server_id: Option<ServerId>,
}

/// The session grants for an agent account that the caller may see
///
/// Their own, and the shared ones; never another user's personal grant.
#[utoipa::path(
    get,
    path = "/api/v1/agent-accounts/{agent_account_id}/session-grants",
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
    let listing = grants::list(&core, &caller, agent, filter.server_id.as_ref(), &page).await?;
    Ok(Paged::new(&uri, listing, SessionGrant::from))
}

#[derive(Debug, Deserialize, ToSchema)]
struct CreateSessionGrant {
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    server_id: ServerId,
    /// Make it the shared grant, which revokes everybody else's for this agent account and server.
    #[serde(default)]
    shared: bool,
}

/// Grant the use of one's own OAuth session
///
/// The caller must be connected to the server. Granting again answers the grant that stands, made shared
/// or personal as asked.
#[utoipa::path(
    post,
    path = "/api/v1/agent-accounts/{agent_account_id}/session-grants",
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
    Json(body): Json<CreateSessionGrant>,
) -> Result<(StatusCode, Json<SessionGrant>)> {
    let grant = grants::create(&core, &caller, &request, agent, &body.server_id, body.shared).await?;
    Ok((StatusCode::CREATED, Json(grant.into())))
}

/// `shared` is ignored: a toggle flips what there is.
#[derive(Debug, Deserialize, ToSchema)]
struct ToggleSessionGrant {
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    server_id: ServerId,
}

/// Flip one's own grant between personal and shared
///
/// Not idempotent: `shared` in the answer says what it is now. Making it shared revokes everybody else's
/// grants for this agent account and server.
#[utoipa::path(
    post,
    path = "/api/v1/agent-accounts/{agent_account_id}/session-grants/toggle",
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
    Json(body): Json<ToggleSessionGrant>,
) -> Result<Json<SessionGrant>> {
    Ok(Json(grants::toggle(&core, &caller, &request, agent, &body.server_id).await?.into()))
}

/// Revoke a session grant
///
/// One's own, or anybody's for an admin. Delegations are left alone.
#[utoipa::path(
    delete,
    path = "/api/v1/session-grants/{session_grant_id}",
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
) -> Result<Json<SessionGrant>> {
    Ok(Json(grants::revoke(&core, &caller, &request, id).await?.into()))
}
