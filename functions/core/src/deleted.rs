//! Things that were deleted, and can be restored.
//!
//! **A deleted thing is somewhere else.** Its item leaves its key, and what was in it is kept at another one, which no
//! decision reads. So it is gone for each decision at once, as if it had never been, and no check has to think of it. That
//! is one transaction, with the entries of lists and the audit event.
//!
//! **Restoring it** puts it back at its key, in a transaction too, for [`RESTORABLE_FOR`]. After that, or earlier if an
//! admin asks for it, it is erased ([`crate::deletion`]). Until then it keeps what must not be another's: a user's email
//! and identities, a server's id.
//!
//! Whether a thing can be restored is decided by the time in its item, not by whether it was erased.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Core,
    caller::UserCaller,
    clock::Timestamp,
    entities::stopped::StoppedBy,
    error::{Error, Result},
    gone,
    ids::UserId,
    table::{Change, Entity, Key, Stored},
};

/// How long a deleted thing can be restored.
pub const RESTORABLE_FOR: Duration = Duration::from_hours(24 * 30);

/// What was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    User,
    AgentAccount,
    Server,
    Policy,
    ApiKey,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::User, Self::AgentAccount, Self::Server, Self::Policy, Self::ApiKey];

    /// As the trail names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::AgentAccount => "agent_account",
            Self::Server => "server",
            Self::Policy => "policy",
            Self::ApiKey => "api_key",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or("must be user, agent_account, server, policy or api_key")
    }
}

/// A deleted thing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deleted {
    /// An item's `kind` is what sort of item it is.
    #[serde(rename = "of")]
    pub kind: Kind,
    pub id: String,
    /// What it is called. Of a user, their name or email.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whose it is: of an API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_user: Option<UserId>,
    pub deleted_at: Timestamp,
    pub deleted_by: UserId,
    /// As what they deleted it.
    pub(crate) deleted_as: StoppedBy,
    /// From then on it is erased.
    pub restorable_until: Timestamp,
    /// The item as it was.
    item: Value,
}

impl Entity for Deleted {
    const KIND: &'static str = "deleted thing";
}

/// An entry in the list of what was deleted of a kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeletedEntry {
    pub(crate) id: String,
}

impl Entity for DeletedEntry {
    const KIND: &'static str = "deleted thing's entry";
}

/// What of a thing is told while it is deleted, and where it was.
pub(crate) struct About<'a> {
    pub(crate) key: &'a Key,
    pub(crate) kind: Kind,
    pub(crate) id: &'a (dyn fmt::Display + Sync),
    pub(crate) name: Option<&'a str>,
    pub(crate) of_user: Option<UserId>,
}

impl Deleted {
    pub(crate) fn can_be_restored(&self, now: Timestamp) -> bool {
        now < self.restorable_until
    }

    /// What was in its item.
    pub(crate) fn item<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.item.clone()).map_err(Error::internal)
    }

    /// The same, which cannot be restored any more.
    pub(crate) fn ended(&self, now: Timestamp) -> Self {
        Self { restorable_until: now, ..self.clone() }
    }

    pub(crate) fn key(&self) -> Key {
        Key::deleted(self.kind.name(), &self.id)
    }

    pub(crate) fn entry(&self) -> Key {
        Key::deleted_entry(self.kind.name(), self.restorable_until, &self.id)
    }
}

/// Adds to a change that a thing, which it deletes, is kept until it is erased, and that it was there.
pub(crate) fn keep<T: Serialize>(
    core: &Core,
    change: &mut Change,
    caller: &UserCaller,
    about: &About<'_>,
    item: &T,
) -> Result<()> {
    let now = core.clock.now();
    let deleted = Deleted {
        kind: about.kind,
        id: about.id.to_string(),
        name: about.name.map(str::to_owned),
        of_user: about.of_user,
        deleted_at: now,
        deleted_by: caller.user.id,
        deleted_as: caller.stops_as(),
        restorable_until: now.plus(RESTORABLE_FOR),
        item: serde_json::to_value(item).map_err(Error::internal)?,
    };
    change.create(deleted.key(), &deleted)?;
    change.put_ending(deleted.entry(), &DeletedEntry { id: deleted.id.clone() }, None)?;
    gone::note(core, change, about.key)
}

/// Adds to a change that a thing is deleted no more: it is restored, or erased.
pub(crate) fn release(change: &mut Change, deleted: &Stored<Deleted>) -> Result<()> {
    change.delete(&deleted.key(), deleted.rev)?;
    change.remove(&deleted.entry())?;
    Ok(())
}

/// The deleted thing of an id. What should have been erased is not there any more.
pub(crate) async fn find(core: &Core, kind: Kind, id: &str) -> Result<Option<Stored<Deleted>>> {
    let found = core.table.read_one::<Deleted>(Key::deleted(kind.name(), id)).await?;
    Ok(found.filter(|deleted| deleted.can_be_restored(core.clock.now())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_as_it_is_written() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        assert!("users".parse::<Kind>().is_err());
    }
}
