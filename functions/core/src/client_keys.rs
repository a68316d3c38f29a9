//! An agent account's public keys, for clients that prove themselves by signing (`private_key_jwt`): the
//! private half never leaves them. Like the secrets' hashes, the keys live in the account's own item.

use deputize_api::reason::Reason;

use crate::{
    Core,
    agents::{edited, get_for, take_credential},
    audit::{Action, RequestContext},
    caller::{Gives, Power, UserCaller},
    clock::Timestamp,
    error::{Error, Result, Told},
    ids::{AgentAccountId, ClientKeyId},
    jwk::NewJwk,
    once::{Holds, once},
};

use crate::entities::agent_account::AgentAccount;
pub use crate::entities::agent_account::ClientKey;

/// How many keys an account can have at a time: enough for a few deployments that each rotate their own.
pub const MAX_KEYS: usize = 5;

/// The account's keys, for those who manage it.
pub async fn list(core: &Core, caller: &UserCaller, id: AgentAccountId) -> Result<Vec<ClientKey>> {
    Ok(get_for(core, caller, Power::Read, id).await?.value.keys)
}

/// Adds a key. 409 if five are live already, or if the same key is. The same key under two ids would stay
/// good when one of them is deleted.
pub async fn add(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: AgentAccountId,
    new: NewJwk,
    expires_at: Option<Timestamp>,
) -> Result<ClientKey> {
    caller.require_own_credential()?;
    let now = core.clock.now();
    caller.require_to_give(&Gives::tools(None, expires_at))?;
    let NewJwk { key, kid, alg } = new;
    let added =
        ClientKey { id: ClientKeyId(core.random.uuid()?), kid, key, alg, created_at: now, expires_at };
    let event = caller.event(core, request, Action::ClientKeyCreate)?.about("client_key", added.id);
    let add = |account: &mut AgentAccount| {
        account.require_open_for_credentials(caller)?;
        account.keys.retain(|held| held.is_live(now));
        if account.keys.len() >= MAX_KEYS {
            return Err(Error::Conflict(Told::of(
                Reason::LimitReached,
                format!("the account has {MAX_KEYS} live keys; delete one before adding another"),
            )));
        }
        let exists = |why, held: &ClientKey| {
            Err(Error::Conflict(Told::of(Reason::AlreadyExists, why).by_thing("client_key", held.id)))
        };
        if let Some(held) = account.keys.iter().find(|held| held.key == added.key) {
            return exists("the account has this key already", held);
        }
        if let Some(held) = account.keys.iter().find(|held| held.kid == added.kid) {
            return exists("the account has another key with this kid", held);
        }
        account.keys.push(added.clone());
        Ok(())
    };
    let made = once(core, caller, request, Holds::NoSecret, || async {
        if expires_at.is_some_and(|expires| expires <= now) {
            return Err(Error::invalid("expires_at must be in the future").into());
        }
        let (change, _) = edited(core, caller, Power::Manage, id, &event, add).await?;
        Ok((change, added.clone()))
    })
    .await?;
    Ok(made.value)
}

/// Deletes a key. That ends every token that was issued under it.
pub async fn delete(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: AgentAccountId,
    key: ClientKeyId,
) -> Result<()> {
    let event = caller.event(core, request, Action::ClientKeyDelete)?.about("client_key", key);
    take_credential(core, caller, id, (ClientKeyId::WHAT, key.0), event, |account| {
        let before = account.keys.len();
        account.keys.retain(|held| held.id != key);
        if account.keys.len() == before { Err(Error::NotFound(ClientKeyId::WHAT)) } else { Ok(()) }
    })
    .await
}
