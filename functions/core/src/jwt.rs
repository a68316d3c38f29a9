//! Reading the JWTs that others sign: users' tokens from trusted issuers, and clients' assertions. What is
//! common to both is here: which algorithms are allowed, the header, the signature, the times.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use serde::{Deserialize, de::DeserializeOwned};
use serde_with::formats::PreferOne;

use crate::{clock::Timestamp, error::Result};

/// Why a token proves no user. The texts are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    #[error("the token is malformed")]
    Malformed,
    #[error("the token is from an untrusted issuer")]
    UntrustedIssuer,
    #[error("the token is signed with a key that its issuer does not publish")]
    UnknownKey,
    #[error("the token's algorithm is not allowed")]
    BadAlgorithm,
    #[error("the token has an extension that must be understood and is not")]
    UnknownExtension,
    #[error("the token is of another kind, by its typ or its claims")]
    WrongType,
    #[error("the token's signature is wrong")]
    BadSignature,
    #[error("the token is for another audience")]
    WrongAudience,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
}

/// Only asymmetric algorithms: with `none` or an HMAC, anyone who knows the public key could sign.
const ALGORITHMS: [(Algorithm, &str); 9] = [
    (Algorithm::RS256, "RS256"),
    (Algorithm::RS384, "RS384"),
    (Algorithm::RS512, "RS512"),
    (Algorithm::PS256, "PS256"),
    (Algorithm::PS384, "PS384"),
    (Algorithm::PS512, "PS512"),
    (Algorithm::ES256, "ES256"),
    (Algorithm::ES384, "ES384"),
    (Algorithm::EdDSA, "EdDSA"),
];

/// The names of the allowed algorithms (RFC 7518 section 3.1, RFC 8037 section 3.1).
pub const ALGORITHM_NAMES: [&str; 9] = {
    let mut names = [""; 9];
    let mut n = 0;
    while n < names.len() {
        names[n] = ALGORITHMS[n].1;
        n += 1;
    }
    names
};

/// The longest token that is read, in bytes.
pub const MAX_LENGTH: usize = 16 * 1024;
/// How many seconds the clocks of two machines may differ.
pub(crate) const LEEWAY: i64 = 30;

/// A token's header. It proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub algorithm: Algorithm,
    pub kid: Option<String>,
    typ: Option<String>,
}

impl Header {
    /// Refuses a token whose `typ` is not one of these, which are in lower case (RFC 8725 section 3.11). A
    /// token without one is accepted. Case and the prefix `application/` are ignored (RFC 7515 section
    /// 4.1.9).
    pub(crate) fn require_type(&self, known: &[&str]) -> Result<(), JwtError> {
        let Some(typ) = &self.typ else { return Ok(()) };
        let typ = typ.to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").unwrap_or(&typ);
        if known.contains(&typ) { Ok(()) } else { Err(JwtError::WrongType) }
    }
}

/// Reads the header. Refuses an algorithm that is not allowed.
pub(crate) fn header(token: &str) -> Result<Header, JwtError> {
    // An unknown algorithm, including `none`, does not parse.
    let header = decode_header(token).map_err(|_| JwtError::BadAlgorithm)?;
    if name_of(header.alg).is_none() {
        return Err(JwtError::BadAlgorithm);
    }
    // RFC 7515 section 4.1.11: extensions that must be understood. Deputize understands none.
    if header.crit.is_some() {
        return Err(JwtError::UnknownExtension);
    }
    Ok(Header { algorithm: header.alg, kid: header.kid, typ: header.typ })
}

/// An allowed algorithm's name.
pub(crate) fn name_of(algorithm: Algorithm) -> Option<&'static str> {
    ALGORITHMS.iter().find(|(allowed, _)| *allowed == algorithm).map(|(_, name)| *name)
}

/// A token's claims, if this key has signed it with this algorithm. The caller checks times and audience, by
/// Deputize's clock and with its own error texts.
pub(crate) fn signed_by<C: DeserializeOwned>(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
) -> Result<C, JwtError> {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let read = decode::<C>(token, key, &validation).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => JwtError::BadSignature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => JwtError::BadAlgorithm,
        _ => JwtError::Malformed,
    })?;
    Ok(read.claims)
}

/// When a token is valid, in seconds since the Unix epoch (RFC 7519 section 4.1).
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Times {
    pub exp: i64,
    #[serde(default)]
    pub nbf: Option<i64>,
    #[serde(default)]
    pub iat: Option<i64>,
}

impl Times {
    pub(crate) fn check(self, now: Timestamp) -> Result<(), JwtError> {
        let now = now.as_seconds();
        if now >= self.exp.saturating_add(LEEWAY) {
            return Err(JwtError::Expired);
        }
        if [self.nbf, self.iat].into_iter().flatten().any(|from| now.saturating_add(LEEWAY) < from) {
            return Err(JwtError::NotYetValid);
        }
        Ok(())
    }
}

/// A claim that is one text or a list of them, as `aud` is (RFC 7519 section 4.1.3).
pub(crate) type OneOrMany = serde_with::As<serde_with::OneOrMany<serde_with::Same, PreferOne>>;
