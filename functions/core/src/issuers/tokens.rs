//! The two tokens that a provider gives to us as its client: the ID token, by which a person signs in, and the logout
//! token, by which it says that a session has ended. Each is refused in the other's place, by its `typ`, its `events`
//! and its `nonce` (OpenID Connect Back-Channel Logout section 2.6).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::Deserialize;
use serde_json::Value;

use super::{Claims, IssuerName, Issuers, MAX_SUBJECT_LENGTH, Presented, TrustedIssuer, UserToken};
use crate::{
    Core,
    checked::Checked,
    clock::Timestamp,
    error::Result,
    jwt::{self, JwtError, LEEWAY},
};

/// The `typ` values of an ID token. One of an access token is not among them (RFC 9068 section 4).
pub(super) const ID_TOKEN_TYPES: [&str; 2] = ["jwt", "jose"];
/// OpenID Connect Back-Channel Logout section 2.4. Older providers say what every JWT is.
pub(super) const LOGOUT_TOKEN_TYPES: [&str; 2] = ["logout+jwt", "jwt"];
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The longest `sid` or `jti`, in bytes.
const MAX_ID: usize = 1024;

/// How old a logout token can be, in seconds. A used one is remembered for longer.
pub(crate) const LOGOUT_TOKEN_LASTS: i64 = 600;

/// What an ID token has proven.
#[derive(Debug)]
pub(crate) struct IdToken {
    pub(crate) user: UserToken,
    /// The provider's name for its session.
    pub(crate) sid: Option<String>,
}

/// What a logout token says.
#[derive(Debug)]
pub(crate) struct LogoutToken {
    /// The issuer's name.
    pub(crate) issuer: String,
    pub(crate) jti: String,
    pub(crate) sid: Option<String>,
    pub(crate) subject: Option<String>,
}

#[derive(Deserialize)]
struct OfIdToken {
    #[serde(default)]
    azp: Value,
    #[serde(default)]
    nonce: Value,
    #[serde(default)]
    sid: Value,
}

#[derive(Deserialize)]
struct OfLogoutToken {
    iss: String,
    #[serde(default, deserialize_with = "jwt::OneOrMany::deserialize")]
    aud: Vec<String>,
    #[serde(default)]
    iat: Value,
    #[serde(default)]
    exp: Value,
    #[serde(default)]
    jti: Value,
    #[serde(default)]
    events: Value,
    #[serde(default)]
    nonce: Value,
    #[serde(default)]
    sid: Value,
    #[serde(default)]
    sub: Value,
}

fn text(value: &Value, longest: usize) -> Option<String> {
    value.as_str().filter(|text| (1..=longest).contains(&text.len())).map(str::to_owned)
}

impl Issuers {
    /// Checks an ID token in full (OpenID Connect Core section 3.1.3.7). `nonce` is that of the sign-in.
    pub(crate) async fn verify_id_token(
        &self,
        core: &Core,
        provider: &TrustedIssuer,
        token: &str,
        nonce: &str,
    ) -> Result<Checked<IdToken, JwtError>> {
        let (now, client) = (core.clock.now(), client_id(provider));
        let (issuer, token) = match self.route(token, &ID_TOKEN_TYPES) {
            Ok((issuer, token)) if issuer.config.issuer == provider.issuer => (issuer, token),
            Ok(_) => return Ok(Checked::Invalid(JwtError::UntrustedIssuer)),
            Err(refused) => return Ok(Checked::Invalid(refused)),
        };
        let signed = issuer.require_signature(&*self.fetch, &token, now).await?;
        Ok(signed.and_then(|()| accept(provider, client, &token, nonce, now)).into())
    }

    /// Checks a logout token (OpenID Connect Back-Channel Logout section 2.6). Whether it was used before is in the
    /// table.
    pub(crate) async fn verify_logout_token(
        &self,
        core: &Core,
        provider: &TrustedIssuer,
        token: &str,
    ) -> Result<Checked<LogoutToken, JwtError>> {
        let (now, client) = (core.clock.now(), client_id(provider));
        let (issuer, token) = match self.route(token, &LOGOUT_TOKEN_TYPES) {
            Ok((issuer, token)) if issuer.config.issuer == provider.issuer => (issuer, token),
            Ok(_) => return Ok(Checked::Invalid(JwtError::UntrustedIssuer)),
            Err(refused) => return Ok(Checked::Invalid(refused)),
        };
        let signed = issuer.require_signature(&*self.fetch, &token, now).await?;
        Ok(signed.and_then(|()| logout(client, &token, now)).into())
    }
}

fn client_id(provider: &TrustedIssuer) -> &str {
    provider.sign_in.as_ref().map_or("", |sign_in| &sign_in.client_id)
}

pub(super) fn accept(
    provider: &TrustedIssuer,
    client: &str,
    token: &Presented<'_>,
    nonce: &str,
    now: Timestamp,
) -> Result<IdToken, JwtError> {
    let claims: Claims = jwt::unproven_claims(token.text)?;
    let own: OfIdToken = jwt::unproven_claims(token.text)?;
    TrustedIssuer::require_own(token, &claims)?;
    // Of several audiences, the token must say for whom it is (step 4). Where it says so, it must be us (step 5).
    let is_for_us = !client.is_empty()
        && claims.aud.iter().any(|audience| audience == client)
        && (own.azp == *client || own.azp.is_null() && claims.aud.len() == 1);
    if !is_for_us {
        return Err(JwtError::WrongAudience);
    }
    let sent = own.nonce.as_str().unwrap_or_default();
    if nonce.is_empty() || verify_slices_are_equal(sent.as_bytes(), nonce.as_bytes()).is_err() {
        return Err(JwtError::WrongNonce);
    }
    let sid = text(&own.sid, MAX_ID);
    Ok(IdToken { user: provider.prove(token, claims, now)?, sid })
}

pub(super) fn logout(client: &str, token: &Presented<'_>, now: Timestamp) -> Result<LogoutToken, JwtError> {
    let claims: OfLogoutToken = jwt::unproven_claims(token.text)?;
    let IssuerName { name, .. } = &token.issuer;
    if claims.iss != token.named {
        return Err(JwtError::UntrustedIssuer);
    }
    if !claims.events.get(LOGOUT_EVENT).is_some_and(Value::is_object) || !claims.nonce.is_null() {
        return Err(JwtError::WrongType);
    }
    if client.is_empty() || !claims.aud.iter().any(|audience| audience == client) {
        return Err(JwtError::WrongAudience);
    }
    let (now, seconds) = (now.as_seconds(), |value: &Value| value.as_f64().map(f64::floor));
    #[expect(clippy::cast_precision_loss, reason = "seconds of this age")]
    let (early, late) = ((now - LOGOUT_TOKEN_LASTS) as f64, (now + LEEWAY) as f64);
    let issued_at = seconds(&claims.iat).ok_or(JwtError::Malformed)?;
    if issued_at > late {
        return Err(JwtError::NotYetValid);
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds of this age")]
    let has_expired = seconds(&claims.exp).is_some_and(|expires| expires + LEEWAY as f64 <= now as f64);
    if issued_at < early || has_expired {
        return Err(JwtError::Expired);
    }
    let (sid, subject) = (text(&claims.sid, MAX_ID), text(&claims.sub, MAX_SUBJECT_LENGTH));
    let jti = text(&claims.jti, MAX_ID).filter(|_| sid.is_some() || subject.is_some());
    Ok(LogoutToken { issuer: name.clone(), jti: jti.ok_or(JwtError::Malformed)?, sid, subject })
}
