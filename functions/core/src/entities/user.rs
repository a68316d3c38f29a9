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

/// What somebody may do to what is not theirs. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Power {
    /// See everything.
    Read,
    /// Stop what runs and revoke what is given, let it go on, and rotate keys.
    Operate,
    /// Change everything.
    Manage,
}

impl Role {
    /// The most that the role may do.
    fn power(self) -> Option<Power> {
        match self {
            Self::User => None,
            Self::Admin => Some(Power::Manage),
        }
    }

    pub fn has(self, power: Power) -> bool {
        self.power().is_some_and(|most| power <= most)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
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
    /// What issuers' tokens said of the user's groups and role, the newest of each issuer. How much of it counts, is in
    /// [`Self::counted`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<IssuerClaims>,
    /// What of `claims` counts now. Nothing, until that was looked at.
    #[serde(skip)]
    pub counted: CountedClaims,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What an issuer's token said of a user, beside who they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerClaims {
    pub issuer: String,
    /// The token's `iat`. What was issued before says nothing any more.
    pub issued_at: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// What of an issuer's claims counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountedClaims {
    pub(crate) groups: Vec<String>,
    pub(crate) is_admin: bool,
}

impl CountedClaims {
    /// Whether it makes its user an admin.
    pub(crate) fn makes_admin(&self) -> bool {
        self.is_admin
    }
}

/// How many issuers can know a user.
pub const MAX_IDENTITIES: usize = 10;

impl Entity for User {
    const KIND: &'static str = "user";
}

impl User {
    /// By an admin's word, or by an issuer's.
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin || self.counted.is_admin
    }

    /// Their role by an admin's word or an issuer's.
    pub fn effective_role(&self) -> Role {
        if self.is_admin() { Role::Admin } else { Role::User }
    }

    /// Whether an issuer has ever said that they are an admin.
    pub(crate) fn is_claimed_as_admin(&self) -> bool {
        self.claims.iter().any(|claims| claims.role == Some(Role::Admin))
    }

    /// All of their groups: those that an admin set, and those by issuers. One may be among them twice.
    pub fn effective_groups(&self) -> impl Iterator<Item = &String> {
        self.groups.iter().chain(&self.counted.groups)
    }

    /// Takes over what a token says, if it is newer than what is known of its issuer. `false` if it is not.
    pub(crate) fn learn(&mut self, said: &IssuerClaims) -> bool {
        match self.claims.iter_mut().find(|known| known.issuer == said.issuer) {
            Some(known) if known.issued_at >= said.issued_at => return false,
            Some(known) => known.clone_from(said),
            None => self.claims.push(said.clone()),
        }
        true
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
