//! Authorization codes that have not been exchanged yet.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use deputize_core::clock::Timestamp;

use super::handle::{FamilyId, SecretHash};

/// How long a code is valid.
pub(super) const LIFETIME: Duration = Duration::from_secs(60);

/// What an exchange must match, in addition to its family.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) hash: SecretHash,
    pub(super) redirect_uri: String,
    /// The PKCE challenge by S256 (RFC 7636 section 4.2).
    pub(super) challenge: String,
    pub(super) expires_at: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Codes(Mutex<HashMap<FamilyId, Code>>);

impl Codes {
    pub(super) fn keep(&self, family: FamilyId, code: Code, now: Timestamp) {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, code| code.expires_at > now);
        codes.insert(family, code);
    }

    /// A family's code, only once: even a failed attempt uses it up.
    pub(super) fn take(&self, family: &FamilyId) -> Option<Code> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(family)
    }
}
