//! The access token of an app, which acts as its user (RFC 9068, `typ: at+jwt`).
//!
//! Its `sub` is the user, and its `client_id` the app's [`AppId`]. It rests on the user's *authorization* of the app. It
//! ends with that, with the user, and when an admin blocks the app or the host that it is from. All of these are items
//! of a call's one read.

use std::time::Duration;

use deputize_api::reason::Reason;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use uuid::Uuid;

use super::{
    LIFETIME,
    keyring::Keyring,
    refused::{AgentTokenError, check_times},
};
use crate::{
    Core, Settings,
    apps::{App, AppKind, Authorization},
    audience::{Audience, Resource},
    clock::Timestamp,
    control::Version,
    error::{Error, Result, Told},
    ids::{AppId, AuthorizationId, UserId},
    scope::Scopes,
    table::{Found, Key},
    users::User,
};

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    client_id: AppId,
    /// The host that the app is from, so that its block is read beside everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_host: Option<String>,
    jti: Uuid,
    iat: i64,
    exp: i64,
    scope: String,
    authorization_id: AuthorizationId,
}

/// An app's token with a valid signature, issuer, times and audience. Whether what it rests on is still valid is in the
/// table.
#[derive(Clone, Debug)]
pub struct AppToken {
    pub kid: String,
    pub jti: Uuid,
    pub user: UserId,
    pub app: AppId,
    app_host: Option<String>,
    pub authorization: AuthorizationId,
    /// Where it is good: one resource.
    pub resource: Resource,
    pub scopes: Scopes,
    pub issued_at: i64,
    pub expires_at: i64,
}

/// Whether the claims of a token of ours are an app's.
pub(super) fn is_one(claims: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(default)]
        authorization_id: Option<IgnoredAny>,
    }
    serde_json::from_slice::<Kind>(claims).is_ok_and(|kind| kind.authorization_id.is_some())
}

/// Reads the claims of a token whose signature is right.
pub(super) fn read(
    kid: String,
    claims: &[u8],
    settings: &Settings,
    now: Timestamp,
    late_by: Duration,
) -> Result<AppToken, AgentTokenError> {
    let claims: Claims = serde_json::from_slice(claims).map_err(|_| AgentTokenError::NotAgentToken)?;
    check_times(settings, &claims.iss, (claims.iat, claims.exp), now, late_by)?;
    let resource = Resource::parse(settings, &claims.aud).ok_or(AgentTokenError::WrongAudience)?;
    Ok(AppToken {
        kid,
        jti: claims.jti,
        user: claims.sub,
        app: claims.client_id,
        app_host: claims.client_host,
        authorization: claims.authorization_id,
        resource,
        scopes: Scopes::of(&claims.scope),
        issued_at: claims.iat,
        expires_at: claims.exp,
    })
}

/// A signed token of an app.
#[derive(Debug)]
pub(crate) struct SignedAppToken {
    pub token: String,
    pub jti: Uuid,
    /// In seconds.
    pub expires_in: u64,
    pub expires_at: Timestamp,
}

/// Signs a token that rests on an authorization, for some of its scopes.
pub(crate) async fn sign(
    core: &Core,
    keyring: &Keyring,
    authorization: &Authorization,
    scopes: Scopes,
) -> Result<SignedAppToken> {
    let now = core.clock.now();
    let claims = Claims {
        iss: core.settings.issuer.clone(),
        aud: authorization.resource.name(&core.settings),
        sub: authorization.user_id,
        client_id: authorization.app.clone(),
        client_host: authorization.app_host.clone(),
        jti: core.random.uuid()?,
        iat: now.as_seconds(),
        exp: now.plus(LIFETIME).min(authorization.expires_at()).as_seconds(),
        scope: scopes.to_string(),
        authorization_id: authorization.id,
    };
    Ok(SignedAppToken {
        token: keyring.sign(core, &claims).await?,
        jti: claims.jti,
        expires_in: u64::try_from(claims.exp - claims.iat).unwrap_or_default(),
        expires_at: Timestamp::from_seconds(claims.exp),
    })
}

/// The items that say whether an app may act at all: what an admin said of it, and of the host that it is from.
pub(crate) fn app_keys(app: &AppId, host: Option<&str>) -> impl Iterator<Item = Key> {
    std::iter::once(Key::app(app)).chain(host.map(Key::app_host))
}

/// Refuses an app that an admin blocked, or no longer registers.
pub(crate) fn require_allowed(
    found: &mut Found,
    app: &AppId,
    kind: AppKind,
    host: Option<&str>,
) -> Result<()> {
    let known = found.take::<App>(&Key::app(app))?;
    let host_is_blocked = host.is_some_and(|host| found.contains(&Key::app_host(host)));
    let refusal = refusal_of(known.as_deref(), host_is_blocked, kind);
    refusal.map_or(Ok(()), |why| Err(Error::Unauthenticated(Told::of(Reason::TokenRevoked, why))))
}

/// Why an app may not act, by what an admin said of it. This is the only place that decides it.
pub(super) fn refusal_of(known: Option<&App>, host_is_blocked: bool, kind: AppKind) -> Option<&'static str> {
    if kind == AppKind::Registered && known.is_none() {
        return Some("The app is not registered any more");
    }
    let is_blocked = host_is_blocked || known.is_some_and(|known| known.blocked_at.is_some());
    is_blocked.then_some("An admin has blocked the app")
}

impl AppToken {
    /// The items that the token rests on, beside the control versions.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut keys = vec![Key::user(self.user), self.authorization_key(), Key::revoked_token(self.jti)];
        keys.extend(app_keys(&self.app, self.app_host.as_deref()));
        keys
    }

    pub(crate) fn authorization_key(&self) -> Key {
        Key::authorization(self.user, self.authorization)
    }

    /// Refuses a token that has expired since it was verified.
    pub(crate) fn require_unexpired(&self, now: Timestamp) -> Result<()> {
        if now.as_seconds() < self.expires_at {
            Ok(())
        } else {
            Err(Error::Unauthenticated(Told::by(Reason::TokenExpired, AgentTokenError::Expired)))
        }
    }

    /// Refuses a token that is not good at what `is_meant` accepts. The answer is a 401, after which clients ask for a
    /// token for this resource.
    pub(crate) fn require_for(&self, is_meant: impl FnOnce(&Audience) -> bool) -> Result<()> {
        let audience = Audience::of([self.resource.clone()]);
        if audience.is_some_and(|audience| is_meant(&audience)) {
            Ok(())
        } else {
            Err(Error::Unauthenticated(Told::by(
                Reason::TokenForOtherAudience,
                AgentTokenError::WrongAudience,
            )))
        }
    }

    /// Requires that everything that the token rests on is valid. This is the only place that decides it.
    pub(crate) async fn check_standing(
        &self,
        core: &Core,
        found: &mut Found,
        keys: Version,
    ) -> Result<(User, Authorization)> {
        let revoked = |why: &'static str| Error::Unauthenticated(Told::of(Reason::TokenRevoked, why));
        if !core.keyring_at(keys).await?.knows(&self.kid) {
            return Err(revoked("The token is signed with an unknown key"));
        }
        if found.contains(&Key::revoked_token(self.jti)) {
            return Err(revoked("The token has been revoked"));
        }
        let authorization = found
            .take::<Authorization>(&self.authorization_key())?
            .filter(|authorization| authorization.app == self.app && authorization.is_live(core.clock.now()))
            .ok_or_else(|| revoked("The user's authorization of the app is revoked or has expired"))?
            .value;
        require_allowed(found, &self.app, authorization.app_kind, self.app_host.as_deref())?;
        let user = found.take::<User>(&Key::user(self.user))?.filter(|user| user.active);
        let user = user.ok_or_else(|| {
            Error::Unauthenticated(Told::of(Reason::UserInactive, "The user is deactivated"))
        })?;
        if user.epoch != authorization.user_epoch {
            return Err(revoked("The user was deactivated after they allowed the app"));
        }
        Ok((core.counting_claims(user.value), authorization))
    }
}
