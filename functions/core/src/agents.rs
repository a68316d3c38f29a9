//! Agent accounts and their client secrets.
//!
//! The secrets' hashes live in the account's own item, as do the public keys ([`crate::client_keys`]), so that
//! a token request reads the account and proves the client in one round trip. An account has at most two, for rotation without downtime: add the
//! new one, deploy it, revoke the old one.

mod restrictions;

use deputize_api::reason::Reason;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{
    Core,
    audit::{Action, Event, RequestContext},
    caller::{Power, UserCaller},
    clock::Timestamp,
    epoch::Epoch,
    error::{Error, Result, Told},
    ids::{AgentAccountId, SecretId, UserId},
    origins::Origin,
    paging::{Listing, PageRequest},
    secret,
    table::{Change, CommitError, Entity, Key, Partition, Stored, retry_on_conflict},
    users::User,
};

pub use crate::entities::agent_account::{
    AgentAccount, ClientCredential, ClientKey, ClientSecret, DisabledBy, SharedGrants,
};

/// How many client secrets an account can have at a time.
pub const MAX_SECRETS: usize = 2;

/// An entry in a list of agent accounts.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct AgentEntry {
    agent_account_id: AgentAccountId,
}

impl Entity for AgentEntry {
    const KIND: &'static str = "agent account entry";
}

#[derive(Clone, Debug)]
pub struct NewAgentAccount {
    pub name: String,
    /// The caller, unless an admin names another user.
    pub owner_user_id: Option<UserId>,
    pub groups: Vec<String>,
    pub allowed_origins: Option<Vec<Origin>>,
    /// The deployment's default if left out.
    pub shared_grants: Option<SharedGrants>,
}

/// What to change; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct AgentUpdate {
    pub name: Option<String>,
    pub active: Option<bool>,
    pub groups: Option<Vec<String>>,
    /// `Some(None)` means all of the deployment's origins.
    pub allowed_origins: Option<Option<Vec<Origin>>>,
    pub owner_user_id: Option<UserId>,
    pub shared_grants: Option<SharedGrants>,
}

/// A new client secret. Its text is known only now.
#[derive(Debug)]
pub struct IssuedSecret {
    pub secret: ClientSecret,
    pub text: SecretString,
}

fn new_secret(core: &Core, expires_at: Option<Timestamp>) -> Result<IssuedSecret> {
    let made = secret::new_client_secret(&core.random)?;
    let secret = ClientSecret {
        id: SecretId(core.random.uuid()?),
        hash: made.hash,
        created_at: core.clock.now(),
        expires_at,
    };
    Ok(IssuedSecret { secret, text: made.text })
}

/// Adds an agent account with its first client secret to a change.
pub(crate) fn add_agent(
    core: &Core,
    change: &mut Change,
    owner: UserId,
    new: NewAgentAccount,
) -> Result<(AgentAccount, IssuedSecret)> {
    let NewAgentAccount { name, owner_user_id: _, groups, allowed_origins, shared_grants } = new;
    let now = core.clock.now();
    let issued = new_secret(core, None)?;
    let account = AgentAccount {
        id: AgentAccountId(core.random.uuid()?),
        name,
        owner_user_id: owner,
        active: true,
        disabled_by: None,
        epoch: Epoch::default(),
        shared_grants: shared_grants.unwrap_or(core.settings.shared_grants),
        groups,
        allowed_origins,
        secrets: vec![issued.secret.clone()],
        keys: Vec::new(),
        created_at: now,
        updated_at: now,
    };
    let entry = AgentEntry { agent_account_id: account.id };
    change
        .create(Key::agent(account.id), &account)?
        .create(Key::agent_entry(account.id), &entry)?
        .create(Key::owned_agent(owner, account.id), &entry)?;
    Ok((account, issued))
}

/// Creates an agent account with its first client secret. Admins only.
pub async fn create(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    new: NewAgentAccount,
) -> Result<(AgentAccount, IssuedSecret)> {
    caller.require(Power::Manage)?;
    let owner = new.owner_user_id.unwrap_or(caller.user.id);
    if owner != caller.user.id {
        require_owner(core.table.read_one(Key::user(owner)).await?)?;
    }
    let mut change = caller.change()?;
    let (account, issued) = add_agent(core, &mut change, owner, new)?;
    let event = caller.event(core, request, Action::AgentCreate)?.agent(account.id);
    let noted = account.allowed_origins.as_deref().map(|allowed| about_origins(Some(allowed)));
    let event = noting(event, &noted.into_iter().collect::<Vec<_>>());
    change.record(&event.about("agent_account", account.id))?;
    core.table.commit(change).await.map_err(crate::fresh_id)?;
    Ok((account, issued))
}

/// Requires a user who can own an agent account.
fn require_owner(user: Option<Stored<User>>) -> Result<()> {
    match user {
        None => Err(Error::invalid("owner_user_id: no such user")),
        Some(user) if !user.active => Err(Error::invalid("owner_user_id: the user is deactivated")),
        Some(_) => Ok(()),
    }
}

fn noting(event: Event, notes: &[String]) -> Event {
    if notes.is_empty() { event } else { event.note(notes.join("; ")) }
}

/// The event's text about an account's origins after a change.
fn about_origins(allowed: Option<&[Origin]>) -> String {
    let said = match allowed {
        None => "all of the deployment's".to_owned(),
        Some([]) => "none".to_owned(),
        Some(allowed) => allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    };
    format!("allowed_origins: {said}")
}

/// An agent account. Every user may see that it exists, in order to delegate to it. Its owner and admins
/// manage it.
pub async fn get(core: &Core, id: AgentAccountId) -> Result<Stored<AgentAccount>> {
    core.table.read_one(Key::agent(id)).await?.ok_or(Error::NotFound(AgentAccountId::WHAT))
}

/// The account, if the caller may do this to it: by their role, or as its owner. For others the answer is the same as
/// if it did not exist.
pub(crate) async fn get_for(
    core: &Core,
    caller: &UserCaller,
    power: Power,
    id: AgentAccountId,
) -> Result<Stored<AgentAccount>> {
    let account = get(core, id).await?;
    if caller.may(power, &account) { Ok(account) } else { Err(Error::NotFound(AgentAccountId::WHAT)) }
}

/// All agent accounts for an admin; the caller's own for other users.
pub async fn list(core: &Core, caller: &UserCaller, page: &PageRequest) -> Result<Listing<AgentAccount>> {
    let follow = |entry: &AgentEntry| Key::agent(entry.agent_account_id);
    if caller.has(Power::Read) {
        page.list_entries(core, &Partition::agents(), follow).await
    } else {
        page.list_entries(core, &Partition::agents_of(caller.user.id), follow).await
    }
}

/// Reads one account and changes it, if the caller has the power over it.
pub(crate) async fn change_account(
    core: &Core,
    caller: &UserCaller,
    power: Power,
    id: AgentAccountId,
    event: Event,
    edit: impl Fn(&mut AgentAccount) -> Result<()>,
) -> Result<AgentAccount> {
    let event = event.agent(id);
    retry_on_conflict(|| async {
        let was = get_for(core, caller, power, id).await?;
        let mut account = was.value.clone();
        edit(&mut account)?;
        account.updated_at = core.clock.now();
        let mut change = caller.change()?;
        change.replace(Key::agent(id), &account, was.rev)?.record(&event)?;
        core.table.commit(change).await?;
        Ok(account)
    })
    .await
}

/// Changes an account. Its owner may rename and disable it, enable it if no admin has disabled it, set its
/// origins, and narrow who shares grants with it. Only admins set its groups, which decide about policies,
/// and its owner.
pub async fn update(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: AgentAccountId,
    update: AgentUpdate,
) -> Result<AgentAccount> {
    if update.groups.is_some() || update.owner_user_id.is_some() {
        caller.require(Power::Manage)?;
    }
    retry_on_conflict(|| async {
        let was = get_for(core, caller, Power::Manage, id).await?;
        let mut account = was.value.clone();
        let (mut change, mut notes) = (caller.change()?, Vec::new());
        if let Some(name) = &update.name {
            account.name.clone_from(name);
        }
        if let Some(groups) = &update.groups {
            account.groups.clone_from(groups);
        }
        if let Some(active) = update.active {
            account.set_active(active, caller)?;
        }
        if let Some(shared_grants) = update.shared_grants {
            account.set_shared_grants(shared_grants, caller)?;
            notes.push(format!("shared_grants: {shared_grants}"));
        }
        if let Some(owner) = update.owner_user_id
            && owner != account.owner_user_id
        {
            notes.push(format!("owner_user_id: from {} to {owner}", account.owner_user_id));
            give_to(core, &mut change, &mut account, owner).await?;
        }
        if let Some(allowed) = &update.allowed_origins {
            account.allowed_origins.clone_from(allowed);
            notes.push(about_origins(allowed.as_deref()));
        }
        account.updated_at = core.clock.now();
        let event = caller.event(core, request, Action::AgentUpdate)?.agent(id).about("agent_account", id);
        change.replace(Key::agent(id), &account, was.rev)?.record(&noting(event, &notes))?;
        core.table.commit(change).await?;
        Ok(account)
    })
    .await
}

/// Gives an account another owner, and moves its entry to the new owner's list.
async fn give_to(
    core: &Core,
    change: &mut Change,
    account: &mut AgentAccount,
    owner: UserId,
) -> Result<(), CommitError> {
    let [user, left, new] = [
        Key::user(owner),
        Key::owned_agent(account.owner_user_id, account.id),
        Key::owned_agent(owner, account.id),
    ];
    let mut found = core.table.read(vec![user.clone(), left.clone(), new.clone()]).await?;
    require_owner(found.take(&user)?)?;
    if let Some(entry) = found.take::<AgentEntry>(&left)? {
        change.delete(&left, entry.rev)?;
    }
    let was = found.take::<AgentEntry>(&new)?;
    change.write(new, &AgentEntry { agent_account_id: account.id }, was.as_ref())?;
    account.owner_user_id = owner;
    Ok(())
}

/// The account's client secrets, without their texts, for its owner and admins.
pub async fn list_secrets(core: &Core, caller: &UserCaller, id: AgentAccountId) -> Result<Vec<ClientSecret>> {
    Ok(get_for(core, caller, Power::Read, id).await?.value.secrets)
}

/// Adds a client secret; 409 if there are two live ones already.
pub async fn add_secret(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: AgentAccountId,
    expires_at: Option<Timestamp>,
) -> Result<IssuedSecret> {
    caller.require_own_credential()?;
    let now = core.clock.now();
    if expires_at.is_some_and(|expires| expires <= now) {
        return Err(Error::invalid("expires_at must be in the future"));
    }
    let issued = new_secret(core, expires_at)?;
    let event = caller.event(core, request, Action::SecretCreate)?.about("agent_account", id);
    change_account(core, caller, Power::Manage, id, event, |account| {
        account.require_open_for_credentials(caller)?;
        account.secrets.retain(|secret| secret.is_live(now));
        if account.secrets.len() >= MAX_SECRETS {
            return Err(Error::Conflict(Told::of(
                Reason::LimitReached,
                format!("the account has {MAX_SECRETS} live secrets; revoke one before adding another"),
            )));
        }
        account.secrets.push(issued.secret.clone());
        Ok(())
    })
    .await?;
    Ok(issued)
}

/// Revokes a client secret, and with it every token that was issued under it.
pub async fn revoke_secret(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: AgentAccountId,
    secret: SecretId,
) -> Result<()> {
    let event = caller.event(core, request, Action::SecretRevoke)?.about("agent_account", id);
    change_account(core, caller, Power::Operate, id, event, |account| {
        let before = account.secrets.len();
        account.secrets.retain(|held| held.id != secret);
        if account.secrets.len() == before { Err(Error::NotFound(SecretId::WHAT)) } else { Ok(()) }
    })
    .await?;
    Ok(())
}
