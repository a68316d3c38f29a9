//! What was deleted and can be restored, and restoring it.

use super::canonical;
use crate::{
    Core, agents, api_keys,
    audit::RequestContext,
    caller::{Power, UserCaller},
    deleted::{self, Deleted, DeletedEntry, Kind},
    error::{Error, Result},
    ids::ApiKeyId,
    once::{Holds, once},
    paging::{Listing, PageRequest},
    policies, servers,
    table::{Change, Entity, Key, Partition, Query, Stored},
    users,
};

/// The deleted things of a kind that can be restored, those last deleted first. Admins, operators and auditors only.
pub async fn list(
    core: &Core,
    caller: &UserCaller,
    kind: Kind,
    page: &PageRequest,
) -> Result<Listing<Deleted>> {
    caller.require(Power::Read)?;
    let Partition { pk, .. } = Partition::deleted(kind.name());
    let after = page.cursor().map(|sk| Key { pk: pk.clone(), sk: sk.to_owned() });
    let query = Query::partition(&pk, page.limit()).newest_first().after(after);
    let entries = core.table.query::<DeletedEntry>(query).await?;
    let keys: Vec<Key> = entries.items.iter().map(|entry| Key::deleted(kind.name(), &entry.id)).collect();
    let found = core.table.read_all::<Deleted>(&keys).await?;
    let now = core.clock.now();
    let items = found.into_iter().map(|deleted| deleted.value);
    let items = items.filter(|deleted| deleted.can_be_restored(now)).collect();
    Ok(Listing { items, next: entries.next.map(|key| PageRequest::encode(&key.sk)) })
}

/// A deleted thing that can be restored. For admins, operators and auditors, and of an API key for its user.
pub async fn get(core: &Core, caller: &UserCaller, kind: Kind, id: &str) -> Result<Stored<Deleted>> {
    let found = deleted::find(core, kind, &canonical(kind, id)?).await?;
    let is_own = found.as_ref().is_some_and(|deleted| deleted.of_user == Some(caller.user.id));
    if !is_own {
        caller.require(Power::Read)?;
    }
    found.ok_or(Error::NotFound(Deleted::KIND))
}

/// A change that takes a deleted thing from where it is kept. Admins only; an API key also its user, and an operator what an
/// operator or its user revoked.
async fn take(core: &Core, caller: &UserCaller, kind: Kind, id: &str) -> Result<(Change, Stored<Deleted>)> {
    let found = deleted::find(core, kind, id).await?;
    let is_own = found.as_ref().is_some_and(|deleted| deleted.of_user == Some(caller.user.id));
    match kind {
        Kind::ApiKey if is_own => {}
        Kind::ApiKey => caller.require(Power::Operate)?,
        Kind::User | Kind::AgentAccount | Kind::Server | Kind::Policy => caller.require(Power::Manage)?,
    }
    let deleted = found.ok_or(Error::NotFound(Deleted::KIND))?;
    let mut change = caller.change()?;
    deleted::release(&mut change, &deleted)?;
    Ok((change, deleted))
}

/// Restores a deleted thing, for those who may ([`take`]).
pub async fn restore(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    kind: Kind,
    id: &str,
) -> Result<()> {
    let id = canonical(kind, id)?;
    once(core, caller, request, Holds::NoSecret, || async {
        let (mut change, deleted) = take(core, caller, kind, &id).await?;
        match kind {
            Kind::User => users::deleting::bring_back(core, caller, request, &mut change, &deleted)?,
            Kind::AgentAccount => agents::deleting::bring_back(core, caller, request, &mut change, &deleted)?,
            Kind::Server => servers::deleting::bring_back(core, caller, request, &mut change, &deleted)?,
            Kind::Policy => policies::bring_back(core, caller, request, &mut change, &deleted).await?,
            Kind::ApiKey => api_keys::bring_back(core, caller, request, &mut change, &deleted).await?,
        }
        Ok((change, ()))
    })
    .await?;
    Ok(())
}

/// The same for an API key. A function that restores nothing else does not hold what policies need.
pub async fn restore_api_key(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: ApiKeyId,
) -> Result<()> {
    let id = id.to_string();
    once(core, caller, request, Holds::NoSecret, || async {
        let (mut change, deleted) = take(core, caller, Kind::ApiKey, &id).await?;
        api_keys::bring_back(core, caller, request, &mut change, &deleted).await?;
        Ok((change, ()))
    })
    .await?;
    Ok(())
}
