//! `/api/v1/authorizations` and `/api/v1/users/{user_id}/authorizations`: what users allowed apps. Users see and revoke
//! their own, admins those of every user.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core,
    apps::{AppKind, Authorization},
    authorizations,
    clock::Timestamp,
    ids::{AuthorizationId, UserId},
};
use deputize_service::{
    Changed, Changing, Errors, Paged, Result,
    extract::{NoBody, Paging, PagingParams, Path, User},
    handlers,
    routes::Routes,
};
use http::{StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new()
        .mount(handlers!(list_mine(PagingParams)))
        .mount(handlers!(revoke_mine))
        .mount(handlers!(list_for_user(PagingParams)))
        .mount(handlers!(revoke_for_user))
}

/// How an app became known.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum KindOfApp {
    /// By its metadata document: `app_host` is proven.
    Document,
    /// By dynamic registration: nothing is proven.
    Dynamic,
    /// By an admin.
    Registered,
}

/// What a user allowed an app.
#[derive(Debug, Serialize, ToSchema)]
struct AppAuthorization {
    #[schema(value_type = Uuid)]
    id: AuthorizationId,
    #[schema(value_type = Uuid)]
    user_id: UserId,
    /// The app's, or the digest of a long one.
    client_id: String,
    app_kind: KindOfApp,
    /// What the app calls itself, or the admin calls it.
    #[schema(required)]
    app_name: Option<String>,
    /// The host that it is from. `null` of a program on the user's computer.
    #[schema(required)]
    app_host: Option<String>,
    resource: String,
    scope: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When the user last allowed it.
    #[schema(value_type = String, format = DateTime)]
    allowed_at: Timestamp,
    /// When tokens were last issued for it.
    #[schema(value_type = String, format = DateTime)]
    used_at: Timestamp,
    /// When it ends if it is not used any more.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl AppAuthorization {
    fn of(core: &Core, given: Authorization) -> Self {
        let app_kind = match given.app_kind {
            AppKind::Document => KindOfApp::Document,
            AppKind::Dynamic => KindOfApp::Dynamic,
            AppKind::Registered => KindOfApp::Registered,
        };
        Self {
            expires_at: given.expires_at(),
            id: given.id,
            user_id: given.user_id,
            client_id: given.app.as_str().to_owned(),
            app_kind,
            app_name: given.app_name,
            app_host: given.app_host,
            resource: given.resource.name(&core.settings),
            scope: given.scope.to_string(),
            created_at: given.created_at,
            allowed_at: given.allowed_at,
            used_at: given.used_at,
        }
    }
}

/// What the caller allowed apps
#[utoipa::path(
    get,
    path = path::AUTHORIZATIONS,
    operation_id = "list_my_authorizations",
    tag = "apps",
    params(PagingParams),
    responses((status = 200, body = Vec<AppAuthorization>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list_mine(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<AppAuthorization>> {
    let listed = authorizations::list(&core, &caller, caller.user.id, &page).await?;
    Ok(Paged::new(&uri, listed, |given| AppAuthorization::of(&core, given)))
}

/// Revoke what the caller allowed an app
///
/// All tokens that rest on it are refused from the next call on. An app can revoke only the one that it rests on.
#[utoipa::path(
    delete,
    path = path::AUTHORIZATION,
    operation_id = "revoke_my_authorization",
    tag = "apps",
    params(("authorization_id" = Uuid, Path)),
    responses((status = 204), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn revoke_mine(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Changing(request): Changing,
    Path(id): Path<AuthorizationId>,
    _: NoBody,
) -> Result<StatusCode> {
    authorizations::revoke(&core, &caller, &request, caller.user.id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a user allowed apps
///
/// Auditors, operators and admins see every user's, other users their own.
#[utoipa::path(
    get,
    path = path::USER_AUTHORIZATIONS,
    operation_id = "list_user_authorizations",
    tag = "apps",
    params(("user_id" = Uuid, Path), PagingParams),
    responses((status = 200, body = Vec<AppAuthorization>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list_for_user(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(owner): Path<UserId>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<AppAuthorization>> {
    let listed = authorizations::list(&core, &caller, owner, &page).await?;
    Ok(Paged::new(&uri, listed, |given| AppAuthorization::of(&core, given)))
}

/// Revoke what a user allowed an app
///
/// Operators and admins can revoke every user's, other users their own.
#[utoipa::path(
    delete,
    path = path::USER_AUTHORIZATION,
    operation_id = "revoke_user_authorization",
    tag = "apps",
    params(("user_id" = Uuid, Path), ("authorization_id" = Uuid, Path)),
    responses((status = 204), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn revoke_for_user(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Changing(request): Changing,
    Path((owner, id)): Path<(UserId, AuthorizationId)>,
    _: NoBody,
) -> Result<StatusCode> {
    authorizations::revoke(&core, &caller, &request, owner, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
