//! Reading the JWTs that others sign: users' tokens from trusted issuers, and clients' assertions. What is
//! common to both is here: which algorithms are allowed, the header, the signature, the times.
//!
//! A token is taken apart here, not by `jsonwebtoken`: that knows no `Ed25519` (RFC 9864), and refuses a token for a
//! header parameter that nothing here reads. The signature is checked by it.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, Visitor},
};
use serde_with::formats::PreferOne;

use crate::clock::Timestamp;

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
    #[error("the token is of another sign-in")]
    WrongNonce,
    #[error(
        "the token's groups cannot be used: they must be texts of 1 to 128 characters, 200 at most; have the issuer send fewer"
    )]
    BadGroups,
    #[error(
        "the token leaves the user's groups out, since there are too many (Entra's overage); have the issuer send only the groups that are assigned to the application, or application roles"
    )]
    GroupsElsewhere,
}

/// Only asymmetric algorithms: with `none` or an HMAC, anyone who knows the public key could sign. `Ed25519` is RFC
/// 9864's name for what RFC 8037 calls `EdDSA`: clients send either.
const ALGORITHMS: [(Algorithm, &str); 10] = [
    (Algorithm::RS256, "RS256"),
    (Algorithm::RS384, "RS384"),
    (Algorithm::RS512, "RS512"),
    (Algorithm::PS256, "PS256"),
    (Algorithm::PS384, "PS384"),
    (Algorithm::PS512, "PS512"),
    (Algorithm::ES256, "ES256"),
    (Algorithm::ES384, "ES384"),
    (Algorithm::EdDSA, "EdDSA"),
    (Algorithm::EdDSA, "Ed25519"),
];

/// The names of the allowed algorithms (RFC 7518 section 3.1, RFC 8037 section 3.1, RFC 9864 section 2.2).
pub const ALGORITHM_NAMES: [&str; 10] = {
    let mut names = [""; 10];
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

/// Reads the header. Refuses an algorithm that is not allowed, such as `none`.
pub(crate) fn header(token: &str) -> Result<Header, JwtError> {
    #[derive(Deserialize)]
    struct Parameters {
        alg: String,
        kid: Option<String>,
        typ: Option<String>,
        crit: Option<IgnoredAny>,
    }
    let parameters: Parameters = read(Parts::of(token)?.header)?;
    let algorithm = named(&parameters.alg).ok_or(JwtError::BadAlgorithm)?;
    // RFC 7515 section 4.1.11: extensions that must be understood. Deputize understands none.
    if parameters.crit.is_some() {
        return Err(JwtError::UnknownExtension);
    }
    Ok(Header { algorithm, kid: parameters.kid, typ: parameters.typ })
}

/// An allowed algorithm's name.
pub(crate) fn name_of(algorithm: Algorithm) -> Option<&'static str> {
    ALGORITHMS.iter().find(|(allowed, _)| *allowed == algorithm).map(|(_, name)| *name)
}

/// The allowed algorithm of this name.
pub(crate) fn named(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(_, known)| *known == name).map(|(algorithm, _)| *algorithm)
}

/// A token's parts, each in base64url (RFC 7515 section 7.1).
struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    signed: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, JwtError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(JwtError::Malformed)?;
        Ok(Self { header, claims, signature, signed })
    }
}

fn read<T: DeserializeOwned>(part: &str) -> Result<T, JwtError> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| JwtError::Malformed)
}

/// A token's claims. They prove nothing: see [`is_signed_by`].
pub(crate) fn unproven_claims<C: DeserializeOwned>(token: &str) -> Result<C, JwtError> {
    if token.len() > MAX_LENGTH {
        return Err(JwtError::Malformed);
    }
    read(Parts::of(token)?.claims)
}

/// Whether this key has signed the token with this algorithm, which must be one that the key is for. The caller checks
/// times and audience, by Deputize's clock and with its own error texts.
pub(crate) fn is_signed_by(token: &str, key: &DecodingKey, algorithm: Algorithm) -> bool {
    Parts::of(token).is_ok_and(|parts| {
        crypto::verify(parts.signature, parts.signed.as_bytes(), key, algorithm).unwrap_or(false)
    })
}

/// When a token is valid, in seconds since the Unix epoch (RFC 7519 section 4.1).
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Times {
    #[serde(deserialize_with = "numeric_date")]
    pub exp: i64,
    #[serde(default, deserialize_with = "some_numeric_date")]
    pub nbf: Option<i64>,
    #[serde(default, deserialize_with = "some_numeric_date")]
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

/// Seconds since the Unix epoch, which may have a fraction (RFC 7519 section 2, `NumericDate`). The fraction is cut
/// off.
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    struct NumericDate;

    impl Visitor<'_> for NumericDate {
        type Value = i64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number of seconds")
        }

        fn visit_i64<E>(self, seconds: i64) -> Result<i64, E> {
            Ok(seconds)
        }

        fn visit_u64<E>(self, seconds: u64) -> Result<i64, E> {
            Ok(i64::try_from(seconds).unwrap_or(i64::MAX))
        }

        #[expect(
            clippy::cast_possible_truncation,
            reason = "what is out of range becomes the nearest number"
        )]
        fn visit_f64<E>(self, seconds: f64) -> Result<i64, E> {
            Ok(seconds.floor() as i64)
        }
    }

    deserializer.deserialize_any(NumericDate)
}

fn some_numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    struct Date(#[serde(deserialize_with = "numeric_date")] i64);

    Ok(Option::<Date>::deserialize(deserializer)?.map(|Date(seconds)| seconds))
}

/// A claim that is one text or a list of them, as `aud` is (RFC 7519 section 4.1.3).
pub(crate) type OneOrMany = serde_with::As<serde_with::OneOrMany<serde_with::Same, PreferOne>>;

#[cfg(test)]
mod tests {
    use super::*;

    fn times(json: &str) -> Option<(i64, Option<i64>, Option<i64>)> {
        let times: Times = serde_json::from_str(json).ok()?;
        Some((times.exp, times.nbf, times.iat))
    }

    #[test]
    fn a_time_may_have_a_fraction_and_is_no_text() {
        assert_eq!(times(r#"{"exp":1.9,"nbf":-1.5,"iat":2}"#), Some((1, Some(-2), Some(2))));
        assert_eq!(times(r#"{"exp":1.7684676e9,"nbf":null}"#), Some((1_768_467_600, None, None)));
        assert_eq!(
            times(r#"{"exp":1e300,"iat":18446744073709551615}"#),
            Some((i64::MAX, None, Some(i64::MAX)))
        );
        for odd in [r#"{"exp":"1"}"#, r#"{"exp":null}"#, r#"{"exp":true}"#, r#"{"exp":1,"iat":"now"}"#, "{}"]
        {
            assert_eq!(times(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_token_has_three_parts() {
        for odd in ["", ".", "a.b", "a.b.c.d", "e30.e30.x.y", "=.=.="] {
            assert_eq!(header(odd), Err(JwtError::Malformed), "{odd}");
        }
    }

    #[test]
    fn an_algorithm_has_one_meaning_under_each_of_its_names() {
        assert_eq!((named("Ed25519"), named("EdDSA")), (Some(Algorithm::EdDSA), Some(Algorithm::EdDSA)));
        assert_eq!(name_of(Algorithm::EdDSA), Some("EdDSA"));
        for none in ["none", "None", "HS256", "ES512", "RS1", "", "es256"] {
            assert_eq!(named(none), None, "{none}");
        }
    }
}
