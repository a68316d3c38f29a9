//! Registered MCP servers.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    Core,
    audit::{Action, Request},
    caller::UserCaller,
    clock::Timestamp,
    error::{Error, Result},
    ids::ServerId,
    paging::{Listing, PageRequest},
    pins::Pinning,
    table::{Attempt, Change, Entity, Key, Stored, settle},
    vault::Sealed,
};

/// What a server asks of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerAuth {
    /// Nothing.
    None,
    /// An access token of the user's (MCP authorization): agents need a session grant.
    OAuth,
    /// A header that is the same for all callers, such as an API key of the deployment's.
    Header,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    pub id: ServerId,
    pub name: String,
    /// The MCP endpoint (Streamable HTTP).
    pub url: String,
    pub auth: ServerAuth,
    /// The header of [`ServerAuth::Header`].
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<SealedHeader>,
    /// Our client at the server's authorization server, where an admin has registered one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth_client: Option<OAuthClient>,
    /// What is done about tools that are not as an admin approved them.
    #[serde(default)]
    pub pinning: Pinning,
    /// Which approval is in force; 0 before the first.
    #[serde(default)]
    pub(crate) pins_version: u64,
    pub active: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Entity for Server {
    const KIND: &'static str = "server";
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SealedHeader {
    name: String,
    value: Sealed,
}

/// A client that an admin has registered at an authorization server. It is used there and nowhere else.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OAuthClient {
    pub issuer: String,
    pub client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<Sealed>,
}

impl OAuthClient {
    pub fn has_secret(&self) -> bool {
        self.secret.is_some()
    }
}

impl Server {
    /// Which approval of its tools is in force.
    pub fn pins_version(&self) -> u64 {
        self.pins_version
    }

    /// The name of the header that is sent to it.
    pub fn header_name(&self) -> Option<&str> {
        self.header.as_ref().map(|header| header.name.as_str())
    }

    /// The header to send to a server of [`ServerAuth::Header`].
    pub(crate) async fn header(&self, core: &Core) -> Result<(String, SecretString)> {
        let header = self.header.as_ref().ok_or_else(|| Error::internal("a server without its header"))?;
        Ok((header.name.clone(), self.open(core, &header.value).await?))
    }

    /// The secret of [`Self::oauth_client`], if it has one.
    pub(crate) async fn oauth_client_secret(&self, core: &Core) -> Result<Option<SecretString>> {
        match self.oauth_client.as_ref().and_then(|client| client.secret.as_ref()) {
            Some(sealed) => Ok(Some(self.open(core, sealed).await?)),
            None => Ok(None),
        }
    }

    async fn open(&self, core: &Core, sealed: &Sealed) -> Result<SecretString> {
        let opened = core.vault.open(&Key::server(&self.id), sealed).await?.value;
        let text =
            std::str::from_utf8(&opened).map_err(|_| Error::internal("a server's secret is no text"))?;
        Ok(SecretString::from(text))
    }

    async fn seal(&self, core: &Core, secret: &SecretString) -> Result<Sealed> {
        core.vault.seal(&Key::server(&self.id), secret.expose_secret().as_bytes()).await
    }

    /// Takes over the secrets, and refuses what does not go together.
    async fn set_secrets(&mut self, core: &Core, secrets: &ServerSecrets) -> Result<()> {
        if let Some(NewHeader { name, value }) = &secrets.header {
            self.header = Some(SealedHeader { name: name.clone(), value: self.seal(core, value).await? });
        }
        if let Some(NewOAuthClient { issuer, client_id, secret }) = &secrets.oauth_client {
            let (issuer, client_id) = (issuer.clone(), client_id.clone());
            let secret = match secret {
                Some(secret) => Some(self.seal(core, secret).await?),
                None => None,
            };
            self.oauth_client = Some(OAuthClient { issuer, client_id, secret });
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
}

/// What is kept sealed with a server; `None` leaves it as it is.
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
    /// A UUID is made when none is chosen.
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
    /// OAuth sessions are bound to the address they were made for: a change makes them unusable.
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
    request: &Request,
    new: NewServer,
    secrets: ServerSecrets,
) -> Result<Server> {
    caller.require_admin()?;
    let mut server = made(core, new)?;
    server.set_secrets(core, &secrets).await?;
    let mut change = Change::new();
    add(&mut change, &server)?;
    let event = caller.event(core, request, Action::ServerCreate)?.server(server.id.clone());
    change.record(&event.about("server", &server.id))?;
    match core.table.commit(change).await {
        Ok(()) => Ok(server),
        Err(Attempt::Raced) => Err(Error::Conflict("a server with that id exists".to_owned())),
        Err(Attempt::Failed(error)) => Err(error),
    }
}

pub async fn get(core: &Core, id: &ServerId) -> Result<Stored<Server>> {
    core.table.read_one(Key::server(id)).await?.ok_or(Error::NotFound(ServerId::WHAT))
}

/// All servers. Any user may see them: one has to know what one can delegate and connect to.
pub async fn list(core: &Core, _caller: &UserCaller, page: &PageRequest) -> Result<Listing<Server>> {
    page.list_entries(core, "SERVERS", "", |entry: &ServerEntry| Key::server(&entry.server_id)).await
}

/// Changes a server. Admins only.
pub async fn update(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    id: &ServerId,
    update: ServerUpdate,
) -> Result<Server> {
    caller.require_admin()?;
    settle(|| async {
        let was = get(core, id).await?;
        let mut server = was.value.clone();
        server.name = update.name.clone().unwrap_or(server.name);
        server.url = update.url.clone().unwrap_or(server.url);
        // A secret goes where it was given for, and nowhere else.
        if server.url != was.url && server.header.is_some() && update.secrets.header.is_none() {
            return Err(Error::invalid("Give the header again with a new url").into());
        }
        server.set_secrets(core, &update.secrets).await?;
        server.pinning = update.pinning.unwrap_or(server.pinning);
        server.active = update.active.unwrap_or(server.active);
        server.updated_at = core.clock.now();
        let event = caller.event(core, request, Action::ServerUpdate)?.server(id.clone());
        let mut change = Change::new();
        change.replace(Key::server(id), &server, was.rev)?.record(&event.about("server", id))?;
        core.table.commit(change).await?;
        Ok(server)
    })
    .await
}
