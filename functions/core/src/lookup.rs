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

/// What names a user.
#[derive(Debug)]
pub enum UserLookup {
    Id(UserId),
    Email(Email),
    /// A verified token of a trusted issuer.
    Token(UserToken),
}

impl UserLookup {
    /// The pointers to read, the deciding one first.
    pub(crate) fn keys(&self) -> Vec<Key> {
        match self {
            Self::Id(_) => Vec::new(),
            Self::Email(email) => vec![Key::user_by_email(email)],
            Self::Token(token) => {
                let mut keys = vec![Key::user_by_identity(&token.issuer, &token.subject)];
                keys.extend(token.linking_email.as_ref().map(Key::user_by_email));
                keys
            }
        }
    }

    /// Who it was last time, or for certain.
    pub(crate) fn guess(&self, core: &Core) -> Option<UserId> {
        match self {
            Self::Id(id) => Some(*id),
            Self::Email(_) | Self::Token(_) => self.keys().iter().find_map(|key| core.hints.users.get(key)),
        }
    }

    /// Who it is, by the pointers that were read.
    pub(crate) fn resolve(&self, core: &Core, found: &mut Found) -> Result<Option<UserId>> {
        if let Self::Id(id) = self {
            return Ok(Some(*id));
        }
        for key in self.keys() {
            if let Some(pointer) = found.take::<UserPointer>(&key)? {
                core.hints.users.insert(key, pointer.user_id);
                return Ok(Some(pointer.user_id));
            }
        }
        Ok(None)
    }
}
