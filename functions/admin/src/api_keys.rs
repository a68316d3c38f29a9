//! `/api/v1/api-keys` and `/api/v1/users/{user_id}/api-keys`: a user's API keys. Users manage their own keys. Auditors,
//! operators and admins see those of every user, and operators and admins revoke them.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core,
    api_keys::{self, NewApiKey},
    clock::Timestamp,
    ids::{ApiKeyId, ServerId, UserId},
    scope::Scopes,
};
use deputize_service::{
    Changed, Changing, Errors, KeyReused, Once, Paged, Result,
    bounds::Name,
    extract::{Json, NoBody, Paging, PagingParams, Path, User},
    handlers,
    routes::Routes,
};
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::shown_once::ShownOnce;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new()
        .mount(handlers!(list_mine(PagingParams), create))
        .mount(handlers!(revoke_mine))
        .mount(handlers!(list_for_user(PagingParams)))
        .mount(handlers!(revoke_for_user))
}

/// An API key, without its text.
#[derive(Debug, Serialize, ToSchema)]
struct ApiKey {
    #[schema(value_type = Uuid)]
    id: ApiKeyId,
    name: String,
    /// The key's owner. A call with the key is a call by this user.
    #[schema(value_type = Uuid)]
    user_id: UserId,
    /// What it is for.
    scopes: Vec<Scope>,
    /// The servers that it is for. `null` for all.
    #[schema(value_type = Option<Vec<String>>, required)]
    server_ids: Option<Vec<ServerId>>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When the key stops working. `null` if it works until it is revoked.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    expires_at: Option<Timestamp>,
}

impl From<api_keys::ApiKey> for ApiKey {
    fn from(key: api_keys::ApiKey) -> Self {
        let scopes = Scope::of(key.scopes());
        let api_keys::ApiKey { id, user_id, name, server_ids, created_at, expires_at, .. } = key;
        Self { id, name, user_id, scopes, server_ids, created_at, expires_at }
    }
}

/// What an API key can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
enum Scope {
    /// Calling tools.
    #[serde(rename = "tools:call")]
    ToolsCall,
    /// Reading at the management API.
    #[serde(rename = "manage:read")]
    ManageRead,
    /// Reading and changing at the management API.
    #[serde(rename = "manage")]
    Manage,
}

impl Scope {
    fn of(scopes: Scopes) -> Vec<Self> {
        let all = [
            (scopes.tools_call, Self::ToolsCall),
            (scopes.manage_read, Self::ManageRead),
            (scopes.manage, Self::Manage),
        ];
        all.into_iter().filter(|(had, _)| *had).map(|(_, scope)| scope).collect()
    }
}

/// What a new API key is to be for.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(try_from = "Vec<Scope>")]
#[schema(value_type = Vec<Scope>, min_items = 1)]
struct KeyScopes(Scopes);

impl TryFrom<Vec<Scope>> for KeyScopes {
    type Error = &'static str;

    fn try_from(named: Vec<Scope>) -> Result<Self, Self::Error> {
        if named.is_empty() {
            return Err("must name at least one of tools:call, manage:read and manage; leave it out for all");
        }
        let has = |scope| named.contains(&scope);
        Ok(Self(Scopes {
            tools_call: has(Scope::ToolsCall),
            manage_read: has(Scope::ManageRead),
            manage: has(Scope::Manage),
            offline_access: false,
        }))
    }
}

/// The caller's API keys
#[utoipa::path(
    get,
    path = path::API_KEYS,
    operation_id = "list_my_api_keys",
    tag = "API keys",
    params(PagingParams),
    responses((status = 200, body = Vec<ApiKey>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list_mine(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<ApiKey>> {
    let keys = api_keys::list(&core, &caller, caller.user.id, &page).await?;
    Ok(Paged::new(&uri, keys, ApiKey::from))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateApiKey {
    name: Name,
    /// What the key is for. All if left out.
    #[serde(default)]
    scopes: Option<KeyScopes>,
    /// The servers that the key is for. With these it has none of the powers of its user's role. All servers if left
    /// out.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 50)]
    server_ids: Option<Vec<ServerId>>,
    /// When the key stops working, in the future. If left out, it works until it is revoked. A deployment can bound
    /// it, and then it is needed.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// An API key. Its text is shown only here.
#[derive(Debug, Serialize, ToSchema)]
struct CreatedApiKey {
    #[serde(flatten)]
    api_key: ApiKey,
    /// The key itself, to be sent as `x-runlayer-api-key`.
    #[schema(value_type = String)]
    key: ShownOnce,
}

/// Create an API key for the caller
///
/// A key that makes another gives it no more than it has itself: no other scopes or servers, and no later end.
#[utoipa::path(
    post,
    path = path::API_KEYS,
    operation_id = "create_api_key",
    tag = "API keys",
    request_body = CreateApiKey,
    responses((status = 201, body = CreatedApiKey), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn create(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Once(request, Json(body)): Once<Json<CreateApiKey>>,
) -> Result<(StatusCode, Json<CreatedApiKey>)> {
    let CreateApiKey { name, scopes, server_ids, expires_at } = body;
    let scopes = scopes.map(|KeyScopes(scopes)| scopes);
    let new = NewApiKey { name: name.into(), scopes, server_ids, expires_at };
    let (key, text) = api_keys::create(&core, &caller, &request, new).await?;
    Ok((StatusCode::CREATED, Json(CreatedApiKey { api_key: key.into(), key: ShownOnce(text) })))
}

/// Revoke one of the caller's API keys
///
/// The key is refused from the next call on.
#[utoipa::path(
    delete,
    path = path::API_KEY,
    operation_id = "revoke_my_api_key",
    tag = "API keys",
    params(("api_key_id" = Uuid, Path)),
    responses((status = 204), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn revoke_mine(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Changing(request): Changing,
    Path(id): Path<ApiKeyId>,
    _: NoBody,
) -> Result<StatusCode> {
    api_keys::revoke(&core, &caller, &request, caller.user.id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A user's API keys
///
/// Auditors, operators and admins see every user's keys. Other users see their own.
#[utoipa::path(
    get,
    path = path::USER_API_KEYS,
    operation_id = "list_user_api_keys",
    tag = "API keys",
    params(("user_id" = Uuid, Path), PagingParams),
    responses((status = 200, body = Vec<ApiKey>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list_for_user(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(owner): Path<UserId>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<ApiKey>> {
    let keys = api_keys::list(&core, &caller, owner, &page).await?;
    Ok(Paged::new(&uri, keys, ApiKey::from))
}

/// Revoke a user's API key
///
/// Operators and admins can revoke every user's keys, other users their own. The key is refused from the next call on.
#[utoipa::path(
    delete,
    path = path::USER_API_KEY,
    operation_id = "revoke_user_api_key",
    tag = "API keys",
    params(("user_id" = Uuid, Path), ("api_key_id" = Uuid, Path)),
    responses((status = 204), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn revoke_for_user(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Changing(request): Changing,
    Path((owner, id)): Path<(UserId, ApiKeyId)>,
    _: NoBody,
) -> Result<StatusCode> {
    api_keys::revoke(&core, &caller, &request, owner, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
