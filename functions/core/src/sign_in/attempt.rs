//! A sign-in under way.

use std::time::Duration;

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::return_to::LocalPath;
use crate::{
    clock::{Random, Timestamp},
    error::Result,
    secret::{sha256_base64url, sha256_hex},
};

/// How long a person has to sign in.
pub const ATTEMPT_LASTS: Duration = Duration::from_mins(10);

const SECRET_BYTES: usize = 32;

/// All that a sign-in is recognized by. Its texts follow from the secret.
#[derive(Clone)]
pub struct Attempt {
    secret: Zeroizing<[u8; SECRET_BYTES]>,
    provider: String,
    expires_at: i64,
    return_to: LocalPath,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// What the cookies of a sign-in are named after. It does not reveal the `state`.
pub fn attempt_id(state: &str) -> String {
    sha256_hex(state.as_bytes())[..16].to_owned()
}

impl Attempt {
    pub(super) fn new(random: &Random, provider: &str, return_to: LocalPath, now: Timestamp) -> Result<Self> {
        Ok(Self {
            secret: Zeroizing::new(random.bytes()?),
            provider: provider.to_owned(),
            expires_at: now.plus(ATTEMPT_LASTS).as_seconds(),
            return_to,
        })
    }

    /// The attempt of a cookie, if this is its `state`.
    pub(super) fn of(
        provider: &str,
        cookie: &str,
        return_to: &str,
        state: &str,
        now: Timestamp,
    ) -> Option<Self> {
        let (secret, expires_at) = cookie.split_once('.')?;
        let decoded = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(secret).ok()?);
        let attempt = Self {
            secret: Zeroizing::new(<[u8; SECRET_BYTES]>::try_from(decoded.as_slice()).ok()?),
            provider: provider.to_owned(),
            expires_at: expires_at.parse().ok()?,
            return_to: return_to.parse().ok()?,
        };
        let is_its_own = verify_slices_are_equal(attempt.state().as_bytes(), state.as_bytes()).is_ok();
        (is_its_own && now.as_seconds() < attempt.expires_at).then_some(attempt)
    }

    /// What the browser keeps.
    pub fn cookie(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(*self.secret));
        Zeroizing::new(format!("{}.{}", *secret, self.expires_at))
    }

    pub fn return_to(&self) -> &LocalPath {
        &self.return_to
    }

    pub fn id(&self) -> String {
        attempt_id(&self.state())
    }

    pub(super) fn state(&self) -> String {
        let Self { provider, expires_at, return_to, .. } = self;
        self.derived(&format!("state\0{provider}\0{expires_at}\0{return_to}"))
    }

    pub(super) fn nonce(&self) -> String {
        self.derived("nonce")
    }

    /// PKCE's `code_verifier`.
    pub(super) fn verifier(&self) -> Zeroizing<String> {
        Zeroizing::new(self.derived("verifier"))
    }

    pub(super) fn challenge(&self) -> String {
        sha256_base64url(self.verifier().as_bytes())
    }

    fn derived(&self, what: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*self.secret);
        let tag = hmac::sign(&key, format!("deputize sign-in\0{what}").as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(tag.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_found_by_its_cookie_and_state_and_changed_in_nothing() {
        let now = Timestamp::from_seconds(1_700_000_000);
        let there: LocalPath = "/there".parse().unwrap();
        let attempt = Attempt::new(&Random::System, "one", there, now).unwrap();
        let (cookie, state) = (attempt.cookie(), attempt.state());
        let found = |provider: &str, cookie: &str, return_to: &str, state: &str, now: Timestamp| {
            Attempt::of(provider, cookie, return_to, state, now).map(|found| found.nonce())
        };
        assert_eq!(found("one", &cookie, "/there", &state, now), Some(attempt.nonce()));
        assert_eq!(found("two", &cookie, "/there", &state, now), None);
        assert_eq!(found("one", &cookie, "/elsewhere", &state, now), None);
        assert_eq!(found("one", &cookie, "/there", &attempt.nonce(), now), None);
        assert_eq!(found("one", &cookie, "/there", &state, now.plus(ATTEMPT_LASTS)), None);
        let (secret, expires_at) = cookie.split_once('.').unwrap();
        let later = format!("{secret}.{}", expires_at.parse::<i64>().unwrap() + 60);
        assert_eq!(found("one", &later, "/there", &state, now), None);
        for odd in ["", ".", "a.b", &*format!("{secret}.")] {
            assert_eq!(found("one", odd, "/there", &state, now), None);
        }
    }
}
