//! Policies: who may call which tool. Cedar, default deny.
//!
//! Policies are items; a version number, in the control item that every call reads, says which state of
//! them is in force. A process compiles a version once and keeps it, and a change is in force on every
//! process's next call.

mod check;
mod engine;
mod spellings;

use serde::{Deserialize, Serialize};

pub use self::{
    check::{CheckRequest, Explanation, check},
    engine::{CallFacts, Compiled, Decision, Deed, Denial, DeniedFor, prepare},
};
pub(crate) use self::{engine::Principals, spellings::Spellings};
use crate::{
    Core,
    audit::{Action, Request},
    caller::UserCaller,
    clock::Timestamp,
    control::{Control, as_of_one_version},
    error::{Error, Result},
    ids::PolicyId,
    paging::{Listing, PageRequest},
    table::{Change, Entity, Key, Query, Stored, settle},
};

/// In bytes of Cedar text.
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

/// Saves a policy that is valid; 400 with line and column otherwise. Admins only.
pub async fn create(core: &Core, caller: &UserCaller, request: &Request, new: NewPolicy) -> Result<Policy> {
    caller.require_admin()?;
    settle(|| async {
        let mut change = Change::new();
        let policy = add_policy(core, &mut change, new.clone())?;
        let control = Control::read(core).await?;
        if control.policies >= MAX_POLICIES {
            return Err(
                Error::Conflict(format!("there are {MAX_POLICIES} policies, the most there can be")).into()
            );
        }
        control.with_policies(control.policies + 1).replace(&mut change, control.rev)?;
        change.record(&caller.event(core, request, Action::PolicyCreate)?.about("policy", policy.id))?;
        core.table.commit(change).await?;
        Ok(policy)
    })
    .await
}

pub async fn get(core: &Core, caller: &UserCaller, id: PolicyId) -> Result<Stored<Policy>> {
    caller.require_admin()?;
    core.table.read_one(Key::policy(id)).await?.ok_or(Error::NotFound(PolicyId::WHAT))
}

pub async fn list(core: &Core, caller: &UserCaller, page: &PageRequest) -> Result<Listing<Policy>> {
    caller.require_admin()?;
    let page = page.list_items::<Policy>(core, "POLICIES", "POLICY#").await?;
    Ok(page.map(|stored| stored.value))
}

/// Puts a policy's new name and text in force. Admins only.
pub async fn update(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    id: PolicyId,
    new: NewPolicy,
) -> Result<Policy> {
    caller.require_admin()?;
    engine::validate(id, &new.text)?;
    change_policy(core, caller, request, id, Action::PolicyUpdate, |change, was, now| {
        let policy =
            Policy { name: new.name.clone(), text: new.text.clone(), updated_at: now, ..was.value.clone() };
        change.replace(Key::policy(id), &policy, was.rev)?;
        Ok((policy, 0))
    })
    .await
}

/// Takes a policy out of force. Admins only.
pub async fn delete(core: &Core, caller: &UserCaller, request: &Request, id: PolicyId) -> Result<()> {
    caller.require_admin()?;
    change_policy(core, caller, request, id, Action::PolicyDelete, |change, was, _| {
        change.delete(&Key::policy(id), was.rev)?;
        Ok(((), 1))
    })
    .await
}

/// One transaction: the edit of the policy, the version that puts it in force, and the audit event.
async fn change_policy<T>(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    id: PolicyId,
    action: Action,
    edit: impl Fn(&mut Change, &Stored<Policy>, Timestamp) -> Result<(T, usize)>,
) -> Result<T> {
    settle(|| async {
        let was = get(core, caller, id).await?;
        let control = Control::read(core).await?;
        let mut change = Change::new();
        let (done, removed) = edit(&mut change, &was, core.clock.now())?;
        control.with_policies(control.policies.saturating_sub(removed)).replace(&mut change, control.rev)?;
        change.record(&caller.event(core, request, action)?.about("policy", id))?;
        core.table.commit(change).await?;
        Ok(done)
    })
    .await
}

/// Reads all policies as of one version, which is the one that was seen or a newer one.
pub(crate) async fn load(core: &Core, seen: u64) -> Result<(u64, Vec<Policy>)> {
    let read = || async {
        let mut policies = Vec::new();
        let mut after = None;
        loop {
            let query = Query::partition("POLICIES", crate::paging::PAGE_SIZE).prefix("POLICY#").after(after);
            let page = core.table.query::<Policy>(query).await?;
            policies.extend(page.items.into_iter().map(|stored| stored.value));
            after = page.next;
            if after.is_none() {
                return Ok(policies);
            }
        }
    };
    as_of_one_version(core, seen, |control| control.policies_version, read).await
}
