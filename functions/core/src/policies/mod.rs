//! Policies: which agent and user may call which tool. [Cedar](https://www.cedarpolicy.com), default deny.
//!
//! | file | holds |
//! | --- | --- |
//! | `schema.cedarschema` | everything that policies can speak of; policies are validated against it, strictly, when they are saved |
//! | `engine` | compiled policies, and deciding with them |
//! | `reads` | which arguments policies read, and that an unreadable value denies |
//! | `concerning` | which policies concern a server or an agent |
//! | `possible` | whether some arguments could be permitted, and what remains of the policies |
//! | `logged` | policies in mode `log`: recorded, not enforced |
//! | `prune` | the policies that could decide of one tool, and what of a principal they look at |
//! | `manage` | making, changing and deleting policies |
//! | `warnings` | what a policy names that does not exist |
//!
//! Questions about decisions without a call are in [`crate::explain`].
//!
//! Policies are items. A version number, in the control item that every call reads, says which state of them is in
//! force. A process compiles a version once and keeps it. A change is in force on every process's next call.
//!
//! The principal is an `Agent` or a `User` (in `Group`s), the action for a tool `call_tool`, the resource a `Tool` in a
//! `Server`. Resources, prompts and other requests have actions of their own.
//!
//! - **The intersection.** For OBO the agent is judged, and then the user, each alone and under the same policies. If
//!   one request had both in its context, every policy's author would have to check both.
//! - **Fail closed.** Cedar leaves out a policy that fails to evaluate. If that were one that forbids, leaving it out
//!   would permit. So any such failure denies.
//! - **Arguments are tags,** not a record: `context.arguments.hasTag("org") && context.arguments.getTag("org") ==
//!   "acme"`. Nested names are joined by dots (`repo.name`). Numbers and booleans are their JSON text, and integers are
//!   also in `context.integers`. Each tool has its own schema of arguments, which its server can change at any time,
//!   and an undeclared attribute cannot be validated. Tags can, since every access must ask `hasTag` first.
//! - **Attributes that an owner can change are not for policies.** An agent has an id, an owner and groups, and no
//!   name: the owner can change it, and others can have the same. Users have their email, which belongs to one person,
//!   and which only an admin or a trusted issuer's verification gives. The names of servers, tools, resources and
//!   prompts are the subject of a request. `context.client_name` is a client's own word, and the schema says so.
//!   Policies that were saved while agents had names stay in force, since a failing policy would deny everything. The
//!   log names each when it is compiled.
//! - **For whom an agent acts.** `context.on_behalf_of` is the user with their attributes and groups. An agent's owner
//!   is only a string, `principal.owner_id`: the person behind it is not loaded.
//!
//! What an argument is to a policy is in the module `arguments`.

pub(crate) mod arguments;
mod concerning;
mod engine;
#[cfg(any(test, feature = "fuzzing"))]
mod fixture;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod logged;
mod manage;
mod possible;
mod prune;
mod reads;
#[cfg(test)]
mod tests;
mod warnings;

use serde::{Deserialize, Serialize};

#[cfg(feature = "fuzzing")]
pub use self::fuzzing::{decide, prepare_to_decide};
pub use self::possible::{Condition, Possibility};
#[cfg(test)]
pub(crate) use self::reads::reads_of;
pub use self::{
    concerning::{Concern, ConcerningPolicy, list_at_server, list_of_agent},
    engine::{CallFacts, CompiledPolicies, Decision, Operation, prepare},
    logged::graver,
    manage::{NewPolicy, SavedPolicy, create, delete, get, list, update},
    warnings::Warning,
};
pub(crate) use self::{
    concerning::{Named, naming},
    engine::{Principals, validate},
    manage::{add_policy, bring_back, require_free_name, require_room},
    prune::{LooksAt, Pruned, Seen},
    reads::{Read, Reads, Uses},
    warnings::warnings,
};
pub use crate::denial::{Denial, DeniedFor};
use crate::{
    Core,
    clock::Timestamp,
    control::{self, Control, Digest, InForce, Version},
    error::Result,
    ids::PolicyId,
    table::{Entity, Key, Partition, Stored},
};

/// The longest text of a policy, in bytes.
pub const MAX_POLICY_LENGTH: usize = 10_240;
/// How many policies a deployment can have: every call evaluates all that could apply.
pub const MAX_POLICIES: usize = 2_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Policy {
    pub id: PolicyId,
    pub name: String,
    /// One Cedar policy.
    pub text: String,
    #[serde(default, skip_serializing_if = "Mode::is_default")]
    pub mode: Mode,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a policy does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It decides.
    #[default]
    Enforce,
    /// It is recorded in calls' events what it would decide.
    Log,
}

impl Mode {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Policy {
    /// Where a policy is stored that has this mode.
    fn key(id: PolicyId, mode: Mode) -> Key {
        match mode {
            Mode::Enforce => Key::policy(id),
            Mode::Log => Key::logged_policy(id),
        }
    }
}

impl Entity for Policy {
    const KIND: &'static str = "policy";
}

impl Policy {
    /// What the trail shows of it.
    pub(crate) fn recorded(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Recorded<'a> {
            name: &'a str,
            text: &'a str,
            #[serde(skip_serializing_if = "Mode::is_default")]
            mode: Mode,
        }
        Recorded { name: &self.name, text: &self.text, mode: self.mode }
    }
}

impl InForce for Policy {
    const WHAT: &'static str = "policies";

    fn digest(&self) -> Digest {
        Digest::of_part(&[self.id.0.as_bytes(), self.name.as_bytes(), self.text.as_bytes()])
    }

    fn decides(&self) -> bool {
        self.mode == Mode::Enforce
    }

    fn version(control: &Control) -> Version {
        control.version_of_policies()
    }

    async fn all(core: &Core) -> Result<Vec<Stored<Self>>> {
        core.table.query_all(&Partition::policies()).await
    }
}

/// Reads all policies of one version: the one that was seen, or a newer one.
pub(crate) async fn load(core: &Core, seen: Version) -> Result<(u64, Vec<Policy>)> {
    let (version, policies) = control::in_force::<Policy>(core, seen).await?;
    Ok((version, policies.into_iter().map(|stored| stored.value).collect()))
}
