//! A token of ours, by its kind: an agent's or an app's.

use std::time::Duration;

use super::{
    app_token::{self, AppToken},
    claims::{self, VerifiedToken},
    keyring::Keyring,
    refused::AgentTokenError,
};
use crate::{Settings, clock::Timestamp};

/// A token of ours, by its kind.
#[derive(Clone, Debug)]
pub enum OwnToken {
    /// An agent's, for itself or for a user.
    Agent(VerifiedToken),
    /// An app's, which acts as its user.
    App(AppToken),
}

impl OwnToken {
    /// An agent's token. An app's is refused.
    pub(crate) fn agents(self) -> Result<VerifiedToken, AgentTokenError> {
        match self {
            Self::Agent(token) => Ok(token),
            Self::App(_) => Err(AgentTokenError::NotAgentToken),
        }
    }
}

/// Decodes a token and checks everything that needs no table. It may have expired at most `late_by` ago.
pub(crate) fn verify(
    keyring: &Keyring,
    token: &str,
    settings: &Settings,
    now: Timestamp,
    late_by: Duration,
) -> Result<OwnToken, AgentTokenError> {
    let claims::SignedClaims { kid, json } = claims::signed(keyring, token)?;
    if app_token::is_one(&json) {
        return app_token::read(kid, &json, settings, now, late_by).map(OwnToken::App);
    }
    claims::read(kid, &json, settings, now, late_by).map(OwnToken::Agent)
}
