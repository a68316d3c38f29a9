//! Public keys of clients and of issuers, as JWKs (RFC 7517): which are taken, and what is kept of them.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{Jwk, ThumbprintHash},
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;

use crate::{error::Error, jwt};

/// A public key, reduced to its essential members (RFC 7518 section 6, RFC 8037 section 2). A key has only
/// one form here, so two equal keys compare equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty")]
pub enum PublicJwk {
    #[serde(rename = "EC")]
    Ec { crv: Curve, x: String, y: String },
    #[serde(rename = "OKP")]
    Okp { crv: Edwards, x: String },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Curve {
    #[serde(rename = "P-256")]
    P256,
    #[serde(rename = "P-384")]
    P384,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edwards {
    Ed25519,
}

/// A public key as its owner sends it, checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Members")]
pub struct NewJwk {
    pub key: PublicJwk,
    /// The owner's name for it; by default its thumbprint (RFC 7638).
    pub kid: String,
    /// The only algorithm that it may be used with, if its owner says so.
    pub alg: Option<String>,
}

/// The members that Deputize uses.
#[derive(Deserialize)]
struct Members {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    use_: Option<String>,
    key_ops: Option<Vec<String>>,
    // Members that only a private or symmetric key has. Their values are not read.
    d: Option<IgnoredAny>,
    p: Option<IgnoredAny>,
    q: Option<IgnoredAny>,
    dp: Option<IgnoredAny>,
    dq: Option<IgnoredAny>,
    qi: Option<IgnoredAny>,
    oth: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
}

/// The longest `kid`, in characters.
const MAX_KID: usize = 255;

/// Which RSA keys are taken. Shorter ones can be broken; longer ones make each check too expensive.
struct RsaLimits {
    /// The size of the modulus in bits.
    bits: std::ops::RangeInclusive<usize>,
    /// The smallest public exponent.
    exponent: u32,
}

/// For clients, who make their keys for this service: as FIPS 186-5 section 5.1 has them.
const OF_CLIENTS: RsaLimits = RsaLimits { bits: 2048..=4096, exponent: 65_537 };
/// For issuers, whose keys are as they are: all that RFC 7518 section 3.3 allows and AWS-LC verifies.
const OF_ISSUERS: RsaLimits = RsaLimits { bits: 2048..=8192, exponent: 3 };

/// A checked key, with what its owner says about it.
struct Described {
    key: PublicJwk,
    kid: Option<String>,
    alg: Option<Algorithm>,
}

impl Members {
    /// The key, if it can verify signatures and is for that. `uses` are the values of `use` that say so.
    fn check(self, rsa: &RsaLimits, uses: &[&str]) -> Result<Described, String> {
        let sent = self;
        let private = [sent.d, sent.p, sent.q, sent.dp, sent.dq, sent.qi, sent.oth, sent.k];
        if private.iter().any(Option::is_some) {
            return Err(
                "it is a private or secret key: make a new pair, for this one has left its keeper's hands, \
                 and send the public half only"
                    .to_owned(),
            );
        }
        let key = match (&*sent.kty, sent.crv.as_deref()) {
            ("EC", Some("P-256")) => ec(Curve::P256, sent.x, sent.y)?,
            ("EC", Some("P-384")) => ec(Curve::P384, sent.x, sent.y)?,
            ("OKP", Some("Ed25519")) => okp(sent.x)?,
            ("RSA", _) => rsa.key(sent.n, sent.e)?,
            _ => return Err("it must be EC with crv P-256 or P-384, OKP with crv Ed25519, or RSA".to_owned()),
        };
        if sent.use_.is_some_and(|use_| !uses.contains(&&*use_))
            || sent.key_ops.is_some_and(|ops| ops.iter().all(|op| op != "verify"))
        {
            return Err("it is not for verifying signatures, as its use or key_ops says".to_owned());
        }
        let fits = |alg: &str| jwt::named(alg).filter(|alg| key.algorithms().contains(alg));
        let alg = match sent.alg {
            None => None,
            Some(alg) => Some(fits(&alg).ok_or("its alg does not fit it")?),
        };
        Ok(Described { key, kid: sent.kid, alg })
    }
}

impl TryFrom<Members> for NewJwk {
    type Error = String;

    fn try_from(sent: Members) -> Result<Self, String> {
        let Described { key, kid, alg } = sent.check(&OF_CLIENTS, &["sig"])?;
        let kid = kid.map_or_else(|| key.thumbprint(), Ok)?;
        if kid.is_empty() || kid.chars().count() > MAX_KID || kid.contains(char::is_control) {
            return Err(format!(
                "its kid must have 1 to {MAX_KID} characters, none of them a control character"
            ));
        }
        Ok(Self { key, kid, alg: alg.and_then(jwt::name_of).map(str::to_owned) })
    }
}

/// A key that an issuer publishes, checked.
#[derive(Debug)]
pub(crate) struct PublishedJwk {
    pub kid: Option<String>,
    /// The issuer that it signs for, if the document names one. Entra's do, and may leave the tenant open
    /// (<https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#validate-the-issuer>).
    pub issuer: Option<String>,
    alg: Option<Algorithm>,
    key: PublicJwk,
    decoding: DecodingKey,
}

/// The values of `use` that a key for signatures may have: RFC 7517's, and that of a SPIFFE bundle (JWT-SVID section
/// 6.1: <https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md>).
const USES: [&str; 2] = ["sig", "jwt-svid"];

impl PublishedJwk {
    /// The key, or why it is not used. Most issuers name no algorithm in some key or other.
    pub(crate) fn read(jwk: Value) -> Result<Self, String> {
        let issuer = match jwk.get("issuer") {
            None | Some(Value::Null) => None,
            Some(Value::String(issuer)) => Some(issuer.clone()),
            Some(_) => return Err("its issuer is no text".to_owned()),
        };
        let members: Members = serde_json::from_value(jwk).map_err(|_| "it is malformed")?;
        let Described { key, kid, alg } = members.check(&OF_ISSUERS, &USES)?;
        let decoding = key.decoding_key().map_err(|_| "it cannot be read")?;
        Ok(Self { kid, issuer, alg, key, decoding })
    }

    /// Whether a signature by this algorithm can be this key's.
    pub(crate) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.alg.is_none_or(|only| only == algorithm) && self.key.algorithms().contains(&algorithm)
    }

    pub(crate) fn has_signed(&self, token: &str, algorithm: Algorithm) -> bool {
        self.is_for(algorithm) && jwt::is_signed_by(token, &self.decoding, algorithm)
    }
}

fn bytes(name: &str, value: Option<String>) -> Result<Vec<u8>, String> {
    let value = value.ok_or_else(|| format!("its member {name} is missing"))?;
    BASE64_URL_SAFE_NO_PAD
        .decode(value)
        .map_err(|_| format!("its member {name} must be base64url without padding"))
}

fn ec(crv: Curve, x: Option<String>, y: Option<String>) -> Result<PublicJwk, String> {
    let (length, algorithm) = match crv {
        Curve::P256 => (32, &ECDSA_P256_SHA256_FIXED),
        Curve::P384 => (48, &ECDSA_P384_SHA384_FIXED),
    };
    let (x, y) = (bytes("x", x)?, bytes("y", y)?);
    let point = [&[4], &*x, &*y].concat();
    if x.len() != length || y.len() != length || ParsedPublicKey::new(algorithm, point).is_err() {
        return Err("its x and y are no point on its curve".to_owned());
    }
    let encode = |bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    Ok(PublicJwk::Ec { crv, x: encode(x), y: encode(y) })
}

fn okp(x: Option<String>) -> Result<PublicJwk, String> {
    let x = bytes("x", x)?;
    if ParsedPublicKey::new(&ED25519, &x).is_err() {
        return Err("its x is no Ed25519 key".to_owned());
    }
    Ok(PublicJwk::Okp { crv: Edwards::Ed25519, x: BASE64_URL_SAFE_NO_PAD.encode(x) })
}

impl RsaLimits {
    fn key(&self, n: Option<String>, e: Option<String>) -> Result<PublicJwk, String> {
        let (n, e) = (bytes("n", n)?, bytes("e", e)?);
        let (n, e) = (without_leading_zeros(&n), without_leading_zeros(&e));
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if !self.bits.contains(&bits) {
            return Err(format!("an RSA key must have {} to {} bits", self.bits.start(), self.bits.end()));
        }
        let exponent = e.iter().fold(0, |value: u32, byte| value << 8 | u32::from(*byte));
        let is_odd = |bytes: &[u8]| bytes.last().is_some_and(|last| last % 2 == 1);
        if e.len() > 4 || exponent < self.exponent || !is_odd(e) || !is_odd(n) {
            return Err(format!("its n must be odd, and its e odd and at least {}", self.exponent));
        }
        Ok(PublicJwk::Rsa { n: BASE64_URL_SAFE_NO_PAD.encode(n), e: BASE64_URL_SAFE_NO_PAD.encode(e) })
    }
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

impl PublicJwk {
    /// The algorithms that this key can verify.
    pub(crate) fn algorithms(&self) -> &'static [Algorithm] {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        match self {
            Self::Ec { crv: Curve::P256, .. } => &[ES256],
            Self::Ec { crv: Curve::P384, .. } => &[ES384],
            Self::Okp { .. } => &[EdDSA],
            Self::Rsa { .. } => &[RS256, RS384, RS512, PS256, PS384, PS512],
        }
    }

    pub(crate) fn decoding_key(&self) -> Result<DecodingKey, Error> {
        let key = self.jwk().and_then(|jwk| DecodingKey::from_jwk(&jwk));
        key.map_err(|_| Error::internal("a client's key cannot be read"))
    }

    /// RFC 7638 section 3.
    fn thumbprint(&self) -> Result<String, String> {
        let thumbprint = self.jwk().and_then(|jwk| jwk.thumbprint(ThumbprintHash::SHA256));
        thumbprint.map_err(|_| "it has no thumbprint".to_owned())
    }

    fn jwk(&self) -> jsonwebtoken::errors::Result<Jwk> {
        Ok(serde_json::from_value(serde_json::to_value(self)?)?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn taken(jwk: &Value) -> NewJwk {
        serde_json::from_value(jwk.clone()).unwrap()
    }

    fn refusal(mut jwk: Value, edit: impl FnOnce(&mut Value)) -> String {
        edit(&mut jwk);
        serde_json::from_value::<NewJwk>(jwk).unwrap_err().to_string()
    }

    /// RFC 7517 appendix A.1.
    fn p256() -> Value {
        json!({
            "kty": "EC", "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        })
    }

    /// RFC 7638 section 3.1.
    fn rsa2048() -> Value {
        json!({
            "kty": "RSA", "e": "AQAB",
            "n": concat!(
                "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj",
                "hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQ",
                "vRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzK",
                "nqDKgw",
            ),
        })
    }

    /// RFC 8037 appendix A.2.
    fn ed25519() -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
    }

    #[test]
    fn a_key_without_a_name_is_called_by_its_thumbprint() {
        assert_eq!(taken(&rsa2048()).kid, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(taken(&ed25519()).kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_key_with_surplus_zeros_is_the_same_key() {
        let plain = taken(&rsa2048());
        let mut padded = rsa2048();
        let n = BASE64_URL_SAFE_NO_PAD.decode(padded["n"].as_str().unwrap()).unwrap();
        padded["n"] = BASE64_URL_SAFE_NO_PAD.encode([&[0, 0], &*n].concat()).into();
        padded["e"] = "AAEAAQ".into();
        assert_eq!(taken(&padded).key, plain.key);
    }

    #[test]
    fn a_private_key_of_any_kind_is_refused_without_a_word_of_it() {
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            for jwk in [p256(), rsa2048(), ed25519()] {
                let refusal = refusal(jwk, |jwk| jwk[member] = "the-secret".into());
                assert!(refusal.starts_with("it is a private or secret key"), "{refusal}");
                assert!(!refusal.contains("the-secret"));
            }
        }
    }

    #[test]
    fn a_symmetric_or_unknown_key_is_refused() {
        for jwk in [
            json!({ "kty": "oct" }),
            json!({ "kty": "AKP" }),
            json!({ "kty": "EC", "crv": "P-521" }),
            json!({ "kty": "EC", "crv": "secp256k1" }),
            json!({ "kty": "EC" }),
            json!({ "kty": "OKP", "crv": "X25519" }),
        ] {
            let refusal = refusal(jwk, |_| {});
            assert_eq!(refusal, "it must be EC with crv P-256 or P-384, OKP with crv Ed25519, or RSA");
        }
    }

    #[test]
    fn what_is_no_point_on_the_curve_is_refused() {
        let off = "its x and y are no point on its curve";
        assert_eq!(refusal(p256(), |jwk| jwk["y"] = jwk["x"].clone()), off);
        assert_eq!(refusal(p256(), |jwk| jwk["crv"] = "P-384".into()), off);
        assert_eq!(refusal(p256(), |jwk| jwk["x"] = "AA".into()), off);
        assert_eq!(refusal(ed25519(), |jwk| jwk["x"] = "AA".into()), "its x is no Ed25519 key");
        let padded = refusal(ed25519(), |jwk| jwk["x"] = "AA==".into());
        assert_eq!(padded, "its member x must be base64url without padding");
        assert_eq!(refusal(p256(), |jwk| jwk["y"] = Value::Null), "its member y is missing");
    }

    #[test]
    fn an_rsa_key_that_is_too_short_too_long_or_has_a_weak_exponent_is_refused() {
        let with_bits = |bits: usize| {
            let mut n = vec![0xff; bits.div_ceil(8)];
            n[0] >>= (8 - bits % 8) % 8;
            BASE64_URL_SAFE_NO_PAD.encode(n)
        };
        for bits in [1, 8, 1024, 2047, 4097, 8192] {
            let refusal = refusal(rsa2048(), |jwk| jwk["n"] = with_bits(bits).into());
            assert_eq!(refusal, "an RSA key must have 2048 to 4096 bits", "{bits}");
        }
        for bits in [2048, 3072, 4096] {
            let mut jwk = rsa2048();
            jwk["n"] = with_bits(bits).into();
            taken(&jwk);
        }
        // 0, 1, 3, 65536, 65538, 2^32 + 1
        for e in ["AA", "AQ", "Aw", "AQAA", "AQAC", "AQAAAAE"] {
            let refusal = refusal(rsa2048(), |jwk| jwk["e"] = e.into());
            assert_eq!(refusal, "its n must be odd, and its e odd and at least 65537", "{e}");
        }
    }

    #[test]
    fn a_key_for_something_else_is_refused() {
        let other = "it is not for verifying signatures, as its use or key_ops says";
        assert_eq!(refusal(p256(), |jwk| jwk["use"] = "enc".into()), other);
        assert_eq!(refusal(p256(), |jwk| jwk["key_ops"] = json!(["sign"])), other);
        for alg in ["ES384", "RS256", "HS256", "none"] {
            assert_eq!(refusal(p256(), |jwk| jwk["alg"] = alg.into()), "its alg does not fit it", "{alg}");
        }
        let mut jwk = rsa2048();
        jwk["use"] = "sig".into();
        jwk["key_ops"] = json!(["verify"]);
        jwk["alg"] = "PS256".into();
        assert_eq!(taken(&jwk).alg.as_deref(), Some("PS256"));
    }

    #[test]
    fn what_webcrypto_calls_ed25519_is_eddsa() {
        let mut jwk = ed25519();
        jwk["alg"] = "Ed25519".into();
        assert_eq!(taken(&jwk).alg.as_deref(), Some("EdDSA"));
        assert_eq!(refusal(p256(), |jwk| jwk["alg"] = "Ed25519".into()), "its alg does not fit it");
    }

    #[test]
    fn a_name_has_bounds() {
        for kid in ["", "a\nb", &"k".repeat(256)] {
            let refusal = refusal(p256(), |jwk| jwk["kid"] = (*kid).into());
            assert!(refusal.starts_with("its kid must have 1 to 255 characters"), "{refusal}");
        }
    }

    fn published(mut jwk: Value, edit: impl FnOnce(&mut Value)) -> Result<PublishedJwk, String> {
        edit(&mut jwk);
        PublishedJwk::read(jwk)
    }

    #[test]
    fn an_issuers_key_need_say_nothing_about_itself() {
        let bare = published(rsa2048(), |_| {}).unwrap();
        assert_eq!((&bare.kid, &bare.issuer), (&None, &None));
        assert!(bare.is_for(Algorithm::RS256) && bare.is_for(Algorithm::PS512));
        assert!(!bare.is_for(Algorithm::ES256) && !bare.is_for(Algorithm::HS256));
        let only = published(rsa2048(), |jwk| jwk["alg"] = "RS256".into()).unwrap();
        assert!(only.is_for(Algorithm::RS256) && !only.is_for(Algorithm::PS256));
        for use_ in ["sig", "jwt-svid"] {
            published(p256(), |jwk| jwk["use"] = use_.into()).unwrap();
        }
        // An old key of an issuer's: RFC 7518 sets no smallest exponent.
        published(rsa2048(), |jwk| jwk["e"] = "Aw".into()).unwrap();
    }

    #[test]
    fn an_issuers_key_for_something_else_is_not_used() {
        for (member, value) in [
            ("use", json!("enc")),
            ("use", json!("x509-svid")),
            ("key_ops", json!(["wrapKey"])),
            ("alg", json!("RSA-OAEP")),
            ("alg", json!("HS256")),
            ("alg", json!("ES256")),
            ("alg", json!(1)),
            ("kid", json!(1)),
            ("kty", json!("oct")),
            ("kty", json!(null)),
            ("issuer", json!({})),
            ("n", json!("AQAB")),
            ("d", json!("AQAB")),
        ] {
            assert!(published(rsa2048(), |jwk| jwk[member] = value.clone()).is_err(), "{member} {value}");
        }
        for odd in [json!(null), json!([]), json!("key"), json!({})] {
            assert!(PublishedJwk::read(odd.clone()).is_err(), "{odd}");
        }
    }
}
