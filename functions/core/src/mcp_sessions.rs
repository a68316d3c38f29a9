//! MCP session ids that hold what they stand for.
//!
//! Nothing is kept in memory for a handshake client's session. The server's own session id is encrypted and given to
//! the client as its id. So any process can continue the session. The id is bound to the caller, the server, its
//! address, and the connection or header that is used there. It also holds the client's name, since a handshake client
//! says it only once, and policies see it with each request. For that reason a client has a session with us even where
//! the server keeps none.
//!
//! An id does not open, and the client gets a 404 and begins a new session, when
//!
//! - another caller sends it;
//! - another person's grant is used now;
//! - the person has connected again (perhaps as another account), or an admin has given another header. A connection
//!   and a header have ids of their own for this (`connection_id`, `header.id`), which are made with them, and which a
//!   refresh keeps.
//!
//! AES-256-GCM under a key of the week, which is an item like a signing key, sealed by the vault. An id is good in its
//! week and the next.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    Core,
    clock::Timestamp,
    error::{Error, Result},
    table::{Change, CommitError, Entity, Key},
    vault::{KEY_BYTES, Sealed},
};

const PERIOD: Duration = Duration::from_hours(24 * 7);

/// The longest id that is read, in bytes.
pub const MAX_ID: usize = 8 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct SessionKey {
    sealed: Sealed,
}

impl Entity for SessionKey {
    const KIND: &'static str = "MCP session key";
}

/// The keys that this process has read, by their period.
#[derive(Default)]
pub(crate) struct SessionKeys(RwLock<HashMap<u32, Arc<LessSafeKey>>>);

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKeys")
    }
}

fn period(now: Timestamp) -> u32 {
    let seconds = u64::try_from(now.as_seconds()).unwrap_or_default();
    u32::try_from(seconds / PERIOD.as_secs()).unwrap_or_default()
}

/// An id for `content`. It can be opened only with the same `binding`: the caller, the server and the
/// credentials.
pub async fn seal(core: &Core, binding: &str, content: &[u8]) -> Result<String> {
    let period = period(core.clock.now());
    let key = key(core, period, true).await?.ok_or_else(|| Error::internal("no MCP session key"))?;
    let nonce = core.random.bytes::<NONCE_LEN>()?;
    let mut text = content.to_vec();
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(binding.as_bytes()),
        &mut text,
    )
    .map_err(|_| Error::internal("an MCP session id could not be sealed"))?;
    let bytes = [period.to_be_bytes().as_slice(), nonce.as_slice(), text.as_slice()].concat();
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// The content of an id. `None` if it is not from Deputize, too old, or made with another binding.
pub async fn open(core: &Core, binding: &str, id: &str) -> Result<Option<Vec<u8>>> {
    let Some(id) = Id::read(id, period(core.clock.now())) else { return Ok(None) };
    let Some(key) = key(core, id.period, false).await? else { return Ok(None) };
    Ok(id.open(&key, binding))
}

/// A decoded id.
struct Id {
    period: u32,
    nonce: [u8; NONCE_LEN],
    sealed: Vec<u8>,
}

impl Id {
    /// Reads an id of this period or of the last one.
    fn read(id: &str, now: u32) -> Option<Self> {
        if id.len() > MAX_ID {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(id).ok()?;
        let (period, rest) = bytes.split_first_chunk::<4>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let period = u32::from_be_bytes(*period);
        let is_known = period == now || period.checked_add(1) == Some(now);
        is_known.then(|| Self { period, nonce: *nonce, sealed: sealed.to_vec() })
    }

    fn open(mut self, key: &LessSafeKey, binding: &str) -> Option<Vec<u8>> {
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let opened = key.open_in_place(nonce, Aad::from(binding.as_bytes()), &mut self.sealed);
        opened.ok().map(|content| content.to_vec())
    }
}

/// No id was ever sealed under this key, so none opens.
#[cfg(feature = "fuzzing")]
pub fn fuzz(id: &str) {
    let Ok(key) = UnboundKey::new(&AES_256_GCM, &[7; KEY_BYTES]) else { return };
    let key = LessSafeKey::new(key);
    // The period that the id claims, so that reading it gets as far as possible.
    let claimed = BASE64_URL_SAFE_NO_PAD.decode(id).ok();
    let claimed = claimed.and_then(|bytes| bytes.first_chunk().copied()).map_or(0, u32::from_be_bytes);
    for now in [0, claimed, claimed.wrapping_add(1)] {
        let opened = Id::read(id, now).and_then(|id| id.open(&key, "binding"));
        assert!(opened.is_none(), "opened {id}");
    }
}

/// The key of a period. If it does not exist, it is made if `make` says so.
async fn key(core: &Core, period: u32, make: bool) -> Result<Option<Arc<LessSafeKey>>> {
    let kept = core.session_keys.0.read().unwrap_or_else(PoisonError::into_inner).get(&period).cloned();
    if kept.is_some() {
        return Ok(kept);
    }
    let item = Key::mcp_session_key(period);
    let mut stored = core.table.read_one::<SessionKey>(item.clone()).await?;
    if stored.is_none() && make {
        let bytes = Zeroizing::new(core.random.bytes::<KEY_BYTES>()?);
        let sealed = core.vault.seal(&item, &*bytes).await?;
        let mut change = Change::new();
        let gone = core.clock.now().plus(PERIOD * 3);
        change.create_expiring(item.clone(), &SessionKey { sealed }, gone)?;
        match core.table.commit(change).await {
            // This process or another one was faster. The key that is now in the table counts.
            Ok(()) | Err(CommitError::ConditionFailed) => {
                stored = core.table.read_one::<SessionKey>(item.clone()).await?;
            }
            Err(CommitError::Failed(error)) => return Err(error),
        }
    }
    let Some(stored) = stored else { return Ok(None) };
    let bytes = core.vault.open(&item, &stored.sealed).await?.value;
    let key =
        UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| Error::internal("a key has a wrong length"))?;
    let key = Arc::new(LessSafeKey::new(key));
    let mut kept = core.session_keys.0.write().unwrap_or_else(PoisonError::into_inner);
    // Only the keys of this period and of the last one are ever needed.
    kept.retain(|of, _| of.abs_diff(period) <= 1);
    kept.insert(period, Arc::clone(&key));
    Ok(Some(key))
}
