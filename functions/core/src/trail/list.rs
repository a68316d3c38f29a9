//! The trail as people look at it: newest first, filtered, in pages. And one event.

use uuid::Uuid;

use super::{
    days::Order,
    filter::Filter,
    walk::{Reach, Walk},
};
use crate::{
    Core,
    audit::Event,
    caller::{Power, UserCaller},
    clock::uuid_time,
    error::{Error, Result},
    ids::EventId,
    paging::{Listing, PageRequest},
    table::Key,
};

/// Events, newest first. Admins see all; other users see those in which they acted or an agent acted for
/// them.
pub async fn list(
    core: &Core,
    caller: &UserCaller,
    filter: Filter,
    page: &PageRequest,
) -> Result<Listing<Event>> {
    let filter = filter.seen_by(caller)?;
    let after = page.cursor().map(str::parse::<EventId>).transpose();
    let after = after.map_err(|_| Error::invalid("cursor is not one of this list"))?;
    let mut walk = Walk::begin(core, filter, Order::NewestFirst, Reach::Bounded, after).await?;
    let items = walk.next(core, page.limit()).await?;
    let next = (!walk.is_done()).then(|| cursor(walk.position()));
    Ok(Listing { items, next })
}

/// The list continues before this id.
fn cursor(id: Uuid) -> String {
    PageRequest::encode(&id.to_string())
}

/// One event, for those who see it in the list. For others the answer is the same as if it did not exist.
pub async fn get(core: &Core, caller: &UserCaller, id: EventId) -> Result<Event> {
    let not_found = || Error::NotFound(EventId::WHAT);
    uuid_time(id.0).ok_or_else(not_found)?;
    let event = core.table.read_one::<Event>(Key::audit_event(id)).await?.ok_or_else(not_found)?.value;
    if caller.has(Power::Read) || event.user_id == Some(caller.user.id) {
        Ok(event)
    } else {
        Err(not_found())
    }
}
