//! Client secrets and API keys: how they look, how they are made, and how they are compared.
//!
//! Both hold 256 random bits, so a fast hash (SHA-256) is enough to store them by: nobody can guess them, and a slow
//! password hash would only make each call slow. They are shown once and never stored. Comparison is in constant time.
//!
//! What is a user's own (an API key, a cookie, a refresh token) also holds its owner's id and its own. So it, its owner
//! and everything else are read at once.
//!
//! The last four bytes are a checksum. With it a mistyped or truncated secret is refused before the table is read, and
//! secret scanners recognize a real one. It proves nothing.

use std::ops::RangeInclusive;

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    clock::Random,
    error::Result,
    ids::{ApiKeyId, UserId},
};

/// The prefix of a user API key.
pub const API_KEY_PREFIX: &str = "rl_";
const CLIENT_SECRET_PREFIX: &str = "dps_";
/// The prefix of a browser session's cookie.
pub(crate) const BROWSER_SESSION_PREFIX: &str = "dpb_";
/// The prefix of a refresh token.
pub(crate) const REFRESH_TOKEN_PREFIX: &str = "dpr_";
/// The prefix of an authorization code.
pub(crate) const CODE_PREFIX: &str = "dpc_";

const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

/// The SHA-256 of a secret: the only thing that the table holds of it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretHash(String);

impl SecretHash {
    pub(crate) fn of(secret: &[u8]) -> Self {
        Self(sha256_base64url(secret))
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// A new secret, and the hash to store.
#[derive(Debug)]
pub struct NewSecret {
    /// The text to show once.
    pub text: SecretString,
    pub hash: SecretHash,
}

/// A new client secret for an agent account.
pub fn new_client_secret(random: &Random) -> Result<NewSecret> {
    let secret = Zeroizing::new(random.bytes::<SECRET_BYTES>()?);
    Ok(NewSecret { text: encode(CLIENT_SECRET_PREFIX, &*secret), hash: SecretHash::of(&*secret) })
}

/// A client secret that is derived and not drawn, so that it need not be stored.
pub(crate) fn derived_client_secret(secret: &[u8]) -> NewSecret {
    NewSecret { text: encode(CLIENT_SECRET_PREFIX, secret), hash: SecretHash::of(secret) }
}

/// 256 random bits as text, for single use: a `state`, a PKCE verifier.
pub(crate) fn random_text(random: &Random) -> Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(random.bytes::<SECRET_BYTES>()?);
    Ok(Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(*bytes)))
}

/// The hash of a presented client secret. `None` if the text cannot be a client secret.
pub fn hash_client_secret(presented: &str) -> Option<SecretHash> {
    let secret = decode::<SECRET_BYTES>(CLIENT_SECRET_PREFIX, presented)?;
    Some(SecretHash::of(&*secret))
}

/// A presented secret of a user's: an API key, a browser's cookie, a refresh token. It contains its own id and its
/// owner's, so that what it is of, its owner and everything else for a call are read in one round trip.
#[derive(Clone, Debug)]
pub struct PresentedSecret {
    pub user_id: UserId,
    pub id: uuid::Uuid,
    pub hash: SecretHash,
}

const OWNED_BYTES: usize = 16 + 16 + SECRET_BYTES;

/// A new secret of a user's.
pub(crate) fn new_owned_secret(
    random: &Random,
    prefix: &str,
    user: UserId,
    id: uuid::Uuid,
) -> Result<NewSecret> {
    let mut bytes = Zeroizing::new([0; OWNED_BYTES]);
    bytes[..16].copy_from_slice(user.0.as_bytes());
    bytes[16..32].copy_from_slice(id.as_bytes());
    bytes[32..].copy_from_slice(&*Zeroizing::new(random.bytes::<SECRET_BYTES>()?));
    Ok(NewSecret { text: encode(prefix, &*bytes), hash: SecretHash::of(&*bytes) })
}

impl PresentedSecret {
    /// A browser session's cookie.
    pub(crate) fn browser_session(cookie: &str) -> Option<Self> {
        Self::parse(BROWSER_SESSION_PREFIX, cookie)
    }

    /// `None` if the text cannot be such a secret.
    pub(crate) fn parse(prefix: &str, presented: &str) -> Option<Self> {
        let bytes = decode::<OWNED_BYTES>(prefix, presented)?;
        Some(Self {
            user_id: UserId(uuid::Uuid::from_slice(&bytes[..16]).ok()?),
            id: uuid::Uuid::from_slice(&bytes[16..32]).ok()?,
            hash: SecretHash::of(&*bytes),
        })
    }
}

/// A presented API key.
#[derive(Clone, Debug)]
pub struct PresentedApiKey {
    pub user_id: UserId,
    pub key_id: ApiKeyId,
    pub hash: SecretHash,
}

/// A new API key of a user.
pub fn new_api_key(random: &Random, user: UserId, key: ApiKeyId) -> Result<NewSecret> {
    new_owned_secret(random, API_KEY_PREFIX, user, key.0)
}

impl PresentedApiKey {
    /// `None` if the text cannot be an API key.
    pub fn parse(presented: &str) -> Option<Self> {
        let PresentedSecret { user_id, id, hash } = PresentedSecret::parse(API_KEY_PREFIX, presented)?;
        Some(Self { user_id, key_id: ApiKeyId(id), hash })
    }
}

pub(crate) fn encode(prefix: &str, secret: &[u8]) -> SecretString {
    let mut bytes = Zeroizing::new(Vec::with_capacity(secret.len() + CHECKSUM_BYTES));
    bytes.extend_from_slice(secret);
    bytes.extend_from_slice(&checksum(prefix, secret));
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + bytes.len().div_ceil(3) * 4));
    text.push_str(prefix);
    BASE64_URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
    SecretString::from(text.as_str())
}

fn decode<const N: usize>(prefix: &str, text: &str) -> Option<Zeroizing<[u8; N]>> {
    let secret = decode_within(prefix, text, N..=N)?;
    let mut found = Zeroizing::new([0; N]);
    found.copy_from_slice(&secret);
    Some(found)
}

/// What [`encode`] made a text of, if it has so many bytes.
pub(crate) fn decode_within(
    prefix: &str,
    text: &str,
    lengths: RangeInclusive<usize>,
) -> Option<Zeroizing<Vec<u8>>> {
    let encoded = text.strip_prefix(prefix)?;
    if encoded.len() > (lengths.end() + CHECKSUM_BYTES).div_ceil(3) * 4 {
        return None;
    }
    let mut bytes = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?);
    let length = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|length| lengths.contains(length))?;
    let (secret, sum) = bytes.split_at(length);
    verify_slices_are_equal(&checksum(prefix, secret), sum).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

fn checksum(prefix: &str, secret: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"deputize checksum ");
    context.update(prefix.as_bytes());
    context.update(secret);
    let sum = context.finish();
    let mut first = [0; CHECKSUM_BYTES];
    first.copy_from_slice(&sum.as_ref()[..CHECKSUM_BYTES]);
    first
}

/// The lower-case hexadecimal SHA-256 of some bytes.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    digest::digest(&digest::SHA256, bytes).as_ref().iter().fold(
        String::with_capacity(64),
        |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        },
    )
}

/// The base64url SHA-256 of some bytes, for a key's thumbprint.
pub(crate) fn sha256_base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, bytes))
}

/// The base64 SHA-256 of some bytes, for an inline style in a Content Security Policy.
pub fn sha256_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(digest::digest(&digest::SHA256, bytes))
}

/// A secret that a caller presents: wiped when dropped, and not printable.
pub fn presented(text: &str) -> SecretString {
    SecretString::from(text)
}

/// A new secret's text in the note of the request that made it. The note is sealed (the module `once`).
#[derive(Debug)]
pub(crate) struct NotedSecret(pub SecretString);

impl Serialize for NotedSecret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

impl<'de> Deserialize<'de> for NotedSecret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// The text of a new secret, for the one answer that shows it.
pub fn shown_once(secret: &SecretString) -> &str {
    secret.expose_secret()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_secret_matches_its_own_hash_and_no_other() {
        let (one, two) =
            (new_client_secret(&Random::System).unwrap(), new_client_secret(&Random::System).unwrap());
        let presented = hash_client_secret(one.text.expose_secret()).unwrap();
        assert!(presented.matches(&one.hash));
        assert!(!presented.matches(&two.hash));
    }

    #[test]
    fn an_api_key_names_its_owner_and_itself() {
        let (user, key) = (UserId(Random::System.uuid().unwrap()), ApiKeyId(Random::System.uuid().unwrap()));
        let made = new_api_key(&Random::System, user, key).unwrap();
        let parsed = PresentedApiKey::parse(made.text.expose_secret()).unwrap();
        assert_eq!((parsed.user_id, parsed.key_id), (user, key));
        assert!(parsed.hash.matches(&made.hash));
    }

    #[test]
    fn a_mistyped_truncated_or_relabelled_secret_is_refused_before_the_table_is_asked() {
        let secret = new_client_secret(&Random::System).unwrap();
        let text = secret.text.expose_secret();
        let flipped = format!("{}{}", &text[..text.len() - 1], if text.ends_with('A') { 'B' } else { 'A' });
        for wrong in
            [&text[..text.len() - 1], &text.replacen("dps_", "rl_", 1), &flipped, "dps_", "", "dps_%%%"]
        {
            assert!(hash_client_secret(wrong).is_none(), "{wrong}");
            assert!(PresentedApiKey::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn debug_output_shows_neither_secret_nor_hash() {
        let secret = new_client_secret(&Random::System).unwrap();
        let debug = format!("{secret:?}");
        assert!(!debug.contains(secret.text.expose_secret()));
        assert!(!debug.contains(&secret.hash.0));
    }
}
