//! A person's session in a browser, from signing in to signing out.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    epoch::Epoch,
    ids::{BrowserSessionId, UserId},
    secret::SecretHash,
    table::Entity,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BrowserSession {
    pub id: BrowserSessionId,
    pub user_id: UserId,
    /// How often the user had been deactivated. A session does not come back with its user.
    #[serde(default, skip_serializing_if = "Epoch::is_first")]
    pub user_epoch: Epoch,
    /// The hash of the cookie.
    pub hash: SecretHash,
    /// The provider by which the user signed in, and its name for its own session (`sid`).
    pub issuer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    pub created_at: Timestamp,
    /// When it was last seen to be used. It is written seldom, so that most pages cost no write.
    pub used_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
}

impl Entity for BrowserSession {
    const KIND: &'static str = "browser session";
}
