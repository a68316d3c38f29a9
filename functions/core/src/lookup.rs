//! From what names a user to the user.
//!
//! An email or an issuer's subject leads to a user by a pointer item. A process remembers where a pointer
//! led, so that the user can be read in the same round trip as the pointer; the pointer that was read
//! decides, never the memory.

use crate::{
    Core,
    error::Result,
    ids::UserId,
    issuers::UserToken,
    table::{Found, Key},
    users::{Email, UserPointer},
};

/// How a request names a user.
#[derive(Debug)]
pub enum UserLookup {
    Id(UserId),
    Email(Email),
    /// A verified token of a trusted issuer.
    Token(UserToken),
}

/// The result of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedUser {
    pub user: UserId,
    /// The token's email led to the user, since its subject is not known yet. Using it makes it known.
    pub by_email: bool,
}

/// Who was found by these pointers last time.
fn remembered(core: &Core, pointers: &[Key]) -> Option<UserId> {
    pointers.iter().find_map(|key| core.prefetch_hints.users.get(key))
}

/// Whom the first of the pointers leads to that there is, and which one of them it is.
fn follow(core: &Core, pointers: Vec<Key>, found: &mut Found) -> Result<Option<(usize, UserId)>> {
    for (place, key) in pointers.into_iter().enumerate() {
        if let Some(pointer) = found.take::<UserPointer>(&key)? {
            core.prefetch_hints.users.insert(key, pointer.user_id);
            return Ok(Some((place, pointer.user_id)));
        }
    }
    Ok(None)
}

impl UserToken {
    /// The pointers to read, the deciding one first. A subject that is known decides, whatever the email beside it.
    pub(crate) fn pointers(&self) -> Vec<Key> {
        let mut keys = vec![Key::user_by_identity(&self.issuer, &self.subject)];
        keys.extend(self.linking_email().into_iter().flat_map(Key::users_by_email));
        keys
    }

    /// Who it was last time.
    pub(crate) fn guess(&self, core: &Core) -> Option<UserId> {
        remembered(core, &self.pointers())
    }

    /// Who it is, by the pointers that were read.
    pub(crate) fn resolve(&self, core: &Core, found: &mut Found) -> Result<Option<ResolvedUser>> {
        let resolved = follow(core, self.pointers(), found)?;
        Ok(resolved.map(|(place, user)| ResolvedUser { user, by_email: place > 0 }))
    }
}

impl UserLookup {
    /// The pointers to read, the deciding one first.
    pub(crate) fn keys(&self) -> Vec<Key> {
        match self {
            Self::Id(_) => Vec::new(),
            Self::Email(email) => Key::users_by_email(email).collect(),
            Self::Token(token) => token.pointers(),
        }
    }

    /// The user, known for certain or from a hint.
    pub(crate) fn guess(&self, core: &Core) -> Option<UserId> {
        match self {
            Self::Id(id) => Some(*id),
            Self::Email(_) | Self::Token(_) => remembered(core, &self.keys()),
        }
    }

    /// The user, by the pointers that were read.
    pub(crate) fn resolve(&self, core: &Core, found: &mut Found) -> Result<Option<ResolvedUser>> {
        let user = match self {
            Self::Token(token) => return token.resolve(core, found),
            Self::Email(_) => follow(core, self.keys(), found)?.map(|(_, user)| user),
            Self::Id(user) => Some(*user),
        };
        Ok(user.map(|user| ResolvedUser { user, by_email: false }))
    }

    pub(crate) fn is_token(&self) -> bool {
        matches!(self, Self::Token(_))
    }

    /// A made-up user for an email that leads to no user. It is remembered like a real one. So a lookup takes
    /// the same time for a known and for an unknown address, the first time and later. The time would
    /// otherwise tell which addresses are known here.
    pub(crate) fn nobody(&self, core: &Core, guess: Option<UserId>) -> Result<UserId> {
        let nobody = match guess {
            Some(nobody) => nobody,
            None => UserId(core.random.uuid()?),
        };
        if let Some(key) = self.keys().into_iter().next() {
            core.prefetch_hints.users.insert(key, nobody);
        }
        Ok(nobody)
    }
}
