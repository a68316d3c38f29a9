//! The keys that sign agent tokens. They are in the table, the private halves sealed; each process keeps
//! what it has read until the control item says that they have changed.
//!
//! Rotation: the new key signs from its making on. The old one verifies for as long as a token that it
//! signed can live, and is published until then. Revoking a key kills every token that it signed, on the
//! next call.
//!
//! Only who signs opens a private half: to verify, no root key is needed. One that is sealed under a
//! previous root key is written back sealed under the current one, on that occasion.

use std::{collections::HashMap, time::Duration};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::LIFETIME;
use crate::{
    Core,
    audit::{Action, Request},
    caller::UserCaller,
    clock::Timestamp,
    control::{Control, as_of_one_version},
    error::{Error, Result},
    secret::sha256_hex,
    table::{Attempt, Change, Entity, Key, Query, Stored, settle},
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

impl SigningKey {
    /// For how long after its retirement a key is good for verifying: no token it signed lives longer.
    const OVERLAP: Duration = Duration::from_secs(LIFETIME.as_secs() + 60);

    fn verifies(&self, now: Timestamp) -> bool {
        self.retired_at.is_none_or(|retired| now < retired.plus(Self::OVERLAP))
    }
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
    /// The newest key that is not retired.
    signing: Option<Stored<SigningKey>>,
    /// The same, opened when it first signs.
    signer: OnceCell<Signer>,
}

struct Signer {
    kid: String,
    /// The token header, encoded: it is the same for every token.
    header: String,
    pair: EcdsaKeyPair,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl Keyring {
    pub(super) fn public_key(&self, kid: &str) -> Option<&[u8]> {
        self.verifying.get(kid).map(Vec::as_slice)
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

    /// A signed JWT. The key pair is kept parsed, which `jsonwebtoken` would parse anew for each token at
    /// several times the cost of the signature.
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

    /// Reads all keys as of one version, which is the one that was seen or a newer one.
    pub(crate) async fn load(core: &Core, seen: u64) -> Result<Self> {
        let read = || async {
            let query = Query::partition("SIGNING_KEYS", crate::paging::PAGE_SIZE);
            Ok(core.table.query::<SigningKey>(query).await?.items)
        };
        let (version, keys) = as_of_one_version(core, seen, |control| control.keys_version, read).await?;
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
                // Somebody else has sealed it anew, or retired it.
                Err(Attempt::Raced) => {}
                // It signs all the same, and the next process tries again.
                Err(Attempt::Failed(error)) => {
                    tracing::warn!(key.kid, ?error, "a signing key stays sealed under a previous root key");
                }
            }
        }
        let header = serde_json::json!({ "alg": "ES256", "typ": super::claims::TYPE, "kid": key.kid });
        let header = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
        Ok(Self { kid: key.kid.clone(), header, pair })
    }
}

/// Writes a key back under the current root key, unless it is no longer as it was read.
async fn seal_anew(core: &Core, key: &Stored<SigningKey>, pkcs8: &[u8]) -> Result<(), Attempt> {
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

/// Adds a new deployment's first key to a change.
pub(crate) async fn bootstrap_key(core: &Core, change: &mut Change) -> Result<()> {
    let key = new_key(core).await?;
    change.create(Key::signing_key(&key.kid), &key)?;
    Ok(())
}

/// Makes a new signing key, retires the present ones, and drops those that no token can need any more.
/// Answers the new key's id. Admins only.
pub async fn rotate(core: &Core, caller: &UserCaller, request: &Request) -> Result<String> {
    caller.require_admin()?;
    change_keys(core, caller, request, Action::SigningKeyRotate, None).await
}

/// Drops a signing key: every token that it signed is refused from the next call on. If it is the one that
/// signs, a new one takes its place. Admins only.
pub async fn revoke_key(core: &Core, caller: &UserCaller, request: &Request, kid: &str) -> Result<()> {
    caller.require_admin()?;
    change_keys(core, caller, request, Action::SigningKeyRevoke, Some(kid)).await.map(drop)
}

async fn change_keys(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    action: Action,
    revoked: Option<&str>,
) -> Result<String> {
    settle(|| async {
        let now = core.clock.now();
        let control = Control::read(core).await?;
        let page = core.table.query::<SigningKey>(Query::partition("SIGNING_KEYS", 50)).await?;
        if revoked.is_some_and(|kid| !page.items.iter().any(|key| key.kid == kid)) {
            return Err(Error::NotFound("signing key").into());
        }
        let mut change = Change::new();
        let mut signs = None;
        for key in &page.items {
            let item = Key::signing_key(&key.kid);
            if revoked == Some(&key.kid) || !key.verifies(now) {
                change.delete(&item, key.rev)?;
            } else if key.retired_at.is_none() && revoked.is_none() {
                let retired = SigningKey { retired_at: Some(now), ..key.value.clone() };
                change.replace(item, &retired, key.rev)?;
            } else if key.retired_at.is_none() {
                signs = Some(key.kid.clone());
            }
        }
        let kid = match signs {
            Some(kid) => kid,
            None => {
                let key = new_key(core).await?;
                change.create(Key::signing_key(&key.kid), &key)?;
                key.kid
            }
        };
        control.with_keys().replace(&mut change, control.rev)?;
        let event = caller.event(core, request, action)?;
        change.record(&event.about("signing_key", revoked.unwrap_or(&kid)))?;
        core.table.commit(change).await?;
        Ok(kid)
    })
    .await
}
