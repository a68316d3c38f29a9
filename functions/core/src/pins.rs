//! Tool definitions as an admin has approved them. What a tool says of itself is read by a model and steers it, so
//! a definition that changes afterwards can be told (`warn`) or held back (`block`).
//!
//! What is approved is an item of its own for each approval, and the server says which is in force. So it never
//! changes, is read once by each process, and a call costs no more round trips than without.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use crate::entities::server::Pinning;
use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    error::{Error, Result},
    ids::ServerId,
    secret::sha256_hex,
    servers::{self, Server},
    table::{CommitError, Entity, Key, Stored, retry_on_conflict},
    unambiguous_json::{self, sorted},
};

/// The most tools of one server that can be approved. They are one item, of at most 400 KB (DynamoDB
/// Developer Guide, *Quotas*). A tool takes about 130 bytes of it, whatever the length of its name.
pub const MAX_TOOLS: usize = 2_000;

/// Approved definitions: a hash for each tool's name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pins {
    /// By the hash of the name: 2,000 long names would not fit into an item.
    #[serde(default)]
    definitions: BTreeMap<String, String>,
    /// By the name: the form in which older approvals are stored.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tools: BTreeMap<String, String>,
}

impl Entity for Pins {
    const KIND: &'static str = "approved tools";
}

/// How a definition compares with the approved one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolStatus {
    Approved,
    Changed,
    /// No tool of this name was approved.
    New,
    /// Two readers could read it differently: a name occurs twice in it, in any case, or the list has another
    /// tool of its name. So it is never the approved one.
    Unclear,
}

/// The result of an approval: the tools' names.
#[derive(Clone, Debug, Default)]
pub struct Approval {
    pub approved: Vec<String>,
    /// The tools that are [`ToolStatus::Unclear`]. They cannot be approved.
    pub left_out: Vec<String>,
}

/// What a server says now, beside what was approved.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The tools that it has now, by name.
    pub tools: BTreeMap<String, ToolStatus>,
    /// How many approved tools it has no more. Their names are not kept.
    pub gone: usize,
}

/// The definitions of one list, to be judged.
#[derive(Debug)]
pub struct CheckedToolList<'a> {
    pins: &'a Pins,
    /// The names that occur several times.
    repeated: HashSet<String>,
}

/// The pins that this process has read, by server and version.
#[derive(Debug, Default)]
pub(crate) struct KnownPins(RwLock<BTreeMap<ServerId, (u64, Arc<Pins>)>>);

impl Pins {
    fn of(tools: &[Box<RawValue>]) -> Result<(Self, Approval)> {
        if tools.len() > MAX_TOOLS {
            return Err(Error::invalid(format!(
                "The server has {} tools; at most {MAX_TOOLS} of a server can be approved",
                tools.len()
            )));
        }
        let (mut pins, mut approval) = (Self::default(), Approval::default());
        let repeated = repeated(tools.iter().map(|tool| &**tool));
        for tool in tools {
            let Some(name) = name(tool) else { continue };
            match hash(tool) {
                Some(hash) if !repeated.contains(&name) => {
                    pins.definitions.insert(sha256_hex(name.as_bytes()), hash);
                    approval.approved.push(name);
                }
                _ => approval.left_out.push(name),
            }
        }
        approval.approved.sort_unstable();
        approval.left_out.sort_unstable();
        approval.left_out.dedup();
        Ok((pins, approval))
    }

    fn len(&self) -> usize {
        self.definitions.len() + self.tools.len()
    }

    /// Whether a tool of this name was approved.
    pub fn has(&self, tool: &str) -> bool {
        self.definitions.contains_key(&sha256_hex(tool.as_bytes())) || self.tools.contains_key(tool)
    }

    /// What the trail shows of an approval: the digest of each definition that another approval has not, by the tool's
    /// name. Of a tool that is in neither list now, only the name's own digest is known.
    fn recorded(&self, other: &Self, version: u64, approval: &Approval) -> RecordedPins {
        let known = approval.approved.iter().chain(&approval.left_out);
        let names: HashMap<String, &String> = known.map(|name| (sha256_hex(name.as_bytes()), name)).collect();
        let (all, others) = (self.by_digest(), other.by_digest());
        let differing = all.into_iter().filter(|(name, hash)| others.get(name) != Some(hash));
        let shown =
            |name: &str| names.get(name).map_or_else(|| format!("sha256:{name}"), ToString::to_string);
        let tools = differing.map(|(name, hash)| (shown(&name), hash.clone())).collect();
        RecordedPins { pins_version: version, tools }
    }

    /// All definitions by the digest of their tool's name.
    fn by_digest(&self) -> BTreeMap<String, &String> {
        let by_name = self.tools.iter().map(|(name, hash)| (sha256_hex(name.as_bytes()), hash));
        by_name.chain(self.definitions.iter().map(|(name, hash)| (name.clone(), hash))).collect()
    }

    /// How the definitions of a whole list differ from the approved ones.
    pub fn compare(&self, tools: &[Box<RawValue>]) -> Comparison {
        let checked = self.list(tools.iter().map(|tool| &**tool));
        let tools: BTreeMap<String, ToolStatus> =
            tools.iter().filter_map(|tool| checked.status(tool)).collect();
        let known = tools.keys().filter(|name| self.has(name)).count();
        Comparison { gone: self.len().saturating_sub(known), tools }
    }

    /// The definitions of one list, to be judged together.
    pub fn list<'t>(&self, tools: impl IntoIterator<Item = &'t RawValue>) -> CheckedToolList<'_> {
        CheckedToolList { pins: self, repeated: repeated(tools) }
    }
}

#[derive(Serialize)]
struct RecordedPins {
    pins_version: u64,
    tools: BTreeMap<String, String>,
}

impl CheckedToolList<'_> {
    /// A definition's name and standing. `None` if it has no name: such a tool cannot be called.
    pub fn status(&self, tool: &RawValue) -> Option<(String, ToolStatus)> {
        let name = name(tool)?;
        let Pins { definitions, tools } = self.pins;
        let standing = match hash(tool).filter(|_| !self.repeated.contains(&name)) {
            None => ToolStatus::Unclear,
            Some(hash) => match definitions.get(&sha256_hex(name.as_bytes())).or_else(|| tools.get(&name)) {
                Some(approved) if *approved == hash => ToolStatus::Approved,
                Some(_) => ToolStatus::Changed,
                None => ToolStatus::New,
            },
        };
        Some((name, standing))
    }

    /// The names of the tools that may be called: those with one definition, which is approved.
    pub fn approved<'t>(&self, tools: impl IntoIterator<Item = &'t RawValue>) -> HashSet<String> {
        let checked = tools.into_iter().filter_map(|tool| self.status(tool));
        checked.filter(|(_, standing)| *standing == ToolStatus::Approved).map(|(name, _)| name).collect()
    }
}

/// The names that occur several times.
fn repeated<'t>(tools: impl IntoIterator<Item = &'t RawValue>) -> HashSet<String> {
    let mut seen = HashSet::new();
    tools.into_iter().filter_map(name).filter_map(|name| seen.replace(name)).collect()
}

/// A definition's name. If it has several, the last one counts, as with most readers.
fn name(tool: &RawValue) -> Option<String> {
    let fields: HashMap<String, &RawValue> = serde_json::from_str(tool.get()).ok()?;
    serde_json::from_str(fields.get("name")?.get()).ok()
}

/// A hash of a definition's content, whatever its spelling. `None` if two readers could read it differently.
fn hash(tool: &RawValue) -> Option<String> {
    let definition = unambiguous_json::read(tool.get()).ok()?;
    Some(sha256_hex(sorted(definition).to_string().as_bytes()))
}

/// The definitions in force at a server. Empty if none were approved.
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
        // They were approved again after the server was read.
        return Err(Error::unavailable("a server's approved tools are being changed"));
    };
    let pins = Arc::new(pins.value);
    let mut known = core.pins.0.write().unwrap_or_else(PoisonError::into_inner);
    known.insert(server.id.clone(), (server.pins_version, Arc::clone(&pins)));
    Ok(pins)
}

/// Approves a server's tools as they are, except those that two readers could read differently. Admins only.
pub async fn approve(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: &ServerId,
    tools: &[Box<RawValue>],
) -> Result<Approval> {
    caller.require(Power::Manage)?;
    let (pins, approval) = Pins::of(tools)?;
    let note = match approval.left_out.len() {
        0 => format!("{} tools", approval.approved.len()),
        left_out => format!("{} tools; {left_out} left out, as they say two things", approval.approved.len()),
    };
    retry_on_conflict(|| async {
        let was = servers::get(core, id).await?;
        replace(core, caller, request, was, (&pins, &approval), &note).await?;
        Ok(approval.clone())
    })
    .await
}

/// Takes back what is approved of a server's tools. If nothing is, nothing changes. Admins only.
pub async fn remove(core: &Core, caller: &UserCaller, request: &RequestContext, id: &ServerId) -> Result<()> {
    caller.require(Power::Manage)?;
    retry_on_conflict(|| async {
        let was = servers::get(core, id).await?;
        if of(core, &was).await?.len() == 0 {
            return Ok(());
        }
        // Not the version 0 of a server without any: each version is of one content, which processes remember.
        let nothing = (&Pins::default(), &Approval::default());
        replace(core, caller, request, was, nothing, "0 tools: the approval was taken back").await
    })
    .await
}

async fn replace(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    was: Stored<Server>,
    (pins, approval): (&Pins, &Approval),
    note: &str,
) -> Result<(), CommitError> {
    let id = &was.id;
    let mut server = was.value.clone();
    server.pins_version += 1;
    server.updated_at = core.clock.now();
    let event = caller.event(core, request, Action::ToolsApprove)?.server(id.clone());
    let former = match was.pins_version {
        0 => Pins::default(),
        // Another approval was faster if they are gone.
        version => {
            let former = core.table.read_one::<Pins>(Key::pins(id, version)).await?;
            former.ok_or(CommitError::ConditionFailed)?.value
        }
    };
    let before = former.recorded(pins, was.pins_version, approval);
    let after = pins.recorded(&former, server.pins_version, approval);
    let event = event.about("server", id).note(note).changed(&before, &after)?;
    let mut change = caller.change()?;
    change.create(Key::pins(id, server.pins_version), pins)?;
    if was.pins_version > 0 {
        // A pins item never changes. The condition on the server's revision says that it is still the one in force.
        change.remove(&Key::pins(id, was.pins_version))?;
    }
    change.replace(Key::server(id), &server, was.rev)?;
    change.record(&event)?;
    core.table.commit(change).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn approved(tools: &[&str]) -> (Pins, Approval) {
        Pins::of(&tools.iter().map(|tool| raw(tool)).collect::<Vec<_>>()).unwrap()
    }

    /// The standing of each definition in a list.
    fn standings(pins: &Pins, tools: &[&str]) -> Vec<Option<ToolStatus>> {
        let tools: Vec<_> = tools.iter().map(|tool| raw(tool)).collect();
        let list = pins.list(tools.iter().map(|tool| &**tool));
        tools.iter().map(|tool| list.status(tool).map(|(_, standing)| standing)).collect()
    }

    #[test]
    fn a_definition_is_the_same_however_it_is_written_and_another_when_it_says_something_else() {
        let (pins, _) = approved(&[r#"{"name":"a","description":"x","inputSchema":{"b":1,"a":2}}"#]);
        let standing = |text: &str| standings(&pins, &[text])[0];
        assert_eq!(
            standing(r#"{ "inputSchema": {"a":2,"b":1}, "description":"\u0078", "name":"a" }"#),
            Some(ToolStatus::Approved)
        );
        for changed in [
            r#"{"name":"a","description":"y","inputSchema":{"b":1,"a":2}}"#,
            r#"{"name":"a","description":"x","inputSchema":{"b":1}}"#,
            r#"{"name":"a","description":"x","inputSchema":{"b":1,"a":2},"annotations":{}}"#,
        ] {
            assert_eq!(standing(changed), Some(ToolStatus::Changed), "{changed}");
        }
        assert_eq!(standing(r#"{"name":"b"}"#), Some(ToolStatus::New));
        assert_eq!(standing(r#"{"description":"no name"}"#), None);
    }

    #[test]
    fn a_definition_that_two_readers_read_differently_is_not_the_approved_one() {
        let (pins, _) = approved(&[r#"{"name":"a","description":"x","inputSchema":{"b":1}}"#]);
        for unclear in [
            r#"{"name":"a","description":"evil","description":"x","inputSchema":{"b":1}}"#,
            r#"{"name":"a","description":"x","Description":"evil","inputSchema":{"b":1}}"#,
            r#"{"name":"a","description":"x","inputSchema":{"b":2,"b":1}}"#,
            r#"{"name":"a","description":"x","inputSchema":{"b":1,"B":2}}"#,
            r#"{"name":"b","name":"a","description":"x","inputSchema":{"b":1}}"#,
            r#"{"name":"a","Name":"b","description":"x","inputSchema":{"b":1}}"#,
            r#"{"name":"a","description":"x","inputSchema":{"b":1e999}}"#,
        ] {
            assert_eq!(standings(&pins, &[unclear]), [Some(ToolStatus::Unclear)], "{unclear}");
        }
    }

    #[test]
    fn of_two_tools_of_one_name_neither_is_the_approved_one() {
        let (one, other) = (r#"{"name":"a","description":"x"}"#, r#"{"name":"a","description":"evil"}"#);
        let (pins, _) = approved(&[one]);
        assert_eq!(standings(&pins, &[one]), [Some(ToolStatus::Approved)]);
        assert_eq!(standings(&pins, &[one, other]), [Some(ToolStatus::Unclear); 2]);
        assert_eq!(standings(&pins, &[other, one]), [Some(ToolStatus::Unclear); 2]);
        let tools = [raw(one), raw(other)];
        let tools = || tools.iter().map(|tool| &**tool);
        assert!(pins.list(tools()).approved(tools()).is_empty());
    }

    #[test]
    fn what_says_two_things_is_not_approved_and_all_else_is() {
        let fine = r#"{"name":"fine"}"#;
        let tools = [
            r#"{"name":"b","description":"x"}"#,
            r#"{"name":"b","description":"y"}"#,
            r#"{"name":"c","description":"x","description":"y"}"#,
            fine,
            r#"{"description":"no name"}"#,
        ];
        let (pins, approval) = approved(&tools);
        assert_eq!(
            (approval.approved, approval.left_out),
            (vec!["fine".to_owned()], vec!["b".to_owned(), "c".to_owned()])
        );
        assert_eq!(
            standings(&pins, &[tools[0], tools[2], fine]),
            [Some(ToolStatus::New), Some(ToolStatus::Unclear), Some(ToolStatus::Approved)]
        );
    }

    #[test]
    fn an_approval_that_was_stored_by_names_is_still_good() {
        let definition = r#"{"name":"a","description":"x"}"#;
        let hash = sha256_hex(br#"{"description":"x","name":"a"}"#);
        let stored = serde_json::json!({ "tools": { "a": hash, "b": hash } });
        let pins: Pins = serde_json::from_value(stored).unwrap();
        let checked = standings(&pins, &[definition, r#"{"name":"b"}"#, r#"{"name":"c"}"#]);
        assert_eq!(checked, [ToolStatus::Approved, ToolStatus::Changed, ToolStatus::New].map(Some));
    }

    #[test]
    fn more_tools_than_an_item_holds_are_refused_by_the_limit() {
        let tools =
            |count: usize| (0..count).map(|n| raw(&format!(r#"{{"name":"{n}"}}"#))).collect::<Vec<_>>();
        assert!(Pins::of(&tools(MAX_TOOLS)).is_ok());
        let refused = Pins::of(&tools(MAX_TOOLS + 1)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "The server has 2001 tools; at most 2000 of a server can be approved"
        );
    }
}
