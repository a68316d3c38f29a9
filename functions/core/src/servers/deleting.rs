//! Taking a server out, and back. Its id stays its own until it is erased: what names it by the id, such as a delegation,
//! must not come to mean another server.

use super::{Server, ServerEntry, get};
use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    deleted::{self, About, Deleted, Kind},
    error::Result,
    ids::ServerId,
    listed::relist,
    table::{Change, Key, retry_on_conflict},
};

/// Deletes a server.
pub(crate) async fn remove(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: &ServerId,
) -> Result<()> {
    caller.require(Power::Manage)?;
    let key = Key::server(id);
    retry_on_conflict(|| async {
        let was = get(core, id).await?;
        request.require_match(&key, was.rev)?;
        let mut change = caller.change()?;
        change.delete(&key, was.rev)?.remove(&Key::server_entry(id))?;
        relist(&mut change, Some(&was.value), None)?;
        let about = About { key: &key, kind: Kind::Server, id, name: Some(&was.name), of_user: None };
        deleted::keep(core, &mut change, caller, &about, &was.value)?;
        let event = caller.event(core, request, Action::ServerDelete)?.server(id.clone()).about("server", id);
        change.record(&event.changed(&was.recorded(), &())?)?;
        core.table.commit(change).await
    })
    .await
}

/// Adds to a change that a server is there again.
pub(crate) fn bring_back(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    change: &mut Change,
    deleted: &Deleted,
) -> Result<()> {
    let server: Server = deleted.item()?;
    let entry = ServerEntry { server_id: server.id.clone() };
    change.create(Key::server(&server.id), &server)?.create(Key::server_entry(&server.id), &entry)?;
    relist(change, None, Some(&server))?;
    let event = caller.event(core, request, Action::ServerRestore)?.server(server.id.clone());
    let event = event.about("server", &server.id);
    change.record(&event.changed(&(), &server.recorded())?)?;
    Ok(())
}
