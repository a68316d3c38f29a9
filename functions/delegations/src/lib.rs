//! `/api/v1/…/delegations`: a user lets an agent account act for them, and ends that again.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::{
    delegations::{CreateDelegation, Delegation},
    path,
};
use deputize_core::{
    Core,
    clock::Timestamp,
    delegations::{self, DelegationView, NewDelegation},
    ids::{AgentAccountId, DelegationId, ServerId, UserId},
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

/// The function's routes, to be wrapped by [`deputize_service::edge::around`].
pub fn router(core: Arc<Core>) -> Routes {
    Routes::new()
        .mount(handlers!(list_for_agent(ListFilter, PagingParams), create))
        .mount(handlers!(list_mine(PagingParams)))
        .mount(handlers!(revoke))
        .with_state(core)
}

fn shown(DelegationView { delegation, delegator_email, is_active }: DelegationView) -> Delegation {
    let text = |time: Timestamp| time.to_string();
    Delegation {
        id: delegation.id.to_string(),
        agent_account_id: delegation.agent_account_id.to_string(),
        delegator_user_id: delegation.delegator_user_id.to_string(),
        delegator_email: delegator_email.map(String::from),
        is_active,
        server_ids: delegation.server_ids.map(|ids| ids.iter().map(ServerId::to_string).collect()),
        expires_at: delegation.expires_at.map(text),
        created_at: text(delegation.created_at),
        revoked_at: delegation.revoked_at.map(text),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListFilter {
    /// Only delegations from this user. Only admins and the account's owner may name another user than themselves.
    #[param(value_type = Option<Uuid>)]
    delegator_user_id: Option<UserId>,
}

/// The delegations to an agent account
///
/// Admins and the account's owner see all of them. Other users see their own.
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
    Query(ListFilter { delegator_user_id }): Query<ListFilter>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<Delegation>> {
    let listing = delegations::list_for_agent(&core, &caller, agent, delegator_user_id, &page).await?;
    Ok(Paged::new(&uri, listing, shown))
}

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
    responses((status = 201, body = Delegation), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn create(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Path(agent): Path<AgentAccountId>,
    body: Option<Json<Option<CreateDelegation<ServerId, Timestamp>>>>,
) -> Result<(StatusCode, Json<Delegation>)> {
    let CreateDelegation { server_ids, expires_at } = body.and_then(|Json(body)| body).unwrap_or_default();
    let new = NewDelegation { server_ids, expires_at };
    let delegation = delegations::create(&core, &caller, &request, agent, new).await?;
    Ok((StatusCode::CREATED, Json(shown(delegation))))
}

/// The caller's own delegations
#[utoipa::path(
    get,
    path = path::MY_DELEGATIONS,
    operation_id = "list_my_delegations",
    tag = "delegations",
    params(PagingParams),
    responses((status = 200, body = Vec<Delegation>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list_mine(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<Delegation>> {
    let listing = delegations::list_mine(&core, &caller, &page).await?;
    Ok(Paged::new(&uri, listing, shown))
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
    responses((status = 204), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn revoke(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Path(id): Path<DelegationId>,
    _: NoBody,
) -> Result<StatusCode> {
    delegations::revoke(&core, &caller, &request, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
