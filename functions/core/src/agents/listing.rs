//! Lists of agent accounts: those that somebody manages, and those that they can delegate to.

use std::collections::BTreeSet;

use super::{AgentAccount, AgentEntry, Owner, Visibility, owners};
use crate::{
    Core,
    caller::{Power, UserCaller},
    case_folding::folded,
    error::{Error, Result},
    ids::{AgentAccountId, UserId},
    listed::{self, Index, Listed, label},
    paging::{Listing, PageRequest},
    table::{Found, Key, Partition},
};

/// What agent accounts are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentOrder {
    Id,
    /// Without case.
    Name,
}

/// Which agent accounts, and in which order. An account must match all fields that are set.
#[derive(Clone, Debug, Default)]
pub struct AgentFilter {
    pub name_prefix: Option<String>,
    pub owner_user_id: Option<UserId>,
    pub active: Option<bool>,
    pub group: Option<String>,
    /// Whether one of its owners is active. A group is.
    pub owner_active: Option<bool>,
    /// If none is asked for, that of the list that answers the filter.
    pub sort: Option<AgentOrder>,
}

/// Which of the agent accounts that can be delegated to. They are sorted by name.
#[derive(Clone, Debug, Default)]
pub struct AvailableFilter {
    pub name_prefix: Option<String>,
}

impl Listed for AgentAccount {
    const INDEX: Index = Index::Agents;

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn key_of(id: &str) -> Option<Key> {
        Some(Key::agent(AgentAccountId(id.parse().ok()?)))
    }

    fn entries(&self) -> BTreeSet<Key> {
        let mut lists = vec![Partition::agents_by_name()];
        lists.extend(self.owners().iter().map(owned_by));
        lists.extend(self.groups.iter().map(|group| Partition::agents_in_group(group)));
        if !self.active {
            lists.push(Partition::inactive_agents());
        }
        match &self.visibility {
            Visibility::Everyone => lists.push(Partition::agents_for_everyone()),
            Visibility::Groups(groups) => {
                lists.extend(groups.iter().map(|group| Partition::agents_for_group(group)));
            }
            Visibility::Owners => {}
        }
        let (by, id) = (label(&self.name), self.id());
        let by_owners = Key::sorted(&Partition::agents_by_owners(), &by, &with_answering(&id, self));
        lists.iter().map(|list| Key::sorted(list, &by, &id)).chain([by_owners]).collect()
    }
}

/// What comes before the owners in an entry of the list by owners.
const ANSWERED_BY: char = '\u{1}';

/// An account's id, with the users on whom it depends whether the account has an active owner: none if a group owns it. An
/// entry that says them lets the users be read together with the account.
fn with_answering(id: &str, account: &AgentAccount) -> String {
    let is_owned_by_group = account.owners().iter().any(|owner| owner.group().is_some());
    let users = if is_owned_by_group { Vec::new() } else { account.owning_users() };
    let users: Vec<String> = users.iter().map(ToString::to_string).collect();
    format!("{id}{ANSWERED_BY}{}", users.join(","))
}

/// The users in the sort key of such an entry.
fn answering(sk: &str) -> Vec<Key> {
    let users = sk.rsplit(ANSWERED_BY).next().unwrap_or_default();
    users.split(',').filter_map(|user| Some(Key::user(UserId(user.parse().ok()?)))).collect()
}

/// The list of the accounts that somebody owns.
fn owned_by(owner: &Owner) -> Partition {
    match owner {
        Owner::User(user) => Partition::agents_owned_by(*user),
        Owner::Group(group) => Partition::agents_owned_by_group(group),
    }
}

/// The lists of the accounts that a caller owns, by themselves and by their groups.
fn owned_by_caller(caller: &UserCaller) -> Vec<Partition> {
    let groups: BTreeSet<&String> = caller.user.effective_groups().collect();
    let groups = groups.into_iter().map(|group| Partition::agents_owned_by_group(group));
    std::iter::once(Partition::agents_owned_by(caller.user.id)).chain(groups).collect()
}

fn has_name(account: &AgentAccount, prefix: Option<&String>) -> bool {
    prefix.is_none_or(|prefix| folded(&account.name).starts_with(&*folded(prefix)))
}

impl AgentFilter {
    fn keeps(&self, account: &AgentAccount) -> bool {
        has_name(account, self.name_prefix.as_ref())
            && self.owner_user_id.is_none_or(|owner| account.owning_users().contains(&owner))
            && self.active.is_none_or(|active| active == account.active)
            && self.group.as_ref().is_none_or(|group| account.groups.contains(group))
    }

    /// The list that leaves the least to ask of the accounts. `None`: the one by id. All are by name.
    fn list(&self) -> Option<Partition> {
        if self.sort == Some(AgentOrder::Id) {
            return None;
        }
        let list = if let Some(owner) = self.owner_user_id {
            Partition::agents_owned_by(owner)
        } else if let Some(group) = &self.group {
            Partition::agents_in_group(group)
        } else if self.active == Some(false) {
            Partition::inactive_agents()
        } else if self.sort.is_some() || self.name_prefix.is_some() {
            Partition::agents_by_name()
        } else {
            return None;
        };
        Some(list.beginning(self.name_prefix.as_deref().map(label).unwrap_or_default()))
    }

    /// Whether nothing is asked but whose accounts they are.
    fn is_plain(&self) -> bool {
        let Self { name_prefix, owner_user_id: _, active, group, owner_active, sort } = self;
        name_prefix.is_none()
            && active.is_none()
            && group.is_none()
            && owner_active.is_none()
            && sort.is_none()
    }
}

/// Agent accounts: all for those who may read everything; those that the caller owns for other users.
pub async fn list(
    core: &Core,
    caller: &UserCaller,
    filter: &AgentFilter,
    page: &PageRequest,
) -> Result<Listing<AgentAccount>> {
    if !caller.has(Power::Read) {
        return list_owned(core, caller, filter, page).await;
    }
    if let Some(wanted) = filter.owner_active {
        return list_by_owners(core, filter, wanted, page).await;
    }
    let is_narrow = filter.owner_user_id.is_some() || !filter.is_plain();
    let keep = |account: &AgentAccount| filter.keeps(account);
    if let Some(list) = filter.list().filter(|_| is_narrow) {
        if let Some(accounts) = listed::page(core, page, &list, keep).await? {
            return Ok(accounts);
        }
        if filter.sort.is_some() {
            return Err(listed::incomplete());
        }
    }
    let by_id = filter.owner_user_id.map_or_else(Partition::agents, Partition::agents_of);
    let follow = |entry: &AgentEntry| Key::agent(entry.agent_account_id);
    Ok(page.list_entries(core, &by_id, follow).await?.only(keep))
}

/// The accounts that have an active owner, or those that have none. All with the prefix are read, each with its owners: a
/// change of a user changes no entry of an account.
async fn list_by_owners(
    core: &Core,
    filter: &AgentFilter,
    wanted: bool,
    page: &PageRequest,
) -> Result<Listing<AgentAccount>> {
    if filter.sort == Some(AgentOrder::Id) {
        return Err(Error::invalid("sort: with owner_active, agent accounts are sorted by name"));
    }
    let prefix = filter.name_prefix.as_deref().map(label).unwrap_or_default();
    let list = Partition::agents_by_owners().beginning(prefix);
    let keep = |account: &AgentAccount, found: &Found| {
        Ok(filter.keeps(account) && owners::is_answered_for_by(found, account)? == wanted)
    };
    let accounts = listed::page_with(core, page, &list, answering, keep).await?;
    accounts.ok_or_else(listed::incomplete)
}

/// The accounts that the caller owns, by themselves or by a group. So they have an active owner.
async fn list_owned(
    core: &Core,
    caller: &UserCaller,
    filter: &AgentFilter,
    page: &PageRequest,
) -> Result<Listing<AgentAccount>> {
    caller.require_self_or(filter.owner_user_id.unwrap_or(caller.user.id), Power::Read)?;
    let keep = |account: &AgentAccount| {
        account.is_owned_by(&caller.user) && filter.keeps(account) && filter.owner_active != Some(false)
    };
    if !filter.is_plain() && filter.sort != Some(AgentOrder::Id) {
        let prefix = filter.name_prefix.as_deref().map(label).unwrap_or_default();
        let lists: Vec<Partition> =
            owned_by_caller(caller).into_iter().map(|list| list.beginning(prefix.as_str())).collect();
        if let Some(accounts) = listed::merged(core, page, &lists, keep).await? {
            return Ok(accounts);
        }
        if filter.sort.is_some() {
            return Err(listed::incomplete());
        }
    }
    Ok(owners::list_owned(core, caller, page).await?.only(keep))
}

/// The active agent accounts that the caller may know of, and so delegate to.
pub async fn available(
    core: &Core,
    caller: &UserCaller,
    filter: &AvailableFilter,
    page: &PageRequest,
) -> Result<Listing<AgentAccount>> {
    let keep = |account: &AgentAccount| {
        account.active && account.is_visible_to(caller) && has_name(account, filter.name_prefix.as_ref())
    };
    let lists = if caller.has(Power::Read) {
        vec![Partition::agents_by_name()]
    } else {
        let groups: BTreeSet<&String> = caller.user.effective_groups().collect();
        let for_groups = groups.into_iter().map(|group| Partition::agents_for_group(group));
        let mut lists = owned_by_caller(caller);
        lists.push(Partition::agents_for_everyone());
        lists.extend(for_groups);
        lists
    };
    let prefix = filter.name_prefix.as_deref().map(label).unwrap_or_default();
    let lists: Vec<Partition> = lists.into_iter().map(|list| list.beginning(prefix.as_str())).collect();
    if let Some(accounts) = listed::merged(core, page, &lists, keep).await? {
        return Ok(accounts);
    }
    let follow = |entry: &AgentEntry| Key::agent(entry.agent_account_id);
    Ok(page.list_entries(core, &Partition::agents(), follow).await?.only(keep))
}
