//! `/api/v1/agent-accounts`: agent accounts and their client secrets.

use std::sync::Arc;

use axum::extract::State;
use deputize_core::{
    Core,
    agents::{self, AgentUpdate, IssuedSecret, NewAgentAccount},
    clock::Timestamp,
    ids::{AgentAccountId, SecretId, UserId},
    origins::Origin,
};
use deputize_service::{
    Errors, Paged, Result,
    extract::{Context, Json, Paging, PagingParams, Path, User},
    handlers,
    routes::Routes,
};
use http::{StatusCode, Uri};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::{
    bounds::{Groups, Name, Origins},
    shown_once::ShownOnce,
};

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new()
        .mount(handlers!(list, create))
        .mount(handlers!(get, update))
        .mount(handlers!(list_secrets, add_secret))
        .mount(handlers!(revoke_secret))
}

/// An agent account, for those who manage it.
#[derive(Debug, Serialize, ToSchema)]
struct AgentAccount {
    /// Also its OAuth `client_id`.
    #[schema(value_type = Uuid)]
    id: AgentAccountId,
    name: String,
    /// A disabled account gets no tokens, and those it has are refused.
    active: bool,
    #[schema(value_type = Uuid)]
    owner_user_id: UserId,
    /// The groups that policies can name.
    groups: Vec<String>,
    /// The origins whose web pages may use its credentials, of those that the deployment allows; `null` for all of
    /// these. What is no page is not concerned.
    #[schema(value_type = Option<Vec<String>>, required)]
    allowed_origins: Option<Vec<Origin>>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<agents::AgentAccount> for AgentAccount {
    fn from(account: agents::AgentAccount) -> Self {
        let agents::AgentAccount {
            id,
            name,
            owner_user_id,
            active,
            groups,
            allowed_origins,
            secrets: _,
            keys: _,
            created_at,
            updated_at,
        } = account;
        Self { id, name, active, owner_user_id, groups, allowed_origins, created_at, updated_at }
    }
}

/// An agent account, for those who can delegate to it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AgentAccountSummary {
    #[schema(value_type = Uuid)]
    id: AgentAccountId,
    name: String,
    active: bool,
}

/// The agent accounts that the caller manages
///
/// All of them for admins, their own for others.
#[utoipa::path(
    get,
    path = "/api/v1/agent-accounts",
    operation_id = "list_agent_accounts",
    tag = "agent accounts",
    params(PagingParams),
    responses((status = 200, body = Vec<AgentAccount>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<AgentAccount>> {
    Ok(Paged::new(&uri, agents::list(&core, &caller, &page).await?, AgentAccount::from))
}

#[derive(Debug, Deserialize, ToSchema)]
struct CreateAgentAccount {
    name: Name,
    /// Who manages it beside the admins; the caller if left out.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    owner_user_id: Option<UserId>,
    /// None if left out.
    #[serde(default)]
    groups: Option<Groups>,
    /// Whose web pages may use its credentials, of those that the deployment allows: all of these if left out, none if
    /// empty.
    #[serde(default)]
    allowed_origins: Option<Origins>,
}

/// An agent account with its first client secret, at the only time that its text is known.
#[derive(Debug, Serialize, ToSchema)]
struct CreatedAgentAccount {
    #[serde(flatten)]
    account: AgentAccount,
    /// The same as `id`.
    #[schema(value_type = Uuid)]
    client_id: AgentAccountId,
    #[schema(value_type = String)]
    client_secret: ShownOnce,
    #[schema(value_type = Uuid)]
    client_secret_id: SecretId,
}

/// Create an agent account
///
/// Admins only.
#[utoipa::path(
    post,
    path = "/api/v1/agent-accounts",
    operation_id = "create_agent_account",
    tag = "agent accounts",
    request_body = CreateAgentAccount,
    responses((status = 201, body = CreatedAgentAccount), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn create(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Json(body): Json<CreateAgentAccount>,
) -> Result<(StatusCode, Json<CreatedAgentAccount>)> {
    let CreateAgentAccount { name, owner_user_id, groups, allowed_origins } = body;
    let new = NewAgentAccount {
        name: name.into(),
        owner_user_id,
        groups: groups.unwrap_or_default().into(),
        allowed_origins: allowed_origins.map(Vec::from),
    };
    let (account, IssuedSecret { secret, text }) = agents::create(&core, &caller, &request, new).await?;
    let created = CreatedAgentAccount {
        client_id: account.id,
        client_secret: ShownOnce(text),
        client_secret_id: secret.id,
        account: account.into(),
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// Any user sees what they can delegate to; the rest is for those who manage it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum VisibleAgentAccount {
    Managed(AgentAccount),
    Summary(AgentAccountSummary),
}

/// An agent account
///
/// Admins and its owner see all of it, others what it is called and whether it is active.
#[utoipa::path(
    get,
    path = "/api/v1/agent-accounts/{agent_account_id}",
    operation_id = "get_agent_account",
    tag = "agent accounts",
    params(("agent_account_id" = Uuid, Path)),
    responses((status = 200, body = VisibleAgentAccount), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn get(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(id): Path<AgentAccountId>,
) -> Result<Json<VisibleAgentAccount>> {
    let account = agents::get(&core, id).await?.value;
    Ok(Json(if caller.manages(&account) {
        VisibleAgentAccount::Managed(account.into())
    } else {
        let agents::AgentAccount { id, name, active, .. } = account;
        VisibleAgentAccount::Summary(AgentAccountSummary { id, name, active })
    }))
}

/// What to change; what is left out stays as it is, and so does what is `null`, but for `allowed_origins`.
#[derive(Debug, Deserialize, ToSchema)]
#[allow(clippy::option_option, reason = "left out, null and a list are three things")]
struct UpdateAgentAccount {
    #[serde(default)]
    name: Option<Name>,
    #[serde(default)]
    active: Option<bool>,
    /// Admins only: policies decide by them.
    #[serde(default)]
    groups: Option<Groups>,
    /// Whose web pages may use its credentials, of those that the deployment allows; `null` for all of these.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Origins>)]
    allowed_origins: Option<Option<Origins>>,
}

/// A field whose `null` says something: only what is left out is `None`.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Change an agent account
///
/// Admins and its owner. In force from the agent's next call on.
#[utoipa::path(
    patch,
    path = "/api/v1/agent-accounts/{agent_account_id}",
    operation_id = "update_agent_account",
    tag = "agent accounts",
    params(("agent_account_id" = Uuid, Path)),
    request_body = UpdateAgentAccount,
    responses((status = 200, body = AgentAccount), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn update(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Path(id): Path<AgentAccountId>,
    Json(body): Json<UpdateAgentAccount>,
) -> Result<Json<AgentAccount>> {
    let UpdateAgentAccount { name, active, groups, allowed_origins } = body;
    let update = AgentUpdate {
        name: name.map(String::from),
        active,
        groups: groups.map(Vec::from),
        allowed_origins: allowed_origins.map(|origins| origins.map(Vec::from)),
    };
    Ok(Json(agents::update(&core, &caller, &request, id, update).await?.into()))
}

/// A client secret, without its text.
#[derive(Debug, Serialize, ToSchema)]
struct ClientSecret {
    #[schema(value_type = Uuid)]
    id: SecretId,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Until when it works; `null` for until it is revoked.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    expires_at: Option<Timestamp>,
}

impl From<agents::ClientSecret> for ClientSecret {
    fn from(secret: agents::ClientSecret) -> Self {
        let agents::ClientSecret { id, hash: _, created_at, expires_at } = secret;
        Self { id, created_at, expires_at }
    }
}

/// An agent account's client secrets
///
/// Two at most, for rotation. Admins and the account's owner.
#[utoipa::path(
    get,
    path = "/api/v1/agent-accounts/{agent_account_id}/secrets",
    operation_id = "list_client_secrets",
    tag = "agent accounts",
    params(("agent_account_id" = Uuid, Path)),
    responses((status = 200, body = Vec<ClientSecret>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list_secrets(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(id): Path<AgentAccountId>,
) -> Result<Json<Vec<ClientSecret>>> {
    let secrets = agents::list_secrets(&core, &caller, id).await?;
    Ok(Json(secrets.into_iter().map(ClientSecret::from).collect()))
}

/// All of it may be left out, the body too; `null` is the same as no body.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct AddClientSecret {
    /// Until when, in the future; until it is revoked if left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// A client secret at the only time that its text is known.
#[derive(Debug, Serialize, ToSchema)]
struct AddedClientSecret {
    #[serde(flatten)]
    secret: ClientSecret,
    #[schema(value_type = String)]
    client_secret: ShownOnce,
}

/// Add a client secret
///
/// Admins and the account's owner. 409 if there are two live ones already.
#[utoipa::path(
    post,
    path = "/api/v1/agent-accounts/{agent_account_id}/secrets",
    operation_id = "add_client_secret",
    tag = "agent accounts",
    params(("agent_account_id" = Uuid, Path)),
    request_body = Option<AddClientSecret>,
    responses((status = 201, body = AddedClientSecret), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn add_secret(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Path(id): Path<AgentAccountId>,
    body: Option<Json<Option<AddClientSecret>>>,
) -> Result<(StatusCode, Json<AddedClientSecret>)> {
    let AddClientSecret { expires_at } = body.and_then(|Json(body)| body).unwrap_or_default();
    let IssuedSecret { secret, text } = agents::add_secret(&core, &caller, &request, id, expires_at).await?;
    Ok((
        StatusCode::CREATED,
        Json(AddedClientSecret { secret: secret.into(), client_secret: ShownOnce(text) }),
    ))
}

/// Revoke a client secret
///
/// Admins and the account's owner. Tokens that were issued under it are refused from the next call on.
#[utoipa::path(
    delete,
    path = "/api/v1/agent-accounts/{agent_account_id}/secrets/{secret_id}",
    operation_id = "revoke_client_secret",
    tag = "agent accounts",
    params(("agent_account_id" = Uuid, Path), ("secret_id" = Uuid, Path)),
    responses((status = 204), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn revoke_secret(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Path((id, secret)): Path<(AgentAccountId, SecretId)>,
) -> Result<StatusCode> {
    agents::revoke_secret(&core, &caller, &request, id, secret).await?;
    Ok(StatusCode::NO_CONTENT)
}
