//! Delegations: a user lets an agent account act for them, for all servers or some, for ever or until a
//! date. There is one item for each (agent account, user) pair, at a key that follows from the two, so
//! that a call finds it without looking. Delegating again after a revocation makes a new delegation, with
//! a new id: tokens that were issued under the old one stay dead.

use serde::{Deserialize, Serialize};

use crate::{
    Core, agents, app_standing,
    apps::MadeByApp,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    clock::Timestamp,
    error::{Error, Result},
    ids::{AgentAccountId, DelegationId, ServerId, UserId},
    paging::{Listing, PageRequest},
    retention::{Ends, RetentionClass},
    servers::Server,
    table::{Change, Entity, Key, Partition, Stored, retry_on_conflict},
    users::{Email, User},
};

/// How many servers a delegation can name.
pub const MAX_SERVERS: usize = 50;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Delegation {
    pub id: DelegationId,
    pub agent_account_id: AgentAccountId,
    pub delegator_user_id: UserId,
    /// `None` means all servers. A list is sorted and names each server once, except in old items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_ids: Option<Vec<ServerId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The app that made it for the user. It ends with the user's authorization of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<MadeByApp>,
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl Entity for Delegation {
    const KIND: &'static str = "delegation";

    fn ends(&self) -> Option<Ends> {
        let at = [self.revoked_at, self.expires_at].into_iter().flatten().min()?;
        Some(Ends { class: RetentionClass::Delegations, at })
    }
}

impl Delegation {
    /// Whether it is in force, if what it was made by still stands.
    pub(crate) fn is_active(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires| now < expires)
    }

    pub fn covers(&self, server: &ServerId) -> bool {
        self.server_ids.as_ref().is_none_or(|servers| servers.contains(server))
    }
}

/// Leads from a delegation's id, or from an entry in the delegator's list, to the item of the pair.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DelegationPointer {
    pub agent_account_id: AgentAccountId,
    pub user_id: UserId,
}

impl Entity for DelegationPointer {
    const KIND: &'static str = "delegation pointer";
}

impl DelegationPointer {
    fn key(&self) -> Key {
        Key::delegation(self.agent_account_id, self.user_id)
    }
}

/// A delegation as users see it, with its delegator's present email and its present state.
#[derive(Clone, Debug)]
pub struct DelegationView {
    pub delegation: Delegation,
    pub delegator_email: Option<Email>,
    pub is_active: bool,
}

#[derive(Clone, Debug, Default)]
pub struct NewDelegation {
    pub server_ids: Option<Vec<ServerId>>,
    pub expires_at: Option<Timestamp>,
}

/// Adds a delegation, with the pointer and the entry that lead to it, to a change. A change that requires the
/// delegation to be as it was read needs no condition on these.
pub(crate) fn add_delegation(
    core: &Core,
    change: &mut Change,
    was: Option<&Stored<Delegation>>,
    agent: AgentAccountId,
    user: UserId,
    new: NewDelegation,
    made_by: Option<MadeByApp>,
) -> Result<Delegation> {
    let delegation = Delegation {
        id: DelegationId(core.random.uuid()?),
        agent_account_id: agent,
        delegator_user_id: user,
        server_ids: new.server_ids,
        expires_at: new.expires_at,
        made_by,
        created_at: core.clock.now(),
        revoked_at: None,
    };
    let pointer = DelegationPointer { agent_account_id: agent, user_id: user };
    change.write(pointer.key(), &delegation, was)?;
    add_pointers(change, &pointer, &delegation)?;
    if let Some(was) = was {
        let now = core.clock.now();
        let at = was.ends().map_or(now, |ends| ends.at.min(now));
        let ends = Ends { class: RetentionClass::Delegations, at };
        change.put_ending(Key::delegation_by_id(was.id), &pointer, Some(ends))?;
    }
    Ok(delegation)
}

/// The pointer and the entry expire with the delegation. The table may delete them before it or after it.
fn add_pointers(change: &mut Change, pointer: &DelegationPointer, delegation: &Delegation) -> Result<()> {
    let made = Key::delegation_made(delegation.delegator_user_id, delegation.agent_account_id);
    for key in [Key::delegation_by_id(delegation.id), made] {
        change.put_ending(key, pointer, delegation.ends())?;
    }
    Ok(())
}

/// The servers as a set: the order and repetitions in a request mean nothing.
fn as_set(servers: &[ServerId]) -> Vec<ServerId> {
    let mut set = servers.to_vec();
    set.sort_unstable();
    set.dedup();
    set
}

/// The caller delegates to an agent account. An equal active delegation is returned as it is; a different one
/// is replaced. One that an app made is another than the user's own, since it ends with the app.
pub async fn create(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    agent: AgentAccountId,
    mut new: NewDelegation,
) -> Result<DelegationView> {
    let now = core.clock.now();
    if new.expires_at.is_some_and(|expires| expires <= now) {
        return Err(Error::invalid("expires_at must be in the future"));
    }
    if let Some(servers) = &new.server_ids {
        check_servers(core, servers).await?;
    }
    new.server_ids = new.server_ids.as_deref().map(as_set);
    let made_by = caller.made_by();
    let user = caller.user.id;
    let delegation = retry_on_conflict(|| async {
        let (agent_key, pair) = (Key::agent(agent), Key::delegation(agent, user));
        let mut found = core.table.read(vec![agent_key.clone(), pair.clone()]).await?;
        let account = found.take::<agents::AgentAccount>(&agent_key)?;
        if !account.is_some_and(|account| account.active) {
            return Err(Error::NotFound(AgentAccountId::WHAT).into());
        }
        let was = found.take::<Delegation>(&pair)?;
        if let Some(was) = &was {
            let servers = was.server_ids.as_deref().map(as_set);
            let same = servers == new.server_ids && was.expires_at == new.expires_at;
            // What the user made themselves lasts longer than what an app of theirs would make.
            let as_lasting = was.made_by.is_none() || was.made_by == made_by;
            if was.is_active(now) && same && as_lasting {
                return Ok(was.value.clone());
            }
        }
        let mut change = caller.change()?;
        let delegation =
            add_delegation(core, &mut change, was.as_ref(), agent, user, new.clone(), made_by.clone())?;
        let event = caller.event(core, request, Action::DelegationCreate)?.agent(agent);
        change.record(&event.about("delegation", delegation.id))?;
        core.table.commit(change).await?;
        Ok(delegation)
    })
    .await?;
    let now = core.clock.now();
    let is_active = delegation.is_active(now);
    Ok(DelegationView { delegation, delegator_email: caller.user.email.clone(), is_active })
}

async fn check_servers(core: &Core, servers: &[ServerId]) -> Result<()> {
    if servers.is_empty() || servers.len() > MAX_SERVERS {
        return Err(Error::invalid(format!(
            "server_ids must name 1 to {MAX_SERVERS} servers; leave it out for all servers"
        )));
    }
    let keys: Vec<Key> = servers.iter().map(Key::server).collect();
    let found = core.table.read_all::<Server>(&keys).await?;
    match servers.iter().find(|id| !found.iter().any(|server| server.id == **id)) {
        Some(missing) => Err(Error::invalid(format!("server_ids: no such server: {missing}"))),
        None => Ok(()),
    }
}

/// The delegations to an agent account. Its owner and admins see all, or one user's; others see their own.
pub async fn list_for_agent(
    core: &Core,
    caller: &UserCaller,
    agent: AgentAccountId,
    delegator: Option<UserId>,
    page: &PageRequest,
) -> Result<Listing<DelegationView>> {
    let account = agents::get(core, agent).await?;
    let sees_all = caller.may(Power::Read, &account);
    if let Some(delegator) = delegator.filter(|delegator| *delegator != caller.user.id) {
        if !sees_all {
            return Err(Error::forbidden(
                "Only the agent account's owner and admins may see other people's delegations",
            ));
        }
        let theirs = core.table.read_one::<Delegation>(Key::delegation(agent, delegator)).await?;
        let items = theirs.into_iter().map(|theirs| theirs.value).collect();
        return with_emails(core, Listing { items, next: None }).await;
    }
    if sees_all && delegator.is_none() {
        let page = page.list_items::<Delegation>(core, &Partition::delegations_to(agent)).await?;
        return with_emails(core, page.map(|stored| stored.value)).await;
    }
    let own = core.table.read_one::<Delegation>(Key::delegation(agent, caller.user.id)).await?;
    let items =
        views(core, own.into_iter().map(|own| own.value).collect(), |_| caller.user.email.clone()).await?;
    Ok(Listing { items, next: None })
}

/// The delegations that the caller has made.
pub async fn list_mine(
    core: &Core,
    caller: &UserCaller,
    page: &PageRequest,
) -> Result<Listing<DelegationView>> {
    let mine: Listing<Delegation> =
        page.list_entries(core, &Partition::delegations_by(caller.user.id), DelegationPointer::key).await?;
    let items = views(core, mine.items, |_| caller.user.email.clone()).await?;
    Ok(Listing { items, next: mine.next })
}

/// Revokes a delegation: the caller's own, or any to an account that the caller manages. Revoking it again
/// changes nothing.
pub async fn revoke(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: DelegationId,
) -> Result<()> {
    let not_found = || Error::NotFound(DelegationId::WHAT);
    retry_on_conflict(|| async {
        let pointer = core.table.read_one::<DelegationPointer>(Key::delegation_by_id(id)).await?;
        let pointer = pointer.ok_or_else(not_found)?.value;
        let (pair, agent_key) = (pointer.key(), Key::agent(pointer.agent_account_id));
        let mut found = core.table.read(vec![pair.clone(), agent_key.clone()]).await?;
        let account = found.take::<agents::AgentAccount>(&agent_key)?;
        let may_end = account.as_ref().is_some_and(|account| caller.may(Power::Operate, account));
        if pointer.user_id != caller.user.id && !may_end {
            return Err(not_found().into());
        }
        let was = found.take::<Delegation>(&pair)?.ok_or_else(not_found)?;
        if was.id != id || was.revoked_at.is_some() {
            return Ok(());
        }
        let revoked = Delegation { revoked_at: Some(core.clock.now()), ..was.value.clone() };
        let event = caller.event(core, request, Action::DelegationRevoke)?.agent(pointer.agent_account_id);
        let mut change = caller.change()?;
        if let Some(account) =
            account.filter(|_| pointer.user_id != caller.user.id && !caller.has(Power::Operate))
        {
            // The owner may revoke it only while they own the account.
            change.require(&agent_key, account.rev)?;
        }
        change.replace(pair, &revoked, was.rev)?.record(&event.about("delegation", id))?;
        add_pointers(&mut change, &pointer, &revoked)?;
        core.table.commit(change).await
    })
    .await
}

/// Delegations as users see them, judged by all that they rest on.
async fn views(
    core: &Core,
    delegations: Vec<Delegation>,
    email: impl Fn(&Delegation) -> Option<Email>,
) -> Result<Vec<DelegationView>> {
    let made = delegations.iter().map(|made| (made.delegator_user_id, made.made_by.as_ref()));
    let standing = app_standing::read(core, made).await?;
    let now = core.clock.now();
    let view = |delegation: Delegation| {
        let is_active = delegation.is_active(now) && standing.of(delegation.made_by.as_ref());
        let delegator_email = email(&delegation);
        DelegationView { delegation, delegator_email, is_active }
    };
    Ok(delegations.into_iter().map(view).collect())
}

async fn with_emails(core: &Core, page: Listing<Delegation>) -> Result<Listing<DelegationView>> {
    let keys: Vec<Key> = page.items.iter().map(|item| Key::user(item.delegator_user_id)).collect();
    let users = core.table.read_all::<User>(&keys).await?;
    let email = |delegation: &Delegation| {
        let user = users.iter().find(|user| user.id == delegation.delegator_user_id);
        user.and_then(|user| user.email.clone())
    };
    Ok(Listing { items: views(core, page.items, email).await?, next: page.next })
}
