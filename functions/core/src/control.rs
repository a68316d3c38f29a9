//! The control item: version numbers of what processes keep in memory. Every call reads one of its copies
//! together with everything else, so what a process has in memory is never staler than its last read.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::{
    Core,
    error::{Error, Result},
    table::{Attempt, Change, Entity, Key, Stored, settle},
};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Raised by every change of a policy.
    pub policies_version: u64,
    /// How many policies there are.
    pub policies: usize,
    /// Raised by every change of the token signing keys.
    pub keys_version: u64,
}

impl Entity for Control {
    const KIND: &'static str = "control versions";
}

impl Control {
    /// Any copy's key; which one is up to chance, to spread the reads.
    pub fn any_key(core: &Core) -> Result<Key> {
        Ok(Key::control(core.random.bytes::<1>()?[0]))
    }

    pub async fn read(core: &Core) -> Result<Stored<Self>> {
        core.table.read_one(Key::control(0)).await?.ok_or_else(missing)
    }

    /// The next version of the policies.
    #[must_use]
    pub fn with_policies(&self, policies: usize) -> Self {
        Self { policies_version: self.policies_version + 1, policies, ..self.clone() }
    }

    /// The next version of the signing keys.
    #[must_use]
    pub fn with_keys(&self) -> Self {
        Self { keys_version: self.keys_version + 1, ..self.clone() }
    }

    /// Adds the writing of all copies to a change, provided that they are as they were read.
    pub fn replace(&self, change: &mut Change, read_at: u64) -> Result<()> {
        for copy in 0..Key::CONTROL_COPIES {
            change.replace(Key::control(copy), self, read_at)?;
        }
        Ok(())
    }

    /// Adds the making of all copies to a change.
    pub fn create(&self, change: &mut Change) -> Result<()> {
        for copy in 0..Key::CONTROL_COPIES {
            change.create(Key::control(copy), self)?;
        }
        Ok(())
    }
}

/// What `read` finds, and as of which version: whatever changes what it reads raises that. `seen` is a version that was
/// read before, so that there are two round trips, and not three.
pub(crate) async fn as_of_one_version<T, F>(
    core: &Core,
    seen: u64,
    version: impl Fn(&Control) -> u64,
    read: impl Fn() -> F,
) -> Result<(u64, T)>
where
    F: Future<Output = Result<T>>,
{
    let seen = AtomicU64::new(seen);
    settle(|| async {
        let before = seen.load(Ordering::Relaxed);
        let found = read().await?;
        let after = version(&*Control::read(core).await?);
        if after == before {
            return Ok((before, found));
        }
        seen.store(after, Ordering::Relaxed);
        Err(Attempt::Raced)
    })
    .await
}

pub(crate) fn missing() -> Error {
    Error::NotBootstrapped
}
