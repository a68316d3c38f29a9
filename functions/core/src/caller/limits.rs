//! What an API key narrows of its user.
//!
//! **A key makes nothing that has more than it, or lasts longer:** keys, client secrets and keys, delegations and session
//! grants. So a key that was stolen gives no more than it is, and nothing is left once it has ended. A key that names
//! servers has none of the powers of its user's role either, since what a role changes is not of some servers: with a
//! policy or another admin it would have all.
//!
//! Keys that were made before keys had scopes are narrowed by nothing, and stay so.

use deputize_api::reason::Reason;

use super::Power;
use crate::{
    clock::Timestamp,
    error::{Error, Result, ScopeHolder, Told},
    ids::ServerId,
    scope::{Scope, Scopes},
};

/// What a key is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLimits {
    pub scopes: Scopes,
    /// `None` means all servers.
    pub server_ids: Option<Vec<ServerId>>,
    pub expires_at: Option<Timestamp>,
}

/// What is made, as far as a key can have less.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gives<'a> {
    pub(crate) scopes: Scopes,
    /// `None` means all servers.
    pub(crate) server_ids: Option<&'a [ServerId]>,
    /// `None` means that it has no end.
    pub(crate) expires_at: Option<Timestamp>,
}

impl<'a> Gives<'a> {
    /// What lets an agent or a program call tools.
    pub(crate) fn tools(server_ids: Option<&'a [ServerId]>, expires_at: Option<Timestamp>) -> Self {
        let scopes = Scopes { tools_call: true, ..Scopes::default() };
        Self { scopes, server_ids, expires_at }
    }
}

fn too_narrow(text: String) -> Error {
    Error::Forbidden(Told::of(Reason::ApiKeyTooNarrow, text))
}

impl KeyLimits {
    fn covers(&self, server: &ServerId) -> bool {
        self.server_ids.as_ref().is_none_or(|servers| servers.contains(server))
    }

    pub(super) fn require_scope(&self, scope: Scope) -> Result<()> {
        self.scopes.require(scope, ScopeHolder::ApiKey)
    }

    pub(super) fn require_server(&self, server: &ServerId) -> Result<()> {
        if self.covers(server) {
            Ok(())
        } else {
            Err(too_narrow(format!("The API key is not for the server {server}: use a key that is")))
        }
    }

    /// Requires that the key leaves its user a power of their role.
    pub(super) fn require_power(&self, power: Power) -> Result<()> {
        if self.server_ids.is_some() {
            let why = "The API key is for some servers only, so it has none of the powers of its user's role: use a key for all servers";
            return Err(too_narrow(why.to_owned()));
        }
        self.require_scope(power.scope())
    }

    /// Requires that what is made has no more than the key has, and lasts no longer.
    pub(super) fn require_to_give(&self, gives: &Gives<'_>) -> Result<()> {
        if let Some(beyond) = gives.scopes.first_beyond(self.scopes) {
            return self.require_scope(beyond);
        }
        match gives.server_ids {
            None if self.server_ids.is_some() => {
                return Err(too_narrow(
                    "The API key is for some servers only, so what it makes cannot be for all: name servers of the key's, or use a key for all servers".to_owned(),
                ));
            }
            None => {}
            Some(servers) => servers.iter().try_for_each(|server| self.require_server(server))?,
        }
        match self.expires_at {
            Some(own) if gives.expires_at.is_none_or(|given| given > own) => Err(too_narrow(format!(
                "The API key expires at {own}, so it makes nothing that lasts longer: give an expires_at until then if there is one, or use another credential"
            ))),
            _ => Ok(()),
        }
    }
}
