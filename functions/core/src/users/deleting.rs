//! Taking a user out, and back.
//!
//! What leads to the user stays until they are erased: by it, an issuer's token for a deleted user is refused, where it
//! would make a new one otherwise, and nobody else gets the address.

use super::{Email, Identity, User, UserPointer, get};
use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    deleted::{self, About, Deleted, Kind},
    error::Result,
    ids::UserId,
    listed::{relist, tidy},
    table::{Change, Key, Stored, retry_on_conflict},
};

/// Deletes a user on whom nothing rests any more. Their epoch ends, so nothing that did rest on them comes back with them.
pub(crate) async fn remove(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: UserId,
) -> Result<()> {
    caller.require(Power::Manage)?;
    let key = Key::user(id);
    retry_on_conflict(|| async {
        let was = get(core, id).await?;
        let mut user = was.value.clone();
        user.set_active(false, caller.stops_as(), core.clock.now());
        let mut change = caller.change()?;
        change.delete(&key, was.rev)?.remove(&Key::user_entry(id))?;
        let left = relist(&mut change, Some(&was.value), None)?;
        let name = user.name.as_deref().or(user.email.as_ref().map(Email::as_str));
        let about = About { key: &key, kind: Kind::User, id: &id, name, of_user: None };
        deleted::keep(core, &mut change, caller, &about, &user)?;
        let event = caller.event(core, request, Action::UserDelete)?.about("user", id);
        change.record(&event.changed(&was.recorded(), &())?)?;
        let rev = change.rev_of_made(&core.random)?;
        core.table.commit(change).await?;
        tidy(&core.table, &Key::deleted(Kind::User.name(), &id.to_string()), rev, &left).await;
        Ok(())
    })
    .await
}

/// Adds to a change that a user is there again. They are deactivated, whatever they were: whom somebody took out for good
/// acts again only once an admin has said so.
pub(crate) fn bring_back(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    change: &mut Change,
    deleted: &Deleted,
) -> Result<()> {
    let user: User = deleted.item()?;
    let pointer = UserPointer { user_id: user.id };
    change.create(Key::user(user.id), &user)?.create(Key::user_entry(user.id), &pointer)?;
    relist(change, None, Some(&user))?;
    let event = caller.event(core, request, Action::UserRestore)?.about("user", user.id);
    change.record(&event.changed(&(), &user.recorded())?)?;
    Ok(())
}

/// Adds to a change that nothing leads to a deleted user any more.
pub(crate) async fn forget(core: &Core, change: &mut Change, user: &User) -> Result<()> {
    let emails = user.email.iter().flat_map(Key::users_by_email);
    let keys: Vec<Key> = emails.chain(user.identities.iter().map(Identity::key)).collect();
    let mut found = core.table.read(keys.clone()).await?;
    for key in keys {
        let theirs = found.take::<UserPointer>(&key)?.filter(|pointer| pointer.user_id == user.id);
        if let Some(Stored { rev, .. }) = theirs {
            change.delete(&key, rev)?;
        }
    }
    Ok(())
}
