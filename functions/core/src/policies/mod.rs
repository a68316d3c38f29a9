//! Policies: which agent and user may call which tool. [Cedar](https://www.cedarpolicy.com), default deny.
//!
//! | file | holds |
//! | --- | --- |
//! | `schema.cedarschema` | everything that policies can speak of; policies are validated against it, strictly, when they are saved |
//! | `engine` | compiled policies, and deciding with them |
//! | `reads` | which arguments policies read, and that an unreadable value denies |
//! | `check` | explaining a decision without calling anything |
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
mod check;
mod engine;
#[cfg(any(test, feature = "fuzzing"))]
mod fixture;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod possible;
mod reads;
#[cfg(test)]
mod tests;

use deputize_api::reason::Reason;
use serde::{Deserialize, Serialize};

#[cfg(feature = "fuzzing")]
pub use self::fuzzing::{decide, prepare_to_decide};
pub use self::possible::{Condition, Possibility};
#[cfg(test)]
pub(crate) use self::reads::reads_of;
pub use self::{
    check::{CheckRequest, Explanation, check},
    engine::{CallFacts, CompiledPolicies, Decision, Operation, prepare},
};
pub(crate) use self::{
    engine::Principals,
    reads::{Read, Reads, Uses},
};
pub use crate::denial::{Denial, DeniedFor};
use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    clock::Timestamp,
    control::{self, Control, Digest, InForce, Version},
    error::{Error, Result, Told},
    ids::PolicyId,
    paging::{Listing, PageRequest},
    table::{Change, Entity, Key, Partition, Stored, retry_on_conflict},
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
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Entity for Policy {
    const KIND: &'static str = "policy";
}

impl InForce for Policy {
    const WHAT: &'static str = "policies";

    fn digest(&self) -> Digest {
        Digest::of_part(&[self.id.0.as_bytes(), self.name.as_bytes(), self.text.as_bytes()])
    }

    fn version(control: &Control) -> Version {
        control.version_of_policies()
    }

    async fn all(core: &Core) -> Result<Vec<Stored<Self>>> {
        core.table.query_all(&Partition::policies()).await
    }
}

#[derive(Clone, Debug)]
pub struct NewPolicy {
    pub name: String,
    pub text: String,
}

/// Adds a policy to a change that also raises the policies' version.
pub(crate) fn add_policy(core: &Core, change: &mut Change, new: NewPolicy) -> Result<Policy> {
    let now = core.clock.now();
    let id = PolicyId(core.random.uuid()?);
    engine::validate(id, &new.text)?;
    let policy = Policy { id, name: new.name, text: new.text, created_at: now, updated_at: now };
    change.create(Key::policy(policy.id), &policy)?;
    Ok(policy)
}

/// Saves a valid policy. 400 with line and column if it is not valid. Admins only.
pub async fn create(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    new: NewPolicy,
) -> Result<Policy> {
    caller.require(Power::Manage)?;
    retry_on_conflict(|| async {
        let mut change = caller.change()?;
        let policy = add_policy(core, &mut change, new.clone())?;
        let (control, policies) = control::to_change::<Policy>(core).await?;
        if policies.len() >= MAX_POLICIES {
            return Err(Error::Conflict(Told::of(
                Reason::LimitReached,
                format!("there are {MAX_POLICIES} policies, the most there can be"),
            ))
            .into());
        }
        let digest = Digest::of(&policies).flip(policy.digest());
        control.with_policies(policies.len() + 1, Some(digest)).replace(&mut change, control.rev)?;
        change.record(&caller.event(core, request, Action::PolicyCreate)?.about("policy", policy.id))?;
        core.table.commit(change).await?;
        Ok(policy)
    })
    .await
}

pub async fn get(core: &Core, caller: &UserCaller, id: PolicyId) -> Result<Stored<Policy>> {
    caller.require(Power::Read)?;
    core.table.read_one(Key::policy(id)).await?.ok_or(Error::NotFound(PolicyId::WHAT))
}

pub async fn list(core: &Core, caller: &UserCaller, page: &PageRequest) -> Result<Listing<Policy>> {
    caller.require(Power::Read)?;
    let page = page.list_items::<Policy>(core, &Partition::policies()).await?;
    Ok(page.map(|stored| stored.value))
}

/// Gives a policy a new name and text, and puts it in force. Admins only.
pub async fn update(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: PolicyId,
    new: NewPolicy,
) -> Result<Policy> {
    caller.require(Power::Manage)?;
    engine::validate(id, &new.text)?;
    change_policy(core, caller, request, id, Action::PolicyUpdate, |change, was, now| {
        let policy =
            Policy { name: new.name.clone(), text: new.text.clone(), updated_at: now, ..was.value.clone() };
        change.replace(Key::policy(id), &policy, was.rev)?;
        Ok((policy.clone(), Some(policy)))
    })
    .await
}

/// Takes a policy out of force. Admins only.
pub async fn delete(core: &Core, caller: &UserCaller, request: &RequestContext, id: PolicyId) -> Result<()> {
    caller.require(Power::Manage)?;
    change_policy(core, caller, request, id, Action::PolicyDelete, |change, was, _| {
        change.delete(&Key::policy(id), was.rev)?;
        Ok(((), None))
    })
    .await
}

/// One transaction: the edit of the policy, the version that puts it in force, and the audit event. Beside
/// its result, `edit` returns the new policy.
async fn change_policy<T>(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: PolicyId,
    action: Action,
    edit: impl Fn(&mut Change, &Stored<Policy>, Timestamp) -> Result<(T, Option<Policy>)>,
) -> Result<T> {
    retry_on_conflict(|| async {
        let (control, policies) = control::to_change::<Policy>(core).await?;
        let was = policies.iter().find(|policy| policy.id == id).ok_or(Error::NotFound(PolicyId::WHAT))?;
        let mut change = caller.change()?;
        let (done, becomes) = edit(&mut change, was, core.clock.now())?;
        let rest = Digest::of(&policies).flip(was.digest());
        let (count, digest) = match &becomes {
            Some(policy) => (policies.len(), rest.flip(policy.digest())),
            None => (policies.len() - 1, rest),
        };
        control.with_policies(count, Some(digest)).replace(&mut change, control.rev)?;
        change.record(&caller.event(core, request, action)?.about("policy", id))?;
        core.table.commit(change).await?;
        Ok(done)
    })
    .await
}

/// Reads all policies of one version: the one that was seen, or a newer one.
pub(crate) async fn load(core: &Core, seen: Version) -> Result<(u64, Vec<Policy>)> {
    let (version, policies) = control::in_force::<Policy>(core, seen).await?;
    Ok((version, policies.into_iter().map(|stored| stored.value).collect()))
}
