//! Making, changing and deleting policies.
//!
//! Every change is one transaction that also raises the control item's version. So two changes at once are one after the
//! other, and of two that make policies of one name the second is refused.

use deputize_api::reason::Reason;

use super::{MAX_POLICIES, Mode, Policy, Warning, engine, warnings};
use crate::{
    Core,
    audit::{Action, Event, RequestContext},
    caller::{Power, UserCaller},
    control::{self, Control},
    deleted::{self, About, Deleted, Kind},
    error::{Error, Result, Told},
    gone,
    ids::PolicyId,
    once::{Holds, once},
    paging::{Listing, PageRequest},
    table::{Change, CommitError, Key, Partition, Stored, retry_on_conflict},
};

#[derive(Clone, Debug)]
pub struct NewPolicy {
    pub name: String,
    pub text: String,
    pub mode: Mode,
}

/// A policy that was saved, with what in it names nothing.
#[derive(Debug)]
pub struct SavedPolicy {
    pub policy: Stored<Policy>,
    pub warnings: Vec<Warning>,
}

/// Adds a policy to a change that also raises the policies' version.
pub(crate) fn add_policy(core: &Core, change: &mut Change, new: NewPolicy) -> Result<Policy> {
    let now = core.clock.now();
    let id = PolicyId(core.random.uuid()?);
    engine::validate(id, &new.text)?;
    let NewPolicy { name, text, mode } = new;
    let policy = Policy { id, name, text, mode, created_at: now, updated_at: now };
    change.create(Policy::key(id, mode), &policy)?;
    Ok(policy)
}

/// Refuses the name of another policy.
pub(crate) fn require_free_name<'a>(
    policies: impl IntoIterator<Item = &'a Policy>,
    name: &str,
    of: Option<PolicyId>,
) -> Result<()> {
    match policies.into_iter().find(|other| other.name == name && Some(other.id) != of) {
        None => Ok(()),
        Some(Policy { id, .. }) => {
            let why = format!("name: the policy {id} has this name; change that one, or choose another name");
            Err(Error::Conflict(Told::of(Reason::AlreadyExists, why).by_thing("policy", id)))
        }
    }
}

/// The control item and all policies, in order to change them.
async fn to_change(core: &Core) -> Result<(Stored<Control>, Vec<Stored<Policy>>), CommitError> {
    control::to_change::<Policy>(core).await
}

/// Refuses one policy more than there can be.
pub(crate) fn require_room(policies: usize) -> Result<()> {
    if policies < MAX_POLICIES {
        return Ok(());
    }
    let why = format!("there are {MAX_POLICIES} policies, the most there can be");
    Err(Error::Conflict(Told::of(Reason::LimitReached, why)))
}

/// Saves a valid policy. 400 with line and column if it is not valid. Admins only.
pub async fn create(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    new: NewPolicy,
) -> Result<SavedPolicy> {
    caller.require(Power::Manage)?;
    let policy = once(core, caller, request, Holds::NoSecret, || async {
        let mut change = caller.change()?;
        let policy = add_policy(core, &mut change, new.clone())?;
        let (control, policies) = to_change(core).await?;
        require_room(policies.len())?;
        require_free_name(policies.iter().map(|policy| &**policy), &policy.name, None)?;
        let mut all: Vec<Policy> = policies.into_iter().map(|policy| policy.value).collect();
        all.push(policy.clone());
        control.with_all_policies(&all).replace(&mut change, control.rev)?;
        let event = caller.event(core, request, Action::PolicyCreate)?.about("policy", policy.id);
        change.record(&event.changed(&(), &policy.recorded())?)?;
        Ok((change, policy))
    })
    .await?;
    saved(core, policy).await
}

/// What is said of a policy that was saved. That it was saved is certain, so it is not told as an error if the table
/// cannot say what it names.
async fn saved(core: &Core, policy: Stored<Policy>) -> Result<SavedPolicy> {
    let warnings = warnings(core, [&*policy.text]).await.unwrap_or_default();
    Ok(SavedPolicy { policy, warnings })
}

pub async fn get(core: &Core, caller: &UserCaller, id: PolicyId) -> Result<Stored<Policy>> {
    caller.require(Power::Read)?;
    let keys = [Key::policy(id), Key::logged_policy(id)];
    let found = core.table.read_all::<Policy>(&keys).await?.into_iter().next();
    found.ok_or(Error::NotFound(PolicyId::WHAT))
}

/// All policies: first those in mode `log`.
pub async fn list(core: &Core, caller: &UserCaller, page: &PageRequest) -> Result<Listing<Policy>> {
    caller.require(Power::Read)?;
    let page = page.list_items::<Policy>(core, &Partition::policies()).await?;
    Ok(page.map(|stored| stored.value))
}

/// Gives a policy a new name, text and mode, and puts it in force. Without a mode, it keeps its own. Admins only.
pub async fn update(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: PolicyId,
    (name, text, mode): (String, String, Option<Mode>),
) -> Result<SavedPolicy> {
    caller.require(Power::Manage)?;
    engine::validate(id, &text)?;
    let policy = retry_on_conflict(|| async {
        let (control, policies) = to_change(core).await?;
        let was = find(&policies, id)?;
        request.require_match(&Key::policy(id), was.rev)?;
        // Policies that have had one name from before may keep it.
        if was.name != name {
            require_free_name(policies.iter().map(|policy| &**policy), &name, Some(id))?;
        }
        let (updated_at, mode) = (core.clock.now(), mode.unwrap_or(was.mode));
        let policy = Policy { name: name.clone(), text: text.clone(), mode, updated_at, ..was.value.clone() };
        let mut change = caller.change()?;
        if mode == was.mode {
            change.replace(Policy::key(id, mode), &policy, was.rev)?;
        } else {
            change.delete(&Policy::key(id, was.mode), was.rev)?;
            change.create(Policy::key(id, mode), &policy)?;
        }
        let event = caller.event(core, request, Action::PolicyUpdate)?.about("policy", id);
        let event = event.changed(&was.recorded(), &policy.recorded())?;
        let rev = if mode == was.mode { was.rev + 1 } else { change.rev_of_made(&core.random)? };
        put_in_force(core, change, &control, (&policies, id, Some(&policy)), &event).await?;
        Ok::<_, CommitError>(Stored { rev, value: policy })
    })
    .await?;
    saved(core, policy).await
}

/// Takes a policy out of force. Admins only.
pub async fn delete(core: &Core, caller: &UserCaller, request: &RequestContext, id: PolicyId) -> Result<()> {
    caller.require(Power::Manage)?;
    let key = Key::policy(id);
    let deleted = retry_on_conflict(|| async {
        let (control, policies) = to_change(core).await?;
        let was = find(&policies, id)?;
        request.require_match(&key, was.rev)?;
        let mut change = caller.change()?;
        change.delete(&Policy::key(id, was.mode), was.rev)?;
        let about = About { key: &key, kind: Kind::Policy, id: &id, name: Some(&was.name), of_user: None };
        deleted::keep(core, &mut change, caller, &about, &was.value)?;
        let event = caller.event(core, request, Action::PolicyDelete)?.about("policy", id);
        let event = event.changed(&was.recorded(), &())?;
        put_in_force(core, change, &control, (&policies, id, None), &event).await
    });
    gone::or_before(core, &key, PolicyId::WHAT, deleted.await).await
}

/// Adds to a change that a deleted policy is in force again, or in mode `log`, as it was.
pub(crate) async fn bring_back(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    change: &mut Change,
    deleted: &Deleted,
) -> Result<(), CommitError> {
    let policy: Policy = deleted.item()?;
    // The schema may be another one by now.
    engine::validate(policy.id, &policy.text)?;
    let (control, policies) = to_change(core).await?;
    require_room(policies.len())?;
    require_free_name(policies.iter().map(|policy| &**policy), &policy.name, None)?;
    change.create(Policy::key(policy.id, policy.mode), &policy)?;
    let mut all: Vec<Policy> = policies.into_iter().map(|policy| policy.value).collect();
    all.push(policy.clone());
    control.with_all_policies(&all).replace(change, control.rev)?;
    let event = caller.event(core, request, Action::PolicyRestore)?.about("policy", policy.id);
    change.record(&event.changed(&(), &policy.recorded())?)?;
    Ok(())
}

fn find(policies: &[Stored<Policy>], id: PolicyId) -> Result<&Stored<Policy>> {
    policies.iter().find(|policy| policy.id == id).ok_or(Error::NotFound(PolicyId::WHAT))
}

/// One transaction: the change of the policy, the version that puts it in force, and the audit event.
async fn put_in_force(
    core: &Core,
    mut change: Change,
    control: &Stored<Control>,
    (policies, id, becomes): (&[Stored<Policy>], PolicyId, Option<&Policy>),
    event: &Event,
) -> Result<(), CommitError> {
    let others = policies.iter().map(|policy| &policy.value).filter(|policy| policy.id != id);
    let all: Vec<Policy> = others.chain(becomes).cloned().collect();
    control.with_all_policies(&all).replace(&mut change, control.rev)?;
    change.record(event)?;
    core.table.commit(change).await
}
