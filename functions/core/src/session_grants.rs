//! Session grants: which user's OAuth credentials an agent account uses at a server.
//!
//! Each grantor has at most one grant for a pair of agent account and server, at a key that follows from the three. The
//! *pair* has an item of its own. It alone says two things, so no other item can disagree:
//!
//! - `shared`: which grant, if any, is the shared one. There cannot be two.
//! - `generation`: a grant of an earlier generation is revoked. Promoting a grant to shared revokes all other grants by
//!   adding one, whether there are three or a million.
//!
//! Which user began a generation, and when, is an item for each generation. No call reads it; users whose grants it
//! ended are shown it. If the pair remembered only a few, a user could push them out to hide them.
//!
//! Whether the shared grant may be used depends on the account as well, which can leave sharing to its managers
//! ([`AgentAccount::is_shared_by`]).
//!
//! Every change of a grant is one transaction, conditional on the pair and the grant being as they were read. A read
//! beside a change can show a grant ahead of its pair, or shared and not in force. No change leaves the two so, and
//! both are read again.

use serde::{Deserialize, Serialize};

mod list;
mod overview;

use deputize_api::reason::Reason;

use crate::{
    Core,
    agents::AgentAccount,
    app_standing::{self, Standing},
    apps::MadeByApp,
    audit::{Action, Event, RequestContext},
    caller::{Gives, Power, UserCaller},
    clock::Timestamp,
    epoch::Epoch,
    error::{Error, Result, Told},
    ids::{AgentAccountId, GrantId, ServerId, UserId},
    once::{Holds, once},
    paging::PAGE_SIZE,
    retention::{Ends, RetentionClass},
    servers::{Server, ServerAuth},
    sessions::Session,
    table::{Change, CommitError, Entity, Key, Stored, retry_on_conflict},
    users::{Email, User},
};

use self::list::tell_displaced;
pub use self::{
    list::{Filter, list},
    overview::{GrantFilter, GrantOfAgent, list_all_of_agent, list_at_server, list_of_user},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    pub id: GrantId,
    pub agent_account_id: AgentAccountId,
    pub server_id: ServerId,
    pub grantor_user_id: UserId,
    /// How often the grantor had been deactivated. A grant does not come back with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_epoch: Option<Epoch>,
    /// The generation of the pair to which the grant belongs.
    pub generation: u64,
    /// The app that made it, or last changed it, for the user. It ends with the user's authorization of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<MadeByApp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl Entity for Grant {
    const KIND: &'static str = "session grant";

    fn ends(&self) -> Option<Ends> {
        self.revoked_at.map(|at| Ends { class: RetentionClass::Grants, at })
    }
}

/// What is true of all grants of an (agent account, server) pair.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pair {
    pub generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedGrant>,
    /// The pair's server, for lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_id: Option<ServerId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedGrant {
    pub grant_id: GrantId,
    pub grantor_user_id: UserId,
    /// As the grant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_epoch: Option<Epoch>,
    /// As the grant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<MadeByApp>,
}

impl SharedGrant {
    /// Whether it is in force, as far as it rests on its grantor.
    pub(crate) fn is_of(&self, grantor: &User) -> bool {
        // When it was made is not known here. What does not say its epoch ended with any deactivation.
        grantor.vouches_for(self.user_epoch, Timestamp::from_millis(0))
    }
}

impl Entity for Pair {
    const KIND: &'static str = "session grant pair";
}

impl Grant {
    /// Whether it is in force, as far as it rests on its grantor.
    pub(crate) fn is_of(&self, grantor: &User) -> bool {
        grantor.vouches_for(self.user_epoch, self.created_at)
    }

    /// Whether it is in force, if its grantor and what it was made by still stand.
    pub(crate) fn is_active(&self, pair: &Pair) -> bool {
        self.revoked_at.is_none() && self.generation == pair.generation
    }

    /// What the trail shows of it, and of its pair: a new generation ends the grants of all other users.
    fn recorded<'a>(&'a self, pair: &'a Pair) -> impl Serialize {
        #[derive(Serialize)]
        struct Recorded<'a> {
            id: GrantId,
            agent_account_id: AgentAccountId,
            server_id: &'a ServerId,
            grantor_user_id: UserId,
            shared: bool,
            generation: u64,
            made_by: &'a Option<MadeByApp>,
            revoked_at: Option<Timestamp>,
            pair_generation: u64,
            pair_shared: Option<&'a SharedGrant>,
        }
        Recorded {
            id: self.id,
            agent_account_id: self.agent_account_id,
            server_id: &self.server_id,
            grantor_user_id: self.grantor_user_id,
            shared: self.is_shared(pair),
            generation: self.generation,
            made_by: &self.made_by,
            revoked_at: self.revoked_at,
            pair_generation: pair.generation,
            pair_shared: pair.shared.as_ref(),
        }
    }

    pub fn is_shared(&self, pair: &Pair) -> bool {
        pair.shared.as_ref().is_some_and(|shared| shared.grant_id == self.id)
    }

    /// Whether the two items were read in the middle of a change of both: one from before it, one from after
    /// it. No change leaves a grant that is ahead of its pair, or one that is shared and not active.
    pub(crate) fn is_inconsistent_with(&self, pair: &Pair) -> bool {
        self.generation > pair.generation || (self.is_shared(pair) && !self.is_active(pair))
    }
}

/// The grant that was made the shared one and so began a generation of the pair.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Promotion {
    by_user_id: UserId,
    at: Timestamp,
}

impl Entity for Promotion {
    const KIND: &'static str = "session grant promotion";

    fn ends(&self) -> Option<Ends> {
        Some(Ends { class: RetentionClass::Grants, at: self.at })
    }
}

/// Leads from a grant's id, or from an entry in its grantor's list, to the grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GrantPointer {
    agent_account_id: AgentAccountId,
    server_id: ServerId,
    grantor_user_id: UserId,
    /// As the grant's, so that a list knows what to read beside it. It decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_by: Option<MadeByApp>,
}

impl Entity for GrantPointer {
    const KIND: &'static str = "session grant pointer";
}

impl GrantPointer {
    pub(crate) fn of(grant: &Grant) -> Self {
        Self {
            agent_account_id: grant.agent_account_id,
            server_id: grant.server_id.clone(),
            grantor_user_id: grant.grantor_user_id,
            made_by: grant.made_by.clone(),
        }
    }

    pub(crate) fn key(&self) -> Key {
        Key::grant(self.agent_account_id, &self.server_id, self.grantor_user_id)
    }
}

impl Grant {
    /// Its entries in the lists of its grantor and its server.
    pub(crate) fn entries(&self) -> [Key; 2] {
        let (agent, user) = (self.agent_account_id, self.grantor_user_id);
        [Key::grant_given(user, agent, &self.server_id), Key::grant_at(&self.server_id, agent, user)]
    }

    /// All that is stored of it, itself last.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let own = Key::grant(self.agent_account_id, &self.server_id, self.grantor_user_id);
        self.entries().into_iter().chain([Key::grant_by_id(self.id), own]).collect()
    }
}

/// A grant as users see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrantView {
    pub grant: Grant,
    #[serde(default, deserialize_with = "crate::email::stored")]
    pub grantor_email: Option<Email>,
    /// Whether it serves users without a grant of their own.
    pub shared: bool,
    pub is_active: bool,
    /// The user who ended it by sharing theirs. Not known if that happened before it was recorded.
    pub displaced: Option<Displaced>,
}

/// By whom a grant was displaced, and when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Displaced {
    pub by_user_id: UserId,
    #[serde(default, deserialize_with = "crate::email::stored")]
    pub by_email: Option<Email>,
    pub at: Timestamp,
}

impl GrantView {
    /// The key of the item that says who displaced it, if a user did.
    fn displacement(&self) -> Option<Key> {
        let Grant { agent_account_id, server_id, generation, revoked_at, .. } = &self.grant;
        let displaced = !self.is_active && revoked_at.is_none();
        displaced.then(|| Key::promotion(*agent_account_id, server_id, generation + 1))
    }
}

/// What a change of a grant has read. The change requires it to be the same still.
struct GrantState {
    /// It may have been deleted.
    account: Option<AgentAccount>,
    pair_key: Key,
    grant_key: Key,
    pair: Option<Stored<Pair>>,
    grant: Option<Stored<Grant>>,
    /// Whether what the grant was made by still stands.
    standing: Standing,
}

impl GrantState {
    /// `ConditionFailed` if it was read in the middle of a change of both.
    async fn read(
        core: &Core,
        agent: AgentAccountId,
        server: &ServerId,
        grantor: UserId,
    ) -> Result<Self, CommitError> {
        let (pair_key, grant_key) = (Key::pair(agent, server), Key::grant(agent, server, grantor));
        let account_key = Key::agent(agent);
        let keys = vec![account_key.clone(), pair_key.clone(), grant_key.clone()];
        let mut found = core.table.read(keys).await?;
        let account = found.take::<AgentAccount>(&account_key)?.map(|account| account.value);
        let pair = found.take::<Pair>(&pair_key)?;
        let grant = found.take::<Grant>(&grant_key)?;
        let made = grant.as_ref().map(|grant| (grantor, grant.made_by.as_ref()));
        let standing = app_standing::read(core, made).await?;
        let state = Self { account, pair_key, grant_key, pair, grant, standing };
        match &state.grant {
            Some(grant) if grant.is_inconsistent_with(&state.pair()) => Err(CommitError::ConditionFailed),
            _ => Ok(state),
        }
    }

    fn account(&self) -> Result<&AgentAccount> {
        self.account.as_ref().ok_or(Error::NotFound(AgentAccountId::WHAT))
    }

    fn pair(&self) -> Pair {
        self.pair.as_ref().map(|pair| pair.value.clone()).unwrap_or_default()
    }

    /// The grant, if it is active. The grantor is the caller.
    fn active(&self, caller: &UserCaller) -> Option<&Grant> {
        let grant = self.grant.as_ref().map(|grant| &grant.value)?;
        let stands = grant.is_of(&caller.user) && self.standing.of(grant.made_by.as_ref());
        (grant.is_active(&self.pair()) && stands).then_some(grant)
    }

    /// Refuses a caller who may not share a grant with the account.
    fn require_sharer(&self, caller: &UserCaller) -> Result<()> {
        if self.account()?.is_shared_by(&caller.user, caller.app.is_some()) {
            return Ok(());
        }
        Err(Error::Forbidden(Told::of(
            Reason::SharingReserved,
            "Only the agent account's owner and admins may share a grant with it (its shared_grants is managers); your own grant can stay personal",
        )))
    }

    /// The event's text about whom a change of the grant displaces. These are all grants of the pair's former
    /// generation; only the former shared grant's owner is known.
    fn note(&self, grant: &Grant, shared: bool) -> String {
        let former = self.pair.as_ref().and_then(|pair| pair.shared.as_ref());
        match former.filter(|former| shared && former.grant_id != grant.id) {
            Some(SharedGrant { grant_id, grantor_user_id, .. }) => {
                format!("shared, in place of the grant {grant_id} of the user {grantor_user_id}")
            }
            None => (if shared { "shared" } else { "personal" }).to_owned(),
        }
    }

    /// The event of a change of the grant, with what was before and is after.
    fn told(&self, event: Event, pair: &Pair, grant: &Grant) -> Result<Event> {
        let was = self.pair();
        let before = self.grant.as_ref().map(|grant| grant.recorded(&was));
        event.changed(&before, &grant.recorded(pair))
    }

    /// The grant as it is once it is revoked, and the caller's change that does it.
    fn revoke(
        &self,
        core: &Core,
        caller: &UserCaller,
        pair: &mut Pair,
        mut grant: Grant,
    ) -> Result<(Grant, Change)> {
        set_shared(pair, &mut grant, false);
        grant.revoked_at = Some(core.clock.now());
        grant.updated_at = core.clock.now();
        let mut change = self.change(caller, pair, &grant)?;
        change.put_ending(Key::grant_by_id(grant.id), &GrantPointer::of(&grant), grant.ends())?;
        Ok((grant, change))
    }

    /// The caller's change that writes the pair and the grant, if both are as they were read.
    fn change(&self, caller: &UserCaller, pair: &Pair, grant: &Grant) -> Result<Change> {
        let mut change = caller.change()?;
        change.write(self.pair_key.clone(), pair, self.pair.as_ref())?;
        change.write(self.grant_key.clone(), grant, self.grant.as_ref())?;
        let entries = |grant: &Grant| (grant.made_by.clone(), grant.ends());
        if self.grant.as_deref().map(entries) != Some(entries(grant)) {
            for key in grant.entries() {
                change.put_ending(key, &GrantPointer::of(grant), grant.ends())?;
            }
        }
        if pair.generation > self.pair().generation {
            let promotion = Promotion { by_user_id: grant.grantor_user_id, at: grant.updated_at };
            let key = Key::promotion(grant.agent_account_id, &grant.server_id, pair.generation);
            change.create(key, &promotion)?;
        }
        Ok(change)
    }
}

/// A pair and a user's grant, both from before a change that is under way, or both from after it.
pub(crate) async fn read_consistently(
    core: &Core,
    agent: AgentAccountId,
    server: &ServerId,
    grantor: UserId,
) -> Result<(Pair, Option<Grant>)> {
    let state = retry_on_conflict(|| GrantState::read(core, agent, server, grantor)).await?;
    Ok((state.pair(), state.grant.map(|grant| grant.value)))
}

/// Makes `grant` the pair's shared one, or no longer. Making it shared begins a generation to which only it
/// belongs.
fn set_shared(pair: &mut Pair, grant: &mut Grant, shared: bool) {
    if shared {
        pair.generation += 1;
        grant.generation = pair.generation;
        let Grant { id: grant_id, grantor_user_id, user_epoch, made_by, .. } = grant.clone();
        pair.shared = Some(SharedGrant { grant_id, grantor_user_id, user_epoch, made_by });
    } else if grant.is_shared(pair) {
        pair.shared = None;
    }
}

/// The caller grants an agent account the use of their own OAuth session at a server. If there is a grant
/// already, it is returned, made shared or personal as requested. What an app makes or changes ends with the user's
/// authorization of it, and what the user then makes themselves does not.
pub async fn create(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    agent: AgentAccountId,
    server: &ServerId,
    shared: bool,
) -> Result<GrantView> {
    require_to_lend(caller, server)?;
    let grantor = caller.user.id;
    let made = once(core, caller, request, Holds::NoSecret, || async {
        require_grantable(core, caller, agent, server).await?;
        let state = GrantState::read(core, agent, server, grantor).await?;
        if shared {
            state.require_sharer(caller)?;
        }
        let now = core.clock.now();
        let mut pair = state.pair();
        pair.server_id = Some(server.clone());
        let active = state.active(caller).cloned();
        if let Some(grant) = &active
            && grant.is_shared(&pair) == shared
            && (grant.made_by.is_none() || grant.made_by == caller.made_by())
        {
            return Ok((caller.change()?, caller_view(state.account()?, caller, grant.clone(), &pair)));
        }
        let is_new = active.is_none();
        let (made_by, user_epoch) = (caller.made_by(), Some(caller.user.epoch));
        let mut grant = match active {
            Some(grant) => Grant { updated_at: now, made_by, user_epoch, ..grant },
            None => Grant {
                id: GrantId(core.random.uuid()?),
                agent_account_id: agent,
                server_id: server.clone(),
                grantor_user_id: grantor,
                user_epoch,
                generation: pair.generation,
                made_by,
                created_at: now,
                updated_at: now,
                revoked_at: None,
            },
        };
        if is_new && state.grant.as_ref().is_some_and(|was| was.is_shared(&pair)) {
            // It has ended with the app that made it, or with its grantor's deactivation, and is replaced now.
            pair.shared = None;
        }
        set_shared(&mut pair, &mut grant, shared);
        let mut change = state.change(caller, &pair, &grant)?;
        if is_new {
            let pointer = GrantPointer::of(&grant);
            change.create(Key::grant_by_id(grant.id), &pointer)?;
            if let Some(was) = &state.grant {
                let ends = Ends { class: RetentionClass::Grants, at: was.revoked_at.unwrap_or(now) };
                change.put_ending(Key::grant_by_id(was.id), &pointer, Some(ends))?;
            }
        }
        let event = grant_event(core, caller, request, Action::GrantCreate, &grant)?;
        change.record(&state.told(event.note(state.note(&grant, shared)), &pair, &grant)?)?;
        Ok((change, caller_view(state.account()?, caller, grant, &pair)))
    })
    .await?;
    Ok(made.value)
}

/// Changes the caller's own grant from personal to shared or back, as it is shown: a shared one that may no
/// longer serve others counts as personal. Not idempotent.
pub async fn toggle(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    agent: AgentAccountId,
    server: &ServerId,
) -> Result<GrantView> {
    let made = once(core, caller, request, Holds::NoSecret, || async {
        let state = GrantState::read(core, agent, server, caller.user.id).await?;
        if state.grant.is_none() && !state.account()?.is_visible_to(caller) {
            return Err(Error::NotFound(AgentAccountId::WHAT).into());
        }
        let grant = state.active(caller).cloned().ok_or(Error::NotFound(GrantId::WHAT))?;
        let mut pair = state.pair();
        let may_serve = state.account()?.is_shared_by(&caller.user, grant.made_by.is_some());
        let shared = !(grant.is_shared(&pair) && may_serve);
        if shared {
            require_to_lend(caller, server)?;
            state.require_sharer(caller)?;
        }
        let (updated_at, user_epoch) = (core.clock.now(), Some(caller.user.epoch));
        let mut grant = Grant { updated_at, user_epoch, made_by: caller.made_by(), ..grant };
        set_shared(&mut pair, &mut grant, shared);
        let mut change = state.change(caller, &pair, &grant)?;
        let event = grant_event(core, caller, request, Action::GrantToggle, &grant)?;
        change.record(&state.told(event.note(state.note(&grant, shared)), &pair, &grant)?)?;
        Ok((change, caller_view(state.account()?, caller, grant, &pair)))
    })
    .await?;
    Ok(made.value)
}

/// Revokes a grant: the caller's own, or any for operators and admins. For others the answer is the same as if it did not
/// exist. Revoking a grant that is no longer active changes nothing.
pub async fn revoke(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: GrantId,
) -> Result<GrantView> {
    let not_found = || Error::NotFound(GrantId::WHAT);
    retry_on_conflict(|| async {
        let pointer = core.table.read_one::<GrantPointer>(Key::grant_by_id(id)).await?;
        let pointer = pointer.ok_or_else(not_found)?.value;
        if pointer.grantor_user_id != caller.user.id && !caller.has(Power::Operate) {
            return Err(caller.refused(Power::Operate, not_found()).into());
        }
        let GrantPointer { agent_account_id: agent, server_id: server, grantor_user_id: grantor, .. } =
            pointer;
        let state = GrantState::read(core, agent, &server, grantor).await?;
        let was = state.grant.as_ref().filter(|grant| grant.id == id).ok_or_else(not_found)?;
        let mut pair = state.pair();
        let email = email_of(core, caller, grantor).await?;
        if !was.is_active(&pair) {
            let mut ended = vec![view(was.value.clone(), &pair, email, false, true)];
            tell_displaced(core, &mut ended).await?;
            return ended.pop().ok_or_else(|| not_found().into());
        }
        let (grant, change) = state.revoke(core, caller, &mut pair, was.value.clone())?;
        let event = grant_event(core, caller, request, Action::GrantRevoke, &grant)?;
        commit_with(core, change, state.told(event, &pair, &grant)?).await?;
        Ok(view(grant, &pair, email, false, true))
    })
    .await
}

/// Revokes a grant that somebody gave who leaves, if it is in force. For admins.
pub(crate) async fn end_given(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    given: &GrantPointer,
) -> Result<Option<Grant>> {
    caller.require(Power::Operate)?;
    let GrantPointer { agent_account_id: agent, server_id: server, grantor_user_id: grantor, .. } = given;
    retry_on_conflict(|| async {
        let state = GrantState::read(core, *agent, server, *grantor).await?;
        let mut pair = state.pair();
        let Some(was) = state.grant.as_ref().filter(|grant| grant.is_active(&pair)) else { return Ok(None) };
        let (grant, change) = state.revoke(core, caller, &mut pair, was.value.clone())?;
        let event = grant_event(core, caller, request, Action::GrantRevoke, &grant)?;
        let event = state.told(event.note(format!("of the user {grantor}")), &pair, &grant)?;
        commit_with(core, change, event).await?;
        Ok(Some(grant))
    })
    .await
}

/// Adds to a change that a grant at a server that is erased is not there any more. Its pair stays, since a generation must not
/// begin anew.
pub(crate) async fn remove(core: &Core, change: &mut Change, given: &GrantPointer) -> Result<()> {
    let pair_key = Key::pair(given.agent_account_id, &given.server_id);
    let mut found = core.table.read(vec![pair_key.clone(), given.key()]).await?;
    let Some(grant) = found.take::<Grant>(&given.key())? else {
        let GrantPointer { agent_account_id: agent, server_id: server, grantor_user_id: grantor, .. } = given;
        change.remove(&Key::grant_given(*grantor, *agent, server))?;
        change.remove(&Key::grant_at(server, *agent, *grantor))?;
        return Ok(());
    };
    if let Some(pair) = found.take::<Pair>(&pair_key)?.filter(|pair| grant.is_shared(pair)) {
        change.replace(pair_key, &Pair { shared: None, ..pair.value }, pair.rev)?;
    }
    let [entries @ .., own] = &*grant.keys() else { return Ok(()) };
    for key in entries {
        change.remove(key)?;
    }
    change.delete(own, grant.rev)?;
    Ok(())
}

/// The grants that these entries lead to, if they are in force as far as they do not rest on their grantor.
pub(crate) async fn in_force(core: &Core, given: &[GrantPointer]) -> Result<Vec<Grant>> {
    let mut active = Vec::new();
    for given in given.chunks(PAGE_SIZE / 2) {
        let pair_of = |given: &GrantPointer| Key::pair(given.agent_account_id, &given.server_id);
        let keys = given.iter().flat_map(|given| [given.key(), pair_of(given)]).collect();
        let found = core.table.read(keys).await?;
        for given in given {
            let pair = found.get::<Pair>(&pair_of(given))?.map(|pair| pair.value).unwrap_or_default();
            let grant = found.get::<Grant>(&given.key())?.map(|grant| grant.value);
            active.extend(grant.filter(|grant| grant.is_active(&pair)));
        }
    }
    Ok(active)
}

async fn commit_with(core: &Core, mut change: Change, event: Event) -> Result<(), CommitError> {
    change.record(&event)?;
    core.table.commit(change).await
}

/// A grant has no end: refuses an API key that has less than what it would give.
fn require_to_lend(caller: &UserCaller, server: &ServerId) -> Result<()> {
    caller.require_to_give(&Gives::tools(Some(std::slice::from_ref(server)), None))
}

/// A grant needs an agent account, a server that asks for OAuth, and the grantor's own live session there.
async fn require_grantable(
    core: &Core,
    caller: &UserCaller,
    agent: AgentAccountId,
    server_id: &ServerId,
) -> Result<()> {
    let (agent_key, server_key) = (Key::agent(agent), Key::server(server_id));
    let session_key = Key::session(caller.user.id, server_id);
    let keys = vec![agent_key.clone(), server_key.clone(), session_key.clone()];
    let mut found = core.table.read(keys).await?;
    let account = found.take::<AgentAccount>(&agent_key)?;
    if !account.is_some_and(|account| account.active && account.is_visible_to(caller)) {
        return Err(Error::NotFound(AgentAccountId::WHAT));
    }
    let server = found.take::<Server>(&server_key)?.filter(|server| server.active);
    let server = server.ok_or(Error::NotFound(ServerId::WHAT))?;
    if server.auth != ServerAuth::OAuth {
        return Err(Error::invalid("This server needs no credentials, so there is nothing to grant"));
    }
    let session = found.take::<Session>(&session_key)?;
    match session.map(|session| session.check(&server, core.clock.now())) {
        Some(Ok(())) => Ok(()),
        Some(Err(Error::SessionExpired | Error::SessionInterrupted)) => Err(Error::Invalid(Told::of(
            Reason::NotConnected,
            "Your OAuth session for this server has expired; connect to the server again first",
        ))),
        Some(Err(_)) | None => Err(Error::Invalid(Told::of(
            Reason::NotConnected,
            "You have no OAuth session for this server; connect to the server first",
        ))),
    }
}

async fn email_of(core: &Core, caller: &UserCaller, user: UserId) -> Result<Option<Email>> {
    if user == caller.user.id {
        return Ok(caller.user.email.clone());
    }
    Ok(core.table.read_one::<User>(Key::user(user)).await?.and_then(|user| user.value.email))
}

/// `may_serve`: whether it can serve other users, if it is shared. `stands`: whether what it was made by still stands.
fn view(grant: Grant, pair: &Pair, grantor_email: Option<Email>, may_serve: bool, stands: bool) -> GrantView {
    let is_active = grant.is_active(pair) && stands;
    let shared = is_active && may_serve && grant.is_shared(pair);
    GrantView { grant, grantor_email, shared, is_active, displaced: None }
}

/// A grant of the caller's own, that stands.
fn caller_view(account: &AgentAccount, caller: &UserCaller, grant: Grant, pair: &Pair) -> GrantView {
    let may_serve = account.is_shared_by(&caller.user, grant.made_by.is_some());
    view(grant, pair, caller.user.email.clone(), may_serve, true)
}

fn grant_event(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    action: Action,
    grant: &Grant,
) -> Result<Event, CommitError> {
    let event = caller.event(core, request, action)?.agent(grant.agent_account_id);
    Ok(event.server(grant.server_id.clone()).about("session_grant", grant.id))
}
