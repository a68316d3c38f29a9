//! `/api/v1/servers`: the MCP servers that can be called.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core, Error,
    caller::{Power, UserCaller},
    clock::Timestamp,
    ids::ServerId,
    pins,
    servers::{self, NewOAuthClient, NewServer, ServerFilter, ServerOrder, ServerUpdate},
    table::{Key, Stored},
};
use deputize_service::{
    Changed, Errors, IfMatch, KeyReused, Once, Paged, Result, Tagged,
    bounds::{HttpUrl, Name},
    extract::{Json, Paging, PagingParams, Path, Query, User, object},
    handlers,
    routes::Routes,
};
use http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    oauth_client::{OAuthClient, ShownOAuthClient},
    server_secrets::{StaticHeader, secrets},
};

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(list(ListFilter, PagingParams), create)).mount(handlers!(get, update))
}

/// An MCP server.
#[derive(Debug, Serialize, ToSchema)]
struct Server {
    #[schema(value_type = String)]
    id: ServerId,
    name: String,
    /// Its MCP endpoint (Streamable HTTP).
    #[schema(format = "uri")]
    url: String,
    auth: ServerAuth,
    /// With auth `header`: which header is sent. Its value is never shown.
    header_name: Option<String>,
    /// With auth `oauth`: the client that an admin has registered.
    oauth_client: Option<ShownOAuthClient>,
    pinning: Pinning,
    /// A deactivated server cannot be called.
    active: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<servers::Server> for Server {
    fn from(server: servers::Server) -> Self {
        let header_name = server.header_name().map(str::to_owned);
        let oauth_client = server.oauth_client.as_ref().map(ShownOAuthClient::from);
        Self {
            id: server.id,
            name: server.name,
            url: server.url,
            auth: server.auth.into(),
            header_name,
            oauth_client,
            pinning: server.pinning.into(),
            active: server.active,
            created_at: server.created_at,
            updated_at: server.updated_at,
        }
    }
}

/// What a server asks of its callers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ServerAuth {
    /// Nothing.
    None,
    /// An access token of the user's (MCP authorization): agents need a session grant.
    OAuth,
    /// A header that is the same for all callers, such as an API key of the organization's.
    Header,
}

impl From<servers::ServerAuth> for ServerAuth {
    fn from(auth: servers::ServerAuth) -> Self {
        match auth {
            servers::ServerAuth::None => Self::None,
            servers::ServerAuth::OAuth => Self::OAuth,
            servers::ServerAuth::Header => Self::Header,
        }
    }
}

impl From<ServerAuth> for servers::ServerAuth {
    fn from(auth: ServerAuth) -> Self {
        match auth {
            ServerAuth::None => Self::None,
            ServerAuth::OAuth => Self::OAuth,
            ServerAuth::Header => Self::Header,
        }
    }
}

/// What is done about a tool whose definition is not the one that an admin approved
/// (`PUT /api/v1/proxy/{server_id}/approved-tools`).
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Pinning {
    Off,
    /// The audit trail says so.
    Warn,
    /// It is neither listed nor called.
    Block,
}

impl From<pins::Pinning> for Pinning {
    fn from(pinning: pins::Pinning) -> Self {
        match pinning {
            pins::Pinning::Off => Self::Off,
            pins::Pinning::Warn => Self::Warn,
            pins::Pinning::Block => Self::Block,
        }
    }
}

impl From<Pinning> for pins::Pinning {
    fn from(pinning: Pinning) -> Self {
        match pinning {
            Pinning::Off => Self::Off,
            Pinning::Warn => Self::Warn,
            Pinning::Block => Self::Block,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListFilter {
    /// Only servers whose name begins so, in any case.
    #[param(value_type = Option<String>, max_length = 200)]
    name_prefix: Option<Name>,
    active: Option<bool>,
    /// By `id` or `name`. If left out, by name if `name_prefix` is there, or else by id.
    #[param(inline)]
    sort: Option<Order>,
}

/// What servers are sorted by.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    Id,
    Name,
}

impl From<ListFilter> for ServerFilter {
    fn from(ListFilter { name_prefix, active, sort }: ListFilter) -> Self {
        let sort = sort.map(|order| match order {
            Order::Id => ServerOrder::Id,
            Order::Name => ServerOrder::Name,
        });
        Self { name_prefix: name_prefix.map(String::from), active, sort }
    }
}

/// All servers
///
/// Any user may see them, to know what to delegate and to connect to.
#[utoipa::path(
    get,
    path = path::SERVERS,
    operation_id = "list_servers",
    tag = "servers",
    params(ListFilter, PagingParams),
    responses((status = 200, body = Vec<Server>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Query(filter): Query<ListFilter>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<Server>> {
    let servers = servers::list(&core, &caller, &filter.into(), &page).await?;
    Ok(Paged::new(&uri, servers, Server::from))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateServer {
    /// What calls name it by; a UUID is made if it is left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$", example = "demo")]
    id: Option<ServerId>,
    name: Name,
    /// Its MCP endpoint (Streamable HTTP).
    url: HttpUrl,
    /// `none` if left out.
    #[serde(default)]
    auth: Option<ServerAuth>,
    /// With auth `header`, and then needed.
    #[serde(default, deserialize_with = "object")]
    #[schema(value_type = Option<StaticHeader>)]
    header: Option<StaticHeader>,
    /// With auth `oauth`: a client that has been registered by hand. Left out, one is registered by itself.
    #[serde(default, deserialize_with = "object")]
    #[schema(value_type = Option<OAuthClient>)]
    oauth_client: Option<OAuthClient>,
    /// `off` if left out.
    #[serde(default)]
    pinning: Option<Pinning>,
}

/// Register a server
///
/// Admins only. 409 if there is a server with that id.
#[utoipa::path(
    post,
    path = path::SERVERS,
    operation_id = "create_server",
    tag = "servers",
    request_body = CreateServer,
    responses((status = 201, body = Server), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn create(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Once(request, Json(body)): Once<Json<CreateServer>>,
) -> Result<Tagged<Server>> {
    let CreateServer { id, name, url, auth, header, oauth_client, pinning } = body;
    let auth = auth.unwrap_or(ServerAuth::None).into();
    let pinning = pinning.map(pins::Pinning::from).unwrap_or_default();
    let new = NewServer { id, name: name.into(), url: url.into(), auth, pinning };
    let secrets = secrets(header, registered(oauth_client)?);
    let server = servers::create(&core, &caller, &request, new, secrets).await?;
    let address = core.settings.address(path::SERVER, &server.id);
    Ok(tagged(&caller, server).made_at(address))
}

/// A server
#[utoipa::path(
    get,
    path = path::SERVER,
    operation_id = "get_server",
    tag = "servers",
    params(("server_id" = String, Path)),
    responses((status = 200, body = Server), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn get(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(id): Path<ServerId>,
) -> Result<Tagged<Server>> {
    Ok(tagged(&caller, servers::get(&core, &id).await?))
}

/// What to change; what is left out or `null` stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateServer {
    #[serde(default)]
    name: Option<Name>,
    /// OAuth sessions are bound to the address that they were made for: a change makes them unusable.
    #[serde(default)]
    url: Option<HttpUrl>,
    #[serde(default)]
    active: Option<bool>,
    /// With auth `header`. Needed with a new `url`: the value goes where it was given for.
    #[serde(default, deserialize_with = "object")]
    #[schema(value_type = Option<StaticHeader>)]
    header: Option<StaticHeader>,
    /// With auth `oauth`. Sessions of another client's cannot be refreshed any more.
    #[serde(default, deserialize_with = "object")]
    #[schema(value_type = Option<OAuthClient>)]
    oauth_client: Option<OAuthClient>,
    #[serde(default)]
    pinning: Option<Pinning>,
}

/// Change a server
///
/// Admins, and operators to deactivate a server. In force from the next call on.
#[utoipa::path(
    patch,
    path = path::SERVER,
    operation_id = "update_server",
    tag = "servers",
    params(("server_id" = String, Path)),
    request_body = UpdateServer,
    responses((status = 200, body = Server), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn update(
    State(core): State<Arc<Core>>,
    User(caller): User,
    IfMatch(request): IfMatch,
    Path(id): Path<ServerId>,
    Json(body): Json<UpdateServer>,
) -> Result<Tagged<Server>> {
    let UpdateServer { name, url, active, header, oauth_client, pinning } = body;
    let secrets = secrets(header, registered(oauth_client)?);
    let update = ServerUpdate {
        name: name.map(String::from),
        url: url.map(String::from),
        pinning: pinning.map(Into::into),
        active,
        secrets,
    };
    Ok(tagged(&caller, servers::update(&core, &caller, &request, &id, update).await?))
}

fn tagged(caller: &UserCaller, Stored { rev, value }: Stored<servers::Server>) -> Tagged<Server> {
    let (key, shown) = (Key::server(&value.id), value.into());
    if caller.has(Power::Manage) { Tagged::new(&key, rev, shown) } else { Tagged::shown(shown) }
}

fn registered(client: Option<OAuthClient>) -> deputize_core::Result<Option<NewOAuthClient>> {
    client.map(|client| client.try_into().map_err(|why: String| Error::invalid(why))).transpose()
}
