//! `/api/v1/agent-accounts`: agent accounts and their client secrets.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core,
    agents::{self, AgentUpdate, IssuedSecret, NewAgentAccount},
    caller::Power,
    clock::Timestamp,
    ids::{AgentAccountId, SecretId, UserId},
    origins::Origin,
};
use deputize_service::{
    Errors, Paged, Result,
    extract::{Context, Json, NoBody, Paging, PagingParams, Path, User},
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
        .mount(handlers!(list(PagingParams), create))
        .mount(handlers!(get, update))
        .mount(handlers!(list_secrets, add_secret))
        .mount(handlers!(revoke_secret))
}

/// An agent account, for users who manage it.
#[derive(Debug, Serialize, ToSchema)]
struct AgentAccount {
    /// Also the account's OAuth `client_id`.
    #[schema(value_type = Uuid)]
    id: AgentAccountId,
    name: String,
    /// A disabled account gets no tokens. The tokens that it has are refused, also after it is enabled again.
    active: bool,
    /// Who disabled the account, while it is disabled. If an `admin` disabled it, only an admin can enable it. It is
    /// also `null` for an account that was disabled before this was kept, possibly by an admin.
    #[schema(required)]
    disabled_by: Option<DisabledBy>,
    #[schema(value_type = Uuid)]
    owner_user_id: UserId,
    /// The groups that policies can name.
    groups: Vec<String>,
    /// The origins whose web pages may use the account's credentials, out of the origins that the deployment allows.
    /// `null` for all of these. Callers that are not web pages are not affected.
    #[schema(value_type = Option<Vec<String>>, required)]
    allowed_origins: Option<Vec<Origin>>,
    shared_grants: SharedGrants,
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
            disabled_by,
            epoch: _,
            groups,
            allowed_origins,
            shared_grants,
            secrets: _,
            keys: _,
            created_at,
            updated_at,
        } = account;
        Self {
            id,
            name,
            active,
            disabled_by: disabled_by.map(DisabledBy::from),
            owner_user_id,
            groups,
            allowed_origins,
            shared_grants: shared_grants.into(),
            created_at,
            updated_at,
        }
    }
}

/// The role in which a user disabled an agent account.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum DisabledBy {
    Admin,
    Owner,
}

impl From<agents::DisabledBy> for DisabledBy {
    fn from(by: agents::DisabledBy) -> Self {
        match by {
            agents::DisabledBy::Admin => Self::Admin,
            agents::DisabledBy::Owner => Self::Owner,
        }
    }
}

/// Whose session grant can be the shared one. Users without a grant of their own use the shared grant. Making a grant
/// the shared one revokes all others.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SharedGrants {
    /// Every user with an OAuth session at the server.
    Anyone,
    /// The account's owner, and admins. A grant that another user has shared serves only that user.
    Managers,
}

impl From<agents::SharedGrants> for SharedGrants {
    fn from(shared_grants: agents::SharedGrants) -> Self {
        match shared_grants {
            agents::SharedGrants::Anyone => Self::Anyone,
            agents::SharedGrants::Managers => Self::Managers,
        }
    }
}

impl From<SharedGrants> for agents::SharedGrants {
    fn from(shared_grants: SharedGrants) -> Self {
        match shared_grants {
            SharedGrants::Anyone => Self::Anyone,
            SharedGrants::Managers => Self::Managers,
        }
    }
}

/// An agent account, for users who can delegate to it.
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
/// Admins see all accounts. Other users see their own.
#[utoipa::path(
    get,
    path = path::AGENT_ACCOUNTS,
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
#[serde(deny_unknown_fields)]
struct CreateAgentAccount {
    name: Name,
    /// The user who manages the account beside the admins. The caller if left out.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    owner_user_id: Option<UserId>,
    /// No groups if left out.
    #[serde(default)]
    groups: Option<Groups>,
    /// The origins whose web pages may use the account's credentials, out of the origins that the deployment allows.
    /// All of these if left out, none if empty.
    #[serde(default)]
    allowed_origins: Option<Origins>,
    /// The deployment's default if left out. This is `anyone`, unless the deployment has set another.
    #[serde(default)]
    shared_grants: Option<SharedGrants>,
}

/// An agent account with its first client secret. The secret's text is shown only here.
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
    path = path::AGENT_ACCOUNTS,
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
    let CreateAgentAccount { name, owner_user_id, groups, allowed_origins, shared_grants } = body;
    let new = NewAgentAccount {
        name: name.into(),
        owner_user_id,
        groups: groups.unwrap_or_default().into(),
        allowed_origins: allowed_origins.map(Vec::from),
        shared_grants: shared_grants.map(Into::into),
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

/// Every user sees the part that is needed to delegate. Only users who manage the account see the rest.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum VisibleAgentAccount {
    Managed(AgentAccount),
    Summary(AgentAccountSummary),
}

/// An agent account
///
/// Admins and its owner see all of it. Other users see its name and whether it is active.
#[utoipa::path(
    get,
    path = path::AGENT_ACCOUNT,
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
    Ok(Json(if caller.may(Power::Read, &account) {
        VisibleAgentAccount::Managed(account.into())
    } else {
        let agents::AgentAccount { id, name, active, .. } = account;
        VisibleAgentAccount::Summary(AgentAccountSummary { id, name, active })
    }))
}

/// The fields to change. A field that is left out stays as it is. So does a field that is `null`, except
/// `allowed_origins`.
#[derive(Debug, Deserialize, ToSchema)]
#[allow(clippy::option_option, reason = "left out, null and a list are three things")]
#[serde(deny_unknown_fields)]
struct UpdateAgentAccount {
    #[serde(default)]
    name: Option<Name>,
    /// If an admin has disabled the account, only an admin can enable it.
    #[serde(default)]
    active: Option<bool>,
    /// Admins only. The user who manages the account from now on. The user must exist and be active.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    owner_user_id: Option<UserId>,
    /// Admins only, since policies decide by groups.
    #[serde(default)]
    groups: Option<Groups>,
    /// The origins whose web pages may use the account's credentials, out of the origins that the deployment allows.
    /// `null` for all of these.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Origins>)]
    allowed_origins: Option<Option<Origins>>,
    /// Only admins can change `managers` to `anyone`.
    #[serde(default)]
    shared_grants: Option<SharedGrants>,
}

/// A field whose `null` has a meaning. Only a field that is left out is `None`.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Change an agent account
///
/// Admins and its owner. Takes effect from the agent's next call.
#[utoipa::path(
    patch,
    path = path::AGENT_ACCOUNT,
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
    let UpdateAgentAccount { name, active, owner_user_id, groups, allowed_origins, shared_grants } = body;
    let update = AgentUpdate {
        name: name.map(String::from),
        active,
        groups: groups.map(Vec::from),
        allowed_origins: allowed_origins.map(|origins| origins.map(Vec::from)),
        owner_user_id,
        shared_grants: shared_grants.map(Into::into),
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
    /// When the secret stops working. `null` if it works until it is revoked.
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
/// At most two, for rotation. Admins and the account's owner.
#[utoipa::path(
    get,
    path = path::CLIENT_SECRETS,
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

/// Every field may be left out, and so may the body. `null` is the same as no body.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddClientSecret {
    /// When the secret stops working, in the future. If left out, it works until it is revoked.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// A client secret. Its text is shown only here.
#[derive(Debug, Serialize, ToSchema)]
struct AddedClientSecret {
    #[serde(flatten)]
    secret: ClientSecret,
    #[schema(value_type = String)]
    client_secret: ShownOnce,
}

/// Add a client secret
///
/// Admins and the account's owner. While an admin has the account disabled, admins only. 409 if there are two live
/// secrets already.
#[utoipa::path(
    post,
    path = path::CLIENT_SECRETS,
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
/// Admins and the account's owner. Tokens that were issued with the secret are refused from the next call on.
#[utoipa::path(
    delete,
    path = path::CLIENT_SECRET,
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
    _: NoBody,
) -> Result<StatusCode> {
    agents::revoke_secret(&core, &caller, &request, id, secret).await?;
    Ok(StatusCode::NO_CONTENT)
}
