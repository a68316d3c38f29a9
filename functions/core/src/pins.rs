//! Tool definitions as an admin has approved them. What a tool says of itself is read by a model and steers it, so
//! a definition that changes afterwards can be told (`warn`) or held back (`block`).
//!
//! What is approved is an item of its own for each approval, and the server says which is in force. So it never
//! changes, is read once by each process, and a call costs no more round trips than without.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    Core,
    audit::{Action, Request},
    caller::UserCaller,
    error::{Error, Result},
    ids::ServerId,
    secret::sha256_hex,
    servers::{self, Server},
    table::{Change, Entity, Key, settle},
};

/// The most tools of one server that can be approved: they are one item.
const MAX_TOOLS: usize = 2_000;

/// What is done about a tool whose definition is not the approved one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pinning {
    /// Nothing.
    #[default]
    Off,
    /// The audit trail says so.
    Warn,
    /// It is neither listed nor called.
    Block,
}

/// Approved definitions: a hash for each tool's name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pins {
    tools: BTreeMap<String, String>,
}

impl Entity for Pins {
    const KIND: &'static str = "approved tools";
}

/// How a definition stands to what was approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    Approved,
    Changed,
    /// No tool of that name was approved.
    New,
}

/// The pins that this process has read, by server and version.
#[derive(Debug, Default)]
pub(crate) struct KnownPins(RwLock<BTreeMap<ServerId, (u64, Arc<Pins>)>>);

impl Pins {
    fn of(tools: &[Box<RawValue>]) -> Result<Self> {
        if tools.len() > MAX_TOOLS {
            return Err(Error::Invalid(format!("The server has more than {MAX_TOOLS} tools")));
        }
        let named = tools.iter().filter_map(|tool| name_and_hash(tool));
        Ok(Self { tools: named.collect() })
    }

    /// A definition's name, and how it stands. `None` for what is no definition.
    pub fn judge(&self, tool: &RawValue) -> Option<(String, Standing)> {
        let (name, hash) = name_and_hash(tool)?;
        let standing = match self.tools.get(&name) {
            Some(approved) if *approved == hash => Standing::Approved,
            Some(_) => Standing::Changed,
            None => Standing::New,
        };
        Some((name, standing))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tools.keys().map(String::as_str)
    }
}

/// A value with every object's fields in the order of their names.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> =
                fields.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// The hash of what a definition says, however it is written.
fn name_and_hash(tool: &RawValue) -> Option<(String, String)> {
    let definition: Value = serde_json::from_str(tool.get()).ok()?;
    let name = definition.get("name")?.as_str()?.to_owned();
    Some((name, sha256_hex(sorted(definition).to_string().as_bytes())))
}

/// The definitions in force at a server; none were approved if there are none.
pub async fn of(core: &Core, server: &Server) -> Result<Arc<Pins>> {
    if server.pins_version == 0 {
        return Ok(Arc::default());
    }
    let kept = core.pins.0.read().unwrap_or_else(PoisonError::into_inner).get(&server.id).cloned();
    if let Some((_, pins)) = kept.filter(|(version, _)| *version == server.pins_version) {
        return Ok(pins);
    }
    let key = Key::pins(&server.id, server.pins_version);
    let Some(pins) = core.table.read_one::<Pins>(key).await? else {
        // Approved anew since the server was read.
        return Err(Error::unavailable("a server's approved tools are being changed"));
    };
    let pins = Arc::new(pins.value);
    let mut known = core.pins.0.write().unwrap_or_else(PoisonError::into_inner);
    known.insert(server.id.clone(), (server.pins_version, Arc::clone(&pins)));
    Ok(pins)
}

/// Approves a server's tools as they are. Admins only.
pub async fn approve(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    id: &ServerId,
    tools: &[Box<RawValue>],
) -> Result<Pins> {
    caller.require_admin()?;
    let pins = Pins::of(tools)?;
    settle(|| async {
        let was = servers::get(core, id).await?;
        let mut server = was.value.clone();
        server.pins_version += 1;
        server.updated_at = core.clock.now();
        let event = caller.event(core, request, Action::ToolsApprove)?.server(id.clone());
        let mut change = Change::new();
        change.create(Key::pins(id, server.pins_version), &pins)?;
        if was.pins_version > 0 {
            change.delete(&Key::pins(id, was.pins_version), 1)?;
        }
        change.replace(Key::server(id), &server, was.rev)?;
        change.record(&event.about("server", id).note(format!("{} tools", pins.tools.len())))?;
        core.table.commit(change).await?;
        Ok(pins.clone())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn a_definition_is_the_same_however_it_is_written_and_another_when_it_says_something_else() {
        let pins = Pins::of(&[raw(r#"{"name":"a","description":"x","inputSchema":{"b":1,"a":2}}"#)]).unwrap();
        let standing = |text: &str| pins.judge(&raw(text)).unwrap().1;
        assert_eq!(
            standing(r#"{ "inputSchema": {"a":2,"b":1}, "description":"\u0078", "name":"a" }"#),
            Standing::Approved
        );
        for changed in [
            r#"{"name":"a","description":"y","inputSchema":{"b":1,"a":2}}"#,
            r#"{"name":"a","description":"x","inputSchema":{"b":1}}"#,
            r#"{"name":"a","description":"x","inputSchema":{"b":1,"a":2},"annotations":{}}"#,
        ] {
            assert_eq!(standing(changed), Standing::Changed, "{changed}");
        }
        assert_eq!(standing(r#"{"name":"b"}"#), Standing::New);
        assert!(pins.judge(&raw(r#"{"description":"no name"}"#)).is_none());
    }
}
