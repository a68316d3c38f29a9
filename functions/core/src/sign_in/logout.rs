//! The end of a session: from here at the provider (OpenID Connect RP-Initiated Logout), and from there here (OpenID
//! Connect Back-Channel Logout).
//!
//! Both end browser sessions. What the user allowed apps goes on until it is revoked.

use deputize_api::path;
use secrecy::ExposeSecret;
use url::Url;

use super::provider;
use crate::{
    Core,
    audit::{Action, Event, RequestContext},
    browser_sessions::{self, BrowserSession, sessions_of},
    clock::Timestamp,
    error::{Error, Result, Told},
    issuers::{LOGOUT_TOKEN_LASTS, LogoutToken, SignIn},
    table::{Change, CommitError, Entity, Key, retry_on_conflict},
};
use deputize_api::reason::Reason;

/// Where a browser goes to end the provider's session too. `None` if the provider has no such place, or cannot be asked.
pub async fn end_session_url(core: &Core, session: &BrowserSession) -> Option<Url> {
    let provider = core.issuers.provider_called(&session.issuer)?;
    let metadata = core.issuers.metadata_of(core, provider).await;
    let metadata = metadata.inspect_err(|error| tracing::warn!(%error, "a provider cannot be asked")).ok()?;
    let mut url = metadata.end_session_endpoint.clone()?;
    let hint = browser_sessions::id_token(core, session).await;
    let hint =
        hint.inspect_err(|error| tracing::warn!(%error, "an ID token cannot be opened")).ok().flatten();
    let default = SignIn::default();
    let client_id = &provider.sign_in.as_ref().unwrap_or(&default).client_id;
    let back = format!("{}{}", core.settings.issuer, path::SIGN_OUT);
    let mut query = url.query_pairs_mut();
    query.append_pair("client_id", client_id).append_pair("post_logout_redirect_uri", &back);
    if let Some(hint) = hint {
        query.append_pair("id_token_hint", hint.expose_secret());
    }
    drop(query);
    Some(url)
}

/// That a logout token was used.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct UsedLogoutToken {
    at: Timestamp,
}

impl Entity for UsedLogoutToken {
    const KIND: &'static str = "used logout token";
}

/// How long that is remembered: longer than such a token is believed, by any of our machines' clocks.
const REMEMBERED_FOR: std::time::Duration =
    std::time::Duration::from_secs(LOGOUT_TOKEN_LASTS.unsigned_abs() + 300);

/// How many sessions one change ends.
const ENDED_AT_ONCE: usize = 15;

/// Ends the sessions that a logout token names. Each token counts once.
pub async fn backchannel_logout(
    core: &Core,
    request: &RequestContext,
    provider_id: &str,
    logout_token: &str,
) -> Result<()> {
    let provider = provider(core, provider_id)?;
    let verified = core.issuers.verify_logout_token(core, provider, logout_token).await?;
    let token = verified.require(|why| {
        Error::Invalid(Told::of(Reason::UserTokenRefused, format!("logout_token: {why}")).because(why))
    })?;
    let sessions = named_by(core, &token).await?;
    let now = core.clock.now();
    let used = Key::used_logout_token(&token.issuer, &token.jti);
    let mut first = true;
    let mut chunks = sessions.chunks(ENDED_AT_ONCE);
    let mut next = chunks.next().unwrap_or_default();
    // The token is used up with the first sessions that it ends. If the process dies then, the provider is not told that
    // it worked, and the rest end by themselves.
    loop {
        retry_on_conflict(|| async {
            let mut change = Change::new();
            if first {
                if core.table.read_one::<UsedLogoutToken>(used.clone()).await?.is_some() {
                    return Err(Error::invalid("logout_token: it has been used already").into());
                }
                let note = UsedLogoutToken { at: now };
                change.create_expiring(used.clone(), &note, now.plus(REMEMBERED_FOR))?;
            }
            for session in next {
                browser_sessions::remove(&mut change, session)?;
                let event = Event {
                    user_id: Some(session.user_id),
                    ..Event::new(core, request, Action::BrowserSessionEnd)?
                        .about("browser_session", session.id)
                };
                change.record(&event.note(format!("by {}", token.issuer)))?;
            }
            core.table.commit(change).await?;
            Ok::<_, CommitError>(())
        })
        .await?;
        first = false;
        match chunks.next() {
            Some(more) => next = more,
            None => return Ok(()),
        }
    }
}

/// The sessions that began by the provider's session, or by any of its user's if it names none.
async fn named_by(core: &Core, token: &LogoutToken) -> Result<Vec<BrowserSession>> {
    match (&token.sid, &token.subject) {
        (Some(sid), subject) => {
            let mut sessions = browser_sessions::of_provider_session(core, &token.issuer, sid).await?;
            sessions.retain(|session| subject.as_ref().is_none_or(|subject| *subject == session.subject));
            Ok(sessions)
        }
        (None, Some(subject)) => sessions_of(core, &token.issuer, subject).await,
        (None, None) => Ok(Vec::new()),
    }
}
