//! An app about its own tokens: it revokes them (RFC 7009), and one that can prove itself introspects them (RFC 7662).
//!
//! A token leads to the app that it was issued to. Only if that is the app that asks is anything else looked at, such as
//! how it proves itself: so a made-up token costs one read at most, and nobody's host is asked.

use std::sync::atomic::{AtomicBool, Ordering};

use deputize_api::{path, reason::Reason};
use secrecy::{ExposeSecret, SecretString};

use super::{
    AppToken, ClientAuth, LIFETIME, OwnToken,
    app_client::{PresentedApp, auth_now},
    app_secret::AppSecret,
    assertion::{AssertionUse, commit, used_already},
    family::{self, Standing, TokenFamily},
    revoked::add_revocation,
};
use crate::{
    Core,
    apps::{self, App, AppAuth},
    audit::{Action, Event, RequestContext},
    caller::CredentialId,
    checked::Checked,
    clock::Timestamp,
    control::{self, Control},
    error::{Error, Result, TokenError, Told},
    secret::REFRESH_TOKEN_PREFIX,
    table::{Change, CommitError, Key, retry_on_conflict},
};

/// Revokes an app's own token: an access token alone, a refresh token with all tokens of its family. A token that is not
/// valid anyway is not an error (RFC 7009 section 2.2). Another client's token is not touched.
pub(super) async fn revoke_own(
    core: &Core,
    request: &RequestContext,
    auth: ClientAuth,
    token: &SecretString,
) -> Result<()> {
    let client = PresentedApp::identify(core, path::REVOKE, auth)?;
    if let Some(presented) = AppSecret::parse(REFRESH_TOKEN_PREFIX, token) {
        let is_again = AtomicBool::new(false);
        return retry_on_conflict(|| async {
            let again = is_again.swap(true, Ordering::Relaxed);
            Box::pin(revoke_family(core, request, &client, &presented, again)).await
        })
        .await;
    }
    let token = match access_token(core, &client, token).await? {
        Some(OwnToken::App(token)) if token.app == client.id => token,
        Some(_) => return Err(other_clients().into()),
        None => return Ok(()),
    };
    let assertion_use = client.prove(core, &auth_of(core, &client).await?).await?;
    let mut event = Event::new(core, request, Action::TokenRevoke)?;
    event.user_id = Some(token.user);
    event.client_id = Some(token.app.clone());
    event.token_id = Some(token.jti);
    let expires_at = Timestamp::from_seconds(token.expires_at).plus(LIFETIME);
    commit(core, assertion_use.as_ref(), |change| {
        add_revocation(change, token.jti, expires_at)?;
        change.record(&event)?;
        Ok(())
    })
    .await
}

async fn revoke_family(
    core: &Core,
    request: &RequestContext,
    client: &PresentedApp,
    presented: &AppSecret,
    is_again: bool,
) -> Result<(), CommitError> {
    let rests_on = &presented.rests_on;
    let key = Key::token_family(rests_on.user, rests_on.family);
    let app_key = Key::app(&client.id);
    let mut found = core.table.read(vec![key.clone(), app_key.clone()]).await?;
    let (family, known) = (found.take::<TokenFamily>(&key)?, found.take::<App>(&app_key)?);
    let now = core.clock.now();
    let Some(family) = family.filter(|family| family.judge(presented, now) != Standing::Strange) else {
        return Ok(require_known(core, client, known.as_deref()).await?);
    };
    if family.app != client.id {
        return Err(other_clients().into());
    }
    let assertion_use = client.prove(core, auth_now(known.as_deref(), &family.auth)).await?;
    let mut event = Event::new(core, request, Action::TokenRevoke)?;
    event.user_id = Some(rests_on.user);
    event.client_id = Some(client.id.clone());
    event.credential = Some(CredentialId::RefreshToken(rests_on.family).to_string());
    event.subject = Some(format!("authorization:{}", rests_on.authorization));
    let mut change = Change::new();
    family::end(&mut change, &key, &family, now)?;
    change.record(&event)?;
    note_use(core, &mut change, assertion_use.as_ref(), is_again).await?;
    core.table.commit(change).await
}

/// Adds the note that an assertion is used, unless it was.
async fn note_use(
    core: &Core,
    change: &mut Change,
    assertion_use: Option<&AssertionUse>,
    is_again: bool,
) -> Result<()> {
    let Some(assertion_use) = assertion_use else { return Ok(()) };
    if is_again && assertion_use.is_used(core).await? {
        return Err(used_already().into());
    }
    assertion_use.note(change, core.clock.now())
}

/// What an app may know about its own access token that is good now. `None` for any other token. A public app proves
/// nothing, so it is refused.
pub(super) async fn introspect_own(
    core: &Core,
    auth: ClientAuth,
    token: &SecretString,
) -> Result<Option<AppToken>> {
    let client = PresentedApp::identify(core, path::INTROSPECT, auth)?;
    let Some(OwnToken::App(mut token)) = access_token(core, &client, token).await? else { return Ok(None) };
    if token.app != client.id {
        return Ok(None);
    }
    let auth = auth_of(core, &client).await?;
    if matches!(auth, AppAuth::None) {
        return Err(TokenError::InvalidClient.into());
    }
    let assertion_use = client.prove(core, &auth).await?;
    let control_key = Control::any_key(core)?;
    let mut keys = token.keys();
    keys.push(control_key.clone());
    let mut found = core.table.read(keys).await?;
    let control = found.take::<Control>(&control_key)?.ok_or_else(control::missing)?;
    let standing = match token.check_standing(core, &found, control.version_of_keys()).await {
        Ok((_, authorization)) => Some(authorization),
        Err(Error::Unauthenticated(_) | Error::Forbidden(_)) => None,
        Err(error) => return Err(error),
    };
    commit(core, assertion_use.as_ref(), |_| Ok(())).await?;
    Ok(standing.filter(|_| token.expires_at > core.clock.now().as_seconds()).map(|authorization| {
        token.expires_at = token.expires_at.min(authorization.expires_at().as_seconds());
        token
    }))
}

/// The access token that a text is, which may have expired lately.
async fn access_token(core: &Core, client: &PresentedApp, token: &SecretString) -> Result<Option<OwnToken>> {
    let token = core.verify_token_late(token.expose_secret(), LIFETIME).await?.valid();
    if token.is_none() {
        let known = core.table.read_one::<App>(Key::app(&client.id)).await?;
        require_known(core, client, known.as_deref()).await?;
    }
    Ok(token)
}

/// Refuses an app that cannot be one.
async fn require_known(core: &Core, client: &PresentedApp, known: Option<&App>) -> Result<()> {
    core.require_bootstrapped().await?;
    apps::prepare(core, &client.client_id).await?;
    if client.may_be(core, known).await? { Ok(()) } else { Err(TokenError::InvalidClient.into()) }
}

fn other_clients() -> TokenError {
    TokenError::InvalidGrant(Told::of(Reason::OtherClientsToken, "The token was issued to another client"))
}

/// How an app proves itself as it is now.
async fn auth_of(core: &Core, client: &PresentedApp) -> Result<AppAuth> {
    match apps::find(core, &client.client_id).await? {
        Checked::Valid(app) => Ok(app.auth),
        Checked::Invalid(_) => Err(TokenError::InvalidClient.into()),
    }
}
