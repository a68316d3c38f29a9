//! Who owns an agent account: users, and groups of users.

use serde::{Deserialize, Serialize};

use super::{agent_account::AgentAccount, user::User};
use crate::ids::UserId;

/// How many owners an agent account can have.
pub const MAX_OWNERS: usize = 10;

/// An owner of an agent account.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Owner {
    #[serde(rename = "user_id")]
    User(UserId),
    /// Every user who is in the group at the time.
    #[serde(rename = "group")]
    Group(String),
}

impl Owner {
    pub(crate) fn user(&self) -> Option<UserId> {
        match self {
            Self::User(user) => Some(*user),
            Self::Group(_) => None,
        }
    }

    pub(crate) fn group(&self) -> Option<&str> {
        match self {
            Self::User(_) => None,
            Self::Group(group) => Some(group),
        }
    }

    /// Whether the user owns what this owns.
    fn includes(&self, user: &User) -> bool {
        match self {
            Self::User(id) => *id == user.id,
            Self::Group(group) => user.is_in(group),
        }
    }
}

/// The owner of an account that groups alone own, where a version from before there were several looks for one: nobody.
const NOBODY: UserId = UserId(uuid::Uuid::nil());

impl AgentAccount {
    /// All owners, the first user among them first.
    ///
    /// The first user is in the field that was the only owner before there were several. The list is kept only if there is
    /// more to say. A version from before that changes the account drops the list: then the first user alone owns it, and
    /// if there is none, admins manage it.
    pub fn owners(&self) -> Vec<Owner> {
        if self.all_owners.is_empty() {
            self.owner_user_id().map(Owner::User).into_iter().collect()
        } else {
            self.all_owners.clone()
        }
    }

    /// The first user who owns it. `None` if only groups do.
    pub fn owner_user_id(&self) -> Option<UserId> {
        Some(self.first_owner).filter(|user| *user != NOBODY)
    }

    /// The users who own it by themselves, and not by a group.
    pub(crate) fn owning_users(&self) -> Vec<UserId> {
        self.owners().iter().filter_map(Owner::user).collect()
    }

    pub(crate) fn set_owners(&mut self, owners: Vec<Owner>) {
        let first = owners.iter().find_map(Owner::user);
        self.first_owner = first.unwrap_or(NOBODY);
        self.all_owners = if owners.len() == 1 && first.is_some() { Vec::new() } else { owners };
    }

    /// Whether a user owns it, by themselves or by a group that they are in. This is the only place that decides it.
    pub fn is_owned_by(&self, user: &User) -> bool {
        self.owners().iter().any(|owner| owner.includes(user))
    }
}
