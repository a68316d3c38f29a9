//! Things that were deleted: deleting them again is answered as the first time was.
//!
//! A client that lost the answer to its `DELETE` sends it again, and two admins may delete one thing at once. To the
//! second, a 404 would say that the id was wrong. And a 204 for every id would hide an id that was: somebody would believe
//! that a key is revoked, which is not. So a deletion leaves a note of what was at the item's key, in its transaction.
//!
//! The note is looked for only where the caller has been found to be allowed the deletion, and at the same key. So an id
//! that never was, or is another user's, stays a 404. It is kept for 30 days; what is decided by it looks at the time in
//! it. What is only marked as ended (delegations, grants) needs no note.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Core,
    clock::Timestamp,
    error::{Error, Result},
    table::{Change, Entity, Key},
};

/// How long it is known that a thing was deleted.
const KNOWN_FOR: Duration = Duration::from_hours(24 * 30);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Gone {
    known_until: Timestamp,
}

impl Entity for Gone {
    const KIND: &'static str = "deleted thing";
}

/// Notes in the change that deletes a thing that it was at this key.
pub(crate) fn note(core: &Core, change: &mut Change, key: &Key) -> Result<()> {
    let known_until = core.clock.now().plus(KNOWN_FOR);
    change.put_expiring(Key::gone(key), &Gone { known_until }, known_until)?;
    Ok(())
}

/// How a deletion ended, where there may have been one before. `what` was to be deleted: of a caller who may not know of
/// the thing that it is in, something else is not found.
pub(crate) async fn or_before(core: &Core, key: &Key, what: &'static str, deleted: Result<()>) -> Result<()> {
    if !matches!(&deleted, Err(Error::NotFound(missing)) if *missing == what) {
        return deleted;
    }
    let noted = core.table.read_one::<Gone>(Key::gone(key)).await?;
    let is_known = noted.is_some_and(|noted| core.clock.now() < noted.known_until);
    if is_known { Ok(()) } else { deleted }
}
