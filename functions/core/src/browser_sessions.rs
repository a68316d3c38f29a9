//! People's sessions in browsers, from signing in to signing out.
//!
//! A session is an item of its user's, found by a cookie of 256 random bits, of which the item has the hash. It is read
//! with its user at each request, strongly consistently, like any credential. It ends by itself when it is not used for
//! a while and some hours after it began ([`BrowserSessionTimes`]), with its user, and when the identity by which the user
//! signed in is taken from them.
//!
//! **A form's token** is a MAC of what the form is for, under the cookie. Nothing is stored for it, and a page that is
//! loaded again has the same one.
//!
//! Only pages take the cookie. The JSON API never does.

use std::{fmt, time::Duration};

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    Core,
    audit::{Action, Event, RequestContext},
    caller::{CredentialId, Power, UserCaller},
    clock::Timestamp,
    error::{Error, Result},
    gone,
    ids::{BrowserSessionId, UserId},
    paging::{Listing, PageRequest},
    secret::{BROWSER_SESSION_PREFIX, PresentedSecret, new_owned_secret},
    table::{Change, CommitError, Key, Partition, Stored, retry_on_conflict},
    users::{self, Identity, User, UserPointer},
};

pub use crate::entities::browser_session::BrowserSession;
use crate::entities::browser_session::ProviderSession;

/// How long browser sessions last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrowserSessionTimes {
    /// Without use.
    pub idle: Duration,
    /// In all.
    pub total: Duration,
}

impl Default for BrowserSessionTimes {
    fn default() -> Self {
        Self { idle: Duration::from_mins(30), total: Duration::from_hours(12) }
    }
}

/// How many sessions a user can have. The oldest make room for a new one.
pub const MAX_BROWSER_SESSIONS: usize = 50;
/// How many sessions one change removes.
const DROPPED_AT_ONCE: usize = 20;
/// How old `used_at` becomes before it is written anew.
const NOTED_EVERY: Duration = Duration::from_mins(1);

/// The longest ID token that is kept. A longer one would not fit into the address of a provider's page.
const MAX_ID_TOKEN: usize = 4096;

/// What a new session begins with.
#[derive(Clone, Debug)]
pub struct NewBrowserSession<'a> {
    pub user: &'a User,
    /// By which the user signed in. It is one of the user's.
    pub identity: &'a Identity,
    pub sid: Option<&'a str>,
    pub id_token: Option<&'a str>,
    /// The session in whose place it comes.
    pub previous: Option<&'a BrowserSession>,
}

/// Adds a new session to a change, and removes the user's oldest ones if there are too many. Answers its cookie.
pub async fn add(
    core: &Core,
    change: &mut Change,
    new: NewBrowserSession<'_>,
) -> Result<(BrowserSession, SecretString)> {
    let NewBrowserSession { user, identity, sid, id_token, previous } = new;
    let now = core.clock.now();
    let id = BrowserSessionId(core.random.uuid()?);
    let made = new_owned_secret(&core.random, BROWSER_SESSION_PREFIX, user.id, id.0)?;
    let id_token = match id_token.filter(|token| token.len() <= MAX_ID_TOKEN) {
        None => None,
        Some(token) => Some(core.vault.seal(&Key::id_token(user.id, id), token.as_bytes()).await?),
    };
    let session = BrowserSession {
        id,
        user_id: user.id,
        user_epoch: user.epoch,
        hash: made.hash,
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        sid: sid.map(str::to_owned),
        id_token,
        created_at: now,
        used_at: now,
        expires_at: now.plus(core.settings.browser_sessions.total),
    };
    if let Some(previous) = previous {
        remove(change, previous)?;
    }
    let mut others = core.table.query_all::<BrowserSession>(&Partition::browser_sessions_of(user.id)).await?;
    others.retain(|session| previous.is_none_or(|previous| previous.id != session.id));
    let too_many = (others.len() + 1).saturating_sub(MAX_BROWSER_SESSIONS);
    others.sort_unstable_by_key(|session| session.created_at);
    for oldest in others.iter().take(too_many.min(DROPPED_AT_ONCE)) {
        remove(change, oldest)?;
    }
    change.create_expiring(session.key(), &session, session.expires_at)?;
    if let Some(sid) = &session.sid {
        let pointer = ProviderSession { user_id: user.id, session_id: id };
        let key = Key::provider_session(&session.issuer, sid, id);
        change.create_expiring(key, &pointer, session.expires_at)?;
    }
    Ok((session, made.text))
}

/// Adds to a change that a session ends, however it is by now.
pub(crate) fn remove(change: &mut Change, session: &BrowserSession) -> Result<()> {
    change.remove(&session.key())?;
    if let Some(sid) = &session.sid {
        change.remove(&Key::provider_session(&session.issuer, sid, session.id))?;
    }
    Ok(())
}

/// Adds to a change that a session ends that is still as it was read.
pub(crate) fn end_as_read(change: &mut Change, session: &Stored<BrowserSession>) -> Result<()> {
    change.delete(&session.key(), session.rev)?;
    if let Some(sid) = &session.sid {
        change.remove(&Key::provider_session(&session.issuer, sid, session.id))?;
    }
    Ok(())
}

/// The sessions that began by this session at the provider.
pub(crate) async fn of_provider_session(core: &Core, issuer: &str, sid: &str) -> Result<Vec<BrowserSession>> {
    let pointers = core.table.query_all::<ProviderSession>(&Partition::provider_session(issuer, sid)).await?;
    let keys = pointers.iter().map(|pointer| Key::browser_session(pointer.user_id, pointer.session_id));
    let sessions = core.table.read_all::<BrowserSession>(&keys.collect::<Vec<_>>()).await?;
    let is_its = |session: &BrowserSession| session.issuer == issuer && session.sid.as_deref() == Some(sid);
    Ok(sessions.into_iter().map(|session| session.value).filter(is_its).collect())
}

/// The sessions of the user whom the issuer calls so, by this issuer.
pub(crate) async fn sessions_of(core: &Core, issuer: &str, subject: &str) -> Result<Vec<BrowserSession>> {
    let identity = Identity { issuer: issuer.to_owned(), subject: subject.to_owned() };
    let Some(pointer) = core.table.read_one::<UserPointer>(identity.key()).await? else {
        return Ok(Vec::new());
    };
    let list = Partition::browser_sessions_of(pointer.user_id);
    let sessions = core.table.query_all::<BrowserSession>(&list).await?;
    Ok(sessions.into_iter().map(|session| session.value).filter(|session| session.is_of(&identity)).collect())
}

/// A person at a browser, by the cookie of a session.
#[derive(Clone)]
pub struct SignedIn {
    pub caller: UserCaller,
    pub session: BrowserSession,
    form_key: hmac::Key,
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn").field("caller", &self.caller).finish_non_exhaustive()
    }
}

impl SignedIn {
    /// The token that a form for this purpose sends back. It is the session's: no other page can know it.
    pub fn form_token(&self, purpose: &str) -> String {
        let tag = hmac::sign(&self.form_key, format!("deputize form\0{purpose}").as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(tag.as_ref())
    }

    /// Compares in constant time.
    pub fn is_form_token(&self, purpose: &str, presented: &str) -> bool {
        verify_slices_are_equal(self.form_token(purpose).as_bytes(), presented.as_bytes()).is_ok()
    }
}

impl Core {
    /// Who sits at the browser that sent this cookie; nobody if its session is over, or never was. This is the only
    /// place that decides it.
    pub async fn browser_caller(&self, cookie: &str, request: &RequestContext) -> Result<Option<SignedIn>> {
        let Some(presented) = PresentedSecret::browser_session(cookie) else { return Ok(None) };
        let id = BrowserSessionId(presented.id);
        let (key, user_key) = (Key::browser_session(presented.user_id, id), Key::user(presented.user_id));
        let mut found = self.table.read(vec![key.clone(), user_key.clone()]).await?;
        let session = found.take::<BrowserSession>(&key)?;
        let user = found.take::<User>(&user_key)?.filter(|user| user.active);
        let (Some(session), Some(Stored { value: user, .. })) = (session, user) else { return Ok(None) };
        let now = self.clock.now();
        let stands = session.hash.matches(&presented.hash)
            && now < session.ends_at(self.settings.browser_sessions.idle)
            && user.epoch == session.user_epoch
            && user.identities.iter().any(|identity| session.is_of(identity));
        if !stands {
            return Ok(None);
        }
        let session = self.note_use(session, now, request).await;
        let user = self.counting_claims(user);
        let caller = UserCaller::new(user, CredentialId::BrowserSession(id));
        let form_key = hmac::Key::new(hmac::HMAC_SHA256, cookie.as_bytes());
        Ok(Some(SignedIn { caller, session, form_key }))
    }

    /// Writes that a session is used, if that was not written just now. If it cannot be written, the session ends
    /// earlier.
    async fn note_use(
        &self,
        was: Stored<BrowserSession>,
        now: Timestamp,
        request: &RequestContext,
    ) -> BrowserSession {
        let Stored { rev, value: mut session } = was;
        if now < session.used_at.plus(NOTED_EVERY) {
            return session;
        }
        session.used_at = now;
        let noted = async {
            let mut change = Change::new();
            change.replace_expiring(session.key(), &session, rev, session.expires_at)?;
            self.table.commit(change).await
        };
        if let Err(CommitError::Failed(error)) = noted.await {
            tracing::warn!(%error, request_id = %request.id, "the use of a browser session was not noted");
        }
        session
    }
}

/// A user's sessions that are not over: the caller's own, or any user's for an admin.
pub async fn list(
    core: &Core,
    caller: &UserCaller,
    owner: UserId,
    page: &PageRequest,
) -> Result<Listing<BrowserSession>> {
    caller.require_self_or(owner, Power::Read)?;
    let listed = page.list_items::<BrowserSession>(core, &Partition::browser_sessions_of(owner)).await?;
    let (now, idle) = (core.clock.now(), core.settings.browser_sessions.idle);
    let Listing { items, next } = listed.map(|stored| stored.value);
    let user = users::looked_at(core, caller, owner).await?;
    let is_of = |session: &BrowserSession| {
        user.as_ref().is_none_or(|user| user.vouches_for(Some(session.user_epoch), session.created_at))
    };
    let items = items.into_iter().filter(|session| now < session.ends_at(idle) && is_of(session)).collect();
    Ok(Listing { items, next })
}

/// Ends a session: the caller's own, or any user's for an admin.
pub async fn end(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    owner: UserId,
    id: BrowserSessionId,
) -> Result<()> {
    caller.require_self_or(owner, Power::Operate)?;
    let key = Key::browser_session(owner, id);
    let ended = retry_on_conflict(|| async {
        let was = core.table.read_one::<BrowserSession>(key.clone()).await?;
        let was = was.ok_or(Error::NotFound(BrowserSessionId::WHAT))?;
        let mut change = caller.change_of(&key)?;
        remove(&mut change, &was)?;
        let event = caller.event(core, request, Action::BrowserSessionEnd)?.about("browser_session", id);
        gone::note(core, &mut change, &key)?;
        change.record(&event)?;
        core.table.commit(change).await
    });
    gone::or_before(core, &key, BrowserSessionId::WHAT, ended.await).await
}

/// Ends the session of the person who signs out. It may be over already.
pub async fn sign_out(core: &Core, person: &SignedIn, request: &RequestContext) -> Result<()> {
    let session = &person.session;
    retry_on_conflict(|| async {
        let mut change = Change::new();
        remove(&mut change, session)?;
        let event = Event {
            user_id: Some(session.user_id),
            credential: Some(CredentialId::BrowserSession(session.id).to_string()),
            ..Event::new(core, request, Action::SignOut)?.about("browser_session", session.id)
        };
        change.record(&event)?;
        core.table.commit(change).await
    })
    .await
}

/// The ID token with which the session began, if it is kept.
pub async fn id_token(core: &Core, session: &BrowserSession) -> Result<Option<SecretString>> {
    let Some(sealed) = &session.id_token else { return Ok(None) };
    let opened = core.vault.open(&Key::id_token(session.user_id, session.id), sealed).await?;
    let text = std::str::from_utf8(&opened.value).map_err(Error::internal)?;
    Ok(Some(SecretString::from(text)))
}

/// The cookie's value, for the one answer that sets it.
pub fn cookie_value(secret: &SecretString) -> &str {
    secret.expose_secret()
}
