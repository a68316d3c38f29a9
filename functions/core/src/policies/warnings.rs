//! What a policy names that does not exist: a warning when it is saved, and never an error. A policy may name what is
//! made later.
//!
//! A group is nowhere stored by itself, so none is unknown. A tool is unknown only at a server whose tools an admin has
//! approved: nothing else says which tools it has.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::engine;
use crate::{
    Core,
    agents::AgentAccount,
    entities::server::Server,
    error::{Error, Result},
    ids::{AgentAccountId, PolicyId, ServerId, UserId},
    pins::Pins,
    table::Key,
    users::User,
};

/// An entity that a policy names, and that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// As it is written in the policy: `Server::"demo"`.
    pub entity: String,
    pub why: String,
}

/// The most entities that are looked up.
const MAX_ENTITIES: usize = 90;

/// What to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    Agent(AgentAccountId),
    User(UserId),
    Server(ServerId),
    /// A tool, by its name; of resources, prompts and methods only the server can be looked for.
    OfServer(ServerId, Option<String>),
    /// It can be nothing's id.
    Nothing(&'static str),
}

/// Looks up what these policies name: in one read, and in another if they name tools of servers with approved tools.
pub(crate) async fn warnings<'a>(
    core: &Core,
    texts: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Warning>> {
    let mut named = BTreeMap::new();
    for text in texts {
        let policy = engine::parse(PolicyId(uuid::Uuid::nil()), text)?;
        visit(&policy.to_json().map_err(Error::internal)?, &mut named);
    }
    let named: Vec<(String, Named)> = named.into_iter().take(MAX_ENTITIES).collect();
    let keys: HashSet<Key> = named.iter().filter_map(|(_, named)| named.key()).collect();
    let mut found = core.table.read(keys.into_iter().collect()).await?;
    let mut servers = BTreeMap::new();
    for (_, named) in &named {
        if let Named::Server(id) | Named::OfServer(id, _) = named
            && !servers.contains_key(id)
            && let Some(server) = found.take::<Server>(&Key::server(id))?
        {
            servers.insert(id.clone(), (server.value, None));
        }
    }
    let pins: Vec<Key> = servers
        .values()
        .filter(|(server, _)| server.pins_version() > 0)
        .map(|(server, _)| Key::pins(&server.id, server.pins_version()))
        .collect();
    let mut approved = core.table.read(pins).await?;
    for (server, pins) in servers.values_mut() {
        *pins = approved.take::<Pins>(&Key::pins(&server.id, server.pins_version()))?;
    }
    let mut warnings = Vec::new();
    for (entity, named) in named {
        let why = match &named {
            Named::Nothing(why) => Some(*why),
            Named::Agent(id) => found
                .get::<AgentAccount>(&Key::agent(*id))?
                .is_none()
                .then_some("there is no such agent account"),
            Named::User(id) => {
                found.get::<User>(&Key::user(*id))?.is_none().then_some("there is no such user")
            }
            Named::Server(id) | Named::OfServer(id, _) if !servers.contains_key(id) => {
                Some("there is no such server")
            }
            Named::OfServer(id, Some(tool)) => {
                let pins = servers.get(id).and_then(|(_, pins)| pins.as_ref());
                let is_unknown = pins.is_some_and(|pins| !pins.has(tool));
                is_unknown.then_some("no tool of this name is among the server's approved tools")
            }
            Named::Server(_) | Named::OfServer(_, None) => None,
        };
        warnings.extend(why.map(|why| Warning { entity, why: why.to_owned() }));
    }
    Ok(warnings)
}

impl Named {
    fn of(kind: &str, id: &str) -> Option<Self> {
        Some(match kind {
            "Agent" => id.parse().map_or(Self::Nothing("an agent account's id is a UUID"), Self::Agent),
            "User" => id.parse().map_or(Self::Nothing("a user's id is a UUID"), Self::User),
            "Server" => id.parse().map_or(Self::Nothing("it is no server's id"), Self::Server),
            "Tool" | "Resource" | "Prompt" | "Method" => {
                let (server, name) = id.split_once('/').unwrap_or_default();
                let tool = (kind == "Tool").then(|| name.to_owned());
                server
                    .parse()
                    .map_or(Self::Nothing("its id begins with a server's id and a slash"), |server| {
                        Self::OfServer(server, tool)
                    })
            }
            _ => return None,
        })
    }

    fn key(&self) -> Option<Key> {
        match self {
            Self::Agent(id) => Some(Key::agent(*id)),
            Self::User(id) => Some(Key::user(*id)),
            Self::Server(id) | Self::OfServer(id, _) => Some(Key::server(id)),
            Self::Nothing(_) => None,
        }
    }
}

/// Gathers the entities that a policy names ([JSON policy
/// format](https://docs.cedarpolicy.com/policies/json-format.html)).
fn visit(expression: &Value, named: &mut BTreeMap<String, Named>) {
    for (kind, id) in entities_in(expression) {
        if let Some(what) = Named::of(&kind, &id) {
            named.insert(format!("{kind}::{}", Value::from(id)), what);
        }
    }
}

/// The entities that a policy names: their types and ids.
pub(super) fn entities_in(expression: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut left = vec![expression];
    while let Some(expression) = left.pop() {
        match expression {
            Value::Object(fields) => {
                let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
                if let (Some(kind), Some(id), 2) = (text("type"), text("id"), fields.len()) {
                    all.push((kind, id));
                }
                left.extend(fields.values());
            }
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
    all
}
