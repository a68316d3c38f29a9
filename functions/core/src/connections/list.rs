//! All connections of a user.

use futures::future::{try_join, try_join_all};

use super::has_ended;
use crate::{
    Core,
    caller::{Power, UserCaller},
    error::{Error, Result},
    ids::UserId,
    paging::{Listing, PageRequest},
    sessions::Session,
    table::{Key, Partition},
    users::User,
};

/// A user's OAuth sessions at servers, and whether each has ended. For the user, admins and auditors.
pub async fn list(
    core: &Core,
    caller: &UserCaller,
    user: UserId,
    page: &PageRequest,
) -> Result<Listing<(Session, bool)>> {
    caller.require_self_or(user, Power::Read)?;
    let list = Partition::sessions_of(user);
    let there = core.table.read_one::<User>(Key::user(user));
    let (there, listing) = try_join(there, page.list_items::<Session>(core, &list)).await?;
    there.ok_or(Error::NotFound(UserId::WHAT))?;
    // What they read, they read together.
    let ended = try_join_all(listing.items.iter().map(|session| has_ended(core, session))).await?;
    let items = listing.items.into_iter().map(|session| session.value).zip(ended).collect();
    Ok(Listing { items, next: listing.next })
}
