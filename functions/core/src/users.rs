//! People: who they are, how a credential of theirs leads to them, and what they may do.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    Core,
    audit::{Action, Request},
    caller::UserCaller,
    clock::Timestamp,
    error::{Error, Result},
    ids::UserId,
    paging::{Listing, PageRequest},
    table::{Attempt, Change, Entity, Key, Stored, settle},
};

/// An email address, in lower case, so that two spellings of one address are one.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

#[derive(Debug, thiserror::Error)]
#[error("not an email address")]
pub struct InvalidEmail;

impl Email {
    /// In bytes (RFC 5321 section 4.5.3.1).
    const MAX_LENGTH: usize = 254;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    /// A shape check, not a proof: something before one `@`, a dot in what follows it, no white space.
    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let (local, domain) = text.split_once('@').ok_or(InvalidEmail)?;
        let fits = text.len() <= Self::MAX_LENGTH
            && !local.is_empty()
            && !domain.starts_with('.')
            && !domain.ends_with('.')
            && domain.contains('.')
            && !domain.contains('@')
            && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        if fits { Ok(Self(text.to_lowercase())) } else { Err(InvalidEmail) }
    }
}

impl TryFrom<String> for Email {
    type Error = InvalidEmail;

    fn try_from(text: String) -> Result<Self, InvalidEmail> {
        text.parse()
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub role: Role,
    /// A deactivated user can do nothing, and nobody can act for them.
    pub active: bool,
    /// Cedar groups.
    #[serde(default)]
    pub groups: Vec<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Entity for User {
    const KIND: &'static str = "user";
}

impl User {
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
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

#[derive(Clone, Debug)]
pub struct NewUser {
    pub email: Option<Email>,
    pub name: Option<String>,
    pub role: Role,
    pub groups: Vec<String>,
    pub identity: Option<Identity>,
}

/// What to change; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct UserUpdate {
    pub name: Option<String>,
    pub role: Option<Role>,
    pub active: Option<bool>,
    pub groups: Option<Vec<String>>,
}

/// Adds a user, and the pointers that lead to them, to a change.
pub(crate) fn add_user(core: &Core, change: &mut Change, new: NewUser) -> Result<User> {
    let now = core.clock.now();
    let user = User {
        id: UserId(core.random.uuid()?),
        email: new.email,
        name: new.name,
        role: new.role,
        active: true,
        groups: new.groups,
        created_at: now,
        updated_at: now,
    };
    let pointer = UserPointer { user_id: user.id };
    change.create(Key::user(user.id), &user)?.create(Key::user_entry(user.id), &pointer)?;
    if let Some(email) = &user.email {
        change.create(Key::user_by_email(email), &pointer)?;
    }
    if let Some(identity) = &new.identity {
        change.create(Key::user_by_identity(&identity.issuer, &identity.subject), &pointer)?;
    }
    Ok(user)
}

/// Creates a user. Admins only.
pub async fn create(core: &Core, caller: &UserCaller, request: &Request, new: NewUser) -> Result<User> {
    caller.require_admin()?;
    let mut change = Change::new();
    let user = add_user(core, &mut change, new)?;
    change.record(&caller.event(core, request, Action::UserCreate)?.about("user", user.id))?;
    match core.table.commit(change).await {
        Ok(()) => Ok(user),
        Err(Attempt::Raced) => Err(Error::Conflict("a user with that email or identity exists".to_owned())),
        Err(Attempt::Failed(error)) => Err(error),
    }
}

pub async fn get(core: &Core, id: UserId) -> Result<Stored<User>> {
    core.table.read_one(Key::user(id)).await?.ok_or(Error::NotFound(UserId::WHAT))
}

/// All users, in no particular order. Admins only.
pub async fn list(core: &Core, caller: &UserCaller, page: &PageRequest) -> Result<Listing<User>> {
    caller.require_admin()?;
    page.list_entries(core, "USERS", "", |pointer: &UserPointer| Key::user(pointer.user_id)).await
}

/// Changes a user. Admins change anybody but cannot take away their own role or deactivate themselves, so
/// that an organization is not left without one by a slip.
pub async fn update(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    id: UserId,
    update: UserUpdate,
) -> Result<User> {
    caller.require_admin()?;
    let gives_up_admin = update.active == Some(false) || update.role == Some(Role::User);
    if id == caller.user.id && gives_up_admin {
        return Err(Error::Conflict("an admin cannot deactivate or demote themselves".to_owned()));
    }
    settle(|| async {
        let was = get(core, id).await?;
        let mut user = was.value.clone();
        user.name = update.name.clone().or(user.name);
        user.role = update.role.unwrap_or(user.role);
        user.active = update.active.unwrap_or(user.active);
        user.groups = update.groups.clone().unwrap_or(user.groups);
        user.updated_at = core.clock.now();
        let mut change = Change::new();
        change.replace(Key::user(id), &user, was.rev)?;
        change.record(&caller.event(core, request, Action::UserUpdate)?.about("user", id))?;
        core.table.commit(change).await?;
        Ok(user)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_an_address_are_one() {
        assert_eq!("Alice@Example.COM".parse::<Email>().unwrap(), "alice@example.com".parse().unwrap());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(250));
        for wrong in ["", "alice", "@example.com", "a@b", "a@b@c.d", "a b@c.de", "a@.com", "a@com.", &long] {
            assert!(wrong.parse::<Email>().is_err(), "{wrong}");
        }
    }
}
