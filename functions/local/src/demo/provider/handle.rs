//! Authorization codes and refresh tokens: `{family}.{secret}`, both halves random.
//!
//! The first half says which authorization the code or token belongs to. It stays the same for everything that comes
//! from this authorization. So a code or refresh token that was valid once is recognized, although it is not stored. Of
//! both halves only hashes are kept.

use std::io;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use deputize_core::secret::sha256_hex;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Names all codes and tokens of one authorization, by the hash of their common half. Access tokens contain it too. It
/// proves nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct FamilyId(String);

/// The hash of the half that belongs to one code or refresh token alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct SecretHash(String);

impl SecretHash {
    pub(super) fn of(secret: &str) -> Self {
        Self(sha256_hex(secret.as_bytes()))
    }

    pub(super) fn matches(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

/// A code or refresh token, new or presented.
pub(super) struct Handle {
    family: Zeroizing<String>,
    secret: Zeroizing<String>,
}

impl Handle {
    /// The first handle of a new family.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { family: random::<16>()?, secret: random::<32>()? })
    }

    pub(super) fn parse(presented: &str) -> Option<Self> {
        let (family, secret) = presented.split_once('.')?;
        let own = |text: &str| Zeroizing::new(text.to_owned());
        Some(Self { family: own(family), secret: own(secret) })
    }

    /// Another handle of the same family.
    pub(super) fn successor(&self) -> io::Result<Self> {
        Ok(Self { family: self.family.clone(), secret: random::<32>()? })
    }

    pub(super) fn family(&self) -> FamilyId {
        FamilyId(sha256_hex(self.family.as_bytes()))
    }

    pub(super) fn hash(&self) -> SecretHash {
        SecretHash::of(&self.secret)
    }

    pub(super) fn text(&self) -> SecretString {
        SecretString::from(format!("{}.{}", *self.family, *self.secret))
    }
}

fn random<const BYTES: usize>() -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    aws_lc_rs::rand::fill(&mut *bytes).map_err(io::Error::other)?;
    Ok(Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(*bytes)))
}
