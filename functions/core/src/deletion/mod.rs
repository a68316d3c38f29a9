//! Deleting, restoring and erasing users, agent accounts, servers, policies and API keys.
//!
//! **Deleting** takes a thing out for each decision at once, and keeps it for 30 days ([`crate::deleted`]). What depends on
//! a user, an account or a server is told before: without `cascade`, nothing is done then ([`dependents`]). With it:
//!
//! - what a *user* has here ends first, as when they leave ([`crate::offboarding`]). It does not come back with them;
//! - what depends on an *agent account* or a *server* stays where it is, and is good for nothing while they are not there.
//!   It comes back with them, so a mistake is undone as a whole.
//!
//! **Restoring** is one transaction that puts the thing back at its key.
//!
//! **Erasing** ends that: at its time, or earlier if an admin asks for it. It removes what is left of a thing step by step,
//! and the thing's own kept item last. So it can break off anywhere, and goes on when it is called again ([`erase`]).

mod delete;
mod dependents;
mod erase;
mod restore;

use crate::{
    error::{Error, Result},
    ids::ServerId,
    table::Entity,
};

pub use self::{
    delete::{delete_agent, delete_server, delete_user},
    erase::{ErasedDue, SETTLES_IN, erase_due, erase_now},
    restore::{get, list, restore, restore_api_key},
};
pub use crate::deleted::{Deleted, Kind, RESTORABLE_FOR};

/// An id as the table has it. What cannot be one names no thing, as in every path.
fn canonical(kind: Kind, id: &str) -> Result<String> {
    let not_found = Error::NotFound(Deleted::KIND);
    if kind == Kind::Server {
        return Ok(id.parse::<ServerId>().map_err(|_| not_found)?.to_string());
    }
    Ok(id.parse::<uuid::Uuid>().map_err(|_| not_found)?.to_string())
}
