//! A user's new email address: what leads to the user by it moves in the transaction that changes the user.

use super::{Email, User, UserPointer, taken_by};
use crate::{
    Core,
    error::{Error, Result},
    table::{Change, Key},
};

/// Adds to a change that the new address leads to the user, and the former one to nobody. The address must be free, by
/// any of the forms in which it may be stored.
pub(super) async fn move_pointer(core: &Core, change: &mut Change, was: &User, user: &User) -> Result<()> {
    let Some(email) = &user.email else { return Ok(()) };
    if !user.active {
        // The address keeps out whom it leads to: another user would be made of them.
        return Err(Error::conflict(
            "a deactivated user keeps their email, which keeps them out: reactivate them first".to_owned(),
        ));
    }
    let keys = |email: &Email| Key::users_by_email(email).collect::<Vec<_>>();
    let left = was.email.as_ref().map(keys).unwrap_or_default();
    let mut read = keys(email);
    let new = read.len();
    read.extend(left.iter().filter(|key| !keys(email).contains(key)).cloned());
    let mut found = core.table.read(read.clone()).await?;
    for key in read.iter().take(new) {
        if let Some(pointer) = found.get::<UserPointer>(key)?.filter(|pointer| pointer.user_id != user.id) {
            let why = "email: it is another user's address".to_owned();
            return Err(taken_by(core, pointer.user_id, why).await?);
        }
    }
    let decides = Key::user_by_email(email);
    if !found.contains(&decides) {
        change.create(decides.clone(), &UserPointer { user_id: user.id })?;
    }
    for key in left.iter().filter(|key| **key != decides) {
        if let Some(pointer) = found.take::<UserPointer>(key)?.filter(|pointer| pointer.user_id == user.id) {
            change.delete(key, pointer.rev)?;
        }
    }
    Ok(())
}
