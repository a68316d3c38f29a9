//! The note that says that a token is revoked.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    error::Result,
    table::{Change, Entity, Key},
};

/// Says that a token is revoked, for as long as it, or a token that it was exchanged for, could live.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RevokedToken {
    pub expires_at: Timestamp,
}

impl Entity for RevokedToken {
    const KIND: &'static str = "revoked token";
}

/// Adds the note to a change.
pub(super) fn add_revocation(change: &mut Change, jti: Uuid, expires_at: Timestamp) -> Result<()> {
    change.put_expiring(Key::revoked_token(jti), &RevokedToken { expires_at }, expires_at)?;
    Ok(())
}
