//! Authorization codes (RFC 6749 section 4.1.2, with PKCE: RFC 7636): made at consent, redeemed at the token endpoint.
//!
//! A code is good for 60 seconds, once. It is kept after that, as long as anything lives that it gave: if it comes again
//! *with its verifier*, somebody has stolen it, and what it gave ends. Without its verifier it changes nothing, since
//! codes are in the histories of browsers and in logs.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::app_secret::{AppSecret, RestsOn};
use crate::{
    Core,
    apps::{AppAuth, Authorization, app_id},
    clock::Timestamp,
    error::{Error, Result},
    ids::{AppId, TokenFamilyId},
    scope::Scopes,
    secret::{CODE_PREFIX, sha256_base64url},
    table::{Change, Entity, Key},
};

/// How long a code can be redeemed. Browsers and apps redeem at once.
pub const CODE_LIVES: Duration = Duration::from_secs(60);

/// A code to make.
#[derive(Debug)]
pub struct NewCode<'a> {
    /// What it rests on. The user, the app, its host and the resource are this one's.
    pub authorization: &'a Authorization,
    /// How the app proves itself at the token endpoint, as it was when the user allowed it.
    pub auth: &'a AppAuth,
    pub client_id: &'a str,
    /// As the authorization request had it; `None` if it named none (RFC 6749 section 4.1.3).
    pub redirect_uri: Option<&'a str>,
    /// The `code_challenge`, by `S256`.
    pub challenge: &'a str,
    /// What the app may do; with `offline_access` if it asked for that.
    pub scopes: Scopes,
}

/// A code, as it is kept. It is found by its hash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AuthorizationCode {
    pub app: AppId,
    pub auth: AppAuth,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
    pub challenge: String,
    pub scope: Scopes,
    pub expires_at: Timestamp,
    /// What it gave, once it is redeemed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gave: Option<Gave>,
}

/// What a code gave, beside its family of refresh tokens: the first access token.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Gave {
    pub jti: Uuid,
    pub expires_at: Timestamp,
    /// Whether there were refresh tokens.
    pub family: bool,
}

impl AuthorizationCode {
    /// Whether this is what the challenge was made of (RFC 7636 section 4.6).
    pub(super) fn is_verified_by(&self, verifier: &SecretString) -> bool {
        let challenge = sha256_base64url(verifier.expose_secret().as_bytes());
        verify_slices_are_equal(challenge.as_bytes(), self.challenge.as_bytes()).is_ok()
    }
}

impl Entity for AuthorizationCode {
    const KIND: &'static str = "authorization code";
}

/// Adds a new code to a change, which must write or require the authorization that it rests on.
pub fn add_code(core: &Core, change: &mut Change, new: &NewCode<'_>) -> Result<SecretString> {
    if app_id(new.client_id) != new.authorization.app {
        return Err(Error::internal("a code for an app that the user did not allow"));
    }
    let family = TokenFamilyId(core.random.uuid()?);
    let rests_on = RestsOn::of(new.authorization, family);
    let text = AppSecret::new(&core.random, rests_on, None)?.text(CODE_PREFIX);
    let expires_at = core.clock.now().plus(CODE_LIVES);
    let item = AuthorizationCode {
        app: new.authorization.app.clone(),
        auth: new.auth.clone(),
        redirect_uri: new.redirect_uri.map(str::to_owned),
        challenge: new.challenge.to_owned(),
        scope: new.scopes,
        expires_at,
        gave: None,
    };
    change.create_expiring(Key::authorization_code(text.expose_secret()), &item, expires_at)?;
    Ok(text)
}
