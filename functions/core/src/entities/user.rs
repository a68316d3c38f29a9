//! A user, and what leads to one.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    email::Email,
    epoch::Epoch,
    ids::UserId,
    table::{Entity, Key},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    User,
    /// Manages everything.
    Admin,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    pub id: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::email::stored")]
    pub email: Option<Email>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub role: Role,
    /// A deactivated user can do nothing, and nobody can act for them.
    pub active: bool,
    /// How often they have been deactivated. A token on their behalf says in which epoch it was issued, and is good in
    /// that one only.
    #[serde(default, skip_serializing_if = "crate::epoch::Epoch::is_first")]
    pub epoch: Epoch,
    /// Cedar groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What issuers call them: at most one subject of each issuer. A pointer leads from each to here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<Identity>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// How many issuers can know a user.
pub const MAX_IDENTITIES: usize = 10;

impl Entity for User {
    const KIND: &'static str = "user";
}

impl User {
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }

    pub(crate) fn set_active(&mut self, active: bool) {
        if self.active && !active {
            self.epoch.end();
        }
        self.active = active;
    }

    /// What an issuer calls them.
    pub(crate) fn identity_at(&self, issuer: &str) -> Option<&Identity> {
        self.identities.iter().find(|identity| identity.issuer == issuer)
    }
}

/// An item that leads to a user: by email, by issuer and subject, or in the list of all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserPointer {
    pub user_id: UserId,
}

impl Entity for UserPointer {
    const KIND: &'static str = "user pointer";
}

/// An issuer's name for a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    pub issuer: String,
    pub subject: String,
}

impl Identity {
    pub(crate) fn key(&self) -> Key {
        Key::user_by_identity(&self.issuer, &self.subject)
    }
}
