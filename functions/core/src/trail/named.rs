//! What the things are called that events are about, for people. One read for a page of events.
//!
//! A reader of an event learns the names of the agent and the server in it, and of the user whose connection was used.
//! Readers of everything also learn who the user of the event is.

use std::collections::{BTreeSet, HashMap};

use crate::{
    Core,
    audit::Event,
    caller::{Power, UserCaller},
    entities::{agent_account::AgentAccount, server::Server, user::User},
    error::Result,
    ids::{AgentAccountId, ServerId, UserId},
    table::Key,
};

/// Names of things that are there still.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub agents: HashMap<AgentAccountId, String>,
    pub servers: HashMap<ServerId, String>,
    /// Their names, or else their addresses.
    pub users: HashMap<UserId, String>,
}

/// The names for these events.
pub async fn names(core: &Core, caller: &UserCaller, events: &[Event]) -> Result<Names> {
    let agents: BTreeSet<AgentAccountId> = events.iter().filter_map(|event| event.agent_account_id).collect();
    let servers: BTreeSet<&ServerId> = events.iter().filter_map(|event| event.server_id.as_ref()).collect();
    let acting = events.iter().filter_map(|event| event.user_id).filter(|_| caller.has(Power::Read));
    let users: BTreeSet<UserId> =
        events.iter().filter_map(|event| event.credentials_of).chain(acting).collect();
    let keys = agents.iter().map(|id| Key::agent(*id)).chain(servers.iter().map(|id| Key::server(id)));
    let found = core.table.read(keys.chain(users.iter().map(|id| Key::user(*id))).collect()).await?;
    let mut names = Names::default();
    for id in agents {
        let account = found.get::<AgentAccount>(&Key::agent(id))?;
        names.agents.extend(account.map(|account| (id, account.value.name)));
    }
    for id in servers {
        let server = found.get::<Server>(&Key::server(id))?;
        names.servers.extend(server.map(|server| (id.clone(), server.value.name)));
    }
    for id in users {
        let Some(user) = found.get::<User>(&Key::user(id))? else { continue };
        names.users.extend(user.called().map(|name| (id, name)));
    }
    Ok(names)
}
