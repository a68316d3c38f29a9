//! What an app redeems: authorization codes and refresh tokens.
//!
//! Each names everything that it rests on, so that all of it is read at once: the user, the authorization, the family of
//! refresh tokens, and the host that the app is from, which an admin may have blocked. None of that is a secret, and all
//! of it is under the hash that the table knows the secret by.

use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    apps::Authorization,
    clock::Random,
    error::Result,
    ids::{AuthorizationId, TokenFamilyId, UserId},
    secret::{SecretHash, decode_within, encode},
};

/// What such a secret rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RestsOn {
    pub user: UserId,
    pub authorization: AuthorizationId,
    pub family: TokenFamilyId,
    pub app_host: Option<String>,
}

const IDS: usize = 3 * 16;
const SECRET: usize = 32;
/// The longest host, in bytes (RFC 1035 section 2.3.4).
const LONGEST_HOST: usize = 255;

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
    /// A new one, and its text.
    pub(super) fn new(random: &Random, prefix: &str, rests_on: RestsOn) -> Result<(Self, SecretString)> {
        let host = rests_on.app_host.as_deref().unwrap_or_default();
        let mut bytes = Zeroizing::new(Vec::with_capacity(IDS + SECRET + host.len()));
        for id in [rests_on.user.0, rests_on.authorization.0, rests_on.family.0] {
            bytes.extend_from_slice(id.as_bytes());
        }
        bytes.extend_from_slice(&*Zeroizing::new(random.bytes::<SECRET>()?));
        bytes.extend_from_slice(host.as_bytes());
        let text = encode(prefix, &bytes);
        Ok((Self { rests_on, hash: SecretHash::of(&bytes), bytes }, text))
    }

    /// `None` if the text cannot be such a secret.
    pub(super) fn parse(prefix: &str, presented: &SecretString) -> Option<Self> {
        let lengths = IDS + SECRET..=IDS + SECRET + LONGEST_HOST;
        let bytes = decode_within(prefix, presented.expose_secret(), lengths)?;
        let (ids, rest) = bytes.split_at_checked(IDS)?;
        let id = |n: usize| Uuid::from_slice(ids.get(16 * n..16 * (n + 1))?).ok();
        let host = std::str::from_utf8(rest.get(SECRET..)?).ok()?;
        let rests_on = RestsOn {
            user: UserId(id(0)?),
            authorization: AuthorizationId(id(1)?),
            family: TokenFamilyId(id(2)?),
            app_host: (!host.is_empty()).then(|| host.to_owned()),
        };
        Some(Self { rests_on, hash: SecretHash::of(&bytes), bytes })
    }

    /// All of it, for what is derived of it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
