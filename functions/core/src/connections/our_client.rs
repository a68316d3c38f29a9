//! Our client at the provider that gave a session's tokens, as it is now, and whether the session can go on with it.

use super::registration::{Client, Registration};
use crate::{
    Core,
    clock::Timestamp,
    error::{Error, Result},
    ids::ServerId,
    servers::Server,
    sessions::{AccessTokenState, ProviderRef, Session},
    table::{Found, Key, Stored, Table},
};

/// Whether a session's owner must connect again.
pub async fn has_ended(core: &Core, session: &Session) -> Result<bool> {
    let now = core.clock.now();
    if session.has_ended(now) || session.access_token_state(now) != AccessTokenState::Over {
        return Ok(session.has_ended(now));
    }
    match our_client(&core.table, session).await {
        Ok(_) => Ok(false),
        Err(Error::SessionOfOtherClient) => Ok(true),
        Err(error) => Err(error),
    }
}

/// The same, by [`client_keys`] that were read together with the session.
pub(super) fn has_ended_by(found: &Found, session: &Session, now: Timestamp) -> Result<bool> {
    if session.has_ended(now) || session.access_token_state(now) != AccessTokenState::Over {
        return Ok(session.has_ended(now));
    }
    match OurClient::among(found, session) {
        Ok(_) => Ok(false),
        Err(Error::SessionOfOtherClient) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Our client at the provider that gave a session's tokens.
#[derive(Debug)]
pub(super) struct OurClient {
    pub(super) server: Server,
    pub(super) from: ProviderRef,
    pub(super) registration: Stored<Registration>,
}

impl OurClient {
    fn among(found: &Found, session: &Session) -> Result<Self> {
        let from = session.provider.clone().ok_or(Error::SessionExpired)?;
        let [server, registration] = client_keys(&session.server_id, &from.issuer);
        let server = found.get::<Server>(&server)?.ok_or(Error::SessionNotFound)?.value;
        let registration = found.get::<Registration>(&registration)?;
        let registration = registration
            .filter(|registration| registration.client_id == from.client_id && registration.is_of(&server))
            .ok_or(Error::SessionOfOtherClient)?;
        Ok(Self { server, from, registration })
    }

    /// Where its authorization server revokes tokens, if it says so.
    pub(super) fn revocation_endpoint(&self) -> Option<&url::Url> {
        self.registration.provider.revocation_endpoint.as_ref()
    }

    pub(super) async fn client(&self, vault: &crate::vault::Vault) -> Result<Client> {
        self.registration.client(vault, &self.server).await
    }
}

/// What says which client is ours at a server's provider.
pub(super) fn client_keys(server: &ServerId, issuer: &str) -> [Key; 2] {
    [Key::server(server), Registration::key(server, issuer)]
}

/// Our client as it is now. A refresh token is bound to its client (RFC 6749 section 6); no other client can
/// use it.
pub(super) async fn our_client(table: &Table, session: &Session) -> Result<OurClient> {
    let from = session.provider.as_ref().ok_or(Error::SessionExpired)?;
    let found = table.read(client_keys(&session.server_id, &from.issuer).to_vec()).await?;
    OurClient::among(&found, session)
}
