//! Taking tokens apart, and forging them.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaSubjectPublicKey,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("a part of a token");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// A token's header.
pub fn header(token: &str) -> Value {
    part(token, 0)
}

/// A token's claims.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
}

/// A token without a signature.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    message(header, claims) + "."
}

/// A token that is "signed" with a secret, such as another party's public key.
pub fn hmac_signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = message(header, claims);
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", encode(signature))
}

/// The token with other claims under the same signature.
pub fn with_claims(token: &str, edit: impl FnOnce(&mut Value)) -> String {
    let mut claims = claims(token);
    edit(&mut claims);
    let (head, rest) = token.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    format!("{head}.{}.{signature}", encode(claims.to_string()))
}

/// The token with another header under the same signature.
pub fn with_header(token: &str, edit: impl FnOnce(&mut Value)) -> String {
    let mut header = header(token);
    edit(&mut header);
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", encode(header.to_string()))
}

/// A key that signs.
#[derive(Debug)]
pub enum SigningKey {
    Es256(EcdsaKeyPair),
    Es384(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(Box<RsaKeyPair>),
}

impl SigningKey {
    pub fn es256() -> Self {
        Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn es384() -> Self {
        Self::Es384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub fn eddsa() -> Self {
        Self::EdDsa(Ed25519KeyPair::generate().unwrap())
    }

    pub fn rs256() -> Self {
        Self::Rs256(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::Es384(_) => "ES384",
            Self::EdDsa(_) => "EdDSA",
            Self::Rs256(_) => "RS256",
        }
    }

    /// Signs a token with the key's algorithm, or with PS256 if the header of an RSA key's token says so.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let random = SystemRandom::new();
        let signature = match self {
            Self::Es256(pair) | Self::Es384(pair) => {
                pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec()
            }
            Self::EdDsa(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Self::Rs256(pair) => {
                let padding = if header["alg"] == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{message}.{}", encode(signature))
    }

    /// The public half (RFC 7517).
    pub fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Es256(pair) | Self::Es384(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let crv = if x.len() == 32 { "P-256" } else { "P-384" };
                let (alg, x, y) = (self.algorithm(), encode(x), encode(y));
                json!({ "kty": "EC", "crv": crv, "alg": alg, "use": "sig", "kid": kid, "x": x, "y": y })
            }
            Self::EdDsa(pair) => {
                let x = encode(pair.public_key());
                json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x })
            }
            Self::Rs256(pair) => {
                let public: &RsaSubjectPublicKey = pair.public_key();
                let n = encode(public.modulus().big_endian_without_leading_zero());
                let e = encode(public.exponent().big_endian_without_leading_zero());
                json!({ "kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid, "n": n, "e": e })
            }
        }
    }
}
