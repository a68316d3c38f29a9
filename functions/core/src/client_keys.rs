//! An agent account's public keys, for clients that prove themselves by signing (`private_key_jwt`): the
//! private half never leaves them. Like the secrets' hashes, the keys live in the account's own item.

use serde::{Deserialize, Serialize};

use crate::{
    Core,
    agents::{change_account, get_managed},
    audit::{Action, Request},
    caller::UserCaller,
    clock::Timestamp,
    error::{Error, Result},
    ids::{AgentAccountId, ClientKeyId},
    jwk::{NewJwk, PublicJwk},
};

/// How many keys an account can have at a time: enough for a few deployments that each rotate their own.
pub const MAX_KEYS: usize = 5;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientKey {
    pub id: ClientKeyId,
    /// The client's own name for it. No two live keys of an account have the same.
    pub kid: String,
    pub key: PublicJwk,
    /// The one algorithm that it is for, if it is for one only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl ClientKey {
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expires| now < expires)
    }
}

/// The account's keys, for those who manage it.
pub async fn list(core: &Core, caller: &UserCaller, id: AgentAccountId) -> Result<Vec<ClientKey>> {
    Ok(get_managed(core, caller, id).await?.value.keys)
}

/// Adds a key; 409 if there are five live ones already, or the same one. The same key under two ids would
/// stay good when one of them is deleted.
pub async fn add(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    id: AgentAccountId,
    new: NewJwk,
    expires_at: Option<Timestamp>,
) -> Result<ClientKey> {
    let now = core.clock.now();
    if expires_at.is_some_and(|expires| expires <= now) {
        return Err(Error::invalid("expires_at must be in the future"));
    }
    let NewJwk { key, kid, alg } = new;
    let added =
        ClientKey { id: ClientKeyId(core.random.uuid()?), kid, key, alg, created_at: now, expires_at };
    let event = caller.event(core, request, Action::ClientKeyCreate)?.about("client_key", added.id);
    change_account(core, caller, id, event, |account| {
        account.keys.retain(|held| held.is_live(now));
        if account.keys.len() >= MAX_KEYS {
            return Err(Error::Conflict(format!(
                "the account has {MAX_KEYS} live keys; delete one before adding another"
            )));
        }
        if account.keys.iter().any(|held| held.key == added.key) {
            return Err(Error::Conflict("the account has this key already".to_owned()));
        }
        if account.keys.iter().any(|held| held.kid == added.kid) {
            return Err(Error::Conflict("the account has another key with this kid".to_owned()));
        }
        account.keys.push(added.clone());
        Ok(())
    })
    .await?;
    Ok(added)
}

/// Deletes a key, and with it every token that was issued under it.
pub async fn delete(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    id: AgentAccountId,
    key: ClientKeyId,
) -> Result<()> {
    let event = caller.event(core, request, Action::ClientKeyDelete)?.about("client_key", key);
    change_account(core, caller, id, event, |account| {
        let before = account.keys.len();
        account.keys.retain(|held| held.id != key);
        if account.keys.len() == before { Err(Error::NotFound(ClientKeyId::WHAT)) } else { Ok(()) }
    })
    .await?;
    Ok(())
}
