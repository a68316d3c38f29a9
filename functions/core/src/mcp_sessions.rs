//! MCP session ids that hold what they stand for, so that any process can carry a session on: the upstream
//! server's own id, encrypted and bound to who may use it.
//!
//! AES-256-GCM under a key of the week, which is an item like a signing key, sealed by the vault. An id is good
//! in its week and the next; then its client begins a new session, as it does whenever a server forgets one.

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
    table::{Attempt, Change, Entity, Key},
    vault::{KEY_BYTES, Sealed},
};

const PERIOD: Duration = Duration::from_hours(24 * 7);

/// The longest id that is looked at, in bytes.
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

/// An id for `content`, which only the same `binding` opens: who calls, which server, with whose credentials.
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

/// What an id stands for; `None` if it is none of ours, too old, or another's.
pub async fn open(core: &Core, binding: &str, id: &str) -> Result<Option<Vec<u8>>> {
    let Some(id) = Id::read(id, period(core.clock.now())) else { return Ok(None) };
    let Some(key) = key(core, id.period, false).await? else { return Ok(None) };
    Ok(id.open(&key, binding))
}

/// An id, as it is written.
struct Id {
    period: u32,
    nonce: [u8; NONCE_LEN],
    sealed: Vec<u8>,
}

impl Id {
    /// One of this period or the last.
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

/// Nobody has sealed anything under this key, so nothing opens.
#[cfg(feature = "fuzzing")]
pub fn fuzz(id: &str) {
    let Ok(key) = UnboundKey::new(&AES_256_GCM, &[7; KEY_BYTES]) else { return };
    let key = LessSafeKey::new(key);
    // The period that it claims, so that it gets that far.
    let claimed = BASE64_URL_SAFE_NO_PAD.decode(id).ok();
    let claimed = claimed.and_then(|bytes| bytes.first_chunk().copied()).map_or(0, u32::from_be_bytes);
    for now in [0, claimed, claimed.wrapping_add(1)] {
        let opened = Id::read(id, now).and_then(|id| id.open(&key, "binding"));
        assert!(opened.is_none(), "opened {id}");
    }
}

/// The key of a period, made if there is none and it is wanted.
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
            // Somebody else was faster, or we were: what is there counts.
            Ok(()) | Err(Attempt::Raced) => stored = core.table.read_one::<SessionKey>(item.clone()).await?,
            Err(Attempt::Failed(error)) => return Err(error),
        }
    }
    let Some(stored) = stored else { return Ok(None) };
    let bytes = core.vault.open(&item, &stored.sealed).await?.value;
    let key =
        UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| Error::internal("a key has a wrong length"))?;
    let key = Arc::new(LessSafeKey::new(key));
    let mut kept = core.session_keys.0.write().unwrap_or_else(PoisonError::into_inner);
    // This week's and the last's are all that is ever asked for.
    kept.retain(|of, _| of.abs_diff(period) <= 1);
    kept.insert(period, Arc::clone(&key));
    Ok(Some(key))
}
