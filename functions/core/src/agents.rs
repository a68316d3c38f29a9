//! Agent accounts and their client secrets.
//!
//! The secrets' hashes live in the account's own item, as do the public keys ([`crate::client_keys`]), so that
//! a token request reads the account and proves the client in one round trip. An account has at most two, for rotation without downtime: add the
//! new one, deploy it, revoke the old one.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{
    Core, Settings,
    audit::{Action, Event, Request},
    caller::UserCaller,
    client_keys::ClientKey,
    clock::Timestamp,
    error::{Error, Result},
    ids::{AgentAccountId, ClientKeyId, SecretId, UserId},
    origins::{Origin, RequestOrigin},
    paging::{Listing, PageRequest},
    secret::{self, SecretHash},
    table::{Change, Entity, Key, Stored, settle},
};

/// How many client secrets an account can have at a time.
pub const MAX_SECRETS: usize = 2;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentAccount {
    pub id: AgentAccountId,
    pub name: String,
    pub owner_user_id: UserId,
    /// A disabled account gets no tokens, and those it has are refused.
    pub active: bool,
    /// Cedar groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Whose web pages may use its credentials; those of all the deployment's origins if none are set. They only
    /// narrow what the deployment allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_origins: Option<Vec<Origin>>,
    #[serde(default)]
    pub secrets: Vec<ClientSecret>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<ClientKey>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Entity for AgentAccount {
    const KIND: &'static str = "agent account";
}

/// What is stored of a client secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientSecret {
    pub id: SecretId,
    pub hash: SecretHash,
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl ClientSecret {
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expires| now < expires)
    }
}

/// What a client has proven itself by, and every token that it then gets rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCredential {
    Secret(SecretId),
    Key(ClientKeyId),
}

impl AgentAccount {
    /// Whether a credential is live: what a token that was issued under it rests on.
    pub fn holds(&self, credential: ClientCredential, now: Timestamp) -> bool {
        match credential {
            ClientCredential::Secret(id) => {
                self.secrets.iter().any(|secret| secret.id == id && secret.is_live(now))
            }
            ClientCredential::Key(id) => self.keys.iter().any(|key| key.id == id && key.is_live(now)),
        }
    }

    /// Whether a request with its credentials may come from there.
    pub fn lets_call(&self, settings: &Settings, from: &RequestOrigin) -> bool {
        settings.lets_call(from) && self.allowed_origins.as_ref().is_none_or(|allowed| from.is_among(allowed))
    }

    /// The live secret that a client has presented. All are compared, each in constant time.
    pub fn proven_secret(&self, presented: &SecretHash, now: Timestamp) -> Option<&ClientSecret> {
        self.secrets.iter().fold(None, |proven, secret| {
            let matches = secret.hash.matches(presented) & secret.is_live(now);
            if matches { Some(secret) } else { proven }
        })
    }
}

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
    /// The caller, unless an admin names somebody else.
    pub owner_user_id: Option<UserId>,
    pub groups: Vec<String>,
    pub allowed_origins: Option<Vec<Origin>>,
}

/// What to change; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct AgentUpdate {
    pub name: Option<String>,
    pub active: Option<bool>,
    pub groups: Option<Vec<String>>,
    /// `Some(None)` for all of the deployment's.
    pub allowed_origins: Option<Option<Vec<Origin>>>,
}

/// A client secret, at the only time that its text is known.
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
    let NewAgentAccount { name, owner_user_id: _, groups, allowed_origins } = new;
    let now = core.clock.now();
    let issued = new_secret(core, None)?;
    let account = AgentAccount {
        id: AgentAccountId(core.random.uuid()?),
        name,
        owner_user_id: owner,
        active: true,
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
    request: &Request,
    new: NewAgentAccount,
) -> Result<(AgentAccount, IssuedSecret)> {
    caller.require_admin()?;
    let owner = new.owner_user_id.unwrap_or(caller.user.id);
    if owner != caller.user.id && core.table.read_one::<crate::users::User>(Key::user(owner)).await?.is_none()
    {
        return Err(Error::invalid("owner_user_id: no such user"));
    }
    let mut change = Change::new();
    let (account, issued) = add_agent(core, &mut change, owner, new)?;
    let mut event = caller.event(core, request, Action::AgentCreate)?.agent(account.id);
    if let Some(allowed) = &account.allowed_origins {
        event = note_origins(event, Some(allowed));
    }
    change.record(&event.about("agent_account", account.id))?;
    core.table.commit(change).await.map_err(crate::fresh_id)?;
    Ok((account, issued))
}

/// What an account's origins are from now on.
fn note_origins(event: Event, allowed: Option<&[Origin]>) -> Event {
    let said = match allowed {
        None => "all of the deployment's".to_owned(),
        Some([]) => "none".to_owned(),
        Some(allowed) => allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    };
    event.note(format!("allowed_origins: {said}"))
}

/// An agent account, for those who may know of it: everybody signed in may see that it exists (one has to
/// be able to delegate to it), its owner and admins manage it.
pub async fn get(core: &Core, id: AgentAccountId) -> Result<Stored<AgentAccount>> {
    core.table.read_one(Key::agent(id)).await?.ok_or(Error::NotFound(AgentAccountId::WHAT))
}

/// The account, if the caller manages it: an admin or its owner. To others it might as well not be there.
pub(crate) async fn get_managed(
    core: &Core,
    caller: &UserCaller,
    id: AgentAccountId,
) -> Result<Stored<AgentAccount>> {
    let account = get(core, id).await?;
    if caller.manages(&account) { Ok(account) } else { Err(Error::NotFound(AgentAccountId::WHAT)) }
}

/// All agent accounts for an admin, one's own for others.
pub async fn list(core: &Core, caller: &UserCaller, page: &PageRequest) -> Result<Listing<AgentAccount>> {
    let follow = |entry: &AgentEntry| Key::agent(entry.agent_account_id);
    if caller.user.is_admin() {
        page.list_entries(core, "AGENTS", "", follow).await
    } else {
        page.list_entries(core, &Key::user(caller.user.id).pk, "AGENT#", follow).await
    }
}

/// Changes one account after reading it, by whoever manages it.
pub(crate) async fn change_account(
    core: &Core,
    caller: &UserCaller,
    id: AgentAccountId,
    event: Event,
    edit: impl Fn(&mut AgentAccount) -> Result<()>,
) -> Result<AgentAccount> {
    let event = event.agent(id);
    settle(|| async {
        let was = get_managed(core, caller, id).await?;
        let mut account = was.value.clone();
        edit(&mut account)?;
        account.updated_at = core.clock.now();
        let mut change = Change::new();
        change.replace(Key::agent(id), &account, was.rev)?.record(&event)?;
        core.table.commit(change).await?;
        Ok(account)
    })
    .await
}

/// Changes an account. Its owner may rename and disable it, and say whose web pages use it; its groups decide on
/// policies and are the admins' to set.
pub async fn update(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    id: AgentAccountId,
    update: AgentUpdate,
) -> Result<AgentAccount> {
    if update.groups.is_some() {
        caller.require_admin()?;
    }
    let mut event = caller.event(core, request, Action::AgentUpdate)?.about("agent_account", id);
    if let Some(allowed) = &update.allowed_origins {
        event = note_origins(event, allowed.as_deref());
    }
    change_account(core, caller, id, event, |account| {
        if let Some(name) = &update.name {
            account.name.clone_from(name);
        }
        if let Some(groups) = &update.groups {
            account.groups.clone_from(groups);
        }
        if let Some(allowed) = &update.allowed_origins {
            account.allowed_origins.clone_from(allowed);
        }
        account.active = update.active.unwrap_or(account.active);
        Ok(())
    })
    .await
}

/// The account's client secrets, without their texts, for those who manage it.
pub async fn list_secrets(core: &Core, caller: &UserCaller, id: AgentAccountId) -> Result<Vec<ClientSecret>> {
    Ok(get_managed(core, caller, id).await?.value.secrets)
}

/// Adds a client secret; 409 if there are two live ones already.
pub async fn add_secret(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    id: AgentAccountId,
    expires_at: Option<Timestamp>,
) -> Result<IssuedSecret> {
    let now = core.clock.now();
    if expires_at.is_some_and(|expires| expires <= now) {
        return Err(Error::invalid("expires_at must be in the future"));
    }
    let issued = new_secret(core, expires_at)?;
    let event = caller.event(core, request, Action::SecretCreate)?.about("agent_account", id);
    change_account(core, caller, id, event, |account| {
        account.secrets.retain(|secret| secret.is_live(now));
        if account.secrets.len() >= MAX_SECRETS {
            return Err(Error::Conflict(format!(
                "the account has {MAX_SECRETS} live secrets; revoke one before adding another"
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
    request: &Request,
    id: AgentAccountId,
    secret: SecretId,
) -> Result<()> {
    let event = caller.event(core, request, Action::SecretRevoke)?.about("agent_account", id);
    change_account(core, caller, id, event, |account| {
        let before = account.secrets.len();
        account.secrets.retain(|held| held.id != secret);
        if account.secrets.len() == before { Err(Error::NotFound(SecretId::WHAT)) } else { Ok(()) }
    })
    .await?;
    Ok(())
}
