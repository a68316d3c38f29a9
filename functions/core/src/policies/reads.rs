//! Which arguments policies read, by which names and as what. A policy that reads a value in another type than it has
//! fails.
//!
//! Cedar has no such value. So each reading of a tag (`hasTag`, `getTag`) is rewritten when policies are compiled:
//! `context.integers.getTag("limit")` becomes `if context.integers.hasTag("unreadable: limit") then` *something that
//! fails* `else context.integers.getTag("limit")`. A failing policy denies, with the policy's id and a reason that
//! names the argument.
//!
//! This is exact, because it happens within the evaluation. Cedar evaluates from left to right and stops when the
//! outcome is clear. So only a value that a policy reaches can fail it. A policy that first says which server it is
//! about refuses nothing at other servers. A tool may have text where a policy for another tool has an integer.
//!
//! An approved tool's schema exempts no value from this. Servers convert by their own rules: FastMCP, unless it is
//! strict, and Pydantic accept `"1000"` for an integer where the schema says `integer`. The exemption would permit what
//! this refuses.
//!
//! The names are gathered when policies are compiled, so tags are named in quotes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cedar_policy::Policy;
use serde_json::{Value, json};

use crate::{
    case_folding::folded,
    error::{Error, Result},
    policies::arguments::{MAX_DEPTH, MAX_DOTTED_NAME, Unreadable, Wanted},
};

/// What policies read, by folded names: the server may read names in any case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads(HashMap<String, Read>);

/// What policies read at one folded name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Read {
    /// The spellings in policies, each with the types that are read.
    pub(crate) names: BTreeMap<String, Uses>,
    /// The longer names that policies read in it: `repo.org` for `repo`.
    pub(crate) inner: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Uses {
    pub(crate) as_text: bool,
    pub(crate) as_integer: bool,
}

impl Reads {
    pub(super) fn add(&mut self, Tag { of, name }: &Tag) {
        let fold = folded(name).into_owned();
        // No argument has a name that is longer or deeper.
        let dots = fold.match_indices('.').map(|(at, _)| at).take_while(|at| *at <= MAX_DOTTED_NAME);
        for outer in dots.take(MAX_DEPTH) {
            self.0.entry(fold[..outer].to_owned()).or_default().inner.insert(name.clone());
        }
        let uses = self.0.entry(fold).or_default().names.entry(name.clone()).or_default();
        match of {
            TagSource::Arguments => uses.as_text = true,
            TagSource::Integers => uses.as_integer = true,
        }
    }

    pub(crate) fn of(&self, folded: &str) -> Option<&Read> {
        self.0.get(folded)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The attribute from which a tag is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TagSource {
    Arguments,
    Integers,
}

impl TagSource {
    /// The name of the context's attribute.
    fn attribute(self) -> &'static str {
        match self {
            Self::Arguments => "arguments",
            Self::Integers => "integers",
        }
    }
}

/// A tag that a policy reads.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) of: TagSource,
    pub(super) name: String,
}

/// A policy, changed so that it fails where it would read a value that it must not read.
#[derive(Debug)]
pub(super) struct GuardedPolicy {
    pub(super) policy: Policy,
    pub(super) reads: Vec<Tag>,
    /// Texts in it that may be resources' URIs: the ids of resources, texts, and what fits a pattern.
    pub(super) examples: Vec<String>,
    /// Why a new policy like this is refused.
    pub(super) objection: Option<Objection>,
}

/// A use that Cedar allows and Deputize does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Objection {
    /// It uses a tag whose name is not known before the call.
    ComputedTag,
    /// It uses a tag of something other than `context.arguments` or `context.integers` directly.
    TagElsewhere,
    /// It uses an agent's name.
    AgentName,
}

impl Objection {
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::ComputedTag => {
                "hasTag and getTag take the name of an argument in quotes, and no expression in its place"
            }
            Self::TagElsewhere => {
                "hasTag and getTag are asked of context.arguments and context.integers themselves"
            }
            Self::AgentName => {
                "what an agent is called says nothing, since its owner can change it and others can be called the \
                 same: name the agent by its id (principal == Agent::\"…\"), or a group that it is in (principal in \
                 Group::\"…\")"
            }
        }
    }
}

impl GuardedPolicy {
    pub(super) fn of(policy: Policy) -> Result<Self> {
        // [JSON policy format](https://docs.cedarpolicy.com/policies/json-format.html)
        let mut text = policy.to_json().map_err(Error::internal)?;
        let mut guarded = Self { policy, reads: Vec::new(), examples: Vec::new(), objection: None };
        guarded.visit(&mut text);
        if !guarded.reads.is_empty() || guarded.objection.is_some() {
            let id = guarded.policy.id().clone();
            guarded.policy = Policy::from_json(Some(id), text).map_err(Error::internal)?;
        }
        Ok(guarded)
    }

    fn visit(&mut self, expression: &mut Value) {
        match expression {
            Value::Object(fields) => {
                self.examples.extend(example(fields));
                fields.values_mut().for_each(|inner| self.visit(inner));
                let reading = ["hasTag", "getTag"].into_iter().find_map(|reading| {
                    let operands = fields.get(reading)?;
                    Some((reading, operands.get("left")?, operands.get("right")?))
                });
                if let Some((reading, left, right)) = reading {
                    *expression = self.guard(reading, left, right);
                } else if [".", "has"]
                    .into_iter()
                    .any(|reading| fields.get(reading).is_some_and(is_of_an_agent))
                {
                    self.object(Objection::AgentName);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.visit(item)),
            _ => {}
        }
    }

    fn object(&mut self, objection: Objection) {
        self.objection = self.objection.max(Some(objection));
    }

    fn guard(&mut self, reading: &str, left: &Value, right: &Value) -> Value {
        let all = [TagSource::Arguments, TagSource::Integers];
        let of = all.into_iter().find(|of| *left == attribute(*of));
        match (of, right.get("Value")) {
            (Some(of), Some(Value::String(name))) => {
                self.reads.push(Tag { of, name: name.clone() });
                let marker = if reading == "hasTag" { unknown(name) } else { unreadable(name) };
                json!({ "if-then-else": {
                    "if": tag("hasTag", of, &marker),
                    "then": tag("getTag", of, &failure(name)),
                    "else": tag(reading, of, name),
                } })
            }
            (Some(of), _) => {
                self.object(Objection::ComputedTag);
                tag("getTag", of, &failure("a computed name"))
            }
            (None, _) => {
                self.object(Objection::TagElsewhere);
                tag("getTag", TagSource::Arguments, &failure("elsewhere"))
            }
        }
    }
}

/// A text that may be a resource's URI: one that an expression names, or one that fits its pattern.
fn example(fields: &serde_json::Map<String, Value>) -> Option<String> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    if fields.get("type").and_then(Value::as_str) == Some("Resource") {
        return text("id");
    }
    let Some(parts) = fields.get("pattern").and_then(Value::as_array) else { return text("Value") };
    let part = |part: &Value| part.get("Literal").and_then(Value::as_str).unwrap_or("x").to_owned();
    Some(parts.iter().map(part).collect())
}

/// Whether the operands ask for a name, except the resource's or one of an entity that the policy names.
pub(super) fn is_of_an_agent(operands: &Value) -> bool {
    let Some(left) = operands.get("left") else { return false };
    let kind = left.pointer("/Value/__entity/type").and_then(Value::as_str);
    let is_named_by_others = left.pointer("/Var").and_then(Value::as_str) == Some("resource")
        || matches!(kind, Some("Server" | "Tool" | "Resource" | "Prompt" | "Method"));
    operands.get("attr").and_then(Value::as_str) == Some("name") && !is_named_by_others
}

/// The attribute, in a policy's JSON.
pub(super) fn attribute(of: TagSource) -> Value {
    json!({ ".": { "left": { "Var": "context" }, "attr": of.attribute() } })
}

fn tag(reading: &str, of: TagSource, name: &str) -> Value {
    json!({ reading: { "left": attribute(of), "right": { "Value": name } } })
}

/// A marker tag. It is set if it is not known whether the named tag exists.
fn unknown(name: &str) -> String {
    format!("unknown: {name}")
}

/// A marker tag. It is set if the named tag must not be read.
fn unreadable(name: &str) -> String {
    format!("unreadable: {name}")
}

/// Whether a tag is one of the two markers.
pub(super) fn is_marker(tag: &Value) -> bool {
    tag.as_str().is_some_and(|tag| tag.starts_with(&unknown("")) || tag.starts_with(&unreadable("")))
}

/// A tag that never exists, so that reading it fails.
fn failure(name: &str) -> String {
    format!("refused: {name}")
}

impl Unreadable<'_> {
    /// The marker tags that make policies fail if they read this value.
    pub(super) fn markers(&self) -> impl Iterator<Item = (TagSource, String)> {
        let (of, is_there): (&[TagSource], bool) = match self.wanted {
            Wanted::Text => (&[TagSource::Arguments], true),
            Wanted::Integer => (&[TagSource::Integers], false),
            Wanted::Object => (&[TagSource::Arguments, TagSource::Integers], false),
        };
        of.iter().flat_map(move |of| {
            let unknown = (!is_there).then(|| unknown(self.name));
            [Some(unreadable(self.name)), unknown].into_iter().flatten().map(|marker| (*of, marker))
        })
    }

    /// Whether Cedar's error says that a policy failed because of this value.
    pub(super) fn is_told_by(&self, error: &str) -> bool {
        let entity = match self.wanted {
            Wanted::Text => "`Arguments::",
            Wanted::Integer => "`Integers::",
            Wanted::Object => "",
        };
        error.contains(entity) && error.contains(&format!("`{}`", failure(self.name)))
    }
}

/// The reads of policies that read `texts` as text and `integers` as integers.
#[cfg(test)]
pub(crate) fn reads_of(texts: &[&str], integers: &[&str]) -> Reads {
    let mut reads = Reads::default();
    for (of, names) in [(TagSource::Arguments, texts), (TagSource::Integers, integers)] {
        for name in names {
            reads.add(&Tag { of, name: (*name).to_owned() });
        }
    }
    reads
}
