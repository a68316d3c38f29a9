//! The keys that sign agent tokens. They are items in the table, the private halves sealed. Each process keeps what it
//! has read until the control item says that the keys have changed.
//!
//! **Rotation.** The new key signs from then on. The old one verifies, and is published, for a token's lifetime and a
//! minute (3,660 s).
//!
//! **Revoking** a key deletes it: every token that it signed is refused on the next call. If it was the key that signs,
//! a new one takes its place in the same transaction.
//!
//! **Only a process that signs opens a private half.** Tokens are verified by public keys. So a process answers M2M
//! calls while the KMS cannot be reached, and after the loss of a root key, rotating the signing keys is enough. A
//! private half that is sealed under a previous root key is written back sealed under the current one, when it is
//! opened.
//!
//! **A signature is verified once.** A keyring remembers up to 4,096 tokens that its keys have signed, by the SHA-256 of
//! the whole token. Verifying takes many times as long as hashing. What a token says, its times and all that it rests on
//! are checked with each request. A change of the keys makes a new keyring, which remembers nothing.

use std::{collections::HashMap, time::Duration};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use deputize_api::reason::Reason;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::{LIFETIME, TYPE, refused::AgentTokenError};
use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    clock::Timestamp,
    control::{self, Control, Digest, InForce, Version},
    error::{Error, Result, Told, chain},
    gone,
    once::{Holds, once},
    secret::sha256_hex,
    table::{Change, CommitError, Entity, Key, Partition, Stored},
    vault::Sealed,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SigningKey {
    kid: String,
    /// The public point, uncompressed (SEC 1), in base64url.
    public: String,
    private: Sealed,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    retired_at: Option<Timestamp>,
}

impl Entity for SigningKey {
    const KIND: &'static str = "signing key";
}

impl InForce for SigningKey {
    const WHAT: &'static str = "signing keys";

    /// Does not cover how the private half is sealed, since that changes without a new version.
    fn digest(&self) -> Digest {
        let retired = self.retired_at.map(|at| at.as_millis().to_be_bytes());
        let retired = retired.as_ref().map_or(&[][..], |at| at);
        Digest::of_part(&[self.kid.as_bytes(), self.public.as_bytes(), retired])
    }

    fn version(control: &Control) -> Version {
        control.version_of_keys()
    }

    async fn all(core: &Core) -> Result<Vec<Stored<Self>>> {
        core.table.query_all(&Partition::signing_keys()).await
    }
}

impl SigningKey {
    /// How long a key verifies after its retirement: no token that it signed lives longer.
    const OVERLAP: Duration = Duration::from_secs(LIFETIME.as_secs() + 60);

    fn verifies(&self, now: Timestamp) -> bool {
        self.ends_at().is_none_or(|ends| now < ends)
    }

    /// When it stops verifying. Not known for the key that signs.
    fn ends_at(&self) -> Option<Timestamp> {
        self.retired_at.map(|retired| retired.plus(Self::OVERLAP))
    }
}

/// How many keys are published at a time: the one that signs, and those that still verify. Every verifier of
/// tokens reads all of them.
const MAX_KEYS: usize = 10;
/// How many keys one change retires or removes. With those of the control item and the event, they fit into a
/// transaction (100 items; DynamoDB API Reference). The next change continues.
const TOUCHED_AT_ONCE: usize = 60;

/// Refuses a new key if the maximum is already published.
fn require_room(keys: &[Stored<SigningKey>], now: Timestamp) -> Result<()> {
    let published: Vec<&Stored<SigningKey>> = keys.iter().filter(|key| key.verifies(now)).collect();
    let Some(too_many) = published.len().checked_sub(MAX_KEYS) else { return Ok(()) };
    let mut ends: Vec<Timestamp> = published.iter().filter_map(|key| key.ends_at()).collect();
    ends.sort_unstable();
    let when = match ends.get(too_many) {
        Some(at) => format!("the next rotation is possible at {at}, or sooner if keys are revoked"),
        None => "revoke some before rotating again".to_owned(),
    };
    let there_are = published.len();
    Err(Error::Conflict(Told::of(
        Reason::LimitReached,
        format!("{there_are} signing keys are published, and {MAX_KEYS} are the most there can be; {when}"),
    )))
}

/// A public key to publish (RFC 7517, RFC 7518 section 6.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublicKey {
    pub kty: &'static str,
    pub crv: &'static str,
    pub alg: &'static str,
    #[serde(rename = "use")]
    pub use_: &'static str,
    pub kid: String,
    pub x: String,
    pub y: String,
}

/// One version of the keys, in memory.
#[derive(Debug)]
pub struct Keyring {
    pub version: u64,
    verifying: HashMap<String, Vec<u8>>,
    /// The hashes of tokens whose signatures were found good.
    verified: VerifiedTokens,
    /// The newest key that is not retired.
    signing: Option<Stored<SigningKey>>,
    /// The same key, opened at its first signature.
    signer: OnceCell<Signer>,
}

/// How many tokens are remembered.
const REMEMBERED: usize = 4_096;

struct VerifiedTokens(Cache<[u8; 32], ()>);

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED))
    }
}

impl std::fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedTokens").field("len", &self.0.len()).finish()
    }
}

struct Signer {
    kid: String,
    /// The encoded token header, which is the same for every token.
    header: String,
    pair: EcdsaKeyPair,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Whether a key of ours has signed this token. `signed` is the token without its signature, which `signature` reads.
    pub(super) fn has_signed(
        &self,
        kid: &str,
        token: &str,
        signed: &str,
        signature: impl FnOnce() -> Result<Vec<u8>, AgentTokenError>,
    ) -> Result<(), AgentTokenError> {
        let key = self.verifying.get(kid).ok_or(AgentTokenError::UnknownKey)?;
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if self.verified.0.get(&hash).is_some() {
            return Ok(());
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
            .verify(signed.as_bytes(), &signature()?)
            .map_err(|_| AgentTokenError::BadSignature)?;
        self.verified.0.insert(hash, ());
        Ok(())
    }

    pub fn knows(&self, kid: &str) -> bool {
        self.verifying.contains_key(kid)
    }

    /// The public keys, for `/.well-known/jwks.json`.
    pub fn published(&self) -> Vec<PublicKey> {
        let mut keys: Vec<PublicKey> = self
            .verifying
            .iter()
            .filter_map(|(kid, point)| {
                let (x, y) = point.get(1..)?.split_at_checked(32)?;
                Some(PublicKey {
                    kty: "EC",
                    crv: "P-256",
                    alg: "ES256",
                    use_: "sig",
                    kid: kid.clone(),
                    x: BASE64_URL_SAFE_NO_PAD.encode(x),
                    y: BASE64_URL_SAFE_NO_PAD.encode(y),
                })
            })
            .collect();
        keys.sort_unstable_by(|a, b| a.kid.cmp(&b.kid));
        keys
    }

    /// Signs a JWT. The parsed key pair is kept: `jsonwebtoken` would parse it for each token, at several
    /// times the cost of the signature.
    pub(super) async fn sign(&self, core: &Core, claims: &impl Serialize) -> Result<String> {
        let key = self.signing.as_ref().ok_or_else(|| Error::internal("there is no signing key"))?;
        let signer = self.signer.get_or_try_init(|| Signer::open(core, key)).await?;
        let mut token = String::with_capacity(768);
        token.push_str(&signer.header);
        token.push('.');
        BASE64_URL_SAFE_NO_PAD
            .encode_string(serde_json::to_vec(claims).map_err(Error::internal)?, &mut token);
        let signature = signer
            .pair
            .sign(&SystemRandom::new(), token.as_bytes())
            .map_err(|_| Error::internal("signing failed"))?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }

    /// Reads all keys of one version: the one that was seen, or a newer one.
    pub(crate) async fn load(core: &Core, seen: Version) -> Result<Self> {
        let (version, keys) = control::in_force::<SigningKey>(core, seen).await?;
        Self::assemble(core.clock.now(), version, keys)
    }

    fn assemble(now: Timestamp, version: u64, keys: Vec<Stored<SigningKey>>) -> Result<Self> {
        let mut verifying = HashMap::new();
        for key in keys.iter().filter(|key| key.verifies(now)) {
            let point = BASE64_URL_SAFE_NO_PAD.decode(&key.public).map_err(Error::internal)?;
            verifying.insert(key.kid.clone(), point);
        }
        let live = keys.into_iter().filter(|key| key.retired_at.is_none());
        Ok(Self {
            version,
            verifying,
            verified: VerifiedTokens::default(),
            signing: live.max_by_key(|key| key.created_at),
            signer: OnceCell::new(),
        })
    }
}

impl Signer {
    async fn open(core: &Core, key: &Stored<SigningKey>) -> Result<Self> {
        let opened = core.vault.open(&Key::signing_key(&key.kid), &key.private).await?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &opened.value)
            .map_err(|_| Error::internal("a signing key cannot be read"))?;
        if opened.is_stale {
            match seal_anew(core, key, &opened.value).await {
                Ok(()) => tracing::info!(key.kid, "sealed a signing key under the current root key"),
                // Another process has sealed it again, or retired it.
                Err(CommitError::ConditionFailed) => {}
                // It signs anyway, and the next process tries again.
                Err(CommitError::Failed(error)) => {
                    tracing::warn!(key.kid, error = %chain(&error), "a signing key stays sealed under a previous root key");
                }
            }
        }
        let header = serde_json::json!({ "alg": "ES256", "typ": TYPE, "kid": key.kid });
        let header = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
        Ok(Self { kid: key.kid.clone(), header, pair })
    }
}

/// Seals a key again under the current root key, if it is still as it was read.
async fn seal_anew(core: &Core, key: &Stored<SigningKey>, pkcs8: &[u8]) -> Result<(), CommitError> {
    let item = Key::signing_key(&key.kid);
    let private = core.vault.seal(&item, pkcs8).await?;
    let mut change = Change::new();
    change.replace(item, &SigningKey { private, ..key.value.clone() }, key.rev)?;
    core.table.commit(change).await
}

async fn new_key(core: &Core) -> Result<SigningKey> {
    let failed = |_| Error::internal("a signing key could not be made");
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map_err(failed)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref())
        .map_err(|_| Error::internal("a signing key could not be made"))?;
    let point = pair.public_key().as_ref();
    let kid = sha256_hex(point)[..16].to_owned();
    Ok(SigningKey {
        private: core.vault.seal(&Key::signing_key(&kid), pkcs8.as_ref()).await?,
        public: BASE64_URL_SAFE_NO_PAD.encode(point),
        kid,
        created_at: core.clock.now(),
        retired_at: None,
    })
}

/// Adds a new deployment's first key to a change. Returns the digest of its keys.
pub(crate) async fn bootstrap_key(core: &Core, change: &mut Change) -> Result<Digest> {
    let key = new_key(core).await?;
    change.create(Key::signing_key(&key.kid), &key)?;
    Ok(Digest::default().flip(key.digest()))
}

/// What the trail shows of a deployment's signing keys.
#[derive(Serialize)]
struct RecordedKeys<'a> {
    kids: Vec<&'a str>,
}
/// What it is called that is not found.
const SIGNING_KEY: &str = "signing key";

/// Makes a new signing key, retires the present ones, and removes those that no token can need any more.
/// Returns the new key's id. 409 while ten are published. Admins only.
pub async fn rotate(core: &Core, caller: &UserCaller, request: &RequestContext) -> Result<String> {
    caller.require(Power::Operate)?;
    change_keys(core, caller, request, Action::SigningKeyRotate, None).await
}

/// Removes a signing key. Every token that it signed is refused from the next call on. If it is the key that
/// signs, a new one takes its place. Admins only.
pub async fn revoke_key(core: &Core, caller: &UserCaller, request: &RequestContext, kid: &str) -> Result<()> {
    caller.require(Power::Operate)?;
    let revoked = change_keys(core, caller, request, Action::SigningKeyRevoke, Some(kid)).await.map(drop);
    gone::or_before(core, &Key::signing_key(kid), SIGNING_KEY, revoked).await
}

async fn change_keys(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    action: Action,
    revoked: Option<&str>,
) -> Result<String> {
    let made = once(core, caller, request, Holds::NoSecret, || async {
        let now = core.clock.now();
        let (control, keys) = control::to_change::<SigningKey>(core).await?;
        if revoked.is_some_and(|kid| !keys.iter().any(|key| key.kid == kid)) {
            return Err(Error::NotFound(SIGNING_KEY).into());
        }
        if revoked.is_none() {
            require_room(&keys, now)?;
        }
        let mut change = caller.change()?;
        let mut digest = Digest::of(keys.iter().map(|key| &**key));
        let mut signs = None;
        let mut kids: Vec<&str> = keys.iter().map(|key| &*key.kid).collect();
        let before = RecordedKeys { kids: kids.clone() };
        let mut left = TOUCHED_AT_ONCE;
        for key in &keys {
            let item = Key::signing_key(&key.kid);
            if revoked == Some(&key.kid) || (!key.verifies(now) && left > 0) {
                change.delete(&item, key.rev)?;
                kids.retain(|kid| *kid != key.kid);
                digest = digest.flip(key.digest());
                left = left.saturating_sub(1);
            } else if key.retired_at.is_none() && revoked.is_none() && left > 0 {
                let retired = SigningKey { retired_at: Some(now), ..key.value.clone() };
                change.replace(item, &retired, key.rev)?;
                digest = digest.flip(key.digest()).flip(retired.digest());
                left -= 1;
            } else if key.retired_at.is_none() && revoked.is_some() {
                signs = Some(key.kid.clone());
            }
        }
        let kid = match signs {
            Some(kid) => kid,
            None => {
                let key = new_key(core).await?;
                change.create(Key::signing_key(&key.kid), &key)?;
                digest = digest.flip(key.digest());
                key.kid
            }
        };
        if let Some(revoked) = revoked {
            gone::note(core, &mut change, &Key::signing_key(revoked))?;
        }
        if !kids.contains(&&*kid) {
            kids.push(&kid);
        }
        control.with_keys(digest).replace(&mut change, control.rev)?;
        let event = caller.event(core, request, action)?.about("signing_key", revoked.unwrap_or(&kid));
        change.record(&event.changed(&before, &RecordedKeys { kids })?)?;
        Ok((change, kid))
    })
    .await?;
    Ok(made.value)
}
