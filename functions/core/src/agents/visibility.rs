//! Who may know that an agent account exists. For all others it does not: they get the answer for an id that is unknown.
//!
//! It is asked when somebody looks, delegates or grants. What was delegated before goes on: a delegation is its user's
//! own, who sees it among theirs and revokes it.

use super::{AgentAccount, Visibility, get};
use crate::{
    Core,
    caller::{Power, UserCaller},
    error::{Error, Result},
    ids::AgentAccountId,
    table::Stored,
};

/// How many groups an account can be visible to. Each is an entry of it.
pub const MAX_VISIBLE_GROUPS: usize = 10;

impl AgentAccount {
    pub(crate) fn is_visible_to(&self, caller: &UserCaller) -> bool {
        if caller.may(Power::Read, self) {
            return true;
        }
        match &self.visibility {
            Visibility::Everyone => true,
            Visibility::Groups(groups) => caller.user.effective_groups().any(|group| groups.contains(group)),
            Visibility::Owners => false,
        }
    }
}

/// An agent account, if the caller may know that it exists.
pub async fn get_visible(
    core: &Core,
    caller: &UserCaller,
    id: AgentAccountId,
) -> Result<Stored<AgentAccount>> {
    let account = get(core, id).await?;
    if account.is_visible_to(caller) { Ok(account) } else { Err(Error::NotFound(AgentAccountId::WHAT)) }
}

/// The event's text about it after a change.
pub(super) fn noted(visibility: &Visibility) -> String {
    match visibility {
        Visibility::Everyone => "visibility: everyone".to_owned(),
        Visibility::Groups(groups) => format!("visibility: the groups {}", groups.join(", ")),
        Visibility::Owners => "visibility: owners".to_owned(),
    }
}
