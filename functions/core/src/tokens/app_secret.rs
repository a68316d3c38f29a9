//! What an app redeems: authorization codes and refresh tokens.
//!
//! Each names everything that it rests on, so that all of it is read at once: the user, the authorization, the family of
//! refresh tokens, and the host that the app is from, which an admin may have blocked. None of that is a secret, and all
//! of it is under the hash that the table knows the secret by.
//!
//! A refresh token also proves, by a key of its family, that it was once one of the family's. So the family needs to
//! remember no token that is long gone, and a made-up one cannot end it.

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    apps::Authorization,
    clock::Random,
    error::Result,
    ids::{AuthorizationId, TokenFamilyId, UserId},
    secret::{SecretHash, decode_within, encode, random_text},
};

/// What such a secret rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RestsOn {
    pub user: UserId,
    pub authorization: AuthorizationId,
    pub family: TokenFamilyId,
    pub app_host: Option<String>,
}

impl RestsOn {
    pub(super) fn of(authorization: &Authorization, family: TokenFamilyId) -> Self {
        Self {
            user: authorization.user_id,
            authorization: authorization.id,
            family,
            app_host: authorization.app_host.clone(),
        }
    }
}

/// Where the ids end, then the random bytes, then the proof. The host follows.
const IDS: usize = 3 * 16;
const SECRET: usize = IDS + 32;
const PROOF: usize = SECRET + 16;
/// The longest host, in bytes (RFC 1035 section 2.3.4).
const LONGEST_HOST: usize = 255;

/// The key by which a family knows the tokens that were its own. It lets nobody make a token that is good: those are
/// known by their hashes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct ProofKey(String);

impl std::fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProofKey(…)")
    }
}

impl ProofKey {
    pub(super) fn new(random: &Random) -> Result<Self> {
        Ok(Self(random_text(random)?.to_string()))
    }

    fn proof(&self, parts: [&[u8]; 2]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes()));
        for part in parts {
            context.update(part);
        }
        context.sign()
    }
}

/// A secret as an app presents it.
#[derive(Clone)]
pub(super) struct AppSecret {
    pub rests_on: RestsOn,
    pub hash: SecretHash,
    bytes: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for AppSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppSecret").field("rests_on", &self.rests_on).finish_non_exhaustive()
    }
}

impl AppSecret {
    /// A new one. With a key it can be proven later that it is of that key's family.
    pub(super) fn new(random: &Random, rests_on: RestsOn, key: Option<&ProofKey>) -> Result<Self> {
        let host = rests_on.app_host.as_deref().unwrap_or_default().as_bytes();
        let mut bytes = Zeroizing::new(Vec::with_capacity(PROOF + host.len()));
        for id in [rests_on.user.0, rests_on.authorization.0, rests_on.family.0] {
            bytes.extend_from_slice(id.as_bytes());
        }
        bytes.extend_from_slice(&*Zeroizing::new(random.bytes::<{ SECRET - IDS }>()?));
        match key {
            Some(key) => {
                let proof = key.proof([&bytes, host]);
                bytes.extend_from_slice(proof.as_ref().get(..PROOF - SECRET).unwrap_or_default());
            }
            None => bytes.extend_from_slice(&random.bytes::<{ PROOF - SECRET }>()?),
        }
        bytes.extend_from_slice(host);
        Ok(Self { rests_on, hash: SecretHash::of(&bytes), bytes })
    }

    /// `None` if the text cannot be such a secret.
    pub(super) fn parse(prefix: &str, presented: &SecretString) -> Option<Self> {
        let lengths = PROOF..=PROOF + LONGEST_HOST;
        Self::of(decode_within(prefix, presented.expose_secret(), lengths)?)
    }

    /// The secret of these bytes.
    pub(super) fn of(bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        let id = |n: usize| Uuid::from_slice(bytes.get(16 * n..16 * (n + 1))?).ok();
        let host = std::str::from_utf8(bytes.get(PROOF..)?).ok()?;
        let rests_on = RestsOn {
            user: UserId(id(0)?),
            authorization: AuthorizationId(id(1)?),
            family: TokenFamilyId(id(2)?),
            app_host: (!host.is_empty()).then(|| host.to_owned()),
        };
        Some(Self { rests_on, hash: SecretHash::of(&bytes), bytes })
    }

    /// Whether it was made with this key.
    pub(super) fn is_of(&self, key: &ProofKey) -> bool {
        let Some((rest, host)) = self.bytes.split_at_checked(PROOF) else { return false };
        let Some((made, proof)) = rest.split_at_checked(SECRET) else { return false };
        let right = key.proof([made, host]);
        right.as_ref().get(..proof.len()).is_some_and(|right| verify_slices_are_equal(right, proof).is_ok())
    }

    pub(super) fn text(&self, prefix: &str) -> SecretString {
        encode(prefix, &self.bytes)
    }

    /// All of it, for what is sealed under it or holds it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::REFRESH_TOKEN_PREFIX;

    fn rests_on(host: Option<&str>) -> RestsOn {
        let id = || Random::System.uuid().unwrap();
        let app_host = host.map(str::to_owned);
        RestsOn {
            user: UserId(id()),
            authorization: AuthorizationId(id()),
            family: TokenFamilyId(id()),
            app_host,
        }
    }

    #[test]
    fn a_secret_names_what_it_rests_on_and_shows_none_of_itself() {
        for host in [None, Some("claude.ai"), Some(&*"h".repeat(LONGEST_HOST))] {
            let key = ProofKey::new(&Random::System).unwrap();
            let made = AppSecret::new(&Random::System, rests_on(host), Some(&key)).unwrap();
            let text = made.text(REFRESH_TOKEN_PREFIX);
            let read = AppSecret::parse(REFRESH_TOKEN_PREFIX, &text).unwrap();
            assert_eq!(read.rests_on, made.rests_on);
            assert!(read.hash.matches(&made.hash) && read.is_of(&key));
            assert!(!read.is_of(&ProofKey::new(&Random::System).unwrap()));
            let shown = format!("{read:?} {key:?}");
            assert!(!shown.contains(&text.expose_secret()[4..20]) && !shown.contains(&key.0), "{shown}");
        }
    }

    #[test]
    fn a_secret_that_is_relabelled_cut_or_altered_is_none() {
        let key = ProofKey::new(&Random::System).unwrap();
        let made = AppSecret::new(&Random::System, rests_on(Some("a.test")), Some(&key)).unwrap();
        let text = made.text(REFRESH_TOKEN_PREFIX);
        let text = text.expose_secret();
        let none = |text: &str| AppSecret::parse(REFRESH_TOKEN_PREFIX, &SecretString::from(text)).is_none();
        let long = AppSecret::new(&Random::System, rests_on(Some(&"h".repeat(256))), None).unwrap();
        assert!(none(long.text(REFRESH_TOKEN_PREFIX).expose_secret()));
        for wrong in ["", "dpr_", "dpr_%%%", &text[..text.len() - 1], &text.replacen("dpr_", "dpc_", 1)] {
            assert!(none(wrong), "{wrong}");
        }
        // With another host, it is no token of the family's.
        let mut bytes = made.bytes().to_vec();
        bytes.extend_from_slice(b".evil");
        assert!(!AppSecret::of(Zeroizing::new(bytes)).unwrap().is_of(&key));
    }
}
