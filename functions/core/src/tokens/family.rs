//! Refresh tokens of apps: a family of them for each authorization code that was redeemed.
//!
//! **Rotation.** A refresh token is good until its successor is used, since an answer can be lost on its way to the app,
//! and for a while after that, since an app may refresh in several places at once. Whoever presents such a *former* token
//! gets the family's newest one, and never a second line of tokens. What is older than that was stolen, or was kept by a
//! thief: it ends the family (RFC 9700 section 4.14.2).
//!
//! | presented | answer |
//! | --- | --- |
//! | the newest token | a new one in its place |
//! | a former one whose successor is not used yet, or was first used less than the grace ago | the newest one |
//! | any older one | the family ends, with its access tokens |
//! | what was never one of the family's | nothing happens |
//!
//! **The newest token is nowhere in the table.** Each former token has its successor sealed under a key that only the
//! former one gives. So who presents a former token opens the next, and with that the one after, up to the newest.
//!
//! **A bound.** A family keeps [`MAX_FORMER`] former tokens. If so many are still good, its newest token is not rotated
//! but stays as it is, so that nobody is logged out for being fast.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    LIFETIME,
    app_secret::{AppSecret, ProofKey, RestsOn},
    revoked::add_revocation,
};
use crate::{
    Core,
    apps::{AppAuth, Authorization, LASTS},
    clock::Timestamp,
    error::{Error, Result},
    ids::AppId,
    scope::Scopes,
    secret::{REFRESH_TOKEN_PREFIX, SecretHash},
    table::{Change, Entity, Key, Stored},
    vault::{open_under, seal_under},
};

/// How long a refresh token stays good once its successor has been used, unless a deployment says otherwise.
pub const REFRESH_GRACE: Duration = Duration::from_mins(1);
/// The longest such time.
pub const MAX_REFRESH_GRACE: Duration = Duration::from_hours(1);
/// How many former tokens a family keeps.
const MAX_FORMER: usize = 20;
/// How many of its access tokens a family knows, and ends when it ends.
const MAX_ACCESS_TOKENS: usize = 50;
/// What successors are sealed for.
const SUCCESSOR: &str = "deputize refresh token's successor";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TokenFamily {
    pub app: AppId,
    /// How the app proves itself, as it was when the user allowed it.
    pub auth: AppAuth,
    pub scope: Scopes,
    key: ProofKey,
    newest: SecretHash,
    /// The newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<Former>,
    /// Its access tokens that have not expired yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    access_tokens: Vec<AccessToken>,
    pub created_at: Timestamp,
    pub used_at: Timestamp,
    /// The end that what it rests on has, however much it is used.
    pub expires_at: Timestamp,
}

/// A token that was rotated out.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Former {
    hash: SecretHash,
    /// The token that came after it, sealed under it.
    successor: String,
    /// Until when it is good; `None` until its successor is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    good_until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct AccessToken {
    jti: Uuid,
    expires_at: Timestamp,
}

impl Entity for TokenFamily {
    const KIND: &'static str = "token family";
}

/// What a presented token is to a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Newest,
    /// A former one that is still good, by its place.
    Former(usize),
    /// One that was the family's, and is good no more.
    Spent,
    /// None of the family's.
    Strange,
}

impl TokenFamily {
    /// A new family, and its first token.
    pub(super) fn begin(
        core: &Core,
        app: AppId,
        auth: AppAuth,
        scope: Scopes,
        rests_on: RestsOn,
    ) -> Result<(Self, SecretString)> {
        let key = ProofKey::new(&core.random)?;
        let first = AppSecret::new(&core.random, rests_on, Some(&key))?;
        let now = core.clock.now();
        let family = Self {
            app,
            auth,
            scope,
            key,
            newest: first.hash.clone(),
            former: Vec::new(),
            access_tokens: Vec::new(),
            created_at: now,
            used_at: now,
            expires_at: now,
        };
        Ok((family, first.text(REFRESH_TOKEN_PREFIX)))
    }

    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    pub(super) fn judge(&self, presented: &AppSecret, now: Timestamp) -> Standing {
        if presented.hash.matches(&self.newest) {
            return Standing::Newest;
        }
        match self.former.iter().position(|former| presented.hash.matches(&former.hash)) {
            Some(place) if self.former.get(place).is_some_and(|former| former.is_good(now)) => {
                Standing::Former(place)
            }
            Some(_) => Standing::Spent,
            None if presented.is_of(&self.key) => Standing::Spent,
            None => Standing::Strange,
        }
    }

    /// Puts a new token in the place of the newest, which was presented. `item` is the family's key.
    pub(super) fn rotate(
        &mut self,
        core: &Core,
        item: &Key,
        presented: &AppSecret,
        rests_on: RestsOn,
    ) -> Result<SecretString> {
        let now = core.clock.now();
        for former in &mut self.former {
            former.good_until.get_or_insert_with(|| now.plus(core.settings.refresh_grace));
        }
        // Those before one that is good are kept with it, since they lead from it to the newest.
        let kept = self.former.iter().rposition(|former| former.is_good(now)).map_or(0, |last| last + 1);
        self.former.truncate(kept);
        if self.former.len() >= MAX_FORMER {
            return Ok(presented.text(REFRESH_TOKEN_PREFIX));
        }
        let next = AppSecret::new(&core.random, rests_on, Some(&self.key))?;
        let successor = seal_under(&core.random, presented.bytes(), SUCCESSOR, item, next.bytes())?;
        self.former.insert(0, Former { hash: presented.hash.clone(), successor, good_until: None });
        self.newest = next.hash.clone();
        Ok(next.text(REFRESH_TOKEN_PREFIX))
    }

    /// The newest token, for the holder of the former one at this place.
    pub(super) fn newest(&self, item: &Key, presented: &AppSecret, place: usize) -> Result<SecretString> {
        let broken = || Error::internal("a chain of refresh tokens does not lead to the newest");
        let mut token = Zeroizing::new(presented.bytes().to_vec());
        for former in self.former.get(..=place).ok_or_else(broken)?.iter().rev() {
            token = open_under(&token, SUCCESSOR, item, &former.successor)?;
        }
        let newest = AppSecret::of(token).filter(|newest| newest.hash.matches(&self.newest));
        Ok(newest.ok_or_else(broken)?.text(REFRESH_TOKEN_PREFIX))
    }

    /// Notes that an access token came of it, which rests on this authorization.
    pub(super) fn note_use(
        &mut self,
        now: Timestamp,
        authorization: &Authorization,
        jti: Uuid,
        token_ends: Timestamp,
    ) {
        self.access_tokens.retain(|token| now < token.expires_at);
        let too_many = (self.access_tokens.len() + 1).saturating_sub(MAX_ACCESS_TOKENS);
        self.access_tokens.drain(..too_many);
        self.access_tokens.push(AccessToken { jti, expires_at: token_ends });
        self.used_at = self.used_at.max(now);
        self.expires_at = authorization.allowed_at.plus(LASTS);
    }

    /// Whether this access token came of it.
    pub(super) fn gave(&self, jti: Uuid) -> bool {
        self.access_tokens.iter().any(|token| token.jti == jti)
    }
}

impl Former {
    fn is_good(&self, now: Timestamp) -> bool {
        self.good_until.is_none_or(|until| now < until)
    }
}

/// Ends a family, with the access tokens that came of it.
pub(super) fn end(
    change: &mut Change,
    key: &Key,
    family: &Stored<TokenFamily>,
    now: Timestamp,
) -> Result<()> {
    change.delete(key, family.rev)?;
    for token in family.access_tokens.iter().filter(|token| now < token.expires_at) {
        add_revocation(change, token.jti, token.expires_at.plus(LIFETIME))?;
    }
    Ok(())
}
