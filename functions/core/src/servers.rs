//! Registered MCP servers.

use serde::{Deserialize, Serialize};

use crate::{
    Core,
    audit::{Action, Request},
    caller::UserCaller,
    clock::Timestamp,
    error::{Error, Result},
    ids::ServerId,
    paging::{Listing, PageRequest},
    table::{Attempt, Change, Entity, Key, Stored, settle},
};

/// What a server asks of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerAuth {
    /// Nothing.
    None,
    /// An access token of the user's (MCP authorization): agents need a session grant.
    OAuth,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    pub id: ServerId,
    pub name: String,
    /// The MCP endpoint (Streamable HTTP).
    pub url: String,
    pub auth: ServerAuth,
    pub active: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Entity for Server {
    const KIND: &'static str = "server";
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
}

/// What to change; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ServerUpdate {
    pub name: Option<String>,
    /// OAuth sessions are bound to the address they were made for: a change makes them unusable.
    pub url: Option<String>,
    pub active: Option<bool>,
}

/// Adds a server to a change.
pub(crate) fn add_server(core: &Core, change: &mut Change, new: NewServer) -> Result<Server> {
    let now = core.clock.now();
    let id = match new.id {
        Some(id) => id,
        None => ServerId::from(core.random.uuid()?),
    };
    let server = Server {
        id,
        name: new.name,
        url: new.url,
        auth: new.auth,
        active: true,
        created_at: now,
        updated_at: now,
    };
    change.create(Key::server(&server.id), &server)?;
    change.create(Key::server_entry(&server.id), &ServerEntry { server_id: server.id.clone() })?;
    Ok(server)
}

/// Registers a server. Admins only.
pub async fn create(core: &Core, caller: &UserCaller, request: &Request, new: NewServer) -> Result<Server> {
    caller.require_admin()?;
    let mut change = Change::new();
    let server = add_server(core, &mut change, new)?;
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
