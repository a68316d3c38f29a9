//! How often something was switched off. A token says in which epoch it was issued, and is good in that one only: so it
//! does not come back when its account or its user does.

use serde::{Deserialize, Serialize};

/// The first is not written: items and tokens from before there were epochs are of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(u64);

impl Epoch {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    pub(crate) fn is_first(&self) -> bool {
        self.0 == 0
    }

    /// Whether the other one came next.
    pub(crate) fn is_just_before(self, other: Self) -> bool {
        self.0.checked_add(1) == Some(other.0)
    }

    /// Nothing that was issued until now is good any more.
    pub(crate) fn end(&mut self) {
        self.0 = self.0.saturating_add(1);
    }
}
