//! `/api/v1/agent-accounts`: agent accounts and their client secrets.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core, Error,
    agents::{self, AgentFilter, AgentOrder, AgentUpdate, AvailableFilter, IssuedSecret, NewAgentAccount},
    caller::Power,
    clock::Timestamp,
    ids::{AgentAccountId, SecretId, UserId},
    origins::Origin,
    table::{Key, Stored},
};
use deputize_service::{
    Changed, Changing, Errors, IfMatch, KeyReused, Once, Paged, Result, Tagged,
    bounds::{Description, Group, Groups, HttpsUrl, Name, Origins},
    extract::{Json, NoBody, Paging, PagingParams, Path, Query, User},
    handlers,
    routes::Routes,
};
use http::{StatusCode, Uri};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    owners::{AccountOwner, Owners, ShownOwner},
    shown_once::ShownOnce,
    visibility::{Visibility, VisibleTo, visibility},
};

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new()
        .mount(handlers!(list(ListFilter, PagingParams), create))
        .mount(handlers!(list_available(AvailableParams, PagingParams)))
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
    /// What it is for, if somebody said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Where to read more about it, if somebody said so: an https address that the account's owner or an admin gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// A disabled account gets no tokens. The tokens that it has are refused, also after it is enabled again.
    active: bool,
    /// Who disabled the account, while it is disabled. If an `admin` disabled it, only an admin can enable it; if an
    /// `operator` did, an operator or an admin. It is also `null` for an account that was disabled before this was kept, possibly by an admin.
    #[schema(required)]
    disabled_by: Option<DisabledBy>,
    /// Since when the account is disabled. `null` too if that was before this was kept.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    disabled_at: Option<Timestamp>,
    /// The first user among the owners. `null` if only groups own the account.
    #[schema(value_type = Option<Uuid>, required)]
    owner_user_id: Option<UserId>,
    /// All owners: users, and groups whose members own the account.
    #[schema(value_type = Vec<AccountOwner>)]
    owners: Vec<ShownOwner>,
    /// The groups that policies can name.
    groups: Vec<String>,
    /// The origins whose web pages may use the account's credentials, out of the origins that the deployment allows.
    /// `null` for all of these. Callers that are not web pages are not affected.
    #[schema(value_type = Option<Vec<String>>, required)]
    allowed_origins: Option<Vec<Origin>>,
    shared_grants: SharedGrants,
    visibility: Visibility,
    /// With visibility `groups`: the groups whose users may know of the account. Otherwise empty.
    visible_to_groups: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<agents::AgentAccount> for AgentAccount {
    fn from(account: agents::AgentAccount) -> Self {
        let (owner_user_id, owners) = (account.owner_user_id(), account.owners());
        let agents::AgentAccount {
            id,
            name,
            description,
            url,
            active,
            disabled_by,
            disabled_at,
            epoch: _,
            groups,
            allowed_origins,
            shared_grants,
            visibility,
            secrets: _,
            keys: _,
            created_at,
            updated_at,
            ..
        } = account;
        let (visibility, visible_to_groups) = Visibility::shown(visibility);
        Self {
            id,
            name,
            description,
            url,
            active,
            disabled_by: disabled_by.map(DisabledBy::from),
            disabled_at,
            owner_user_id,
            owners: owners.into_iter().map(ShownOwner::from).collect(),
            groups,
            allowed_origins,
            shared_grants: shared_grants.into(),
            visibility,
            visible_to_groups,
            created_at,
            updated_at,
        }
    }
}

/// The role in which somebody disabled an agent account, or deactivated a user.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DisabledBy {
    Admin,
    Operator,
    Owner,
}

impl From<agents::StoppedBy> for DisabledBy {
    fn from(by: agents::StoppedBy) -> Self {
        match by {
            agents::StoppedBy::Admin => Self::Admin,
            agents::StoppedBy::Operator => Self::Operator,
            agents::StoppedBy::Owner => Self::Owner,
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
    /// The account's owners, and admins. A grant that another user has shared serves only that user.
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
    /// What it is for, if somebody said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Where to read more about it, if somebody said so: an https address that the account's owner or an admin gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    active: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListFilter {
    /// Only accounts whose name begins so, in any case.
    #[param(value_type = Option<String>, max_length = 200)]
    name_prefix: Option<Name>,
    /// Only accounts of this owner. Only admins may name another user than themselves.
    #[param(value_type = Option<Uuid>)]
    owner_user_id: Option<UserId>,
    active: Option<bool>,
    /// Only accounts in this group.
    #[param(value_type = Option<String>, max_length = 128)]
    group: Option<Group>,
    /// `false`: only accounts all of whose owners are deactivated; `true`: only the others. A group counts as active. The list
    /// is sorted by name.
    owner_active: Option<bool>,
    /// By `id` or `name`. If left out, by name if anything is filtered, or else by id.
    #[param(inline)]
    sort: Option<Order>,
}

/// What agent accounts are sorted by.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    Id,
    Name,
}

impl From<ListFilter> for AgentFilter {
    fn from(filter: ListFilter) -> Self {
        let ListFilter { name_prefix, owner_user_id, active, group, owner_active, sort } = filter;
        let sort = sort.map(|order| match order {
            Order::Id => AgentOrder::Id,
            Order::Name => AgentOrder::Name,
        });
        let (name_prefix, group) = (name_prefix.map(String::from), group.map(String::from));
        Self { name_prefix, owner_user_id, active, group, owner_active, sort }
    }
}

/// The agent accounts that the caller manages
///
/// Auditors, operators and admins see all accounts. Other users see those that they own, by themselves or by a group. A
/// page can hold fewer accounts than asked for while there are more: follow `Link`.
#[utoipa::path(
    get,
    path = path::AGENT_ACCOUNTS,
    operation_id = "list_agent_accounts",
    tag = "agent accounts",
    params(ListFilter, PagingParams),
    responses((status = 200, body = Vec<AgentAccount>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Query(filter): Query<ListFilter>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<AgentAccount>> {
    let accounts = agents::list(&core, &caller, &filter.into(), &page).await?;
    Ok(Paged::new(&uri, accounts, AgentAccount::from))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AvailableParams {
    /// Only agents whose name begins so, in any case.
    #[param(value_type = Option<String>, max_length = 200)]
    name_prefix: Option<Name>,
}

/// The agents that the caller can delegate to
///
/// The active ones of which the caller may know: those that are visible to everyone or to a group of the caller's, and the
/// caller's own; for admins all. By name.
#[utoipa::path(
    get,
    path = path::AVAILABLE_AGENTS,
    operation_id = "list_available_agents",
    tag = "agent accounts",
    params(AvailableParams, PagingParams),
    responses((status = 200, body = Vec<AgentAccountSummary>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list_available(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Query(AvailableParams { name_prefix }): Query<AvailableParams>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<AgentAccountSummary>> {
    let filter = AvailableFilter { name_prefix: name_prefix.map(String::from) };
    let accounts = agents::available(&core, &caller, &filter, &page).await?;
    Ok(Paged::new(&uri, accounts, |account| {
        let agents::AgentAccount { id, name, description, url, active, .. } = account;
        AgentAccountSummary { id, name, description, url, active }
    }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateAgentAccount {
    name: Name,
    /// Shown to everybody who can delegate to it.
    #[serde(default)]
    description: Option<Description>,
    /// An https address where people read more about it.
    #[serde(default)]
    url: Option<HttpsUrl>,
    /// The user who manages the account beside the admins. The caller if left out.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    owner_user_id: Option<UserId>,
    /// In place of `owner_user_id`: users, and groups whose members manage the account.
    #[serde(default)]
    owners: Option<Owners>,
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
    /// `everyone` if left out.
    #[serde(default)]
    visibility: Option<Visibility>,
    /// With visibility `groups`, and then needed.
    #[serde(default)]
    visible_to_groups: Option<VisibleTo>,
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
/// Admins only. If an API key that expires creates it, the first client secret expires with the key.
#[utoipa::path(
    post,
    path = path::AGENT_ACCOUNTS,
    operation_id = "create_agent_account",
    tag = "agent accounts",
    request_body = CreateAgentAccount,
    responses((status = 201, body = CreatedAgentAccount), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn create(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Once(request, Json(body)): Once<Json<CreateAgentAccount>>,
) -> Result<Tagged<CreatedAgentAccount>> {
    let CreateAgentAccount {
        name,
        description,
        url,
        owner_user_id,
        owners,
        groups,
        allowed_origins,
        shared_grants,
        visibility: visible,
        visible_to_groups,
    } = body;
    let new = NewAgentAccount {
        name: name.into(),
        description: description.map(String::from),
        url: url.map(String::from),
        owner_user_id,
        owners: owners.map(Vec::from),
        groups: groups.unwrap_or_default().into(),
        allowed_origins: allowed_origins.map(Vec::from),
        shared_grants: shared_grants.map(Into::into),
        visibility: visibility(visible, visible_to_groups)?.unwrap_or_default(),
    };
    let (account, IssuedSecret { secret, text }) = agents::create(&core, &caller, &request, new).await?;
    let Stored { rev, value: account } = account;
    let (id, account) = (account.id, AgentAccount::from(account));
    let known = serde_json::to_value(&account).map_err(Error::internal)?;
    let created = CreatedAgentAccount {
        client_id: id,
        client_secret: ShownOnce(text),
        client_secret_id: secret.id,
        account,
    };
    let address = core.settings.address(path::AGENT_ACCOUNT, id);
    Ok(Tagged::new(&Key::agent(id), rev, created).known_as(&known)?.made_at(address))
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
/// Auditors, operators, admins and its owners see all of it. Other users see what they need to delegate to it, if its
/// `visibility` lets them know of it.
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
) -> Result<Tagged<VisibleAgentAccount>> {
    let Stored { rev, value: account } = agents::get_visible(&core, &caller, id).await?;
    let may_change = caller.may(Power::Manage, &account);
    let shown = if caller.may(Power::Read, &account) {
        VisibleAgentAccount::Managed(account.into())
    } else {
        let agents::AgentAccount { id, name, description, url, active, .. } = account;
        VisibleAgentAccount::Summary(AgentAccountSummary { id, name, description, url, active })
    };
    Ok(if may_change { Tagged::new(&Key::agent(id), rev, shown) } else { Tagged::shown(shown) })
}

/// The fields to change. A field that is left out stays as it is. So does a field that is `null`, except
/// `description`, `url` and `allowed_origins`.
#[derive(Debug, Deserialize, ToSchema)]
#[allow(clippy::option_option, reason = "left out, null and a list are three things")]
#[serde(deny_unknown_fields)]
struct UpdateAgentAccount {
    #[serde(default)]
    name: Option<Name>,
    /// `null` for none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Description>)]
    description: Option<Option<Description>>,
    /// An https address where people read more about it; `null` for none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<HttpsUrl>)]
    url: Option<Option<HttpsUrl>>,
    /// If an admin has disabled the account, only an admin can enable it; if an operator has, an operator or an admin.
    #[serde(default)]
    active: Option<bool>,
    /// Admins only. The user who manages the account from now on, in the place of the first one. Other owners stay. The
    /// user must exist and be active.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    owner_user_id: Option<UserId>,
    /// Admins only, since policies decide by owners. In place of `owner_user_id`: all owners from now on. Users who are
    /// new among them must exist and be active.
    #[serde(default)]
    owners: Option<Owners>,
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
    /// What users have delegated goes on, also if they may not know of the account any more.
    #[serde(default)]
    visibility: Option<Visibility>,
    /// With visibility `groups`, and then needed.
    #[serde(default)]
    visible_to_groups: Option<VisibleTo>,
}

/// A field whose `null` has a meaning. Only a field that is left out is `None`.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Change an agent account
///
/// Admins and its owners, and operators to change `active` alone. Takes effect from the agent's next call.
#[utoipa::path(
    patch,
    path = path::AGENT_ACCOUNT,
    operation_id = "update_agent_account",
    tag = "agent accounts",
    params(("agent_account_id" = Uuid, Path)),
    request_body = UpdateAgentAccount,
    responses((status = 200, body = AgentAccount), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn update(
    State(core): State<Arc<Core>>,
    User(caller): User,
    IfMatch(request): IfMatch,
    Path(id): Path<AgentAccountId>,
    Json(body): Json<UpdateAgentAccount>,
) -> Result<Tagged<AgentAccount>> {
    let UpdateAgentAccount {
        name,
        description,
        url,
        active,
        owner_user_id,
        owners,
        groups,
        allowed_origins,
        shared_grants,
        visibility: visible,
        visible_to_groups,
    } = body;
    let update = AgentUpdate {
        name: name.map(String::from),
        description: description.map(|text| text.map(String::from)),
        url: url.map(|url| url.map(String::from)),
        active,
        groups: groups.map(Vec::from),
        allowed_origins: allowed_origins.map(|origins| origins.map(Vec::from)),
        owner_user_id,
        owners: owners.map(Vec::from),
        shared_grants: shared_grants.map(Into::into),
        visibility: visibility(visible, visible_to_groups)?,
    };
    let Stored { rev, value: account } = agents::update(&core, &caller, &request, id, update).await?;
    Ok(Tagged::new(&Key::agent(id), rev, account.into()))
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
/// At most two, for rotation. Auditors, operators, admins and the account's owner.
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
/// Admins and the account's owner. While the account is disabled, only those who may enable it. 409 if there are two live
/// secrets already.
#[utoipa::path(
    post,
    path = path::CLIENT_SECRETS,
    operation_id = "add_client_secret",
    tag = "agent accounts",
    params(("agent_account_id" = Uuid, Path)),
    request_body = Option<AddClientSecret>,
    responses((status = 201, body = AddedClientSecret), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn add_secret(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(id): Path<AgentAccountId>,
    Once(request, body): Once<Option<Json<Option<AddClientSecret>>>>,
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
/// Operators, admins and the account's owner. Tokens that were issued with the secret are refused from the next call on.
#[utoipa::path(
    delete,
    path = path::CLIENT_SECRET,
    operation_id = "revoke_client_secret",
    tag = "agent accounts",
    params(("agent_account_id" = Uuid, Path), ("secret_id" = Uuid, Path)),
    responses((status = 204), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn revoke_secret(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Changing(request): Changing,
    Path((id, secret)): Path<(AgentAccountId, SecretId)>,
    _: NoBody,
) -> Result<StatusCode> {
    agents::revoke_secret(&core, &caller, &request, id, secret).await?;
    Ok(StatusCode::NO_CONTENT)
}
