//! Delegations: a user lets an agent account act for them, for all servers or some, for ever or until a
//! date. There is one item for each (agent account, user) pair, at a key that follows from the two, so
//! that a call finds it without looking. Delegating again after a revocation makes a new delegation, with
//! a new id: tokens that were issued under the old one stay dead.

mod listing;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    Core, agents,
    apps::MadeByApp,
    audit::{Action, Event, RequestContext},
    caller::{Gives, Power, UserCaller},
    clock::Timestamp,
    epoch::Epoch,
    error::{Error, Result},
    ids::{AgentAccountId, DelegationId, ServerId, UserId},
    once::{Holds, once},
    retention::{Ends, RetentionClass},
    servers,
    table::{Change, CommitError, Entity, Key, Stored, retry_on_conflict},
    users::{Email, User},
};

pub use self::listing::{
    ActingAgent, DelegationFilter, list_acting_for, list_at_server, list_for_agent, list_of,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Delegation {
    pub id: DelegationId,
    pub agent_account_id: AgentAccountId,
    pub delegator_user_id: UserId,
    /// How often the user had been deactivated. A delegation does not come back with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_epoch: Option<Epoch>,
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
    /// Whether it is in force, if its user and what it was made by still stand.
    pub(crate) fn is_active(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires| now < expires)
    }

    /// What the trail shows of it. The one that it takes the place of is what was before.
    pub(crate) fn recorded(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Recorded<'a> {
            id: DelegationId,
            agent_account_id: AgentAccountId,
            delegator_user_id: UserId,
            server_ids: &'a Option<Vec<ServerId>>,
            expires_at: Option<Timestamp>,
            user_epoch: Option<Epoch>,
            made_by: &'a Option<MadeByApp>,
            created_at: Timestamp,
            revoked_at: Option<Timestamp>,
        }
        Recorded {
            id: self.id,
            agent_account_id: self.agent_account_id,
            delegator_user_id: self.delegator_user_id,
            server_ids: &self.server_ids,
            expires_at: self.expires_at,
            user_epoch: self.user_epoch,
            made_by: &self.made_by,
            created_at: self.created_at,
            revoked_at: self.revoked_at,
        }
    }

    /// Its entries in the lists of the servers that it names, or in the one of those that name none.
    fn at_servers(&self) -> BTreeSet<Key> {
        let (agent, user) = (self.agent_account_id, self.delegator_user_id);
        match &self.server_ids {
            None => BTreeSet::from([Key::delegation_everywhere(agent, user)]),
            Some(servers) => servers.iter().map(|server| Key::delegation_at(server, agent, user)).collect(),
        }
    }

    /// All that leads to it.
    pub(crate) fn pointers(&self) -> BTreeSet<Key> {
        let mut keys = self.at_servers();
        keys.insert(Key::delegation_by_id(self.id));
        keys.insert(Key::delegation_made(self.delegator_user_id, self.agent_account_id));
        keys
    }

    /// All that is stored of it, itself last.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let own = Key::delegation(self.agent_account_id, self.delegator_user_id);
        self.pointers().into_iter().chain([own]).collect()
    }

    /// Whether it is in force, as far as it rests on its user.
    pub(crate) fn is_of(&self, user: &User) -> bool {
        user.vouches_for(self.user_epoch, self.created_at)
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
    /// As the delegation's, so that a list knows what to read beside it. It decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_by: Option<MadeByApp>,
}

impl Entity for DelegationPointer {
    const KIND: &'static str = "delegation pointer";
}

impl DelegationPointer {
    fn of(delegation: &Delegation) -> Self {
        Self {
            agent_account_id: delegation.agent_account_id,
            user_id: delegation.delegator_user_id,
            made_by: delegation.made_by.clone(),
        }
    }

    pub(crate) fn key(&self) -> Key {
        Key::delegation(self.agent_account_id, self.user_id)
    }

    /// Its place in the list of a server.
    fn at(&self, server: &ServerId) -> Key {
        Key::delegation_at(server, self.agent_account_id, self.user_id)
    }
}

/// A delegation as users see it, with its delegator's present email and its present state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DelegationView {
    pub delegation: Delegation,
    #[serde(default, deserialize_with = "crate::email::stored")]
    pub delegator_email: Option<Email>,
    pub is_active: bool,
}

#[derive(Clone, Debug, Default)]
pub struct NewDelegation {
    pub server_ids: Option<Vec<ServerId>>,
    pub expires_at: Option<Timestamp>,
}

/// Who delegates, and by which app, if one does it for them.
#[derive(Clone, Debug)]
pub(crate) struct Delegator {
    pub user: UserId,
    pub epoch: Epoch,
    pub made_by: Option<MadeByApp>,
}

/// Adds a delegation, with the pointer and the entry that lead to it, to a change. A change that requires the
/// delegation to be as it was read needs no condition on these.
pub(crate) fn add_delegation(
    core: &Core,
    change: &mut Change,
    was: Option<&Stored<Delegation>>,
    agent: AgentAccountId,
    by: Delegator,
    new: NewDelegation,
) -> Result<Delegation> {
    let Delegator { user, epoch, made_by } = by;
    let delegation = Delegation {
        id: DelegationId(core.random.uuid()?),
        agent_account_id: agent,
        delegator_user_id: user,
        user_epoch: Some(epoch),
        server_ids: new.server_ids,
        expires_at: new.expires_at,
        made_by,
        created_at: core.clock.now(),
        revoked_at: None,
    };
    let pointer = DelegationPointer::of(&delegation);
    change.write(pointer.key(), &delegation, was)?;
    add_pointers(change, &delegation)?;
    if let Some(was) = was {
        let left = was.at_servers();
        for key in left.difference(&delegation.at_servers()).take(REMOVED_AT_ONCE) {
            change.remove(key)?;
        }
        let now = core.clock.now();
        let at = was.ends().map_or(now, |ends| ends.at.min(now));
        let ends = Ends { class: RetentionClass::Delegations, at };
        change.put_ending(Key::delegation_by_id(was.id), &pointer, Some(ends))?;
    }
    Ok(delegation)
}

/// How many entries at servers that a delegation no longer names one change removes: a transaction has 100 items. The
/// rest stays, and a list does not show what its delegation does not cover.
const REMOVED_AT_ONCE: usize = 25;

/// The pointer and the entries expire with the delegation. The table may delete them before it or after it.
pub(crate) fn add_pointers(change: &mut Change, delegation: &Delegation) -> Result<()> {
    let pointer = DelegationPointer::of(delegation);
    for key in delegation.pointers() {
        change.put_ending(key, &pointer, delegation.ends())?;
    }
    Ok(())
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
    caller.require_to_give(&Gives::tools(new.server_ids.as_deref(), new.expires_at))?;
    new.server_ids = new.server_ids.as_deref().map(servers::as_set);
    let made_by = caller.made_by();
    let user = caller.user.id;
    let made = once(core, caller, request, Holds::NoSecret, || async {
        let shown = |delegation: Delegation| DelegationView {
            is_active: delegation.is_active(core.clock.now()),
            delegator_email: caller.user.email.clone(),
            delegation,
        };
        let now = core.clock.now();
        if new.expires_at.is_some_and(|expires| expires <= now) {
            return Err(Error::invalid("expires_at must be in the future").into());
        }
        if let Some(servers) = &new.server_ids {
            servers::existing(core, servers).await?;
        }
        let (agent_key, pair) = (Key::agent(agent), Key::delegation(agent, user));
        let mut found = core.table.read(vec![agent_key.clone(), pair.clone()]).await?;
        let account = found.take::<agents::AgentAccount>(&agent_key)?;
        if !account.is_some_and(|account| account.active && account.is_visible_to(caller)) {
            return Err(Error::NotFound(AgentAccountId::WHAT).into());
        }
        let was = found.take::<Delegation>(&pair)?;
        if let Some(was) = &was {
            let servers = was.server_ids.as_deref().map(servers::as_set);
            let same = servers == new.server_ids && was.expires_at == new.expires_at;
            // What the user made themselves lasts longer than what an app of theirs would make.
            let as_lasting = was.made_by.is_none() || was.made_by == made_by;
            if was.is_active(now) && was.is_of(&caller.user) && same && as_lasting {
                return Ok((caller.change()?, shown(was.value.clone())));
            }
        }
        let mut change = caller.change()?;
        let by = Delegator { user, epoch: caller.user.epoch, made_by: made_by.clone() };
        let delegation = add_delegation(core, &mut change, was.as_ref(), agent, by, new.clone())?;
        let event = caller.event(core, request, Action::DelegationCreate)?.agent(agent);
        let before = was.as_ref().map(|was| was.recorded());
        let event = event.about("delegation", delegation.id).changed(&before, &delegation.recorded())?;
        change.record(&event)?;
        Ok((change, shown(delegation)))
    })
    .await?;
    Ok(made.value)
}

/// Revokes a delegation: the caller's own, one to an account that the caller owns, or any for operators and admins.
/// Revoking it again changes nothing.
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
            return Err(caller.refused(Power::Operate, not_found()).into());
        }
        let was = found.take::<Delegation>(&pair)?.ok_or_else(not_found)?;
        if was.id != id || was.revoked_at.is_some() {
            return Ok(());
        }
        let revoked = Delegation { revoked_at: Some(core.clock.now()), ..was.value.clone() };
        let event = caller.event(core, request, Action::DelegationRevoke)?.agent(pointer.agent_account_id);
        let mut change = match &account {
            Some(account) if pointer.user_id != caller.user.id => {
                caller.change_for(Power::Operate, account)?
            }
            _ => caller.change()?,
        };
        if let Some(account) =
            account.filter(|_| pointer.user_id != caller.user.id && !caller.has(Power::Operate))
        {
            // The owner may revoke it only while they own the account.
            change.require(&agent_key, account.rev)?;
        }
        let event = event.about("delegation", id).changed(&was.recorded(), &revoked.recorded())?;
        change.replace(pair, &revoked, was.rev)?.record(&event)?;
        add_pointers(&mut change, &revoked)?;
        core.table.commit(change).await
    })
    .await
}

/// Adds to a change that a delegation no longer names a server that is erased: another one may get its id. One that named
/// that server alone is revoked. `entry` is its entry at the server, which goes.
pub(crate) async fn leave_server(
    core: &Core,
    request: &RequestContext,
    change: &mut Change,
    entry: &DelegationPointer,
    server: &ServerId,
) -> Result<()> {
    change.remove(&entry.at(server))?;
    let was = core.table.read_one::<Delegation>(entry.key()).await?;
    // It may have been made anew, for other servers.
    let Some(was) = was.filter(|was| was.at_servers().contains(&entry.at(server))) else { return Ok(()) };
    let mut left = was.value.clone();
    left.server_ids.iter_mut().for_each(|servers| servers.retain(|named| named != server));
    let is_over = left.server_ids.as_ref().is_some_and(Vec::is_empty) && was.revoked_at.is_none();
    if is_over {
        left.revoked_at = Some(core.clock.now());
    }
    let action = if is_over { Action::DelegationRevoke } else { Action::DelegationUpdate };
    let event = Event::new(core, request, action)?.agent(was.agent_account_id).about("delegation", was.id);
    let event = event.note(format!("the server {server} was erased"));
    let event = event.changed(&was.recorded(), &left.recorded())?;
    change.replace(entry.key(), &left, was.rev)?.record(&event)?;
    if is_over {
        add_pointers(change, &left)?;
    }
    Ok(())
}

/// The room of a transaction for delegations that are revoked together: it has 100 items, and the caller takes some.
const ROOM: usize = 90;

/// Revokes delegations of somebody who leaves, as they were read: as many of the first as one transaction has room for, which
/// is answered. For admins.
pub(crate) async fn revoke_of(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    delegations: &[Stored<Delegation>],
) -> Result<usize, CommitError> {
    caller.require(Power::Operate)?;
    let mut change = caller.change()?;
    let (mut revoked_now, mut room) = (0, ROOM);
    for was in delegations {
        // The item, the event with its entries, and all that leads to it. One always fits.
        let Some(left) = room.checked_sub(1 + 5 + was.pointers().len()) else { break };
        (room, revoked_now) = (left, revoked_now + 1);
        let revoked = Delegation { revoked_at: Some(core.clock.now()), ..was.value.clone() };
        let event = caller.event(core, request, Action::DelegationRevoke)?.agent(was.agent_account_id);
        let event = event.about("delegation", was.id).note(format!("of the user {}", was.delegator_user_id));
        let event = event.changed(&was.recorded(), &revoked.recorded())?;
        let key = Key::delegation(was.agent_account_id, was.delegator_user_id);
        change.replace(key, &revoked, was.rev)?.record(&event)?;
        add_pointers(&mut change, &revoked)?;
    }
    core.table.commit(change).await?;
    Ok(revoked_now)
}
