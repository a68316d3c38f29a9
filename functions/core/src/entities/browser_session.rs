//! A person's session in a browser, from signing in to signing out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    entities::user::Identity,
    epoch::Epoch,
    ids::{BrowserSessionId, UserId},
    secret::SecretHash,
    table::{Entity, Key},
    vault::Sealed,
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
    /// The provider by which the user signed in, and what it calls them. Once it is none of the user's identities any
    /// more, the session is over.
    pub issuer: String,
    pub subject: String,
    /// The provider's name for its own session (`sid`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// The ID token, for the provider's end of its session (`id_token_hint`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token: Option<Sealed>,
    pub created_at: Timestamp,
    /// When it was last seen to be used. It is written seldom, so that most pages cost no write.
    pub used_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
}

impl Entity for BrowserSession {
    const KIND: &'static str = "browser session";
}

impl BrowserSession {
    pub(crate) fn key(&self) -> Key {
        Key::browser_session(self.user_id, self.id)
    }

    pub(crate) fn is_of(&self, identity: &Identity) -> bool {
        self.issuer == identity.issuer && self.subject == identity.subject
    }

    /// When it ends if it is not used any more.
    pub fn ends_at(&self, idle_for: Duration) -> Timestamp {
        self.expires_at.min(self.used_at.plus(idle_for))
    }
}

/// Leads from a provider's session (`sid`) to one of ours.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProviderSession {
    pub(crate) user_id: UserId,
    pub(crate) session_id: BrowserSessionId,
}

impl Entity for ProviderSession {
    const KIND: &'static str = "browser session of a provider's session";
}
