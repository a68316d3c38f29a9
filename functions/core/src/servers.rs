//! Registered MCP servers.

pub(crate) mod deleting;
mod listing;

use deputize_api::reason::Reason;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

pub use self::listing::{ServerFilter, ServerOrder, list};
pub use crate::entities::{
    oauth_client::{Endpoints, OAuthClient, Pkce, ProviderSettings, ResourceParameter},
    server::{Pinning, Server, ServerAuth},
};
use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    deleted::Kind,
    entities::server::SealedHeader,
    error::{Error, Result, Told},
    ids::ServerId,
    listed::relist,
    once::{Holds, once},
    table::{Change, Entity, Key, Stored, retry_on_conflict},
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
    relist(change, None, Some(server))?;
    Ok(())
}

/// Registers a server. Admins only.
pub async fn create(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    new: NewServer,
    secrets: ServerSecrets,
) -> Result<Stored<Server>> {
    caller.require(Power::Manage)?;
    // `/api/v1/servers/probe` is another endpoint.
    if new.id.as_ref().is_some_and(|id| id.to_string() == "probe") {
        return Err(Error::invalid("id: \"probe\" is reserved; choose another"));
    }
    once(core, caller, request, Holds::Secret, || async {
        let mut change = caller.change()?;
        if let Some(id) = &new.id {
            require_free(core, id).await?;
            // Somebody may delete another one of this id at the same time.
            change.require_absent(&Key::deleted(Kind::Server.name(), &id.to_string()))?;
        }
        let mut server = made(core, new.clone())?;
        server.set_secrets(core, &secrets).await?;
        add(&mut change, &server)?;
        let event = caller.event(core, request, Action::ServerCreate)?.server(server.id.clone());
        change.record(&event.about("server", &server.id).changed(&(), &server.recorded())?)?;
        Ok((change, server))
    })
    .await
}

/// Refuses the id of another server. A deleted one has it until it is erased.
async fn require_free(core: &Core, id: &ServerId) -> Result<()> {
    let (there, deleted) = (Key::server(id), Key::deleted(Kind::Server.name(), &id.to_string()));
    let found = core.table.read(vec![there.clone(), deleted.clone()]).await?;
    let why = if found.contains(&there) {
        "a server with that id exists".to_owned()
    } else if found.contains(&deleted) {
        format!("a deleted server has that id: restore it, or erase it (DELETE /api/v1/deleted/server/{id})")
    } else {
        return Ok(());
    };
    Err(Error::Conflict(Told::of(Reason::AlreadyExists, why).by_thing("server", id)))
}

pub async fn get(core: &Core, id: &ServerId) -> Result<Stored<Server>> {
    core.table.read_one(Key::server(id)).await?.ok_or(Error::NotFound(ServerId::WHAT))
}

/// How many servers a delegation or an API key can name.
pub const MAX_NAMED: usize = 50;

/// The servers of these ids, without those that do not exist. Every user may see them.
pub async fn get_all<'a>(
    core: &Core,
    _caller: &UserCaller,
    ids: impl IntoIterator<Item = &'a ServerId>,
) -> Result<Vec<Server>> {
    let keys: Vec<Key> = ids.into_iter().map(Key::server).collect();
    let found = core.table.read_all::<Server>(&keys).await?;
    Ok(found.into_iter().map(|server| server.value).collect())
}

/// The servers that something is to be for, as a set: the order and repetitions in a request mean nothing. They must
/// exist.
pub(crate) async fn existing(core: &Core, named: &[ServerId]) -> Result<Vec<ServerId>> {
    if named.is_empty() || named.len() > MAX_NAMED {
        return Err(Error::invalid(format!(
            "server_ids must name 1 to {MAX_NAMED} servers; leave it out for all servers"
        )));
    }
    let keys: Vec<Key> = named.iter().map(Key::server).collect();
    let found = core.table.read_all::<Server>(&keys).await?;
    if let Some(missing) = named.iter().find(|id| !found.iter().any(|server| server.id == **id)) {
        return Err(Error::invalid(format!("server_ids: no such server: {missing}")));
    }
    Ok(as_set(named))
}

/// Sorted, and each once.
pub(crate) fn as_set(servers: &[ServerId]) -> Vec<ServerId> {
    let mut set = servers.to_vec();
    set.sort_unstable();
    set.dedup();
    set
}

impl ServerUpdate {
    /// What it takes: operators may take a server out of use, and nothing else.
    fn takes(&self) -> Power {
        match self {
            Self {
                name: None,
                url: None,
                pinning: None,
                active: Some(false),
                secrets: ServerSecrets { header: None, oauth_client: None },
            } => Power::Operate,
            _ => Power::Manage,
        }
    }
}

/// Changes a server. Admins only, but operators may deactivate one.
pub async fn update(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: &ServerId,
    update: ServerUpdate,
) -> Result<Stored<Server>> {
    caller.require(update.takes())?;
    retry_on_conflict(|| async {
        let was = get(core, id).await?;
        request.require_match(&Key::server(id), was.rev)?;
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
        let event = event.about("server", id).changed(&was.recorded(), &server.recorded())?;
        change.replace(Key::server(id), &server, was.rev)?.record(&event)?;
        relist(&mut change, Some(&was.value), Some(&server))?;
        core.table.commit(change).await?;
        Ok(Stored { rev: was.rev + 1, value: server })
    })
    .await
}
