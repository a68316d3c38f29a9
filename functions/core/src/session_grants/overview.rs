//! All grants of a user, of an agent account, or at a server, for those who may see all of them. Each page is a query and
//! one read of all that its grants rest on.

use std::collections::HashSet;

use futures::future::try_join3;

use super::{Grant, GrantPointer, GrantView, Pair, view};
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
    table::{Found, Key, Partition},
    users::User,
};

/// Which grants. A grant must match all fields that are set.
#[derive(Clone, Debug, Default)]
pub struct GrantFilter {
    pub server_id: Option<ServerId>,
    pub agent_account_id: Option<AgentAccountId>,
    pub grantor_user_id: Option<UserId>,
    pub active: Option<bool>,
}

impl GrantFilter {
    fn keeps(&self, GrantView { grant, is_active, .. }: &GrantView) -> bool {
        self.server_id.as_ref().is_none_or(|server| *server == grant.server_id)
            && self.agent_account_id.is_none_or(|agent| agent == grant.agent_account_id)
            && self.grantor_user_id.is_none_or(|grantor| grantor == grant.grantor_user_id)
            && self.active.is_none_or(|active| active == *is_active)
    }
}

/// A grant with the agent account that it is for. Who displaced it is not said here.
#[derive(Clone, Debug)]
pub struct GrantOfAgent {
    pub grant: GrantView,
    pub agent: AgentAccount,
}

/// The items that say what a grant is worth.
fn rests_on(grant: &GrantPointer) -> Vec<Key> {
    let (agent, grantor) = (grant.agent_account_id, grant.grantor_user_id);
    let mut keys = vec![Key::pair(agent, &grant.server_id), Key::agent(agent), Key::user(grantor)];
    keys.extend(grant.made_by.iter().flat_map(|app| app_standing::keys(grantor, app)));
    keys
}

/// Grants by the items that were read with them. `asked`: the apps whose items are among these. An entry from before
/// entries named apps has none, and its app is asked about now.
async fn judged(
    core: &Core,
    found: &Found,
    asked: &HashSet<(UserId, MadeByApp)>,
    grants: Vec<Grant>,
) -> Result<Vec<GrantOfAgent>> {
    let made = grants.iter().filter_map(|grant| Some((grant.grantor_user_id, grant.made_by.as_ref()?)));
    let (known, rest): (Vec<_>, Vec<_>) =
        made.partition(|(user, app)| asked.contains(&(*user, (*app).clone())));
    let standing = app_standing::by(core, found, known)?;
    let others = app_standing::read(core, rest.into_iter().map(|(user, app)| (user, Some(app)))).await?;
    let mut views = Vec::with_capacity(grants.len());
    for grant in grants {
        let Some(agent) = found.get::<AgentAccount>(&Key::agent(grant.agent_account_id))? else { continue };
        let Some(grantor) = found.get::<User>(&Key::user(grant.grantor_user_id))? else { continue };
        let pair = found.get::<Pair>(&Key::pair(grant.agent_account_id, &grant.server_id))?;
        let pair = pair.map(|pair| pair.value).unwrap_or_default();
        let made_by = grant.made_by.as_ref();
        let stands = grant.is_of(&grantor) && (standing.of(made_by) || others.of(made_by));
        let grantor = core.counting_claims(grantor.value);
        let may_serve = agent.is_shared_by(&grantor, made_by.is_some());
        let grant = view(grant, &pair, grantor.email, may_serve, stands);
        views.push(GrantOfAgent { grant, agent: agent.value });
    }
    Ok(views)
}

/// What entries lead to.
async fn followed(core: &Core, entries: &[GrantPointer]) -> Result<Vec<GrantOfAgent>> {
    let keys = entries.iter().flat_map(rests_on).chain(entries.iter().map(GrantPointer::key));
    let found = core.table.read(keys.collect()).await?;
    let asked = entries.iter().filter_map(|entry| Some((entry.grantor_user_id, entry.made_by.clone()?)));
    let asked = asked.collect();
    let grants = entries.iter().map(|entry| found.get::<Grant>(&entry.key()));
    let grants = grants.filter_map(Result::transpose).map(|stored| Ok(stored?.value));
    let grants = grants.collect::<Result<Vec<_>>>()?;
    judged(core, &found, &asked, grants).await
}

async fn list_entries(
    core: &Core,
    list: &Partition,
    filter: &GrantFilter,
    page: &PageRequest,
) -> Result<Listing<GrantOfAgent>> {
    let entries = page.list_items::<GrantPointer>(core, list).await?;
    let pointers: Vec<GrantPointer> = entries.items.into_iter().map(|entry| entry.value).collect();
    let items = followed(core, &pointers).await?;
    Ok(Listing { items, next: entries.next }.only(|grant| filter.keeps(&grant.grant)))
}

/// The grants that a user gave, over all agents and servers. For the user, admins and auditors.
pub async fn list_of_user(
    core: &Core,
    caller: &UserCaller,
    user: UserId,
    filter: &GrantFilter,
    page: &PageRequest,
) -> Result<Listing<GrantOfAgent>> {
    caller.require_self_or(user, Power::Read)?;
    let list = Partition::grants_given_by(user);
    let (is_complete, there, listing) = try_join3(
        listed::is_complete(core, Index::SessionGrants),
        core.table.read_one::<User>(Key::user(user)),
        list_entries(core, &list, filter, page),
    )
    .await?;
    there.ok_or(Error::NotFound(UserId::WHAT))?;
    if is_complete { Ok(listing) } else { Err(listed::incomplete()) }
}

/// Whose credentials which agents use at a server. Admins and auditors only.
pub async fn list_at_server(
    core: &Core,
    caller: &UserCaller,
    server: &ServerId,
    filter: &GrantFilter,
    page: &PageRequest,
) -> Result<Listing<GrantOfAgent>> {
    caller.require(Power::Read)?;
    let list = Partition::grants_at(server);
    let (is_complete, there, listing) = try_join3(
        listed::is_complete(core, Index::SessionGrants),
        core.table.read_one::<Server>(Key::server(server)),
        list_entries(core, &list, filter, page),
    )
    .await?;
    there.ok_or(Error::NotFound(ServerId::WHAT))?;
    if is_complete { Ok(listing) } else { Err(listed::incomplete()) }
}

/// All grants for an agent account, personal ones too. Its owner, admins and auditors only; for others it is as if the
/// account did not exist.
pub async fn list_all_of_agent(
    core: &Core,
    caller: &UserCaller,
    agent: AgentAccountId,
    filter: &GrantFilter,
    page: &PageRequest,
) -> Result<Listing<GrantView>> {
    let list = match filter.grantor_user_id {
        Some(grantor) => Partition::grants_by(agent, grantor),
        None => Partition::grants_of(agent),
    };
    let account = agents::get_visible(core, caller, agent).await?;
    if !caller.may(Power::Read, &account) {
        return Err(Error::forbidden(
            "Only the agent account's owners, auditors, operators and admins may see all of its grants",
        ));
    }
    let grants = page.list_items::<Grant>(core, &list).await?;
    let next = grants.next;
    let grants: Vec<Grant> = grants.items.into_iter().map(|grant| grant.value).collect();
    let pointers: Vec<GrantPointer> = grants.iter().map(GrantPointer::of).collect();
    let found = core.table.read(pointers.iter().flat_map(rests_on).collect()).await?;
    let asked = pointers.into_iter().filter_map(|grant| Some((grant.grantor_user_id, grant.made_by?)));
    let items = judged(core, &found, &asked.collect(), grants).await?;
    let listing = Listing { items, next }.only(|grant| filter.keeps(&grant.grant));
    Ok(listing.map(|grant| grant.grant))
}
