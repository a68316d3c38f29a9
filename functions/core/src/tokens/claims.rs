//! What an agent token says (RFC 9068, `typ: at+jwt`), and reading one back.
//!
//! An OBO token's `sub` is the user, and its `act.sub` the agent (RFC 8693 section 4.1). Beside the registered claims a
//! token has these, each if it applies:
//!
//! | claim | is |
//! | --- | --- |
//! | `client_secret_id`, `client_key_id` | the client's credential that the token was issued under |
//! | `delegation_id` | the delegation that an OBO token depends on |
//! | `delegation_made_by` | the app that made the delegation, and the authorization that it ends with |
//! | `exchanged_from` | the token that it was exchanged for |
//! | `account_epoch`, `user_epoch` | how often the account or the user had been disabled by then |
//!
//! **How long.** At most 3,600 s, and never longer than what the token depends on, if that ends: the delegation, the
//! secret or key. A user's JWT sets no end. It shows that the user is present when the token is requested; the
//! delegation says what the user allows.
//!
//! An exchanged token names its subject. The note on the subject is one more item of its calls' one read. So revoking a
//! leaked token ends the tokens that it was exchanged for. The note is kept for a token's lifetime longer than the
//! subject itself, because the subject may be exchanged in its last second.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use deputize_api::reason::Reason;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use uuid::Uuid;

use super::{
    TYPE,
    keyring::Keyring,
    refused::{AgentTokenError, check_times},
};
use crate::{
    Settings,
    agents::ClientCredential,
    apps::MadeByApp,
    audience::{Audience, Resource},
    clock::Timestamp,
    epoch::Epoch,
    error::{Error, Told},
    ids::{AgentAccountId, ClientKeyId, DelegationId, SecretId, ServerId, UserId},
    jwt,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    pub iss: String,
    /// Resources of ours: all of the proxy, or servers. A text if it is one, else a list (RFC 7519 section 4.1.3).
    #[serde(with = "jwt::OneOrMany")]
    pub aud: Vec<String>,
    /// The agent account, or the user for whom it acts.
    pub sub: Uuid,
    pub client_id: AgentAccountId,
    pub jti: Uuid,
    pub iat: i64,
    pub exp: i64,
    pub scope: String,
    /// The agent that acts for `sub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<ActorClaim>,
    /// The delegation that the token rests on. The token ends with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegation_id: Option<DelegationId>,
    /// The app that made the delegation, if one did. The token ends with the user's authorization of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegation_made_by: Option<MadeByApp>,
    /// The client secret or the key under which the token was issued. The token ends with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret_id: Option<SecretId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key_id: Option<ClientKeyId>,
    /// The `jti` of the token that was exchanged for this one. Revoking that token ends this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchanged_from: Option<Uuid>,
    /// How often the account had been disabled: once it is again, the token is good no more.
    #[serde(default, skip_serializing_if = "Epoch::is_first")]
    pub account_epoch: Epoch,
    /// The same of the user.
    #[serde(default, skip_serializing_if = "Epoch::is_first")]
    pub user_epoch: Epoch,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ActorClaim {
    pub sub: AgentAccountId,
}

/// A token with a valid signature, issuer, times and audience. Whether what it rests on is still valid is in
/// the table.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    pub kid: String,
    pub jti: Uuid,
    pub audience: Audience,
    pub agent: AgentAccountId,
    pub credential: ClientCredential,
    /// The account's epoch in which it was issued.
    pub epoch: Epoch,
    pub on_behalf_of: Option<(UserId, DelegationId)>,
    /// The app that made the delegation.
    pub(crate) delegation_made_by: Option<MadeByApp>,
    /// The user's epoch in which it was issued; 0 if it is on nobody's behalf.
    pub user_epoch: Epoch,
    pub scope: String,
    pub issued_at: i64,
    pub expires_at: i64,
    /// The `jti` of the token that was exchanged for it.
    pub exchanged_from: Option<Uuid>,
}

impl VerifiedToken {
    /// Refuses a token that has expired since it was verified.
    pub(crate) fn require_unexpired(&self, now: Timestamp) -> Result<(), Error> {
        if now.as_seconds() < self.expires_at {
            Ok(())
        } else {
            Err(Error::Unauthenticated(Told::by(Reason::TokenExpired, AgentTokenError::Expired)))
        }
    }

    /// Refuses a token that is good only at other servers. The answer is a 401 (RFC 9068 section 4), after
    /// which clients ask for a token for this server.
    pub(crate) fn require_for(&self, server: &ServerId) -> Result<(), Error> {
        if self.audience.covers(server) {
            Ok(())
        } else {
            Err(Error::Unauthenticated(Told::by(
                Reason::TokenForOtherAudience,
                AgentTokenError::WrongAudience,
            )))
        }
    }
}

/// Whether a token claims to be from Deputize. This only decides by whose rules it is checked.
pub(crate) fn claims_to_be_ours(settings: &Settings, token: &str) -> bool {
    claims_to_be(settings, token).is_some()
}

/// Whose token of ours one claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimedKind {
    Agents,
    Apps,
}

/// Which kind of token of ours one claims to be. `None` if it claims to be another issuer's.
pub(super) fn claims_to_be(settings: &Settings, token: &str) -> Option<ClaimedKind> {
    #[derive(Deserialize)]
    struct Unproven {
        iss: String,
        #[serde(default)]
        authorization_id: Option<IgnoredAny>,
    }
    let claims = jwt::unproven_claims::<Unproven>(token).ok()?;
    let kind = if claims.authorization_id.is_some() { ClaimedKind::Apps } else { ClaimedKind::Agents };
    (claims.iss == settings.issuer).then_some(kind)
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515 section 4.1.11). Deputize understands none.
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

/// A token of ours whose signature is right. What it says is read by its kind.
pub(super) struct SignedClaims {
    pub kid: String,
    pub json: Vec<u8>,
}

/// Checks header and signature. The signature is checked first: no unsigned claim has an effect.
pub(super) fn signed(keyring: &Keyring, token: &str) -> Result<SignedClaims, AgentTokenError> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(sig), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(AgentTokenError::Malformed);
    };
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| AgentTokenError::Malformed);
    let parsed: Header = serde_json::from_slice(&decode(header)?).map_err(|_| AgentTokenError::Malformed)?;
    if parsed.alg != "ES256" || parsed.crit.is_some() || parsed.typ.as_deref() != Some(TYPE) {
        return Err(AgentTokenError::NotAgentToken);
    }
    let kid = parsed.kid.ok_or(AgentTokenError::NotAgentToken)?;
    let message = &token[..header.len() + 1 + claims.len()];
    keyring.has_signed(&kid, token, message, || decode(sig))?;
    Ok(SignedClaims { kid, json: decode(claims)? })
}

/// Reads what an agent's token says whose signature is right.
pub(super) fn read(
    kid: String,
    json: &[u8],
    settings: &Settings,
    now: Timestamp,
    late_by: Duration,
) -> Result<VerifiedToken, AgentTokenError> {
    let claims: Claims = serde_json::from_slice(json).map_err(|_| AgentTokenError::NotAgentToken)?;
    check_times(settings, &claims.iss, (claims.iat, claims.exp), now, late_by)?;
    let resources: Option<Vec<_>> =
        claims.aud.iter().map(|resource| Resource::parse(settings, resource)).collect();
    let audience = resources.and_then(Audience::of).filter(|audience| !audience.is_management());
    let audience = audience.ok_or(AgentTokenError::WrongAudience)?;
    let on_behalf_of = match (claims.act, claims.delegation_id) {
        (Some(actor), Some(delegation)) if actor.sub == claims.client_id => {
            Some((UserId(claims.sub), delegation))
        }
        (None, None) if claims.sub == claims.client_id.0 => None,
        _ => return Err(AgentTokenError::NotAgentToken),
    };
    let credential = match (claims.client_secret_id, claims.client_key_id) {
        (Some(secret), None) => ClientCredential::Secret(secret),
        (None, Some(key)) => ClientCredential::Key(key),
        _ => return Err(AgentTokenError::NotAgentToken),
    };
    Ok(VerifiedToken {
        kid,
        jti: claims.jti,
        audience,
        agent: claims.client_id,
        credential,
        epoch: claims.account_epoch,
        on_behalf_of,
        delegation_made_by: claims.delegation_made_by,
        user_epoch: claims.user_epoch,
        scope: claims.scope,
        issued_at: claims.iat,
        expires_at: claims.exp,
        exchanged_from: claims.exchanged_from,
    })
}
