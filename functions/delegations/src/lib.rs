//! `/api/v1/…/delegations`: a user lets an agent account act for them, and ends that again.

mod batch;

use std::sync::Arc;

use axum::extract::State;
use deputize_api::{
    delegations::{CreateDelegation, Delegation},
    path,
};
use deputize_core::{
    Core,
    clock::Timestamp,
    delegations::{self, DelegationFilter, NewDelegation},
    ids::{AgentAccountId, DelegationId, ServerId, UserId},
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

/// The function's routes, to be wrapped by [`deputize_service::edge::around`].
pub fn router(core: Arc<Core>) -> Routes {
    Routes::new()
        .mount(handlers!(list_for_agent(ListFilter, PagingParams), create))
        .mount(handlers!(list_mine(MineFilter, PagingParams)))
        .mount(handlers!(revoke))
        .merge(batch::routes())
        .with_state(core)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListFilter {
    /// Only delegations from this user. Only admins and the account's owner may name another user than themselves.
    #[param(value_type = Option<Uuid>)]
    delegator_user_id: Option<UserId>,
    /// Only delegations that are in force, or only those that are not.
    active: Option<bool>,
    /// Only delegations that cover this server: those that name it, and those that name none.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    server_id: Option<ServerId>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct MineFilter {
    /// Only delegations that are in force, or only those that are not.
    active: Option<bool>,
    /// Only delegations that cover this server: those that name it, and those that name none.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    server_id: Option<ServerId>,
}

/// The delegations to an agent account
///
/// Auditors, operators, admins and the account's owner see all of them. Other users see their own.
#[utoipa::path(
    get,
    path = path::AGENT_DELEGATIONS,
    operation_id = "list_delegations",
    tag = "delegations",
    params(("agent_account_id" = Uuid, Path), ListFilter, PagingParams),
    responses((status = 200, body = Vec<Delegation>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list_for_agent(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(agent): Path<AgentAccountId>,
    Query(filter): Query<ListFilter>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<Delegation>> {
    let ListFilter { delegator_user_id, active, server_id } = filter;
    let filter = DelegationFilter { active, server_id };
    let delegator = delegator_user_id;
    let listing = delegations::list_for_agent(&core, &caller, agent, delegator, &filter, &page).await?;
    Ok(Paged::new(&uri, listing, shown::delegation))
}

type NewDelegationBody = CreateDelegation<ServerId, Timestamp>;

/// Delegate to an agent account
///
/// The caller delegates on their own behalf. If an active delegation says the same, it is answered unchanged. If it
/// says something else, it is replaced, and the tokens that depend on it stop working.
#[utoipa::path(
    post,
    path = path::AGENT_DELEGATIONS,
    operation_id = "create_delegation",
    tag = "delegations",
    params(("agent_account_id" = Uuid, Path)),
    request_body = Option<CreateDelegation>,
    responses((status = 201, body = Delegation), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn create(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(agent): Path<AgentAccountId>,
    Once(request, body): Once<Option<Json<Option<NewDelegationBody>>>>,
) -> Result<(StatusCode, Json<Delegation>)> {
    let CreateDelegation { server_ids, expires_at } = body.and_then(|Json(body)| body).unwrap_or_default();
    let new = NewDelegation { server_ids, expires_at };
    let delegation = delegations::create(&core, &caller, &request, agent, new).await?;
    Ok((StatusCode::CREATED, Json(shown::delegation(delegation))))
}

/// The caller's own delegations
#[utoipa::path(
    get,
    path = path::MY_DELEGATIONS,
    operation_id = "list_my_delegations",
    tag = "delegations",
    params(MineFilter, PagingParams),
    responses((status = 200, body = Vec<Delegation>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list_mine(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Query(filter): Query<MineFilter>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<Delegation>> {
    let MineFilter { active, server_id } = filter;
    let filter = DelegationFilter { active, server_id };
    let listing = delegations::list_of(&core, &caller, caller.user.id, &filter, &page).await?;
    Ok(Paged::new(&uri, listing, |acting| shown::delegation(acting.delegation)))
}

/// Revoke a delegation
///
/// The caller can revoke their own delegations, and every delegation to an account that they manage. Tokens that depend
/// on the delegation are refused from the next call on.
#[utoipa::path(
    delete,
    path = path::DELEGATION,
    operation_id = "revoke_delegation",
    tag = "delegations",
    params(("delegation_id" = Uuid, Path)),
    responses((status = 204), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn revoke(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Changing(request): Changing,
    Path(id): Path<DelegationId>,
    _: NoBody,
) -> Result<StatusCode> {
    delegations::revoke(&core, &caller, &request, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
