//! Agent accounts and their client secrets.
//!
//! The secrets' hashes live in the account's own item, as do the public keys ([`crate::client_keys`]), so that
//! a token request reads the account and proves the client in one round trip. An account has at most two, for rotation without downtime: add the
//! new one, deploy it, revoke the old one.

pub(crate) mod deleting;
mod listing;
pub mod owners;
mod restrictions;
mod visibility;

use deputize_api::reason::Reason;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Core,
    audit::{Action, Event, RequestContext},
    caller::{Gives, Power, UserCaller},
    clock::Timestamp,
    epoch::Epoch,
    error::{Error, Result, Told},
    gone,
    ids::{AgentAccountId, SecretId, UserId},
    listed::{relist, tidy},
    once::{Holds, once},
    origins::Origin,
    secret::{self, NotedSecret},
    table::{Change, Entity, Key, Stored, retry_on_conflict},
};

use self::owners::Wanted;
pub use self::{
    listing::{AgentFilter, AgentOrder, AvailableFilter, available, list},
    owners::{MAX_OWNERS, Owner, OwnerlessAgents},
    visibility::{MAX_VISIBLE_GROUPS, get_visible},
};
pub use crate::entities::agent_account::{
    AgentAccount, ClientCredential, ClientKey, ClientSecret, SharedGrants, Visibility,
};
pub use crate::entities::stopped::StoppedBy;

/// How many client secrets an account can have at a time.
pub const MAX_SECRETS: usize = 2;

/// An entry in a list of agent accounts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AgentEntry {
    pub(crate) agent_account_id: AgentAccountId,
}

impl Entity for AgentEntry {
    const KIND: &'static str = "agent account entry";
}

#[derive(Clone, Debug)]
pub struct NewAgentAccount {
    pub name: String,
    pub description: Option<String>,
    pub url: Option<String>,
    /// The caller, unless an admin names another user.
    pub owner_user_id: Option<UserId>,
    /// In place of `owner_user_id`: all owners.
    pub owners: Option<Vec<Owner>>,
    pub groups: Vec<String>,
    pub allowed_origins: Option<Vec<Origin>>,
    /// The deployment's default if left out.
    pub shared_grants: Option<SharedGrants>,
    pub visibility: Visibility,
}

/// What to change; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct AgentUpdate {
    pub name: Option<String>,
    /// `Some(None)` means none any more.
    pub description: Option<Option<String>>,
    /// `Some(None)` means none any more.
    pub url: Option<Option<String>>,
    pub active: Option<bool>,
    pub groups: Option<Vec<String>>,
    /// `Some(None)` means all of the deployment's origins.
    pub allowed_origins: Option<Option<Vec<Origin>>>,
    pub owner_user_id: Option<UserId>,
    /// In place of `owner_user_id`: all owners.
    pub owners: Option<Vec<Owner>>,
    pub shared_grants: Option<SharedGrants>,
    pub visibility: Option<Visibility>,
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

/// Adds an agent account with its first client secret, which may have an end, to a change.
pub(crate) fn add_agent(
    core: &Core,
    change: &mut Change,
    owners: Vec<Owner>,
    new: NewAgentAccount,
    secret_expires_at: Option<Timestamp>,
) -> Result<(AgentAccount, IssuedSecret)> {
    let NewAgentAccount {
        name,
        description,
        url,
        owner_user_id: _,
        owners: _,
        groups,
        allowed_origins,
        shared_grants,
        visibility,
    } = new;
    let now = core.clock.now();
    let issued = new_secret(core, secret_expires_at)?;
    let mut account = AgentAccount {
        id: AgentAccountId(core.random.uuid()?),
        name,
        description,
        url,
        first_owner: UserId(uuid::Uuid::nil()),
        all_owners: Vec::new(),
        active: true,
        disabled_by: None,
        disabled_at: None,
        epoch: Epoch::default(),
        shared_grants: shared_grants.unwrap_or(core.settings.shared_grants),
        groups,
        allowed_origins,
        visibility,
        secrets: vec![issued.secret.clone()],
        keys: Vec::new(),
        created_at: now,
        updated_at: now,
    };
    owners::add_entries(change, &owners, account.id)?;
    account.set_owners(owners);
    let entry = AgentEntry { agent_account_id: account.id };
    change.create(Key::agent(account.id), &account)?.create(Key::agent_entry(account.id), &entry)?;
    relist(change, None, Some(&account))?;
    Ok((account, issued))
}

/// Creates an agent account with its first client secret. Admins only. If it is an API key that creates it, the secret
/// ends with the key.
pub async fn create(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    new: NewAgentAccount,
) -> Result<(Stored<AgentAccount>, IssuedSecret)> {
    caller.require(Power::Manage)?;
    let secret_expires_at = caller.makes_until();
    caller.require_to_give(&Gives::tools(None, secret_expires_at))?;
    let wanted = Wanted::read(new.owner_user_id, new.owners.as_deref())?;
    let wanted = wanted.unwrap_or(Wanted::First(caller.user.id));
    let all = wanted.of_new();
    let users: Vec<UserId> = all.iter().filter_map(Owner::user).collect();
    let made = once(core, caller, request, Holds::Secret, || async {
        let mut change = caller.change()?;
        wanted.require_able(core, caller, &mut change, &users).await?;
        let made = add_agent(core, &mut change, all.clone(), new.clone(), secret_expires_at)?;
        let (account, IssuedSecret { secret, text }) = made;
        let event = caller.event(core, request, Action::AgentCreate)?.agent(account.id);
        let noted = account.allowed_origins.as_deref().map(|allowed| about_origins(Some(allowed)));
        let owners = (all.len() > 1 || users.is_empty()).then(|| owners::about(&all));
        let event = noting(event, &noted.into_iter().chain(owners).collect::<Vec<_>>());
        let event = event.about("agent_account", account.id).changed(&(), &account.recorded())?;
        change.record(&event)?;
        Ok((change, (account, secret, NotedSecret(text))))
    })
    .await?;
    let Stored { rev, value: (account, secret, NotedSecret(text)) } = made;
    Ok((Stored { rev, value: account }, IssuedSecret { secret, text }))
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

/// An agent account, whoever asks. [`get_visible`] is for those who may know that it exists.
pub async fn get(core: &Core, id: AgentAccountId) -> Result<Stored<AgentAccount>> {
    core.table.read_one(Key::agent(id)).await?.ok_or(Error::NotFound(AgentAccountId::WHAT))
}

/// The account, if the caller may do this to it: by their role, or as its owner. For those who may not see it either, the
/// answer is the same as if it did not exist.
pub(crate) async fn get_for(
    core: &Core,
    caller: &UserCaller,
    power: Power,
    id: AgentAccountId,
) -> Result<Stored<AgentAccount>> {
    let account = get(core, id).await?;
    if caller.may(power, &account) {
        Ok(account)
    } else {
        Err(caller.refused(power, Error::NotFound(AgentAccountId::WHAT)))
    }
}

/// Takes a credential from an account, by an edit that does not find it if it is not there.
pub(crate) async fn take_credential(
    core: &Core,
    caller: &UserCaller,
    id: AgentAccountId,
    (what, credential): (&'static str, Uuid),
    event: Event,
    edit: impl Fn(&mut AgentAccount) -> Result<()>,
) -> Result<()> {
    let key = Key::client_credential(id, credential);
    let taken = retry_on_conflict(|| async {
        let (mut change, _) = edited(core, caller, Power::Operate, id, &event, &edit).await?;
        gone::note(core, &mut change, &key)?;
        core.table.commit(change).await
    });
    gone::or_before(core, &key, what, taken.await).await
}

/// The change that makes an edit of an account, and the account after it.
pub(crate) async fn edited(
    core: &Core,
    caller: &UserCaller,
    power: Power,
    id: AgentAccountId,
    event: &Event,
    edit: impl Fn(&mut AgentAccount) -> Result<()>,
) -> Result<(Change, AgentAccount)> {
    let was = get_for(core, caller, power, id).await?;
    let mut account = was.value.clone();
    edit(&mut account)?;
    account.updated_at = core.clock.now();
    let mut change = caller.change_for(power, &was)?;
    let event = event.clone().agent(id).changed(&was.recorded(), &account.recorded())?;
    change.replace(Key::agent(id), &account, was.rev)?.record(&event)?;
    Ok((change, account))
}

impl AgentUpdate {
    /// What it takes of those who do not own the account: operators may stop it and let it go on, and nothing else.
    fn takes(&self) -> Power {
        match self {
            Self {
                name: None,
                description: None,
                url: None,
                active: Some(_),
                groups: None,
                allowed_origins: None,
                owner_user_id: None,
                owners: None,
                visibility: None,
                shared_grants: None,
            } => Power::Operate,
            _ => Power::Manage,
        }
    }
}

/// Changes an account. Its owner may rename, describe and disable it, enable it if they have disabled it, set its
/// origins and who may see it, and narrow who shares grants with it. Operators may disable it, and enable it if no admin has
/// disabled it. Only admins set its groups and its owners, by which policies decide.
pub async fn update(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: AgentAccountId,
    update: AgentUpdate,
) -> Result<Stored<AgentAccount>> {
    if update.groups.is_some() || update.owner_user_id.is_some() || update.owners.is_some() {
        caller.require(Power::Manage)?;
    }
    let wanted = Wanted::read(update.owner_user_id, update.owners.as_deref())?;
    retry_on_conflict(|| async {
        let was = get_for(core, caller, update.takes(), id).await?;
        request.require_match(&Key::agent(id), was.rev)?;
        let mut account = was.value.clone();
        let (mut change, mut notes) = (caller.change_for(Power::Manage, &was)?, Vec::new());
        if let Some(name) = &update.name {
            account.name.clone_from(name);
        }
        if let Some(description) = &update.description {
            account.description.clone_from(description);
        }
        if let Some(url) = &update.url {
            account.url.clone_from(url);
        }
        if let Some(groups) = &update.groups {
            account.groups.clone_from(groups);
        }
        if let Some(active) = update.active {
            account.set_active(active, caller, core.clock.now())?;
        }
        if let Some(shared_grants) = update.shared_grants {
            account.set_shared_grants(shared_grants, caller)?;
            notes.push(format!("shared_grants: {shared_grants}"));
        }
        if let Some(visibility) = &update.visibility {
            account.visibility.clone_from(visibility);
            notes.push(visibility::noted(visibility));
        }
        if let Some(wanted) = &wanted {
            notes.extend(owners::give(core, caller, &mut change, &mut account, wanted).await?);
        }
        if let Some(allowed) = &update.allowed_origins {
            account.allowed_origins.clone_from(allowed);
            notes.push(about_origins(allowed.as_deref()));
        }
        account.updated_at = core.clock.now();
        let event = caller.event(core, request, Action::AgentUpdate)?.agent(id).about("agent_account", id);
        let event = noting(event, &notes).changed(&was.recorded(), &account.recorded())?;
        change.replace(Key::agent(id), &account, was.rev)?.record(&event)?;
        let left = relist(&mut change, Some(&was.value), Some(&account))?;
        core.table.commit(change).await?;
        tidy(&core.table, &Key::agent(id), was.rev + 1, &left).await;
        Ok(Stored { rev: was.rev + 1, value: account })
    })
    .await
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
    caller.require_to_give(&Gives::tools(None, expires_at))?;
    let event = caller.event(core, request, Action::SecretCreate)?.about("agent_account", id);
    let add = |account: &mut AgentAccount, secret: ClientSecret| {
        account.require_open_for_credentials(caller)?;
        account.secrets.retain(|secret| secret.is_live(now));
        if account.secrets.len() >= MAX_SECRETS {
            return Err(Error::Conflict(Told::of(
                Reason::LimitReached,
                format!("the account has {MAX_SECRETS} live secrets; revoke one before adding another"),
            )));
        }
        account.secrets.push(secret);
        Ok(())
    };
    let made = once(core, caller, request, Holds::Secret, || async {
        if expires_at.is_some_and(|expires| expires <= now) {
            return Err(Error::invalid("expires_at must be in the future").into());
        }
        let IssuedSecret { secret, text } = new_secret(core, expires_at)?;
        let add = |account: &mut AgentAccount| add(account, secret.clone());
        let (change, _) = edited(core, caller, Power::Manage, id, &event, add).await?;
        Ok((change, (secret, NotedSecret(text))))
    })
    .await?;
    let (secret, NotedSecret(text)) = made.value;
    Ok(IssuedSecret { secret, text })
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
    take_credential(core, caller, id, (SecretId::WHAT, secret.0), event, |account| {
        let before = account.secrets.len();
        account.secrets.retain(|held| held.id != secret);
        if account.secrets.len() == before { Err(Error::NotFound(SecretId::WHAT)) } else { Ok(()) }
    })
    .await
}
