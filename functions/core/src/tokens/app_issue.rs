//! Tokens for apps: for an authorization code (RFC 6749 section 4.1.3), and for a refresh token (section 6).
//!
//! A refresh is one read and one transaction, and so is the redemption of a code: what is presented names all that is to
//! be read ([`super::app_secret`]), and the transaction has the audit event in it. It requires that everything it changes
//! is as it was read. Who loses a race reads again, decides again, and gets that answer.
//!
//! **Order.** What was presented must be known, then the app must prove itself as it had to when the user allowed it,
//! and only then is anything else judged. Whatever is refused for what was asked for has changed nothing.
//!
//! **Reuse.** A code or a refresh token that was used before, and comes again when it must not, ends all that came of it:
//! one of its two holders is a thief (RFC 9700 section 4.14.2, RFC 6749 section 4.1.2). For a code, its verifier must
//! come with it.
//!
//! An answer that was lost is no reuse: of a refresh token, see [`super::family`]. If the store took a change and its
//! answer was lost, the process that made it recognizes its own work.

use std::sync::{Arc, Mutex, PoisonError};

use deputize_api::{path, reason::Reason};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{
    ClientAuth, LIFETIME, RequestedResource,
    app_client::{PresentedApp, auth_now},
    app_secret::{AppSecret, RestsOn},
    app_token,
    assertion::{AssertionUse, denied, store, used_already},
    code::{AuthorizationCode, Gave},
    family::{self, Standing, TokenFamily},
    keyring::Keyring,
    revoked::add_revocation,
};
use crate::{
    Core,
    app_standing::refusal_of,
    apps::{App, AppAuth, AppKind, Authorization, BlockedHost, LASTS},
    audience::Resource,
    audit::{Action, Event, RequestContext},
    caller::CredentialId,
    clock::Timestamp,
    control::{self, Control},
    error::{Error, Result, TokenError, Told},
    scope::Scopes,
    secret::{CODE_PREFIX, REFRESH_TOKEN_PREFIX},
    table::{Change, CommitError, Found, Key, Stored, retry_on_conflict},
    users::User,
};

/// A token request of an app.
#[derive(Debug)]
pub struct AppTokenRequest<'a> {
    pub client: Option<ClientAuth>,
    pub grant: AppGrant,
    /// For a refresh: some of the scopes that the user allowed.
    pub scope: Option<&'a str>,
    /// What the user allowed it for, if it is said again.
    pub targets: Vec<RequestedResource<'a>>,
}

#[derive(Debug)]
pub enum AppGrant {
    Code { code: SecretString, redirect_uri: Option<String>, verifier: SecretString },
    Refresh(SecretString),
}

/// What an app gets.
#[derive(Clone, Debug)]
pub struct AppTokens {
    pub access_token: SecretString,
    /// In seconds.
    pub expires_in: u64,
    pub scope: Scopes,
    pub refresh_token: Option<SecretString>,
}

/// Issues an app's tokens or refuses to. In both cases an audit event is stored before this returns.
pub async fn issue_to_app(
    core: &Core,
    request: &RequestContext,
    asked: AppTokenRequest<'_>,
) -> Result<AppTokens> {
    let AppTokenRequest { client, grant, scope, targets } = asked;
    let client = client.ok_or(TokenError::InvalidClient);
    let client = match client.and_then(|auth| PresentedApp::identify(core, path::TOKEN, auth)) {
        Ok(client) => client,
        Err(refusal) => return Err(refuse(core, request, refusal).await),
    };
    let presented = match &grant {
        AppGrant::Code { code, .. } => AppSecret::parse(CODE_PREFIX, code),
        AppGrant::Refresh(token) => AppSecret::parse(REFRESH_TOKEN_PREFIX, token),
    };
    let redemption = Redemption { core, client, grant, presented, scope, targets, done: Mutex::default() };
    retry_on_conflict(|| Box::pin(redemption.attempt(request))).await
}

/// Refuses an app's request that does not even say what it asks for.
pub async fn refuse(core: &Core, request: &RequestContext, refusal: TokenError) -> Error {
    let event = match Event::new(core, request, Action::AppTokenIssue) {
        Ok(event) => event,
        Err(error) => return error,
    };
    match core.table.append(&denied(event, &refusal)).await {
        Ok(()) => refusal.into(),
        Err(error) => error,
    }
}

/// A code or refresh token to redeem.
struct Redemption<'a> {
    core: &'a Core,
    client: PresentedApp,
    grant: AppGrant,
    /// `None` if the text is none of ours.
    presented: Option<AppSecret>,
    scope: Option<&'a str>,
    targets: Vec<RequestedResource<'a>>,
    /// What the last attempt would have given.
    done: Mutex<Option<Made>>,
}

/// What a change gives that may have been made.
#[derive(Clone)]
struct Made {
    jti: Uuid,
    tokens: AppTokens,
}

/// What an attempt comes to.
enum Decided {
    /// To be given once the change is made.
    Issued(Box<Change>, Made),
    /// The change of an earlier attempt was made after all.
    Done(AppTokens),
    /// To be refused once the change is made.
    Ended(Box<Change>, TokenError),
}

/// What is known by an attempt.
struct Known {
    found: Found,
    app: Option<Stored<App>>,
    keyring: Arc<Keyring>,
    now: Timestamp,
}

/// How an attempt is recorded.
struct Notes {
    event: Event,
    assertion_use: Option<AssertionUse>,
}

fn invalid_grant(reason: Reason, why: &'static str) -> TokenError {
    TokenError::InvalidGrant(Told::of(reason, why))
}

fn code_refused(why: &'static str) -> TokenError {
    invalid_grant(Reason::CodeRefused, why)
}

fn refresh_token_refused(why: &'static str) -> TokenError {
    invalid_grant(Reason::RefreshTokenRefused, why)
}

const UNKNOWN_CODE: &str = "The authorization code is not known, has expired, or is another client's";
const UNKNOWN_REFRESH_TOKEN: &str =
    "The refresh token is not known, has expired or been revoked, or is another client's";

impl Redemption<'_> {
    async fn attempt(&self, request: &RequestContext) -> Result<AppTokens, CommitError> {
        let core = self.core;
        let event = Event::new(core, request, Action::AppTokenIssue)?;
        let mut notes = Notes { event, assertion_use: None };
        let is_again = self.made().is_some();
        let decided = match self.decide(&mut notes).await {
            Err(Error::Token(refusal)) => {
                store(core, &denied(notes.event, &refusal), notes.assertion_use.as_ref()).await?;
                return Err(refusal.into());
            }
            decided => decided?,
        };
        let (change, outcome) = match decided {
            Decided::Done(tokens) => return Ok(tokens),
            Decided::Issued(mut change, made) => {
                notes.event.token_id = Some(made.jti);
                change.record(&notes.event)?;
                (change, Ok(made))
            }
            Decided::Ended(mut change, refusal) => {
                change.record(&denied(notes.event.clone(), &refusal))?;
                (change, Err(refusal))
            }
        };
        let mut change = *change;
        if let Some(assertion_use) = &notes.assertion_use {
            if is_again && assertion_use.is_used(core).await? {
                let refusal = used_already();
                core.table.append(&denied(Event { token_id: None, ..notes.event }, &refusal)).await?;
                return Err(refusal.into());
            }
            assertion_use.note(&mut change, core.clock.now())?;
        }
        if let Ok(made) = &outcome {
            *self.done.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
        }
        core.table.commit(change).await?;
        Ok(outcome?.tokens)
    }

    fn made(&self) -> Option<Made> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The tokens of an earlier attempt, if this is its access token's id.
    fn made_as(&self, is_it: impl FnOnce(Uuid) -> bool) -> Option<Decided> {
        self.made().filter(|made| is_it(made.jti)).map(|made| Decided::Done(made.tokens))
    }

    async fn decide(&self, notes: &mut Notes) -> Result<Decided> {
        let core = self.core;
        let control_key = Control::any_key(core)?;
        let rests_on = self.presented.as_ref().map(|presented| &presented.rests_on);
        let host = rests_on.and_then(|rests_on| rests_on.app_host.as_deref());
        let mut keys = vec![control_key.clone()];
        keys.push(Key::app(&self.client.id));
        keys.extend(host.map(Key::app_host));
        keys.extend(rests_on.into_iter().flat_map(|rests_on| {
            [
                Key::user(rests_on.user),
                Key::authorization(rests_on.user, rests_on.authorization),
                Key::token_family(rests_on.user, rests_on.family),
            ]
        }));
        if let AppGrant::Code { code, .. } = &self.grant {
            keys.push(Key::authorization_code(code.expose_secret()));
        }
        let mut found = core.table.read(keys).await?;
        let control = found.take::<Control>(&control_key)?.ok_or_else(control::missing)?;
        let keyring = core.keyring_at(control.version_of_keys()).await?;
        let app = found.take::<App>(&Key::app(&self.client.id))?;
        let known = Known { found, app, keyring, now: core.clock.now() };
        crate::apps::prepare(core, &self.client.client_id).await?;
        match (&self.grant, &self.presented) {
            (AppGrant::Code { code, redirect_uri, verifier }, Some(presented)) => {
                self.redeem(known, notes, presented, (code, redirect_uri.as_deref(), verifier)).await
            }
            (AppGrant::Refresh(_), Some(presented)) => self.refresh(known, notes, presented).await,
            (AppGrant::Code { .. }, None) => Err(self.stranger(&known, code_refused(UNKNOWN_CODE)).await),
            (AppGrant::Refresh(_), None) => {
                Err(self.stranger(&known, refresh_token_refused(UNKNOWN_REFRESH_TOKEN)).await)
            }
        }
    }

    async fn stranger(&self, known: &Known, refusal: TokenError) -> Error {
        self.client.stranger(self.core, known.app.as_deref(), refusal).await
    }

    /// RFC 6749 section 4.1.3, RFC 7636 section 4.6.
    async fn redeem(
        &self,
        mut known: Known,
        notes: &mut Notes,
        presented: &AppSecret,
        (text, redirect_uri, verifier): (&SecretString, Option<&str>, &SecretString),
    ) -> Result<Decided> {
        let (core, now) = (self.core, known.now);
        let key = Key::authorization_code(text.expose_secret());
        let kept = known.found.take::<AuthorizationCode>(&key)?.filter(|kept| kept.app == self.client.id);
        let Some(mut kept) = kept else {
            return Err(self.stranger(&known, code_refused(UNKNOWN_CODE)).await);
        };
        let rests_on = &presented.rests_on;
        self.prove(&known, notes, &kept.auth).await?;
        self.note(notes, rests_on, &CredentialId::AuthorizationCode(rests_on.family));
        if !kept.is_verified_by(verifier) {
            return Err(code_refused("The code_verifier is not the one of the code_challenge").into());
        }
        if let Some(gave) = kept.gave {
            if let Some(done) = self.made_as(|jti| jti == gave.jti) {
                return Ok(done);
            }
            return end_of_reused_code(core, &mut known, rests_on, gave).await;
        }
        if now >= kept.expires_at {
            return Err(code_refused(UNKNOWN_CODE).into());
        }
        // A client of OAuth 2.1 sends none (draft-ietf-oauth-v2-1 section 10.2). PKCE binds the code all the same.
        if redirect_uri.is_some_and(|uri| kept.redirect_uri.as_deref() != Some(uri)) {
            return Err(code_refused("The redirect_uri is not that of the authorization request").into());
        }
        let authorization = self.basis(&mut known, rests_on).await?;
        note_server(&mut notes.event, &authorization.resource);

        let scope = kept.scope.and(Scopes { offline_access: true, ..authorization.scope });
        let mut issued = Issuing::begin(core, &known, authorization, scope).await?;
        let Made { jti, tokens } = &mut issued.made;
        let is_for_mcp = issued.authorization.resource != Resource::Management;
        let mut kept_until = issued.token_ends.plus(LIFETIME);
        if scope.offline_access || is_for_mcp {
            let rests_on = RestsOn::of(&issued.authorization, rests_on.family);
            let (app, auth) = (kept.app.clone(), kept.auth.clone());
            let (mut family, token) = TokenFamily::begin(core, app, auth, scope, rests_on)?;
            family.note_use(now, &issued.authorization, *jti, issued.token_ends);
            let key = Key::token_family(presented.rests_on.user, presented.rests_on.family);
            issued.change.create_expiring(key, &family, family.expires_at)?;
            tokens.refresh_token = Some(token);
            kept_until = kept_until.max(issued.authorization.allowed_at.plus(LASTS));
        }
        let jti = issued.made.jti;
        let family = issued.made.tokens.refresh_token.is_some();
        kept.value.gave = Some(Gave { jti, expires_at: issued.token_ends, family });
        issued.change.replace_expiring(key, &kept.value, kept.rev, kept_until)?;
        Ok(Decided::Issued(Box::new(issued.change), issued.made))
    }

    /// RFC 6749 section 6.
    async fn refresh(&self, mut known: Known, notes: &mut Notes, presented: &AppSecret) -> Result<Decided> {
        let (core, now) = (self.core, known.now);
        let rests_on = &presented.rests_on;
        let key = Key::token_family(rests_on.user, rests_on.family);
        let family = known.found.take::<TokenFamily>(&key)?;
        let family = family.filter(|family| family.app == self.client.id && family.is_live(now));
        let unknown = || refresh_token_refused(UNKNOWN_REFRESH_TOKEN);
        let Some(mut family) = family else { return Err(self.stranger(&known, unknown()).await) };
        let standing = family.judge(presented, now);
        if standing == Standing::Strange {
            return Err(self.stranger(&known, unknown()).await);
        }
        self.prove(&known, notes, &family.auth).await?;
        self.note(notes, rests_on, &CredentialId::RefreshToken(rests_on.family));
        if let Some(done) = self.made_as(|jti| family.gave(jti)) {
            return Ok(done);
        }
        if standing == Standing::Spent {
            let mut change = Change::new();
            family::end(&mut change, &key, &family, now)?;
            let why = "The refresh token was used before, and its successor too: all tokens of this sign-in have ended";
            return Ok(Decided::Ended(Box::new(change), refresh_token_refused(why)));
        }
        let authorization = self.basis(&mut known, rests_on).await?;
        note_server(&mut notes.event, &authorization.resource);

        let allowed = family.scope.and(Scopes { offline_access: true, ..authorization.scope });
        let scope = narrowed(allowed, self.scope);
        let mut issued = Issuing::begin(core, &known, authorization, scope).await?;
        let token = match standing {
            Standing::Former(place) => {
                notes.event =
                    notes.event.clone().note("a former refresh token, whose answer may have been lost");
                family.newest(&key, presented, place)?
            }
            _ => {
                let rests_on = RestsOn::of(&issued.authorization, rests_on.family);
                family.value.rotate(core, &key, presented, rests_on)?
            }
        };
        family.value.note_use(now, &issued.authorization, issued.made.jti, issued.token_ends);
        issued.made.tokens.refresh_token = Some(token);
        issued.change.replace_expiring(key, &family.value, family.rev, family.expires_at)?;
        Ok(Decided::Issued(Box::new(issued.change), issued.made))
    }

    /// Proves the app by what it had to prove when the user allowed it.
    async fn prove(&self, known: &Known, notes: &mut Notes, kept: &AppAuth) -> Result<()> {
        let auth = auth_now(known.app.as_deref(), kept);
        notes.assertion_use = self.client.prove(self.core, auth).await?;
        Ok(())
    }

    /// Records whose it is that was presented.
    fn note(&self, notes: &mut Notes, rests_on: &RestsOn, credential: &CredentialId) {
        let event = &mut notes.event;
        event.user_id = Some(rests_on.user);
        event.client_id = Some(self.client.id.clone());
        event.credential = Some(credential.to_string());
        event.subject = Some(format!("authorization:{}", rests_on.authorization));
    }

    /// The authorization, if all is good that the tokens will rest on, and they are asked for what the user allowed.
    async fn basis(&self, known: &mut Known, rests_on: &RestsOn) -> Result<Stored<Authorization>> {
        let ended = |why: &'static str| Error::from(invalid_grant(Reason::AuthorizationEnded, why));
        let key = Key::authorization(rests_on.user, rests_on.authorization);
        let authorization = known.found.take::<Authorization>(&key)?;
        let authorization = authorization
            .filter(|authorization| authorization.app == self.client.id && authorization.is_live(known.now))
            .ok_or_else(|| ended("The user's authorization of the app is revoked or has expired"))?;
        self.require_target(&authorization.resource)?;
        let host = authorization.app_host.as_deref();
        let host_is_blocked = match host {
            None => false,
            // It is another one only if the user allowed the app anew, from another host.
            host if host != rests_on.app_host.as_deref() => {
                let key = host.map(Key::app_host);
                let key = key.ok_or_else(|| Error::internal("a host that is none"))?;
                self.core.table.read_one::<BlockedHost>(key).await?.is_some()
            }
            Some(host) => known.found.contains(&Key::app_host(host)),
        };
        let (app, taken) = (known.app.as_deref(), &self.core.settings.apps);
        if authorization.app_kind == AppKind::Registered && app.is_none_or(|app| app.registration.is_none()) {
            return Err(TokenError::InvalidClient.into());
        }
        if !taken.takes(authorization.app_kind) || !taken.takes_host(host) {
            return Err(ended("This deployment takes no such apps any more"));
        }
        if let Some(why) = refusal_of(app, host_is_blocked, authorization.app_kind) {
            return Err(ended(why));
        }
        let user = known.found.take::<User>(&Key::user(rests_on.user))?.filter(|user| user.active);
        let user = user.ok_or_else(|| invalid_grant(Reason::UserInactive, "The user is deactivated"))?;
        if user.epoch != authorization.user_epoch {
            return Err(ended("The user was deactivated after they allowed the app"));
        }
        Ok(authorization)
    }

    /// RFC 8707 section 2.2: a token is for what the user allowed, and nothing else.
    fn require_target(&self, allowed: &Resource) -> Result<(), TokenError> {
        let settings = &self.core.settings;
        let other = self
            .targets
            .iter()
            .find(|target| Resource::parse(settings, target.name).as_ref() != Some(allowed));
        other.map_or(Ok(()), |target| {
            let (parameter, allowed) = (target.parameter, allowed.name(settings));
            let why =
                format!("{parameter}: the user allowed the app {allowed}, and this is for something else");
            Err(TokenError::InvalidTarget(why))
        })
    }
}

/// What is issued, while it is put together.
struct Issuing {
    change: Change,
    made: Made,
    /// As it is after this use.
    authorization: Authorization,
    token_ends: Timestamp,
}

impl Issuing {
    /// Signs an access token, and notes that the authorization is used.
    async fn begin(
        core: &Core,
        known: &Known,
        authorization: Stored<Authorization>,
        scope: Scopes,
    ) -> Result<Self> {
        let Stored { rev, value: mut authorization } = authorization;
        authorization.used_at = authorization.used_at.max(known.now);
        let of_token = Scopes { offline_access: false, ..scope };
        let signed = app_token::sign(core, &known.keyring, &authorization, of_token).await?;
        let mut change = Change::new();
        change.replace_expiring(authorization.key(), &authorization, rev, authorization.expires_at())?;
        let tokens = AppTokens {
            access_token: SecretString::from(signed.token),
            expires_in: signed.expires_in,
            scope,
            refresh_token: None,
        };
        let made = Made { jti: signed.jti, tokens };
        Ok(Self { change, made, authorization, token_ends: signed.expires_at })
    }
}

/// Ends what a code gave that comes again.
async fn end_of_reused_code(
    core: &Core,
    known: &mut Known,
    rests_on: &RestsOn,
    gave: Gave,
) -> Result<Decided> {
    let mut change = Change::new();
    let key = Key::token_family(rests_on.user, rests_on.family);
    let mut family = known.found.take::<TokenFamily>(&key)?;
    if gave.family && family.is_none() {
        // It has ended already. Or the read saw the code after the change that redeemed it, and the family before.
        family = core.table.read_one(key.clone()).await?;
    }
    match &family {
        Some(family) => family::end(&mut change, &key, family, known.now)?,
        None if gave.family => drop(change.remove(&key)?),
        None => {}
    }
    if known.now < gave.expires_at && family.is_none_or(|family| !family.gave(gave.jti)) {
        add_revocation(&mut change, gave.jti, gave.expires_at.plus(LIFETIME))?;
    }
    let refusal =
        code_refused("The authorization code was used before: all tokens of this sign-in have ended");
    if change.is_empty() { Err(refusal.into()) } else { Ok(Decided::Ended(Box::new(change), refusal)) }
}

/// What is left of the allowed scopes, if only some are asked for. If none of them is, nothing is left out, as at the
/// authorization endpoint. What `offline_access` gave is given already.
fn narrowed(allowed: Scopes, asked: Option<&str>) -> Scopes {
    let asked = asked.map_or(allowed, Scopes::of);
    let left = Scopes { offline_access: false, ..asked.and(allowed) };
    let left = if left.is_empty() { allowed } else { left };
    Scopes { offline_access: allowed.offline_access, ..left }
}

fn note_server(event: &mut Event, resource: &Resource) {
    if let Resource::Server(server) = resource {
        event.server_id = Some(server.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_narrows_to_what_is_allowed_and_never_widens() {
        for (allowed, asked, left) in [
            ("tools:call manage", None, "tools:call manage"),
            ("tools:call manage", Some("manage"), "manage"),
            ("tools:call offline_access", Some("tools:call"), "tools:call offline_access"),
            ("tools:call", Some("tools:call manage openid offline_access"), "tools:call"),
            ("manage offline_access", Some("offline_access"), "manage offline_access"),
            ("manage", Some("tools:call"), "manage"),
        ] {
            assert_eq!(narrowed(Scopes::of(allowed), asked).to_string(), left, "{allowed}; {asked:?}");
        }
    }
}
