//! Revoking one token (RFC 7009), by its `jti`.

use serde::{Deserialize, Serialize};

use super::{
    ClientAuth, VerifiedToken,
    assertion::commit,
    client::{Proven, authenticate},
};
use crate::{
    Core,
    audit::{Action, Event, Request},
    caller::Credential,
    clock::Timestamp,
    error::{Result, TokenError},
    table::{Entity, Key},
};

/// Says that a token is revoked, for as long as it could have lived.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RevokedToken {
    pub expires_at: Timestamp,
}

impl Entity for RevokedToken {
    const KIND: &'static str = "revoked token";
}

/// Revokes a token of the client's own. As RFC 7009 section 2.2 has it, a token that is no good anyhow is
/// no error; another client's token is left alone.
pub async fn revoke(core: &Core, request: &Request, auth: ClientAuth, token: &str) -> Result<()> {
    let (client, Proven { credential, once }) =
        authenticate(core, request, Action::TokenRevoke, auth).await?;
    let token = core.verify_token(token).await?;
    let Some(VerifiedToken { jti, expires_at, .. }) =
        token.as_ref().ok().filter(|token| token.agent == client)
    else {
        commit(core, once.as_ref(), |_| Ok(())).await?;
        return match token {
            Ok(_) => {
                Err(TokenError::InvalidGrant("The token was issued to another client".to_owned()).into())
            }
            Err(_) => Ok(()),
        };
    };
    let expires_at = Timestamp::from_seconds(*expires_at);
    let mut event = Event::new(core, request, Action::TokenRevoke)?.agent(client);
    event.credential = Some(Credential::Client(credential).to_string());
    event.token_id = Some(*jti);
    commit(core, once.as_ref(), |change| {
        let note = RevokedToken { expires_at };
        change.put_expiring(Key::revoked_token(*jti), &note, expires_at)?.record(&event)?;
        Ok(())
    })
    .await
}
