//! Who owns agent accounts: giving one to other owners, finding one's own, and whether anybody answers for one.
//!
//! An account has one to ten owners, users or groups, and each may do to it what the one owner could do before there were
//! several. **Only admins say who they are.** Policies can speak of owners, so an owner who could add one, or leave, could
//! raise what the account is permitted.
//!
//! An entry leads to an account from the list of each user and of each group that owns it. An entry decides nothing: what
//! it leads to is asked. A version from before there were several owners may leave one behind.
//!
//! A deployment can stop accounts that nobody answers for ([`OwnerlessAgents`]). Then one active owner is read beside the
//! account, with every token and call: the one who was active last time. A group counts as active, whoever is in it.

use std::collections::BTreeSet;

use futures::future::try_join_all;

use super::{AgentAccount, AgentEntry};
use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    entities::stopped::StoppedBy,
    error::{Error, Result},
    ids::{AgentAccountId, UserId},
    listed::{relist, tidy},
    paging::{Listing, PageRequest},
    table::{Change, CommitError, Found, Key, Partition, Stored, retry_on_conflict},
    users::User,
};

pub use crate::entities::owners::{MAX_OWNERS, Owner};

/// What becomes of an agent account when none of its owners is active any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnerlessAgents {
    #[default]
    Run,
    /// It gets no tokens, and those that it has are refused, until it has an active owner again.
    Stop,
}

impl std::str::FromStr for OwnerlessAgents {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "run" => Ok(Self::Run),
            "stop" => Ok(Self::Stop),
            _ => Err("must be run or stop"),
        }
    }
}

/// Who is to own an account, as asked.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// By `owner_user_id`: this user comes in the place of the first one, and other owners stay.
    First(UserId),
    /// By `owners`.
    All(Vec<Owner>),
}

impl Wanted {
    pub(super) fn read(first: Option<UserId>, all: Option<&[Owner]>) -> Result<Option<Self>> {
        let Some(all) = all else { return Ok(first.map(Self::First)) };
        if first.is_some() {
            return Err(Error::invalid(
                "owners: leave out owner_user_id, which is the first user among them",
            ));
        }
        let mut owners: Vec<Owner> = Vec::with_capacity(all.len().min(MAX_OWNERS));
        for owner in all {
            if !owners.contains(owner) {
                owners.push(owner.clone());
            }
        }
        if (1..=MAX_OWNERS).contains(&owners.len()) {
            Ok(Some(Self::All(owners)))
        } else {
            Err(Error::invalid(format!("owners: must be 1 to {MAX_OWNERS} users or groups")))
        }
    }

    /// The owners of a new account.
    pub(super) fn of_new(&self) -> Vec<Owner> {
        match self {
            Self::First(user) => vec![Owner::User(*user)],
            Self::All(owners) => owners.clone(),
        }
    }

    fn of(&self, account: &AgentAccount) -> Vec<Owner> {
        match self {
            Self::First(user) if account.owner_user_id() == Some(*user) => account.owners(),
            Self::First(user) => {
                let left = [account.owner_user_id(), Some(*user)];
                let stay = account
                    .owners()
                    .into_iter()
                    .filter(|owner| owner.user().is_none_or(|owner| !left.contains(&Some(owner))));
                std::iter::once(Owner::User(*user)).chain(stay).collect()
            }
            Self::All(owners) => owners.clone(),
        }
    }

    fn field(&self) -> &'static str {
        match self {
            Self::First(_) => "owner_user_id",
            Self::All(_) => "owners",
        }
    }

    /// Requires users who can own an account, and that they are as they were read when the change is made. The caller is
    /// known to be.
    pub(super) async fn require_able(
        &self,
        core: &Core,
        caller: &UserCaller,
        change: &mut Change,
        new: &[UserId],
    ) -> Result<()> {
        let others: Vec<UserId> = new.iter().copied().filter(|user| *user != caller.user.id).collect();
        let mut found = core.table.read(others.iter().copied().map(Key::user).collect()).await?;
        for user in others {
            let key = Key::user(user);
            match found.take::<User>(&key)? {
                None => return Err(Error::invalid(format!("{}: no such user", self.field()))),
                Some(user) if !user.active => {
                    return Err(Error::invalid(format!("{}: the user is deactivated", self.field())));
                }
                Some(user) => change.require(&key, user.rev)?,
            };
        }
        Ok(())
    }
}

fn entry_of(owner: &Owner, agent: AgentAccountId) -> Key {
    match owner {
        Owner::User(user) => Key::owned_agent(*user, agent),
        Owner::Group(group) => Key::agent_of_group(group, agent),
    }
}

/// Adds to a change the entries of these owners. The change makes the account, or requires that it is as it was read.
pub(super) fn add_entries(change: &mut Change, owners: &[Owner], agent: AgentAccountId) -> Result<()> {
    for owner in owners {
        change.put_ending(entry_of(owner, agent), &AgentEntry { agent_account_id: agent }, None)?;
    }
    Ok(())
}

/// Adds to a change that these owners' entries are no more. The change takes the account away.
pub(super) fn remove_entries(change: &mut Change, owners: &[Owner], agent: AgentAccountId) -> Result<()> {
    for owner in owners {
        change.remove(&entry_of(owner, agent))?;
    }
    Ok(())
}

/// Gives an account these owners, and moves its entries to their lists.
pub(crate) fn set(change: &mut Change, account: &mut AgentAccount, owners: Vec<Owner>) -> Result<()> {
    let had = account.owners();
    for left in had.iter().filter(|owner| !owners.contains(owner)) {
        change.remove(&entry_of(left, account.id))?;
    }
    let new: Vec<Owner> = owners.iter().filter(|owner| !had.contains(owner)).cloned().collect();
    add_entries(change, &new, account.id)?;
    account.set_owners(owners);
    Ok(())
}

/// Gives an account the owners that are asked for. The answer says what it was, for the event, if anything changes.
pub(super) async fn give(
    core: &Core,
    caller: &UserCaller,
    change: &mut Change,
    account: &mut AgentAccount,
    wanted: &Wanted,
) -> Result<Option<String>, CommitError> {
    let (had, owners) = (account.owners(), wanted.of(account));
    if had == owners {
        return Ok(None);
    }
    if owners.len() > MAX_OWNERS {
        return Err(Error::invalid(format!("owners: must be 1 to {MAX_OWNERS} users or groups")).into());
    }
    let new: Vec<UserId> =
        owners.iter().filter(|owner| !had.contains(owner)).filter_map(Owner::user).collect();
    wanted.require_able(core, caller, change, &new).await?;
    let note = match (&had[..], &owners[..]) {
        ([Owner::User(from)], [Owner::User(to)]) => format!("owner_user_id: from {from} to {to}"),
        _ => about(&owners),
    };
    set(change, account, owners)?;
    Ok(Some(note))
}

/// The event's text about an account's owners after a change.
pub(crate) fn about(owners: &[Owner]) -> String {
    let said = owners.iter().map(|owner| match owner {
        Owner::User(user) => format!("user {user}"),
        Owner::Group(group) => format!("group {group}"),
    });
    format!("owners: {}", said.collect::<Vec<_>>().join(", "))
}

/// The accounts that the caller owns, by themselves or by a group. All lists are queried at once, and the accounts read
/// together: two round trips.
pub(super) async fn list_owned(
    core: &Core,
    caller: &UserCaller,
    page: &PageRequest,
) -> Result<Listing<AgentAccount>> {
    let groups: BTreeSet<&String> = caller.user.effective_groups().collect();
    let mut lists = vec![Partition::agents_of(caller.user.id)];
    lists.extend(groups.into_iter().map(|group| Partition::agents_of_group(group)));
    let pages = try_join_all(lists.iter().map(|list| page.list_items::<AgentEntry>(core, list))).await?;
    // Beyond the end of a page that is not the last of its list, nothing is known of that list.
    let mut known_to: Option<String> = None;
    for next in pages.iter().filter_map(|page| page.next.as_deref()) {
        let last = PageRequest::new(None, Some(next))?.cursor().map(str::to_owned);
        known_to = known_to.into_iter().chain(last).min();
    }
    let place = |agent: &AgentAccountId| Key::owned_agent(caller.user.id, *agent).sk;
    let mut agents: BTreeSet<AgentAccountId> =
        pages.iter().flat_map(|page| &page.items).map(|entry| entry.agent_account_id).collect();
    if let Some(known_to) = &known_to {
        agents.retain(|agent| place(agent) <= *known_to);
    }
    let is_more = agents.len() > page.limit();
    let agents: Vec<AgentAccountId> = agents.into_iter().take(page.limit()).collect();
    let last = if is_more { agents.last().map(place) } else { known_to };
    let keys: Vec<Key> = agents.into_iter().map(Key::agent).collect();
    let accounts = core.table.read_all::<AgentAccount>(&keys).await?;
    let accounts = accounts.into_iter().map(|stored| stored.value);
    let items = accounts.filter(|account| account.is_owned_by(&caller.user)).collect();
    Ok(Listing { items, next: last.map(|place| PageRequest::encode(&place)) })
}

/// What becomes of an account when one of its owners leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WithoutOwner {
    /// Others answer for it.
    Left,
    /// The successor owns it.
    Given,
    /// It is stopped. It stays the leaver's, so that it can still be given to somebody.
    Stopped,
}

/// Takes a user out of an account's owners. If nobody active is left, it goes to the successor, and without one it is
/// stopped. `None` if there is nothing to do. With `dry_run` nothing is done. For admins.
pub(crate) async fn leave(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    agent: AgentAccountId,
    (leaver, successor): (UserId, Option<UserId>),
    dry_run: bool,
) -> Result<Option<(AgentAccount, WithoutOwner)>> {
    caller.require(Power::Manage)?;
    retry_on_conflict(|| async {
        let key = Key::agent(agent);
        let Some(was) = core.table.read_one::<AgentAccount>(key.clone()).await? else { return Ok(None) };
        let mut account = was.value.clone();
        let others: Vec<Owner> =
            account.owners().into_iter().filter(|owner| owner.user() != Some(leaver)).collect();
        if others.len() == account.owners().len() {
            return Ok(None);
        }
        let mut change = caller.change()?;
        let becomes = match (is_answered_for(core, &others).await?, successor) {
            (true, _) => WithoutOwner::Left,
            (false, Some(_)) => WithoutOwner::Given,
            // It is stopped already.
            (false, None) if !account.active && account.disabled_by == Some(StoppedBy::Admin) => {
                return Ok(None);
            }
            (false, None) => WithoutOwner::Stopped,
        };
        let note = match (becomes, successor) {
            (WithoutOwner::Given, Some(successor)) => {
                let wanted = Wanted::First(successor);
                wanted.require_able(core, caller, &mut change, &[successor]).await?;
                let owners: Vec<Owner> = std::iter::once(Owner::User(successor)).chain(others).collect();
                set(&mut change, &mut account, owners.clone())?;
                about(&owners)
            }
            (WithoutOwner::Left, _) => {
                set(&mut change, &mut account, others.clone())?;
                about(&others)
            }
            _ => {
                account.set_active(false, caller, core.clock.now())?;
                "stopped, since none of its owners is left".to_owned()
            }
        };
        if !dry_run {
            account.updated_at = core.clock.now();
            let event = caller.event(core, request, Action::AgentUpdate)?.agent(agent);
            let event = event.about("agent_account", agent).note(note);
            change.replace(key.clone(), &account, was.rev)?;
            change.record(&event.changed(&was.recorded(), &account.recorded())?)?;
            let left = relist(&mut change, Some(&was.value), Some(&account))?;
            core.table.commit(change).await?;
            tidy(&core.table, &key, was.rev + 1, &left).await;
        }
        Ok(Some((account, becomes)))
    })
    .await
}

/// Whether one of these owners is active. A group is.
async fn is_answered_for(core: &Core, owners: &[Owner]) -> Result<bool> {
    if owners.iter().any(|owner| owner.group().is_some()) {
        return Ok(true);
    }
    let users: Vec<Key> = owners.iter().filter_map(Owner::user).map(Key::user).collect();
    Ok(core.table.read_all::<User>(&users).await?.iter().any(|user| user.active))
}

/// The user to read beside an account, by whom [`has_active_owner`] will probably be answered. None where that is not
/// asked.
pub(crate) fn likely_owner(core: &Core, agent: AgentAccountId) -> Option<Key> {
    let asks = core.settings.ownerless_agents == OwnerlessAgents::Stop;
    asks.then(|| core.prefetch_hints.owners.get(&agent)).flatten().map(Key::user)
}

/// Whether the account may run, as far as that rests on its owners: whether one of them is active, where the deployment
/// asks for that. This is the only place that decides it. It costs one more read unless [`likely_owner`] is in `found`
/// and answers it.
pub(crate) async fn has_active_owner(core: &Core, found: &Found, account: &AgentAccount) -> Result<bool> {
    if core.settings.ownerless_agents == OwnerlessAgents::Run {
        return Ok(true);
    }
    if is_answered_for_by(found, account)? {
        return Ok(true);
    }
    let users: Vec<Key> = account.owning_users().into_iter().map(Key::user).collect();
    // Boxed, since it is rare: every call's future would hold its state.
    Box::pin(look_for_active(core, account.id, users)).await
}

/// Whether a group owns the account, or an active user who is in `found`.
pub(super) fn is_answered_for_by(found: &Found, account: &AgentAccount) -> Result<bool> {
    if account.owners().iter().any(|owner| owner.group().is_some()) {
        return Ok(true);
    }
    for user in account.owning_users() {
        if found.get::<User>(&Key::user(user))?.is_some_and(|user| user.active) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn look_for_active(core: &Core, agent: AgentAccountId, users: Vec<Key>) -> Result<bool> {
    let users: Vec<Stored<User>> = core.table.read_all(&users).await?;
    let active = users.iter().find(|user| user.active);
    if let Some(user) = active {
        core.prefetch_hints.owners.insert(agent, user.id);
    }
    Ok(active.is_some())
}
