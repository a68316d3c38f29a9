//! Reading the JWTs that others sign: users' tokens from trusted issuers, and clients' assertions. What is
//! common to both is here: which algorithms are allowed, the header, the signature, the times.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use crate::{clock::Timestamp, error::Result};

/// Why a token proves nobody. The texts are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
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
    #[error("the token's signature is wrong")]
    BadSignature,
    #[error("the token is for another audience")]
    WrongAudience,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
}

/// Asymmetric algorithms only: with `none` or an HMAC, whoever knows the public key could sign.
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

/// The names of the algorithms that are allowed (RFC 7518 section 3.1, RFC 8037 section 3.1).
pub const ALGORITHM_NAMES: [&str; 9] = {
    let mut names = [""; 9];
    let mut n = 0;
    while n < names.len() {
        names[n] = ALGORITHMS[n].1;
        n += 1;
    }
    names
};

/// The longest token that is looked at, in bytes.
pub const MAX_LENGTH: usize = 16 * 1024;
/// Clocks of two machines may differ by this many seconds.
pub(crate) const LEEWAY: i64 = 30;

/// What a token's header says. Nothing is proven by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub algorithm: Algorithm,
    pub kid: Option<String>,
}

/// Reads the header. An algorithm that is not allowed goes no further.
pub(crate) fn header(token: &str) -> Result<Header, Refused> {
    // An unknown algorithm, `none` among them, does not parse.
    let header = decode_header(token).map_err(|_| Refused::BadAlgorithm)?;
    if name_of(header.alg).is_none() {
        return Err(Refused::BadAlgorithm);
    }
    // RFC 7515 section 4.1.11. We understand none.
    if header.crit.is_some() {
        return Err(Refused::UnknownExtension);
    }
    Ok(Header { algorithm: header.alg, kid: header.kid })
}

/// An allowed algorithm's name.
pub(crate) fn name_of(algorithm: Algorithm) -> Option<&'static str> {
    ALGORITHMS.iter().find(|(allowed, _)| *allowed == algorithm).map(|(_, name)| *name)
}

/// What a token says, if this key has signed it with this algorithm. Times and audience are the caller's to
/// check, by our clock and with our reasons.
pub(crate) fn signed_by<C: DeserializeOwned>(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
) -> Result<C, Refused> {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let read = decode::<C>(token, key, &validation).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => Refused::BadSignature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => Refused::BadAlgorithm,
        _ => Refused::Malformed,
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
    pub(crate) fn check(self, now: Timestamp) -> Result<(), Refused> {
        let now = now.as_seconds();
        if now >= self.exp.saturating_add(LEEWAY) {
            return Err(Refused::Expired);
        }
        if [self.nbf, self.iat].into_iter().flatten().any(|from| now.saturating_add(LEEWAY) < from) {
            return Err(Refused::NotYetValid);
        }
        Ok(())
    }
}

/// A claim that is one text or a list of them, as `aud` is.
pub(crate) fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}
