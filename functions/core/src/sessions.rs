//! Users' OAuth sessions at MCP servers: the upstream access tokens, encrypted.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    Core,
    audit::{Action, Request},
    caller::UserCaller,
    clock::Timestamp,
    error::{Error, Result},
    ids::{ServerId, UserId},
    servers::Server,
    table::{Change, Entity, Key, Stored, settle},
    vault::Sealed,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    pub user_id: UserId,
    pub server_id: ServerId,
    /// The server's address when the session was made. Tokens go nowhere else.
    pub resource: String,
    tokens: Sealed,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    pub connected_at: Timestamp,
}

impl Entity for Session {
    const KIND: &'static str = "OAuth session";
}

/// What is sealed in a session.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Tokens {
    access_token: String,
}

impl Session {
    /// Whether the session can be used at the server now.
    pub fn check(&self, server: &Server, now: Timestamp) -> Result<()> {
        if self.server_id != server.id || self.resource != server.url {
            return Err(Error::SessionNotFound);
        }
        if self.expires_at.is_some_and(|expires| expires <= now) {
            return Err(Error::SessionExpired);
        }
        Ok(())
    }

    /// The access token to present to the server.
    pub(crate) async fn access_token(&self, core: &Core) -> Result<SecretString> {
        let opened = core.vault.open(&Key::session(self.user_id, &self.server_id), &self.tokens).await?;
        let tokens: Tokens = serde_json::from_slice(&opened)
            .map_err(|_| Error::internal("a session's tokens cannot be read"))?;
        Ok(SecretString::from(tokens.access_token.as_str()))
    }
}

/// What a provider has granted.
#[derive(Debug)]
pub struct NewSession {
    pub access_token: SecretString,
    pub expires_at: Option<Timestamp>,
    pub scope: Option<String>,
}

/// Stores a user's session at a server, in place of any that is there.
pub async fn store(core: &Core, user: UserId, server: &Server, new: NewSession) -> Result<Session> {
    let key = Key::session(user, &server.id);
    let tokens = Tokens { access_token: new.access_token.expose_secret().to_owned() };
    let plain = zeroize::Zeroizing::new(serde_json::to_vec(&tokens).map_err(Error::internal)?);
    let session = Session {
        user_id: user,
        server_id: server.id.clone(),
        resource: server.url.clone(),
        tokens: core.vault.seal(&key, &plain).await?,
        expires_at: new.expires_at,
        scope: new.scope,
        connected_at: core.clock.now(),
    };
    settle(|| async {
        let was = core.table.read_one::<Session>(key.clone()).await?;
        let mut change = Change::new();
        change.write(key.clone(), &session, was.as_ref())?;
        core.table.commit(change).await
    })
    .await?;
    Ok(session)
}

/// The caller's own session at a server.
pub async fn get(core: &Core, caller: &UserCaller, server: &ServerId) -> Result<Stored<Session>> {
    core.table.read_one(Key::session(caller.user.id, server)).await?.ok_or(Error::NotFound("connection"))
}

/// Deletes the caller's own session at a server. Grants that rest on it remain, and find no session.
pub async fn disconnect(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    server: &ServerId,
) -> Result<()> {
    settle(|| async {
        let was = get(core, caller, server).await?;
        let event = caller.event(core, request, Action::ConnectionDelete)?.server(server.clone());
        let mut change = Change::new();
        change.delete(&Key::session(caller.user.id, server), was.rev)?;
        change.record(&event.about("connection", server))?;
        core.table.commit(change).await
    })
    .await
}
