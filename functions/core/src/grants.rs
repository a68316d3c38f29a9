//! Session grants: whose OAuth credentials an agent account uses at a server.
//!
//! Each grantor has at most one grant for a pair of agent account and server, at a key that follows from
//! the three. The *pair* has an item of its own, and it alone says two things, so that nothing can
//! disagree with it:
//!
//! * `shared`: which grant, if any, is the shared one. There cannot be two.
//! * `generation`: grants made in an earlier generation are revoked. Promoting a grant to shared revokes
//!   everybody else's by one addition, however many there are.
//!
//! Every change of a grant is one transaction that finds the pair and the grant as they were read.

use serde::{Deserialize, Serialize};

use crate::{
    Core, agents,
    audit::{Action, Request},
    caller::UserCaller,
    clock::Timestamp,
    error::{Error, Result},
    ids::{AgentAccountId, GrantId, ServerId, UserId},
    paging::{Listing, PageRequest},
    servers::{Server, ServerAuth},
    sessions::Session,
    table::{Attempt, Change, Entity, Key, Stored, settle},
    users::{Email, User},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    pub id: GrantId,
    pub agent_account_id: AgentAccountId,
    pub server_id: ServerId,
    pub grantor_user_id: UserId,
    /// The pair's generation that the grant belongs to.
    pub generation: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl Entity for Grant {
    const KIND: &'static str = "session grant";
}

/// What holds for all grants of an (agent account, server) pair.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pair {
    pub generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedGrant>,
    /// For listing: the pair's server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_id: Option<ServerId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedGrant {
    pub grant_id: GrantId,
    pub grantor_user_id: UserId,
}

impl Entity for Pair {
    const KIND: &'static str = "session grant pair";
}

impl Grant {
    pub fn is_active(&self, pair: &Pair) -> bool {
        self.revoked_at.is_none() && self.generation == pair.generation
    }

    pub fn is_shared(&self, pair: &Pair) -> bool {
        pair.shared.as_ref().is_some_and(|shared| shared.grant_id == self.id)
    }
}

/// Leads from a grant's id to the grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct GrantPointer {
    agent_account_id: AgentAccountId,
    server_id: ServerId,
    grantor_user_id: UserId,
}

impl Entity for GrantPointer {
    const KIND: &'static str = "session grant pointer";
}

/// A grant as people see it.
#[derive(Clone, Debug)]
pub struct GrantView {
    pub grant: Grant,
    pub grantor_email: Option<Email>,
    pub shared: bool,
    pub is_active: bool,
}

/// What a change of a grant has read, and must find unchanged.
struct Standing {
    pair_key: Key,
    grant_key: Key,
    pair: Option<Stored<Pair>>,
    grant: Option<Stored<Grant>>,
}

impl Standing {
    async fn read(core: &Core, agent: AgentAccountId, server: &ServerId, grantor: UserId) -> Result<Self> {
        let (pair_key, grant_key) = (Key::pair(agent, server), Key::grant(agent, server, grantor));
        let mut found = core.table.read(vec![pair_key.clone(), grant_key.clone()]).await?;
        let (pair, grant) = (found.take(&pair_key)?, found.take(&grant_key)?);
        Ok(Self { pair_key, grant_key, pair, grant })
    }

    fn pair(&self) -> Pair {
        self.pair.as_ref().map(|pair| pair.value.clone()).unwrap_or_default()
    }

    /// The grant, if it stands.
    fn active(&self) -> Option<&Grant> {
        self.grant.as_ref().map(|grant| &grant.value).filter(|grant| grant.is_active(&self.pair()))
    }

    /// A change that writes the pair and the grant, as long as both are as they were read.
    fn change(&self, pair: &Pair, grant: &Grant) -> Result<Change> {
        let mut change = Change::new();
        change.write(self.pair_key.clone(), pair, self.pair.as_ref())?;
        change.write(self.grant_key.clone(), grant, self.grant.as_ref())?;
        Ok(change)
    }
}

/// Makes `grant` the pair's shared one, or not. Making it shared begins a generation that only it is in.
fn set_shared(pair: &mut Pair, grant: &mut Grant, shared: bool) {
    if shared {
        pair.generation += 1;
        grant.generation = pair.generation;
        let (grant_id, grantor_user_id) = (grant.id, grant.grantor_user_id);
        pair.shared = Some(SharedGrant { grant_id, grantor_user_id });
    } else if grant.is_shared(pair) {
        pair.shared = None;
    }
}

/// The caller grants an agent account the use of their own OAuth session at a server. Granting again
/// returns the grant that stands, made shared or personal as asked.
pub async fn create(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    agent: AgentAccountId,
    server: &ServerId,
    shared: bool,
) -> Result<GrantView> {
    require_grantable(core, caller, agent, server).await?;
    let grantor = caller.user.id;
    settle(|| async {
        let standing = Standing::read(core, agent, server, grantor).await?;
        let now = core.clock.now();
        let mut pair = standing.pair();
        pair.server_id = Some(server.clone());
        let stands = standing.active().cloned();
        if let Some(grant) = &stands
            && grant.is_shared(&pair) == shared
        {
            return Ok(caller_view(caller, grant.clone(), &pair));
        }
        let is_new = stands.is_none();
        let mut grant = match stands {
            Some(grant) => Grant { updated_at: now, ..grant },
            None => Grant {
                id: GrantId(core.random.uuid()?),
                agent_account_id: agent,
                server_id: server.clone(),
                grantor_user_id: grantor,
                generation: pair.generation,
                created_at: now,
                updated_at: now,
                revoked_at: None,
            },
        };
        set_shared(&mut pair, &mut grant, shared);
        let mut change = standing.change(&pair, &grant)?;
        if is_new {
            let pointer =
                GrantPointer { agent_account_id: agent, server_id: server.clone(), grantor_user_id: grantor };
            change.create(Key::grant_by_id(grant.id), &pointer)?;
        }
        let event = grant_event(core, caller, request, Action::GrantCreate, &grant)?;
        change.record(&event.note(sharing(shared)))?;
        core.table.commit(change).await?;
        Ok(caller_view(caller, grant, &pair))
    })
    .await
}

/// Flips the caller's own grant between personal and shared. Not idempotent.
pub async fn toggle(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    agent: AgentAccountId,
    server: &ServerId,
) -> Result<GrantView> {
    settle(|| async {
        let standing = Standing::read(core, agent, server, caller.user.id).await?;
        let grant = standing.active().cloned().ok_or(Error::NotFound(GrantId::WHAT))?;
        let mut pair = standing.pair();
        let shared = !grant.is_shared(&pair);
        let mut grant = Grant { updated_at: core.clock.now(), ..grant };
        set_shared(&mut pair, &mut grant, shared);
        let mut change = standing.change(&pair, &grant)?;
        let event = grant_event(core, caller, request, Action::GrantToggle, &grant)?;
        change.record(&event.note(sharing(shared)))?;
        core.table.commit(change).await?;
        Ok(caller_view(caller, grant, &pair))
    })
    .await
}

/// Revokes a grant: the grantor's own, or anybody's for an admin. To others it might as well not be there.
/// Revoking one that no longer stands changes nothing.
pub async fn revoke(core: &Core, caller: &UserCaller, request: &Request, id: GrantId) -> Result<GrantView> {
    let not_found = || Error::NotFound(GrantId::WHAT);
    settle(|| async {
        let pointer = core.table.read_one::<GrantPointer>(Key::grant_by_id(id)).await?;
        let pointer = pointer.ok_or_else(not_found)?.value;
        if pointer.grantor_user_id != caller.user.id && !caller.user.is_admin() {
            return Err(not_found().into());
        }
        let GrantPointer { agent_account_id: agent, server_id: server, grantor_user_id: grantor } = pointer;
        let standing = Standing::read(core, agent, &server, grantor).await?;
        let was = standing.grant.as_ref().filter(|grant| grant.id == id).ok_or_else(not_found)?;
        let mut pair = standing.pair();
        let email = email_of(core, caller, grantor).await?;
        if !was.is_active(&pair) {
            return Ok(view(was.value.clone(), &pair, email));
        }
        let mut grant = was.value.clone();
        set_shared(&mut pair, &mut grant, false);
        grant.revoked_at = Some(core.clock.now());
        grant.updated_at = core.clock.now();
        let mut change = standing.change(&pair, &grant)?;
        change.record(&grant_event(core, caller, request, Action::GrantRevoke, &grant)?)?;
        core.table.commit(change).await?;
        Ok(view(grant, &pair, email))
    })
    .await
}

/// The grants for an agent account that the caller may see, admin or not: their own and the shared ones.
pub async fn list(
    core: &Core,
    caller: &UserCaller,
    agent: AgentAccountId,
    server: Option<&ServerId>,
    page: &PageRequest,
) -> Result<Listing<GrantView>> {
    agents::get(core, agent).await?;
    if let Some(server) = server {
        return list_for_server(core, caller, agent, server).await;
    }
    // The caller's own grants come first, by server; then others' shared ones, by server.
    let partition = Key::agent(agent).pk;
    let own_prefix = format!("GRANT#{}#", caller.user.id);
    let mut items = Vec::new();
    if page.cursor().is_none_or(|cursor| cursor.starts_with(&own_prefix)) {
        let own = page.list_items::<Grant>(core, &partition, &own_prefix).await?;
        items = with_pairs(core, caller, agent, own.items).await?;
        if own.next.is_some() {
            return Ok(Listing { items, next: own.next });
        }
        if items.len() >= page.limit() {
            return Ok(Listing { items, next: Some(PageRequest::encode(PAIRS)) });
        }
    }
    let rest = page.rest(page.limit() - items.len(), PAIRS);
    let pairs = rest.list_items::<Pair>(core, &partition, PAIRS).await?;
    let next = pairs.next;
    let pairs: Vec<Pair> = pairs.items.into_iter().map(|pair| pair.value).collect();
    items.extend(others_shared(core, caller, agent, &pairs).await?);
    Ok(Listing { items, next })
}

/// What the pairs' sort keys begin with.
const PAIRS: &str = "PAIR#";

/// The caller's own grants, judged by their pairs.
async fn with_pairs(
    core: &Core,
    caller: &UserCaller,
    agent: AgentAccountId,
    grants: Vec<Stored<Grant>>,
) -> Result<Vec<GrantView>> {
    let keys: Vec<Key> = grants.iter().map(|grant| Key::pair(agent, &grant.server_id)).collect();
    let mut found = core.table.read(keys).await?;
    grants
        .into_iter()
        .map(|grant| {
            let pair = found.take::<Pair>(&Key::pair(agent, &grant.server_id))?;
            Ok(caller_view(caller, grant.value, &pair.map(|pair| pair.value).unwrap_or_default()))
        })
        .collect()
}

async fn list_for_server(
    core: &Core,
    caller: &UserCaller,
    agent: AgentAccountId,
    server: &ServerId,
) -> Result<Listing<GrantView>> {
    let standing = Standing::read(core, agent, server, caller.user.id).await?;
    let pair = Pair { server_id: Some(server.clone()), ..standing.pair() };
    let own = standing.grant.map(|grant| caller_view(caller, grant.value, &pair));
    let mut items: Vec<GrantView> = own.into_iter().collect();
    items.extend(others_shared(core, caller, agent, &[pair]).await?);
    Ok(Listing { items, next: None })
}

/// The shared grants of these pairs, without the caller's own.
async fn others_shared(
    core: &Core,
    caller: &UserCaller,
    agent: AgentAccountId,
    pairs: &[Pair],
) -> Result<Vec<GrantView>> {
    let shared: Vec<(&Pair, &ServerId, UserId)> = pairs
        .iter()
        .filter_map(|pair| Some((pair, pair.server_id.as_ref()?, pair.shared.as_ref()?.grantor_user_id)))
        .filter(|(_, _, grantor)| *grantor != caller.user.id)
        .collect();
    let grant_keys: Vec<Key> =
        shared.iter().map(|(_, server, grantor)| Key::grant(agent, server, *grantor)).collect();
    let user_keys: Vec<Key> = shared.iter().map(|(_, _, grantor)| Key::user(*grantor)).collect();
    let grants = core.table.read_all::<Grant>(&grant_keys).await?;
    let users = core.table.read_all::<User>(&user_keys).await?;
    let views = grants.into_iter().filter_map(|grant| {
        let (pair, ..) = shared.iter().find(|(_, server, _)| **server == grant.server_id)?;
        let user = users.iter().find(|user| user.id == grant.grantor_user_id);
        // Between the two reads the grant can have changed: what is not shared any more is not shown.
        grant.is_shared(pair).then(|| view(grant.value, pair, user.and_then(|user| user.email.clone())))
    });
    Ok(views.collect())
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
    if !found.take::<agents::AgentAccount>(&agent_key)?.is_some_and(|account| account.active) {
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
        Some(Err(Error::SessionExpired | Error::SessionInterrupted)) => Err(Error::invalid(
            "Your OAuth session for this server has expired; connect to the server again first",
        )),
        Some(Err(_)) | None => {
            Err(Error::invalid("You have no OAuth session for this server; connect to the server first"))
        }
    }
}

async fn email_of(core: &Core, caller: &UserCaller, user: UserId) -> Result<Option<Email>> {
    if user == caller.user.id {
        return Ok(caller.user.email.clone());
    }
    Ok(core.table.read_one::<User>(Key::user(user)).await?.and_then(|user| user.value.email))
}

fn view(grant: Grant, pair: &Pair, grantor_email: Option<Email>) -> GrantView {
    let is_active = grant.is_active(pair);
    let shared = is_active && grant.is_shared(pair);
    GrantView { grant, grantor_email, shared, is_active }
}

fn caller_view(caller: &UserCaller, grant: Grant, pair: &Pair) -> GrantView {
    view(grant, pair, caller.user.email.clone())
}

fn sharing(shared: bool) -> &'static str {
    if shared { "shared" } else { "personal" }
}

fn grant_event(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    action: Action,
    grant: &Grant,
) -> Result<crate::audit::Event, Attempt> {
    let event = caller.event(core, request, action)?.agent(grant.agent_account_id);
    Ok(event.server(grant.server_id.clone()).about("session_grant", grant.id))
}
