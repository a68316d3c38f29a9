//! Registered MCP servers.

use deputize_api::reason::Reason;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

pub use crate::entities::{
    oauth_client::{Endpoints, OAuthClient, Pkce, ProviderSettings, ResourceParameter},
    server::{Pinning, Server, ServerAuth},
};
use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    entities::server::SealedHeader,
    error::{Error, Result, Told},
    ids::ServerId,
    paging::{Listing, PageRequest},
    table::{Change, CommitError, Entity, Key, Partition, Stored, retry_on_conflict},
};

impl Server {
    /// Takes over the secrets, and refuses what does not go together.
    async fn set_secrets(&mut self, core: &Core, secrets: &ServerSecrets) -> Result<()> {
        if let Some(NewHeader { name, value }) = &secrets.header {
            let (id, value) = (core.random.uuid()?, self.seal(core, value).await?);
            self.header = Some(SealedHeader { id, name: name.clone(), value });
        }
        if let Some(NewOAuthClient { issuer, client_id, secret, settings }) = &secrets.oauth_client {
            let (issuer, client_id, settings) = (issuer.clone(), client_id.clone(), settings.clone());
            let secret = match secret {
                Some(secret) => Some(self.seal(core, secret).await?),
                None => None,
            };
            self.oauth_client = Some(OAuthClient { issuer, client_id, secret, settings });
        }
        if (self.auth == ServerAuth::Header) != self.header.is_some() {
            return Err(Error::invalid("A header goes with auth \"header\", and the other way round"));
        }
        if self.oauth_client.is_some() && self.auth != ServerAuth::OAuth {
            return Err(Error::invalid("An oauth_client goes with auth \"oauth\""));
        }
        Ok(())
    }
}

/// A header to send to a server.
#[derive(Clone, Debug)]
pub struct NewHeader {
    pub name: String,
    pub value: SecretString,
}

/// A client that an admin has registered.
#[derive(Clone, Debug)]
pub struct NewOAuthClient {
    pub issuer: String,
    pub client_id: String,
    pub secret: Option<SecretString>,
    pub settings: ProviderSettings,
}

/// What is stored sealed with a server. `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct ServerSecrets {
    pub header: Option<NewHeader>,
    pub oauth_client: Option<NewOAuthClient>,
}

/// An entry in the list of all servers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ServerEntry {
    pub server_id: ServerId,
}

impl Entity for ServerEntry {
    const KIND: &'static str = "server entry";
}

#[derive(Clone, Debug)]
pub struct NewServer {
    /// By default a new UUID.
    pub id: Option<ServerId>,
    pub name: String,
    pub url: String,
    pub auth: ServerAuth,
    pub pinning: Pinning,
}

/// What to change; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ServerUpdate {
    pub name: Option<String>,
    /// OAuth sessions are bound to the address for which they were made. A new address makes them unusable.
    pub url: Option<String>,
    pub pinning: Option<Pinning>,
    pub active: Option<bool>,
    pub secrets: ServerSecrets,
}

/// Adds a server without secrets to a change.
pub(crate) fn add_server(core: &Core, change: &mut Change, new: NewServer) -> Result<Server> {
    let server = made(core, new)?;
    add(change, &server)?;
    Ok(server)
}

fn made(core: &Core, new: NewServer) -> Result<Server> {
    let now = core.clock.now();
    let id = match new.id {
        Some(id) => id,
        None => ServerId::from(core.random.uuid()?),
    };
    Ok(Server {
        id,
        name: new.name,
        url: new.url,
        auth: new.auth,
        header: None,
        oauth_client: None,
        pinning: new.pinning,
        pins_version: 0,
        active: true,
        created_at: now,
        updated_at: now,
    })
}

fn add(change: &mut Change, server: &Server) -> Result<()> {
    change.create(Key::server(&server.id), server)?;
    change.create(Key::server_entry(&server.id), &ServerEntry { server_id: server.id.clone() })?;
    Ok(())
}

/// Registers a server. Admins only.
pub async fn create(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    new: NewServer,
    secrets: ServerSecrets,
) -> Result<Server> {
    caller.require(Power::Manage)?;
    // `/api/v1/servers/probe` is another endpoint.
    if new.id.as_ref().is_some_and(|id| id.to_string() == "probe") {
        return Err(Error::invalid("id: \"probe\" is reserved; choose another"));
    }
    let mut server = made(core, new)?;
    server.set_secrets(core, &secrets).await?;
    let mut change = caller.change()?;
    add(&mut change, &server)?;
    let event = caller.event(core, request, Action::ServerCreate)?.server(server.id.clone());
    change.record(&event.about("server", &server.id))?;
    match core.table.commit(change).await {
        Ok(()) => Ok(server),
        Err(CommitError::ConditionFailed) => {
            Err(Error::Conflict(Told::of(Reason::AlreadyExists, "a server with that id exists".to_owned())))
        }
        Err(CommitError::Failed(error)) => Err(error),
    }
}

pub async fn get(core: &Core, id: &ServerId) -> Result<Stored<Server>> {
    core.table.read_one(Key::server(id)).await?.ok_or(Error::NotFound(ServerId::WHAT))
}

/// All servers. Every user may see them, in order to delegate and to connect.
pub async fn list(core: &Core, _caller: &UserCaller, page: &PageRequest) -> Result<Listing<Server>> {
    page.list_entries(core, &Partition::servers(), |entry: &ServerEntry| Key::server(&entry.server_id)).await
}

/// Changes a server. Admins only.
pub async fn update(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: &ServerId,
    update: ServerUpdate,
) -> Result<Server> {
    caller.require(Power::Manage)?;
    retry_on_conflict(|| async {
        let was = get(core, id).await?;
        let mut server = was.value.clone();
        server.name = update.name.clone().unwrap_or(server.name);
        server.url = update.url.clone().unwrap_or(server.url);
        // A secret is sent only where it was given for.
        if server.url != was.url && server.header.is_some() && update.secrets.header.is_none() {
            return Err(Error::invalid("Give the header again with a new url").into());
        }
        server.set_secrets(core, &update.secrets).await?;
        server.pinning = update.pinning.unwrap_or(server.pinning);
        server.active = update.active.unwrap_or(server.active);
        server.updated_at = core.clock.now();
        let event = caller.event(core, request, Action::ServerUpdate)?.server(id.clone());
        let mut change = caller.change()?;
        change.replace(Key::server(id), &server, was.rev)?.record(&event.about("server", id))?;
        core.table.commit(change).await?;
        Ok(server)
    })
    .await
}
