//! Revoking one token (RFC 7009), by its `jti`.

use deputize_api::{path, reason::Reason};

use super::{
    ClientAuth, LIFETIME, OwnToken, VerifiedToken,
    app_own::revoke_own,
    assertion::commit,
    client::{ProvenClient, authenticate},
    revoked::add_revocation,
};
use crate::{
    Core,
    audit::{Action, Event, RequestContext},
    caller::CredentialId,
    clock::Timestamp,
    error::{Result, TokenError, Told},
    secret::presented,
};

/// Revokes one of the client's own tokens, and the tokens that it was exchanged for. A token that is not
/// valid anyway is not an error (RFC 7009 section 2.2). Another client's token is not touched.
pub async fn revoke(core: &Core, request: &RequestContext, auth: ClientAuth, token: &str) -> Result<()> {
    if auth.is_apps() {
        return Box::pin(revoke_own(core, request, auth, &presented(token))).await;
    }
    let (client, ProvenClient { credential, assertion_use }) =
        authenticate(core, request, Action::TokenRevoke, path::REVOKE, auth).await?;
    // One that has expired may have been exchanged, in its last second, for one that has not.
    let token = core.verify_token_late(token, LIFETIME).await?.and_then(OwnToken::agents).valid();
    let Some(VerifiedToken { jti, expires_at, .. }) = token.as_ref().filter(|token| token.agent == client)
    else {
        commit(core, assertion_use.as_ref(), |_| Ok(())).await?;
        return match token {
            Some(_) => Err(TokenError::InvalidGrant(Told::of(
                Reason::OtherClientsToken,
                "The token was issued to another client",
            ))
            .into()),
            None => Ok(()),
        };
    };
    let expires_at = Timestamp::from_seconds(*expires_at).plus(LIFETIME);
    let mut event = Event::new(core, request, Action::TokenRevoke)?.agent(client);
    event.credential = Some(CredentialId::Client(credential).to_string());
    event.token_id = Some(*jti);
    commit(core, assertion_use.as_ref(), |change| {
        add_revocation(change, *jti, expires_at)?;
        change.record(&event)?;
        Ok(())
    })
    .await
}
