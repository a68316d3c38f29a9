//! A person, an agent and a server at a glance: who acts for them, or there, with whose credentials, and which policies
//! concern it. An agent's other lists are below its own path, at the functions that manage them.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::{
    connections::{Connection, Status},
    delegations::Delegation,
    path,
    session_grants::SessionGrant,
};
use deputize_core::{
    Core,
    apps::MadeByApp,
    browser_sessions,
    connections::{self, ConnectionFilter, ConnectionOfUser},
    delegations::{self, ActingAgent, DelegationFilter},
    ids::{AgentAccountId, AppId, AuthorizationId, ServerId, UserId},
    policies::{self, ConcerningPolicy},
    session_grants::{self, GrantFilter, GrantOfAgent},
};
use deputize_service::{
    Errors, Paged, Result,
    extract::{Paging, PagingParams, Path, Query, User},
    handlers,
    routes::Routes,
    shown,
};
use http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{browser_sessions::BrowserSession, policies::Policy};

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new()
        .mount(handlers!(user_delegations(DelegationParams, PagingParams)))
        .mount(handlers!(user_agents(AgentParams, PagingParams)))
        .mount(handlers!(user_session_grants(UserGrantParams, PagingParams)))
        .mount(handlers!(user_connections(ConnectionParams, PagingParams)))
        .mount(handlers!(user_sessions(PagingParams)))
        .mount(handlers!(server_delegations(ActiveParams, PagingParams)))
        .mount(handlers!(server_session_grants(ServerGrantParams, PagingParams)))
        .mount(handlers!(server_connections(ServerConnectionParams, PagingParams)))
        .mount(handlers!(server_policies(PagingParams)))
        .mount(handlers!(agent_policies(PagingParams)))
}

/// The app that made a delegation for its user. It ends with what the user allowed the app.
#[derive(Debug, Serialize, ToSchema)]
struct MadeBy {
    /// The app's `client_id`, or `sha256:` and the digest of a long one.
    #[schema(value_type = String)]
    client_id: AppId,
    /// The host that the app is from. None of a program on the user's computer.
    #[schema(required)]
    host: Option<String>,
    #[schema(value_type = Uuid)]
    authorization_id: AuthorizationId,
}

impl From<MadeByApp> for MadeBy {
    fn from(MadeByApp { authorization_id, app, app_host }: MadeByApp) -> Self {
        Self { client_id: app, host: app_host, authorization_id }
    }
}

/// A delegation, with the agent that it is to.
#[derive(Debug, Serialize, ToSchema)]
struct DelegationToAgent {
    #[serde(flatten)]
    delegation: Delegation,
    agent_name: String,
    /// Whether the agent account is active.
    agent_active: bool,
    /// `null` if the user made it themselves.
    #[schema(required)]
    made_by: Option<MadeBy>,
}

impl From<ActingAgent> for DelegationToAgent {
    fn from(ActingAgent { delegation, agent }: ActingAgent) -> Self {
        let made_by = delegation.delegation.made_by.clone().map(MadeBy::from);
        let delegation = shown::delegation(delegation);
        Self { delegation, agent_name: agent.name, agent_active: agent.active, made_by }
    }
}

/// An agent that acts for a user.
#[derive(Debug, Serialize, ToSchema)]
struct UserAgent {
    #[schema(value_type = Uuid)]
    id: AgentAccountId,
    name: String,
    /// A disabled agent does nothing until it is enabled again.
    active: bool,
    delegation: Delegation,
    /// The app that made the delegation. `null` if the user made it themselves.
    #[schema(required)]
    made_by: Option<MadeBy>,
}

impl From<ActingAgent> for UserAgent {
    fn from(ActingAgent { delegation, agent }: ActingAgent) -> Self {
        let made_by = delegation.delegation.made_by.clone().map(MadeBy::from);
        let delegation = shown::delegation(delegation);
        Self { id: agent.id, name: agent.name, active: agent.active, delegation, made_by }
    }
}

/// A session grant, with the agent that it is for. Who displaced it is not said here.
#[derive(Debug, Serialize, ToSchema)]
struct SessionGrantForAgent {
    #[serde(flatten)]
    grant: SessionGrant,
    agent_name: String,
    /// Whether the agent account is active.
    agent_active: bool,
}

impl From<GrantOfAgent> for SessionGrantForAgent {
    fn from(GrantOfAgent { grant, agent }: GrantOfAgent) -> Self {
        let grant = shown::session_grant(grant);
        Self { grant, agent_name: agent.name, agent_active: agent.active }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DelegationParams {
    /// Only delegations that are in force, or only those that are not.
    active: Option<bool>,
    /// Only delegations that cover this server: those that name it, and those that name none.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    server_id: Option<ServerId>,
}

/// A user's delegations
///
/// The revoked and expired ones too. Admins see every user's. Other users see their own.
#[utoipa::path(
    get,
    path = path::USER_DELEGATIONS,
    operation_id = "list_user_delegations",
    tag = "users",
    params(("user_id" = Uuid, Path), DelegationParams, PagingParams),
    responses((status = 200, body = Vec<DelegationToAgent>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn user_delegations(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(user): Path<UserId>,
    Query(DelegationParams { active, server_id }): Query<DelegationParams>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<DelegationToAgent>> {
    let filter = DelegationFilter { active, server_id };
    let made = delegations::list_of(&core, &caller, user, &filter, &page).await?;
    Ok(Paged::new(&uri, made, DelegationToAgent::from))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AgentParams {
    /// Only agents that may act at this server.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    server_id: Option<ServerId>,
}

/// The agents that act for a user
///
/// Each with the delegation by which it does: where, since when, until when, and which app made it. Admins see every user's.
/// Other users see their own.
#[utoipa::path(
    get,
    path = path::USER_AGENTS,
    operation_id = "list_user_agents",
    tag = "users",
    params(("user_id" = Uuid, Path), AgentParams, PagingParams),
    responses((status = 200, body = Vec<UserAgent>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn user_agents(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(user): Path<UserId>,
    Query(AgentParams { server_id }): Query<AgentParams>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<UserAgent>> {
    let acting = delegations::list_acting_for(&core, &caller, user, server_id, &page).await?;
    Ok(Paged::new(&uri, acting, UserAgent::from))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct UserGrantParams {
    /// Only grants for this agent account.
    #[param(value_type = Option<Uuid>)]
    agent_account_id: Option<AgentAccountId>,
    /// Only grants for this server.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    server_id: Option<ServerId>,
    /// Only grants that are in force, or only those that are not.
    active: Option<bool>,
}

/// The session grants that a user gave
///
/// Over all agents and servers, the revoked ones too. Admins see every user's. Other users see their own.
#[utoipa::path(
    get,
    path = path::USER_SESSION_GRANTS,
    operation_id = "list_user_session_grants",
    tag = "users",
    params(("user_id" = Uuid, Path), UserGrantParams, PagingParams),
    responses((status = 200, body = Vec<SessionGrantForAgent>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn user_session_grants(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(user): Path<UserId>,
    Query(UserGrantParams { agent_account_id, server_id, active }): Query<UserGrantParams>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<SessionGrantForAgent>> {
    let filter = GrantFilter { agent_account_id, server_id, active, grantor_user_id: None };
    let grants = session_grants::list_of_user(&core, &caller, user, &filter, &page).await?;
    Ok(Paged::new(&uri, grants, SessionGrantForAgent::from))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ConnectionParams {
    /// Only connections that can be used, or only those whose user must connect again.
    #[param(inline)]
    status: Option<Status>,
}

fn has_ended(status: Status) -> bool {
    matches!(status, Status::Expired)
}

/// A user's connections to servers
///
/// The user's OAuth sessions, without their tokens. Admins see every user's. Other users see their own.
#[utoipa::path(
    get,
    path = path::USER_CONNECTIONS,
    operation_id = "list_user_connections",
    tag = "users",
    params(("user_id" = Uuid, Path), ConnectionParams, PagingParams),
    responses((status = 200, body = Vec<Connection>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn user_connections(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(user): Path<UserId>,
    Query(ConnectionParams { status }): Query<ConnectionParams>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<Connection>> {
    let filter = ConnectionFilter { has_ended: status.map(has_ended), user_id: None };
    let sessions = connections::list(&core, &caller, user, &filter, &page).await?;
    Ok(Paged::new(&uri, sessions, |(session, has_ended)| shown::connection(session, has_ended)))
}

/// A user's sessions in browsers
///
/// Those that have not ended. Admins see every user's. Other users see their own, as in
/// `/api/v1/me/browser-sessions`. What a user allowed apps is in `/api/v1/users/{user_id}/authorizations`.
#[utoipa::path(
    get,
    path = path::USER_SESSIONS,
    operation_id = "list_user_sessions",
    tag = "users",
    params(("user_id" = Uuid, Path), PagingParams),
    responses((status = 200, body = Vec<BrowserSession>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn user_sessions(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(user): Path<UserId>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<BrowserSession>> {
    let sessions = browser_sessions::list(&core, &caller, user, &page).await?;
    let idle = core.settings.browser_sessions.idle;
    Ok(Paged::new(&uri, sessions, |session| BrowserSession::shown(session, idle)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ActiveParams {
    /// Only those that are in force, or only those that are not.
    active: Option<bool>,
}

/// Who may act at a server
///
/// The delegations that name the server, and then those that name no server and so cover all. Whether a call is permitted is
/// up to the policies too. Admins only.
#[utoipa::path(
    get,
    path = path::SERVER_DELEGATIONS,
    operation_id = "list_server_delegations",
    tag = "servers",
    params(("server_id" = String, Path), ActiveParams, PagingParams),
    responses((status = 200, body = Vec<DelegationToAgent>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn server_delegations(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(server): Path<ServerId>,
    Query(ActiveParams { active }): Query<ActiveParams>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<DelegationToAgent>> {
    let filter = DelegationFilter { active, server_id: None };
    let made = delegations::list_at_server(&core, &caller, &server, &filter, &page).await?;
    Ok(Paged::new(&uri, made, DelegationToAgent::from))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ServerGrantParams {
    /// Only grants for this agent account.
    #[param(value_type = Option<Uuid>)]
    agent_account_id: Option<AgentAccountId>,
    /// Only grants from this user.
    #[param(value_type = Option<Uuid>)]
    grantor_user_id: Option<UserId>,
    /// Only grants that are in force, or only those that are not.
    active: Option<bool>,
}

/// Whose credentials agents use at a server
///
/// All session grants there, personal ones too, and the revoked ones. Admins only.
#[utoipa::path(
    get,
    path = path::SERVER_SESSION_GRANTS,
    operation_id = "list_server_session_grants",
    tag = "servers",
    params(("server_id" = String, Path), ServerGrantParams, PagingParams),
    responses((status = 200, body = Vec<SessionGrantForAgent>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn server_session_grants(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(server): Path<ServerId>,
    Query(ServerGrantParams { agent_account_id, grantor_user_id, active }): Query<ServerGrantParams>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<SessionGrantForAgent>> {
    let filter = GrantFilter { agent_account_id, grantor_user_id, active, server_id: None };
    let grants = session_grants::list_at_server(&core, &caller, &server, &filter, &page).await?;
    Ok(Paged::new(&uri, grants, SessionGrantForAgent::from))
}

/// A user's connection to a server, with the user.
#[derive(Debug, Serialize, ToSchema)]
struct ConnectionAtServer {
    #[schema(value_type = Uuid)]
    user_id: UserId,
    #[schema(required)]
    user_email: Option<String>,
    /// Whether the user is active. A deactivated user's connection serves nobody.
    user_active: bool,
    #[serde(flatten)]
    connection: Connection,
}

impl From<ConnectionOfUser> for ConnectionAtServer {
    fn from(ConnectionOfUser { session, has_ended, user }: ConnectionOfUser) -> Self {
        Self {
            user_id: user.id,
            user_email: user.email.map(String::from),
            user_active: user.active,
            connection: shown::connection(session, has_ended),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ServerConnectionParams {
    /// Only this user's.
    #[param(value_type = Option<Uuid>)]
    user_id: Option<UserId>,
    /// Only connections that can be used, or only those whose user must connect again.
    #[param(inline)]
    status: Option<Status>,
}

/// Who is connected at a server
///
/// The users' OAuth sessions there, without their tokens. Which agents use them is in
/// `/api/v1/servers/{server_id}/session-grants`. Auditors, operators and admins only.
#[utoipa::path(
    get,
    path = path::SERVER_CONNECTIONS,
    operation_id = "list_server_connections",
    tag = "servers",
    params(("server_id" = String, Path), ServerConnectionParams, PagingParams),
    responses((status = 200, body = Vec<ConnectionAtServer>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn server_connections(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(server): Path<ServerId>,
    Query(ServerConnectionParams { user_id, status }): Query<ServerConnectionParams>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<ConnectionAtServer>> {
    let filter = ConnectionFilter { has_ended: status.map(has_ended), user_id };
    let connected = connections::list_at_server(&core, &caller, &server, &filter, &page).await?;
    Ok(Paged::new(&uri, connected, ConnectionAtServer::from))
}

/// How a policy concerns a server.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Concern {
    /// Its scope names the server, or something of it.
    Scope,
    /// Its scope names no resource, and its conditions name the server, or something of it.
    Conditions,
    /// Its scope names no resource, so it is for all servers, as far as its conditions go.
    AllServers,
}

/// A policy that concerns a server.
#[derive(Debug, Serialize, ToSchema)]
struct ServerPolicy {
    #[serde(flatten)]
    policy: Policy,
    concern: Concern,
}

impl From<ConcerningPolicy> for ServerPolicy {
    fn from(ConcerningPolicy { policy, concern }: ConcerningPolicy) -> Self {
        let concern = match concern {
            policies::Concern::Scope => Concern::Scope,
            policies::Concern::Conditions => Concern::Conditions,
            policies::Concern::All => Concern::AllServers,
        };
        Self { policy: policy.into(), concern }
    }
}

/// The policies that concern a server
///
/// Those whose scope names it, and those whose scope names no resource. A page holds those of a page of all policies, so it
/// can hold fewer than asked for, or none, while there are more: follow `Link`. Admins only.
#[utoipa::path(
    get,
    path = path::SERVER_POLICIES,
    operation_id = "list_server_policies",
    tag = "servers",
    params(("server_id" = String, Path), PagingParams),
    responses((status = 200, body = Vec<ServerPolicy>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn server_policies(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(server): Path<ServerId>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<ServerPolicy>> {
    let concerning = policies::list_at_server(&core, &caller, &server, &page).await?;
    Ok(Paged::new(&uri, concerning, ServerPolicy::from))
}

/// How a policy concerns an agent.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AgentConcern {
    /// Its scope names the agent, or a group that the agent is in.
    Scope,
    /// Its scope names no agent and no group, and its conditions name the agent, or a group that the agent is in.
    Conditions,
    /// Its scope names none, so it is for all agents, as far as its conditions go.
    AllAgents,
}

/// A policy that concerns an agent.
#[derive(Debug, Serialize, ToSchema)]
struct AgentPolicy {
    #[serde(flatten)]
    policy: Policy,
    concern: AgentConcern,
}

impl From<ConcerningPolicy> for AgentPolicy {
    fn from(ConcerningPolicy { policy, concern }: ConcerningPolicy) -> Self {
        let concern = match concern {
            policies::Concern::Scope => AgentConcern::Scope,
            policies::Concern::Conditions => AgentConcern::Conditions,
            policies::Concern::All => AgentConcern::AllAgents,
        };
        Self { policy: policy.into(), concern }
    }
}

/// The policies that concern an agent
///
/// Those whose scope names the agent or a group of it, and those whose scope names none and is not for people alone. What
/// the agent does for a user rests on the policies about the user too. A page holds those of a page of all policies, so it
/// can hold fewer than asked for, or none, while there are more: follow `Link`. Auditors, operators and admins only.
#[utoipa::path(
    get,
    path = path::AGENT_POLICIES,
    operation_id = "list_agent_policies",
    tag = "agent accounts",
    params(("agent_account_id" = Uuid, Path), PagingParams),
    responses((status = 200, body = Vec<AgentPolicy>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn agent_policies(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(agent): Path<AgentAccountId>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<AgentPolicy>> {
    let concerning = policies::list_of_agent(&core, &caller, agent, &page).await?;
    Ok(Paged::new(&uri, concerning, AgentPolicy::from))
}
