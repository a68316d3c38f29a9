//! Revoking one token (RFC 7009), by its `jti`.

use serde::{Deserialize, Serialize};

use super::{ClientAuth, VerifiedToken, issue::authenticate_client};
use crate::{
    Core,
    audit::{Action, Event, Request},
    caller::Credential,
    clock::Timestamp,
    error::{Result, TokenError},
    table::{Attempt, Change, Entity, Key},
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
    let (client, secret) = authenticate_client(core, auth).await?;
    let Ok(VerifiedToken { jti, agent, expires_at, .. }) = core.verify_token(token).await? else {
        return Ok(());
    };
    if agent != client.id {
        return Err(TokenError::InvalidGrant("The token was issued to another client".to_owned()).into());
    }
    let expires_at = Timestamp::from_seconds(expires_at);
    let mut event = Event::new(core, request, Action::TokenRevoke)?.agent(agent);
    event.credential = Some(Credential::ClientSecret(secret).to_string());
    event.token_id = Some(jti);
    let mut change = Change::new();
    change.put_expiring(Key::revoked_token(jti), &RevokedToken { expires_at }, expires_at)?.record(&event)?;
    match core.table.commit(change).await {
        Ok(()) | Err(Attempt::Raced) => Ok(()),
        Err(Attempt::Failed(error)) => Err(error),
    }
}
