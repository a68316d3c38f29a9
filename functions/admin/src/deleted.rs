//! `/api/v1/deleted/…`: what was deleted and can be restored, and deleting agent accounts and servers. Users are deleted by
//! another function, which may ask providers to revoke their connections.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core,
    clock::Timestamp,
    deletion::{self, RESTORABLE_FOR},
    ids::{AgentAccountId, ServerId, UserId},
    table::Stored,
};
use deputize_service::{
    Changed, Changing, Errors, IfMatch, KeyReused, Once, Paged, Result,
    extract::{Json, NoBody, Paging, PagingParams, Path, Query, User},
    handlers,
    routes::Routes,
};
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new()
        .mount(handlers!(list(PagingParams)))
        .mount(handlers!(get, erase))
        .mount(handlers!(restore))
        .mount(handlers!(delete_agent(CascadeParams)))
        .mount(handlers!(delete_server(CascadeParams)))
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum DeletedKind {
    User,
    AgentAccount,
    Server,
    Policy,
    ApiKey,
}

impl From<DeletedKind> for deletion::Kind {
    fn from(kind: DeletedKind) -> Self {
        match kind {
            DeletedKind::User => Self::User,
            DeletedKind::AgentAccount => Self::AgentAccount,
            DeletedKind::Server => Self::Server,
            DeletedKind::Policy => Self::Policy,
            DeletedKind::ApiKey => Self::ApiKey,
        }
    }
}

impl From<deletion::Kind> for DeletedKind {
    fn from(kind: deletion::Kind) -> Self {
        match kind {
            deletion::Kind::User => Self::User,
            deletion::Kind::AgentAccount => Self::AgentAccount,
            deletion::Kind::Server => Self::Server,
            deletion::Kind::Policy => Self::Policy,
            deletion::Kind::ApiKey => Self::ApiKey,
        }
    }
}

/// A deleted thing that can be restored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeletedThing)]
struct Deleted {
    kind: DeletedKind,
    id: String,
    /// What it was called. Of a user, the name or the email.
    #[schema(required)]
    name: Option<String>,
    /// Whose it was: of an API key.
    #[schema(value_type = Option<Uuid>, required)]
    user_id: Option<UserId>,
    #[schema(value_type = String, format = DateTime)]
    deleted_at: Timestamp,
    #[schema(value_type = Uuid)]
    deleted_by_user_id: UserId,
    /// When it is erased, 30 days after it was deleted.
    #[schema(value_type = String, format = DateTime)]
    restorable_until: Timestamp,
}

const _: () = assert!(RESTORABLE_FOR.as_secs() == 30 * 24 * 3600, "the description says so");

impl From<deletion::Deleted> for Deleted {
    fn from(deleted: deletion::Deleted) -> Self {
        let deletion::Deleted { kind, id, name, of_user, deleted_at, deleted_by, restorable_until, .. } =
            deleted;
        let kind = kind.into();
        Self {
            kind,
            id,
            name,
            user_id: of_user,
            deleted_at,
            deleted_by_user_id: deleted_by,
            restorable_until,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CascadeParams {
    /// Deletes it although other things depend on it.
    #[serde(default)]
    cascade: bool,
}

/// Deleted things of a kind
///
/// Those that can be restored; those last deleted first. Admins, operators and auditors only.
#[utoipa::path(
    get,
    path = path::DELETED_OF_KIND,
    operation_id = "list_deleted",
    tag = "deleted things",
    params(("kind" = DeletedKind, Path), PagingParams),
    responses((status = 200, body = Vec<Deleted>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(kind): Path<DeletedKind>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<Deleted>> {
    Ok(Paged::new(&uri, deletion::list(&core, &caller, kind.into(), &page).await?, Deleted::from))
}

/// A deleted thing
///
/// Admins, operators and auditors, and of an API key its user.
#[utoipa::path(
    get,
    path = path::DELETED,
    operation_id = "get_deleted",
    tag = "deleted things",
    params(("kind" = DeletedKind, Path), ("id" = String, Path)),
    responses((status = 200, body = Deleted), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn get(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path((kind, id)): Path<(DeletedKind, String)>,
) -> Result<Json<Deleted>> {
    let Stored { value, .. } = deletion::get(&core, &caller, kind.into(), &id).await?;
    Ok(Json(value.into()))
}

/// Restore a deleted thing
///
/// Admins; an API key also its user, and operators unless an admin revoked it. It is there again as it was, with these
/// exceptions. A user is deactivated, and what ended with them stays ended. An agent account's earlier tokens stay dead. A
/// policy whose name another one has meanwhile is a 409, and so is an API key that has ended meanwhile.
#[utoipa::path(
    post,
    path = path::RESTORE_DELETED,
    operation_id = "restore_deleted",
    tag = "deleted things",
    params(("kind" = DeletedKind, Path), ("id" = String, Path)),
    responses((status = 204), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn restore(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path((kind, id)): Path<(DeletedKind, String)>,
    Once(request, _): Once<NoBody>,
) -> Result<StatusCode> {
    deletion::restore(&core, &caller, &request, kind.into(), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Erase a deleted thing now
///
/// Admins only. It can no longer be restored. In the audit trail, what says who an erased user is is replaced. 409 within a
/// minute after the deletion. 202 if there was too little time, and within two hours after a user's deletion, since their
/// events can still come: the rest is erased by the next hourly run.
#[utoipa::path(
    delete,
    path = path::DELETED,
    operation_id = "erase_deleted",
    tag = "deleted things",
    params(("kind" = DeletedKind, Path), ("id" = String, Path)),
    responses(
        (status = 204, description = "It is erased."),
        (status = 202, description = "It cannot be restored, and its erasing goes on."),
        Errors,
        Changed,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn erase(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Changing(request): Changing,
    Path((kind, id)): Path<(DeletedKind, String)>,
    _: NoBody,
) -> Result<StatusCode> {
    let is_erased = deletion::erase_now(&core, &caller, &request, kind.into(), &id).await?;
    Ok(if is_erased { StatusCode::NO_CONTENT } else { StatusCode::ACCEPTED })
}

/// Delete an agent account
///
/// Admins only. From then on none of its credentials is accepted, and delegations and session grants are good for nothing.
/// It can be restored with them for 30 days. 409 with the list if delegations, session grants or policies depend on it;
/// `cascade=true` deletes it all the same.
#[utoipa::path(
    delete,
    path = path::AGENT_ACCOUNT,
    operation_id = "delete_agent_account",
    tag = "agent accounts",
    params(("agent_account_id" = Uuid, Path), CascadeParams),
    responses((status = 204), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn delete_agent(
    State(core): State<Arc<Core>>,
    User(caller): User,
    IfMatch(request): IfMatch,
    Path(id): Path<AgentAccountId>,
    Query(CascadeParams { cascade }): Query<CascadeParams>,
    _: NoBody,
) -> Result<StatusCode> {
    deletion::delete_agent(&core, &caller, &request, id, cascade).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a server
///
/// Admins only. From then on it cannot be called. It can be restored for 30 days, with the delegations, session grants and
/// connections at it; until it is erased, its id is taken. 409 with the list if delegations, session grants, connections or
/// policies depend on it; `cascade=true` deletes it all the same.
#[utoipa::path(
    delete,
    path = path::SERVER,
    operation_id = "delete_server",
    tag = "servers",
    params(("server_id" = String, Path), CascadeParams),
    responses((status = 204), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn delete_server(
    State(core): State<Arc<Core>>,
    User(caller): User,
    IfMatch(request): IfMatch,
    Path(id): Path<ServerId>,
    Query(CascadeParams { cascade }): Query<CascadeParams>,
    _: NoBody,
) -> Result<StatusCode> {
    deletion::delete_server(&core, &caller, &request, &id, cascade).await?;
    Ok(StatusCode::NO_CONTENT)
}
