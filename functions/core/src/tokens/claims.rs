//! What an agent token says (RFC 9068; RFC 8693 section 4.1 for `act`), and reading one back.

use aws_lc_rs::signature::{self, UnparsedPublicKey};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{audience::Audience, keyring::Keyring};
use crate::{
    Settings,
    agents::ClientCredential,
    clock::Timestamp,
    error::Error,
    ids::{AgentAccountId, ClientKeyId, DelegationId, SecretId, ServerId, UserId},
};

/// The header's `typ` (RFC 9068 section 2.1).
pub(super) const TYPE: &str = "at+jwt";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    pub iss: String,
    /// A resource of ours: all of the proxy, or one server.
    pub aud: String,
    /// The agent account, or the user who is acted for.
    pub sub: Uuid,
    pub client_id: AgentAccountId,
    pub jti: Uuid,
    pub iat: i64,
    pub exp: i64,
    pub scope: String,
    /// Who acts for `sub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<ActorClaim>,
    /// The delegation that the token rests on: it dies with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegation_id: Option<DelegationId>,
    /// The client secret that the token was issued under, or the key: it dies with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret_id: Option<SecretId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key_id: Option<ClientKeyId>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ActorClaim {
    pub sub: AgentAccountId,
}

/// A token whose signature, issuer and times hold, and whose audience is a resource of ours. Whether what it
/// rests on still stands is for the table to say.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    pub kid: String,
    pub jti: Uuid,
    pub audience: Audience,
    pub agent: AgentAccountId,
    pub credential: ClientCredential,
    pub on_behalf_of: Option<(UserId, DelegationId)>,
    pub scope: String,
    pub issued_at: i64,
    pub expires_at: i64,
}

impl VerifiedToken {
    /// Refuses a token that is good at other servers only. As one that is no token there (RFC 9068 section
    /// 4): a client that gets a 401 asks for one that is.
    pub(crate) fn require_for(&self, server: &ServerId) -> Result<(), Error> {
        if self.audience.covers(server) {
            Ok(())
        } else {
            Err(Error::unauthenticated(Refused::WrongAudience.to_string()))
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515 section 4.1.11). We understand none.
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
}

/// Why a token is not one of ours, or no longer good. The texts are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("The token is malformed")]
    Malformed,
    #[error("The token is not an agent token")]
    NotAgentToken,
    #[error("The token is signed with an unknown key")]
    UnknownKey,
    #[error("The token's signature is wrong")]
    BadSignature,
    #[error("The token is from another issuer")]
    WrongIssuer,
    #[error("The token is for another audience")]
    WrongAudience,
    #[error("The token has expired")]
    Expired,
    #[error("The token is not valid yet")]
    NotYetValid,
}

/// Clocks of two machines may differ by this many seconds.
const LEEWAY: i64 = 5;

/// Takes a token apart and checks everything that needs no table. The signature comes first: nothing of
/// an unsigned claim is acted on.
pub(crate) fn verify(
    keyring: &Keyring,
    token: &str,
    settings: &Settings,
    now: Timestamp,
) -> Result<VerifiedToken, Refused> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(sig), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refused::Malformed);
    };
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed);
    let parsed: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Refused::Malformed)?;
    if parsed.alg != "ES256" || parsed.crit.is_some() || parsed.typ.as_deref() != Some(TYPE) {
        return Err(Refused::NotAgentToken);
    }
    let kid = parsed.kid.ok_or(Refused::NotAgentToken)?;
    let key = keyring.public_key(&kid).ok_or(Refused::UnknownKey)?;
    let message = &token[..header.len() + 1 + claims.len()];
    UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, key)
        .verify(message.as_bytes(), &decode(sig)?)
        .map_err(|_| Refused::BadSignature)?;
    let claims: Claims = serde_json::from_slice(&decode(claims)?).map_err(|_| Refused::NotAgentToken)?;
    if claims.iss != settings.issuer {
        return Err(Refused::WrongIssuer);
    }
    let audience = Audience::parse(settings, &claims.aud).ok_or(Refused::WrongAudience)?;
    if now.as_seconds() >= claims.exp {
        return Err(Refused::Expired);
    }
    if now.as_seconds() + LEEWAY < claims.iat {
        return Err(Refused::NotYetValid);
    }
    let on_behalf_of = match (claims.act, claims.delegation_id) {
        (Some(actor), Some(delegation)) if actor.sub == claims.client_id => {
            Some((UserId(claims.sub), delegation))
        }
        (None, None) if claims.sub == claims.client_id.0 => None,
        _ => return Err(Refused::NotAgentToken),
    };
    let credential = match (claims.client_secret_id, claims.client_key_id) {
        (Some(secret), None) => ClientCredential::Secret(secret),
        (None, Some(key)) => ClientCredential::Key(key),
        _ => return Err(Refused::NotAgentToken),
    };
    Ok(VerifiedToken {
        kid,
        jti: claims.jti,
        audience,
        agent: claims.client_id,
        credential,
        on_behalf_of,
        scope: claims.scope,
        issued_at: claims.iat,
        expires_at: claims.exp,
    })
}
