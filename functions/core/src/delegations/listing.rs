//! Lists of delegations: of a user, of an agent account, at a server. Each page is a query and one read of all that its
//! delegations rest on.

use std::collections::HashSet;

use super::{Delegation, DelegationPointer, DelegationView};
use crate::{
    Core,
    agents::{self, AgentAccount},
    app_standing,
    apps::MadeByApp,
    caller::{Power, UserCaller},
    error::{Error, Result},
    ids::{AgentAccountId, ServerId, UserId},
    listed::{self, Index},
    paging::{Listing, PageRequest},
    servers::Server,
    table::{Found, Key, Page, Partition, Query},
    users::User,
};

/// Which delegations. A delegation must match all fields that are set.
#[derive(Clone, Debug, Default)]
pub struct DelegationFilter {
    pub active: Option<bool>,
    /// Those that cover this server, because they name it or because they name none.
    pub server_id: Option<ServerId>,
}

impl DelegationFilter {
    fn keeps(&self, view: &DelegationView) -> bool {
        self.active.is_none_or(|active| active == view.is_active)
            && self.server_id.as_ref().is_none_or(|server| view.delegation.covers(server))
    }
}

/// A delegation with the agent account that it is to.
#[derive(Clone, Debug)]
pub struct ActingAgent {
    pub delegation: DelegationView,
    pub agent: AgentAccount,
}

/// What delegations rest on, read at once.
struct Rests {
    found: Found,
    /// The apps that were asked about.
    asked: HashSet<(UserId, MadeByApp)>,
}

impl Rests {
    /// Reads these items, the delegators, and what the apps' delegations rest on.
    async fn read(
        core: &Core,
        mut keys: Vec<Key>,
        users: impl IntoIterator<Item = UserId>,
        made: impl IntoIterator<Item = (UserId, MadeByApp)>,
    ) -> Result<Self> {
        let asked: HashSet<(UserId, MadeByApp)> = made.into_iter().collect();
        keys.extend(users.into_iter().map(Key::user));
        keys.extend(asked.iter().flat_map(|(user, app)| app_standing::keys(*user, app)));
        Ok(Self { found: core.table.read(keys).await?, asked })
    }

    /// Delegations as people see them. Of one whose app was not asked about, the app is asked about now: its entry is from
    /// before entries named apps.
    async fn views(&self, core: &Core, delegations: Vec<Delegation>) -> Result<Vec<DelegationView>> {
        let made =
            delegations.iter().filter_map(|made| Some((made.delegator_user_id, made.made_by.as_ref()?)));
        let (asked, rest): (Vec<_>, Vec<_>) =
            made.partition(|(user, app)| self.asked.contains(&(*user, (*app).clone())));
        let standing = app_standing::by(core, &self.found, asked)?;
        let others = app_standing::read(core, rest.into_iter().map(|(user, app)| (user, Some(app)))).await?;
        let now = core.clock.now();
        delegations
            .into_iter()
            .map(|delegation| {
                let made_by = delegation.made_by.as_ref();
                let stands = standing.of(made_by) || others.of(made_by);
                let user = self.found.get::<User>(&Key::user(delegation.delegator_user_id))?;
                let is_users = user.as_ref().is_some_and(|user| user.active && delegation.is_of(user));
                let is_active = delegation.is_active(now) && is_users && stands;
                let delegator_email = user.and_then(|user| user.value.email);
                Ok(DelegationView { delegation, delegator_email, is_active })
            })
            .collect()
    }

    /// The same with their agent accounts. One whose account is gone is left out.
    async fn acting(&self, core: &Core, delegations: Vec<Delegation>) -> Result<Vec<ActingAgent>> {
        let with_agent = |delegation: DelegationView| {
            let agent = Key::agent(delegation.delegation.agent_account_id);
            let agent = self.found.get::<AgentAccount>(&agent);
            agent.map(|agent| agent.map(|agent| ActingAgent { delegation, agent: agent.value })).transpose()
        };
        self.views(core, delegations).await?.into_iter().filter_map(with_agent).collect()
    }
}

/// What entries lead to, with the agent accounts.
async fn followed(
    core: &Core,
    mut keys: Vec<Key>,
    entries: &[&DelegationPointer],
) -> Result<(Rests, Vec<Delegation>)> {
    keys.extend(entries.iter().flat_map(|entry| [entry.key(), Key::agent(entry.agent_account_id)]));
    let users = entries.iter().map(|entry| entry.user_id);
    let made = entries.iter().filter_map(|entry| Some((entry.user_id, entry.made_by.clone()?)));
    let rests = Rests::read(core, keys, users, made).await?;
    let delegations = entries.iter().map(|entry| rests.found.get::<Delegation>(&entry.key()));
    let delegations = delegations.filter_map(Result::transpose).map(|stored| Ok(stored?.value));
    let delegations = delegations.collect::<Result<Vec<_>>>()?;
    Ok((rests, delegations))
}

/// The delegations that a user has made, with their agents, the revoked and expired ones too. For the user, admins and
/// auditors.
pub async fn list_of(
    core: &Core,
    caller: &UserCaller,
    user: UserId,
    filter: &DelegationFilter,
    page: &PageRequest,
) -> Result<Listing<ActingAgent>> {
    caller.require_self_or(user, Power::Read)?;
    let entries = page.list_items::<DelegationPointer>(core, &Partition::delegations_by(user)).await?;
    let pointers: Vec<&DelegationPointer> = entries.items.iter().map(|entry| &entry.value).collect();
    let (rests, delegations) = followed(core, vec![Key::user(user)], &pointers).await?;
    if !rests.found.contains(&Key::user(user)) {
        return Err(Error::NotFound(UserId::WHAT));
    }
    let items = rests.acting(core, delegations).await?;
    let keep = |acting: &ActingAgent| filter.keeps(&acting.delegation);
    Ok(Listing { items, next: entries.next }.only(keep))
}

/// The agents that act for a user: those to which they delegate, if nothing has ended it. An agent that is stopped is among
/// them, as it may go on.
pub async fn list_acting_for(
    core: &Core,
    caller: &UserCaller,
    user: UserId,
    server: Option<ServerId>,
    page: &PageRequest,
) -> Result<Listing<ActingAgent>> {
    let filter = DelegationFilter { active: Some(true), server_id: server };
    list_of(core, caller, user, &filter, page).await
}

/// The delegations to an agent account. Its owner, admins and auditors see all, or one user's; others see their own.
pub async fn list_for_agent(
    core: &Core,
    caller: &UserCaller,
    agent: AgentAccountId,
    delegator: Option<UserId>,
    filter: &DelegationFilter,
    page: &PageRequest,
) -> Result<Listing<DelegationView>> {
    // Whether the caller may see all is known with the account. The page is asked for at the same time.
    let all = async {
        match delegator {
            None => page.list_items::<Delegation>(core, &Partition::delegations_to(agent)).await.map(Some),
            Some(_) => Ok(None),
        }
    };
    let (account, all) = futures::join!(agents::get(core, agent), all);
    let account = account?;
    let sees_all = caller.may(Power::Read, &account);
    let of_other = delegator.is_some_and(|delegator| delegator != caller.user.id);
    let keep = |view: &DelegationView| filter.keeps(view);
    if sees_all && let Some(page) = all? {
        let items = page.items.into_iter().map(|stored| stored.value).collect();
        return Ok(Listing { items: judged(core, items).await?, next: page.next }.only(keep));
    }
    if of_other && !sees_all {
        return Err(if account.is_visible_to(caller) {
            Error::forbidden(
                "Only the agent account's owners, auditors, operators and admins may see other people's delegations",
            )
        } else {
            Error::NotFound(AgentAccountId::WHAT)
        });
    }
    let key = Key::delegation(agent, delegator.unwrap_or(caller.user.id));
    let made = core.table.read_one::<Delegation>(key).await?;
    if made.is_none() && !account.is_visible_to(caller) {
        return Err(Error::NotFound(AgentAccountId::WHAT));
    }
    let made = made.into_iter().map(|made| made.value).collect();
    Ok(Listing { items: judged(core, made).await?, next: None }.only(keep))
}

/// Delegations that were read already, as people see them.
async fn judged(core: &Core, delegations: Vec<Delegation>) -> Result<Vec<DelegationView>> {
    let users = delegations.iter().map(|made| made.delegator_user_id);
    let made = delegations.iter().filter_map(|made| Some((made.delegator_user_id, made.made_by.clone()?)));
    Rests::read(core, Vec::new(), users, made).await?.views(core, delegations).await
}

/// What the cursors of the two parts of a server's list begin with.
const NAMED: &str = "named ";
const EVERYWHERE: &str = "everywhere ";

/// Who may act at a server, and for whom: the delegations that name it, and then those that name no server and so cover all.
/// Admins and auditors only.
pub async fn list_at_server(
    core: &Core,
    caller: &UserCaller,
    server: &ServerId,
    filter: &DelegationFilter,
    page: &PageRequest,
) -> Result<Listing<ActingAgent>> {
    caller.require(Power::Read)?;
    let (named, everywhere) = (Partition::delegations_at(server), Partition::delegations_everywhere());
    let is_its = |sk: &&str| sk.starts_with(&named.prefix);
    let (after_named, after_everywhere) = match page.cursor() {
        None => (Some(None), None),
        Some(EVERYWHERE) => (None, None),
        Some(cursor) => match (cursor.strip_prefix(NAMED), cursor.strip_prefix(EVERYWHERE)) {
            (Some(sk), _) if is_its(&sk) => (Some(Some(sk)), None),
            (_, Some(sk)) if is_its(&sk) => (None, Some(sk)),
            _ => return Err(PageRequest::of_another_list()),
        },
    };
    let query = async |list: &Partition, after: Option<&str>| {
        let after = after.map(|sk| Key { pk: list.pk.clone(), sk: sk.to_owned() });
        let query = Query::partition(&list.pk, page.limit()).prefix(list.prefix.as_str()).after(after);
        core.table.query::<DelegationPointer>(query).await
    };
    let first = async {
        match after_named {
            Some(after) => query(&named, after).await,
            None => Ok(Page { items: Vec::new(), next: None }),
        }
    };
    let (is_complete, server_item, first, mut second) = futures::future::try_join4(
        listed::is_complete(core, Index::Delegations),
        core.table.read_one::<Server>(Key::server(server)),
        first,
        query(&everywhere, after_everywhere),
    )
    .await?;
    server_item.ok_or(Error::NotFound(ServerId::WHAT))?;
    if !is_complete {
        return Err(listed::incomplete());
    }
    let room = if first.next.is_some() { 0 } else { page.limit().saturating_sub(first.items.len()) };
    let is_cut = second.items.len() > room;
    second.items.truncate(room);
    let next = match (first.next, second.items.last()) {
        (Some(key), _) => Some(format!("{NAMED}{}", key.sk)),
        (None, None) if is_cut => Some(EVERYWHERE.to_owned()),
        (None, Some(last)) if is_cut => {
            let last = Key::delegation_everywhere(last.agent_account_id, last.user_id);
            Some(format!("{EVERYWHERE}{}", last.sk))
        }
        (None, _) => second.next.map(|key| format!("{EVERYWHERE}{}", key.sk)),
    };
    let entries: Vec<&DelegationPointer> =
        first.items.iter().chain(&second.items).map(|entry| &entry.value).collect();
    let named = first.items.len();
    let (rests, delegations) = followed(core, Vec::new(), &entries).await?;
    // An entry can be of a delegation that has been made anew since, for other servers. And what is in both lists by that is
    // shown once: as what it is now.
    let in_named: HashSet<_> =
        entries.iter().take(named).map(|entry| (entry.agent_account_id, entry.user_id)).collect();
    let mut seen = HashSet::new();
    let keep = |made: &Delegation| {
        let pair = (made.agent_account_id, made.delegator_user_id);
        made.covers(server) && (made.server_ids.is_none() || in_named.contains(&pair)) && seen.insert(pair)
    };
    let mut delegations = delegations;
    delegations.retain(keep);
    let items = rests.acting(core, delegations).await?;
    let next = next.map(|position| PageRequest::encode(&position));
    Ok(Listing { items, next }.only(|acting| filter.keeps(&acting.delegation)))
}
