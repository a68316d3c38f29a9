//! `/api/v1/apps` and `/api/v1/app-blocks`: apps that admins register, and what they block.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core, Error,
    apps::{
        self, App, AppAuth, AppRegistration, StoppedBy,
        blocks::{self, Blocked},
        registered::{self, AppUpdate, NewApp, NewProof},
    },
    caller::{Power, UserCaller},
    clock::Timestamp,
    ids::AppId,
    secret::shown_once,
    table::{Key, Stored},
};
use deputize_service::{
    Changed, Changing, Errors, IfMatch, KeyReused, Once, Paged, Result, Tagged,
    extract::{Json, NoBody, Paging, PagingParams, Path, User},
    handlers,
    routes::Routes,
};
use http::{StatusCode, Uri};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new()
        .mount(handlers!(list_apps(PagingParams), register_app))
        .mount(handlers!(get_app, update_app, delete_app))
        .mount(handlers!(rotate_app_secret))
        .mount(handlers!(list_app_blocks(PagingParams), block_app))
        .mount(handlers!(unblock_app))
}

/// How an app proves itself at the token endpoint (RFC 7591 section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AppAuthMethod {
    /// A public client.
    #[default]
    None,
    /// By a secret, in the form or by HTTP Basic.
    ClientSecret,
    PrivateKeyJwt,
}

/// An app that an admin registered.
#[derive(Debug, Serialize, ToSchema)]
struct RegisteredApp {
    client_id: String,
    name: String,
    redirect_uris: Vec<String>,
    auth_method: AppAuthMethod,
    /// Users who allowed it once are not asked again.
    trusted: bool,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    blocked_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<App> for RegisteredApp {
    fn from(app: App) -> Self {
        let App { id, registration, blocked_at, created_at } = app;
        let registration = registration.unwrap_or(AppRegistration {
            name: String::new(),
            redirect_uris: Vec::new(),
            auth: AppAuth::None,
            trusted: false,
        });
        let AppRegistration { name, redirect_uris, auth, trusted } = registration;
        let auth_method = match auth {
            AppAuth::None => AppAuthMethod::None,
            AppAuth::Secret { .. } => AppAuthMethod::ClientSecret,
            AppAuth::Keys { .. } => AppAuthMethod::PrivateKeyJwt,
        };
        let client_id = id.as_str().to_owned();
        Self { client_id, name, redirect_uris, auth_method, trusted, blocked_at, created_at }
    }
}

/// An app, and its secret if one was made.
#[derive(Debug, Serialize, ToSchema)]
struct AppWithSecret {
    #[serde(flatten)]
    app: RegisteredApp,
    /// Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
}

impl AppWithSecret {
    fn tagged(app: Stored<App>, secret: Option<SecretString>) -> deputize_core::Result<Tagged<Self>> {
        let (key, rev, shown) = (Key::app(&app.id), app.rev, RegisteredApp::from(app.value));
        let known = serde_json::to_value(&shown).map_err(Error::internal)?;
        let client_secret = secret.map(|secret| shown_once(&secret).to_owned());
        Tagged::new(&key, rev, Self { app: shown, client_secret }).known_as(&known)
    }
}

/// A set of public keys (RFC 7517 section 5).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RegisterApp {
    /// What users are shown. 1 to 60 characters.
    name: String,
    /// 1 to 20 addresses, as RFC 8252 and OAuth 2.1 have them.
    redirect_uris: Vec<String>,
    #[serde(default)]
    auth_method: AppAuthMethod,
    /// For `private_key_jwt`: its public keys, or else `jwks_uri`.
    #[serde(default, deserialize_with = "deputize_service::extract::object")]
    jwks: Option<KeySet>,
    #[serde(default)]
    jwks_uri: Option<String>,
    /// Users who allowed it once are not asked again. For apps whose redirect URIs are all https.
    #[serde(default)]
    trusted: bool,
}

/// The apps that admins registered
#[utoipa::path(
    get,
    path = path::APPS,
    operation_id = "list_apps",
    tag = "apps",
    params(PagingParams),
    responses((status = 200, body = Vec<RegisteredApp>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list_apps(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<RegisteredApp>> {
    Ok(Paged::new(&uri, registered::list(&core, &caller, &page).await?, RegisteredApp::from))
}

/// Register an app
///
/// Admins only. Its secret, if it has one, is shown only here.
#[utoipa::path(
    post,
    path = path::APPS,
    operation_id = "register_app",
    tag = "apps",
    request_body = RegisterApp,
    responses((status = 201, body = AppWithSecret), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn register_app(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Once(request, Json(body)): Once<Json<RegisterApp>>,
) -> Result<Tagged<AppWithSecret>> {
    let RegisterApp { name, redirect_uris, auth_method, jwks, jwks_uri, trusted } = body;
    let has_keys = jwks.is_some() || jwks_uri.is_some();
    let proof = match auth_method {
        AppAuthMethod::PrivateKeyJwt => {
            let sent = jwks.map(|set| set.keys).unwrap_or_default();
            let count = sent.len();
            let (keys, why) = apps::usable_keys(sent);
            if let Some(why) = why {
                return Err(Error::invalid(format!("jwks: a key in it cannot be used: {why}")).into());
            }
            if keys.len() < count {
                return Err(Error::invalid("jwks: there are more than 10 keys in it").into());
            }
            NewProof::Keys { keys, jwks_uri }
        }
        _ if has_keys => return Err(Error::invalid("jwks and jwks_uri go with private_key_jwt").into()),
        AppAuthMethod::None => NewProof::None,
        AppAuthMethod::ClientSecret => NewProof::Secret,
    };
    let new = NewApp { name, redirect_uris, proof, trusted };
    let (app, secret) = registered::register(&core, &caller, &request, new).await?;
    let address = core.settings.address(path::APP, &app.id);
    Ok(AppWithSecret::tagged(app, secret)?.made_at(address))
}

/// An app that an admin registered
#[utoipa::path(
    get,
    path = path::APP,
    operation_id = "get_app",
    tag = "apps",
    params(("client_id" = String, Path)),
    responses((status = 200, body = RegisteredApp), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn get_app(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(client_id): Path<String>,
) -> Result<Tagged<RegisteredApp>> {
    Ok(tagged(&caller, registered::get(&core, &caller, &app_id(&client_id)).await?))
}

fn tagged(caller: &UserCaller, Stored { rev, value }: Stored<App>) -> Tagged<RegisteredApp> {
    let (key, shown) = (Key::app(&value.id), value.into());
    if caller.has(Power::Manage) { Tagged::new(&key, rev, shown) } else { Tagged::shown(shown) }
}

fn app_id(client_id: &str) -> AppId {
    apps::app_id(client_id)
}

/// What is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateApp {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    redirect_uris: Option<Vec<String>>,
    #[serde(default)]
    trusted: Option<bool>,
}

/// Change an app
///
/// Admins only. It counts from the next request on.
#[utoipa::path(
    patch,
    path = path::APP,
    operation_id = "update_app",
    tag = "apps",
    params(("client_id" = String, Path)),
    request_body = UpdateApp,
    responses((status = 200, body = RegisteredApp), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn update_app(
    State(core): State<Arc<Core>>,
    User(caller): User,
    IfMatch(request): IfMatch,
    Path(client_id): Path<String>,
    Json(body): Json<UpdateApp>,
) -> Result<Tagged<RegisteredApp>> {
    let UpdateApp { name, redirect_uris, trusted } = body;
    let update = AppUpdate { name, redirect_uris, trusted, new_secret: false };
    let (app, _) = registered::update(&core, &caller, &request, &app_id(&client_id), update).await?;
    Ok(tagged(&caller, app))
}

/// Delete an app
///
/// Admins only. Its tokens are refused from the next call on.
#[utoipa::path(
    delete,
    path = path::APP,
    operation_id = "delete_app",
    tag = "apps",
    params(("client_id" = String, Path)),
    responses((status = 204), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn delete_app(
    State(core): State<Arc<Core>>,
    User(caller): User,
    IfMatch(request): IfMatch,
    Path(client_id): Path<String>,
    _: NoBody,
) -> Result<StatusCode> {
    registered::delete(&core, &caller, &request, &app_id(&client_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a new secret for an app
///
/// Admins only. The old secret is refused from the next request on. The new one is shown only here.
#[utoipa::path(
    post,
    path = path::APP_SECRET,
    operation_id = "rotate_app_secret",
    tag = "apps",
    params(("client_id" = String, Path)),
    responses((status = 200, body = AppWithSecret), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn rotate_app_secret(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(client_id): Path<String>,
    Once(request, _): Once<NoBody>,
) -> Result<Tagged<AppWithSecret>> {
    let update = AppUpdate { new_secret: true, ..AppUpdate::default() };
    let (app, secret) = registered::update(&core, &caller, &request, &app_id(&client_id), update).await?;
    Ok(AppWithSecret::tagged(app, secret)?)
}

/// An app, or all apps from a host, whose tokens are refused.
#[derive(Debug, Serialize, ToSchema)]
struct AppBlock {
    /// Names the block in its address.
    id: String,
    /// The app's, or the digest of a long one.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    blocked_at: Timestamp,
    /// In which role a user blocked it. Only an admin can end an `admin`'s block. It is left out of blocks that were made
    /// before this was kept, which count as an admin's.
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked_by: Option<BlockedBy>,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum BlockedBy {
    Operator,
    Admin,
}

impl BlockedBy {
    fn of(by: StoppedBy) -> Self {
        if by == StoppedBy::Admin { Self::Admin } else { Self::Operator }
    }
}

impl From<apps::Block> for AppBlock {
    fn from(block: apps::Block) -> Self {
        let id = block.of().map(|blocked| blocked.id()).unwrap_or_default();
        let apps::Block { app, host, blocked_at, blocked_by } = block;
        let client_id = app.map(|app| app.as_str().to_owned());
        Self { id, client_id, host, blocked_at, blocked_by: blocked_by.map(BlockedBy::of) }
    }
}

/// One of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BlockApp {
    #[serde(default)]
    client_id: Option<String>,
    /// The host of apps' documents and redirect URIs, at any port.
    #[serde(default)]
    host: Option<String>,
}

/// What admins blocked
#[utoipa::path(
    get,
    path = path::APP_BLOCKS,
    operation_id = "list_app_blocks",
    tag = "apps",
    params(PagingParams),
    responses((status = 200, body = Vec<AppBlock>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list_app_blocks(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<AppBlock>> {
    Ok(Paged::new(&uri, blocks::list(&core, &caller, &page).await?, AppBlock::from))
}

/// Block an app, or a host that apps are from
///
/// Operators and admins. Tokens of such an app are refused from the next call on. Blocking again changes nothing.
#[utoipa::path(
    post,
    path = path::APP_BLOCKS,
    operation_id = "block_app",
    tag = "apps",
    request_body = BlockApp,
    responses((status = 201, body = AppBlock), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn block_app(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Once(request, Json(body)): Once<Json<BlockApp>>,
) -> Result<(StatusCode, Json<AppBlock>)> {
    let blocked = match (&body.client_id, &body.host) {
        (Some(client_id), None) => Blocked::app(client_id)?,
        (None, Some(host)) => Blocked::host(host)?,
        _ => return Err(Error::invalid("Name either a client_id or a host").into()),
    };
    let block = blocks::add(&core, &caller, &request, &blocked).await?;
    Ok((StatusCode::CREATED, Json(block.into())))
}

/// End a block
///
/// Admins, and operators unless an admin made the block. Tokens within their time are good again.
#[utoipa::path(
    delete,
    path = path::APP_BLOCK,
    operation_id = "unblock_app",
    tag = "apps",
    params(("block_id" = String, Path)),
    responses((status = 204), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn unblock_app(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Changing(request): Changing,
    Path(id): Path<String>,
    _: NoBody,
) -> Result<StatusCode> {
    blocks::remove(&core, &caller, &request, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
