//! `/api/v1/api-keys` and `/api/v1/users/{user_id}/api-keys`: a user's API keys. Users manage their own keys, admins
//! those of every user.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core, api_keys,
    clock::Timestamp,
    ids::{ApiKeyId, UserId},
};
use deputize_service::{
    Errors, Paged, Result,
    extract::{Context, Json, NoBody, Paging, PagingParams, Path, User},
    handlers,
    routes::Routes,
};
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{bounds::Name, shown_once::ShownOnce};

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
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When the key stops working. `null` if it works until it is revoked.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    expires_at: Option<Timestamp>,
}

impl From<api_keys::ApiKey> for ApiKey {
    fn from(key: api_keys::ApiKey) -> Self {
        let api_keys::ApiKey { id, user_id, name, hash: _, created_at, expires_at } = key;
        Self { id, name, user_id, created_at, expires_at }
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
    /// When the key stops working, in the future. If left out, it works until it is revoked.
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
#[utoipa::path(
    post,
    path = path::API_KEYS,
    operation_id = "create_api_key",
    tag = "API keys",
    request_body = CreateApiKey,
    responses((status = 201, body = CreatedApiKey), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn create(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Json(body): Json<CreateApiKey>,
) -> Result<(StatusCode, Json<CreatedApiKey>)> {
    let CreateApiKey { name, expires_at } = body;
    let (key, text) = api_keys::create(&core, &caller, &request, name.into(), expires_at).await?;
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
    responses((status = 204), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn revoke_mine(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Path(id): Path<ApiKeyId>,
    _: NoBody,
) -> Result<StatusCode> {
    api_keys::revoke(&core, &caller, &request, caller.user.id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A user's API keys
///
/// Admins see every user's keys. Other users see their own.
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
/// Admins can revoke every user's keys, other users their own. The key is refused from the next call on.
#[utoipa::path(
    delete,
    path = path::USER_API_KEY,
    operation_id = "revoke_user_api_key",
    tag = "API keys",
    params(("user_id" = Uuid, Path), ("api_key_id" = Uuid, Path)),
    responses((status = 204), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn revoke_for_user(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Path((owner, id)): Path<(UserId, ApiKeyId)>,
    _: NoBody,
) -> Result<StatusCode> {
    api_keys::revoke(&core, &caller, &request, owner, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
