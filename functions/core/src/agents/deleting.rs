//! Taking an agent account out, and back. What users gave it stays where it is, and is good for nothing while the account
//! is not there.

use super::{AgentAccount, AgentEntry, get, owners};
use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Gives, Power, UserCaller},
    deleted::{self, About, Deleted, Kind},
    error::Result,
    ids::AgentAccountId,
    listed::relist,
    table::{Change, Key, retry_on_conflict},
};

/// Deletes an account. Its epoch ends, so its tokens do not come back with it.
pub(crate) async fn remove(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: AgentAccountId,
) -> Result<()> {
    caller.require(Power::Manage)?;
    let key = Key::agent(id);
    retry_on_conflict(|| async {
        let was = get(core, id).await?;
        request.require_match(&key, was.rev)?;
        let mut account = was.value.clone();
        account.epoch.end();
        let mut change = caller.change()?;
        change.delete(&key, was.rev)?.remove(&Key::agent_entry(id))?;
        owners::remove_entries(&mut change, &was.owners(), id)?;
        relist(&mut change, Some(&was.value), None)?;
        let about =
            About { key: &key, kind: Kind::AgentAccount, id: &id, name: Some(&was.name), of_user: None };
        deleted::keep(core, &mut change, caller, &about, &account)?;
        let event = caller.event(core, request, Action::AgentDelete)?.agent(id).about("agent_account", id);
        change.record(&event.changed(&was.recorded(), &())?)?;
        core.table.commit(change).await
    })
    .await
}

/// Adds to a change that an account is there again, with its credentials. That is as much as making one.
pub(crate) fn bring_back(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    change: &mut Change,
    deleted: &Deleted,
) -> Result<()> {
    caller.require_own_credential()?;
    caller.require_to_give(&Gives::tools(None, None))?;
    let account: AgentAccount = deleted.item()?;
    let id = account.id;
    let entry = AgentEntry { agent_account_id: id };
    change.create(Key::agent(id), &account)?.create(Key::agent_entry(id), &entry)?;
    owners::add_entries(change, &account.owners(), id)?;
    relist(change, None, Some(&account))?;
    let event = caller.event(core, request, Action::AgentRestore)?.agent(id).about("agent_account", id);
    change.record(&event.changed(&(), &account.recorded())?)?;
    Ok(())
}
