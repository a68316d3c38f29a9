//! Who is calling: what was proven, and no more.

use std::fmt;

use uuid::Uuid;

use crate::{
    Core,
    agents::{AgentAccount, ClientCredential},
    audit::{Action, Event, Request},
    error::{Error, Result},
    ids::{ApiKeyId, UserId},
    users::User,
};

/// Which credential proved it, by kind and id. Never the credential itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    Client(ClientCredential),
    /// An agent token, by its `jti`.
    AgentToken(Uuid),
    ApiKey(ApiKeyId),
    /// A user's JWT, by its issuer.
    UserToken(String),
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(ClientCredential::Secret(id)) => write!(f, "client_secret:{id}"),
            Self::Client(ClientCredential::Key(id)) => write!(f, "client_key:{id}"),
            Self::AgentToken(jti) => write!(f, "agent_token:{jti}"),
            Self::ApiKey(id) => write!(f, "api_key:{id}"),
            Self::UserToken(issuer) => write!(f, "user_token:{issuer}"),
        }
    }
}

/// An active user, by an API key or a JWT of their own.
#[derive(Clone, Debug)]
pub struct UserCaller {
    pub user: User,
    pub credential: Credential,
}

impl UserCaller {
    pub fn require_admin(&self) -> Result<()> {
        if self.user.is_admin() { Ok(()) } else { Err(Error::forbidden("Only an admin may do this")) }
    }

    pub fn require_self_or_admin(&self, user: UserId) -> Result<()> {
        if self.user.id == user { Ok(()) } else { self.require_admin() }
    }

    /// Admins manage every agent account, an owner their own.
    pub fn manages(&self, account: &AgentAccount) -> bool {
        self.user.is_admin() || account.owner_user_id == self.user.id
    }

    /// An audit event of something that this caller did.
    pub fn event(&self, core: &Core, request: &Request, action: Action) -> Result<Event> {
        Ok(Event {
            user_id: Some(self.user.id),
            credential: Some(self.credential.to_string()),
            ..Event::new(core, request, action)?
        })
    }
}
