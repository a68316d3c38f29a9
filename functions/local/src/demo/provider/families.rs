//! What people have agreed to, and which of its refresh tokens is valid now. This is kept in a file.

use std::{
    collections::BTreeMap,
    fs, io,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use deputize_core::{clock::Timestamp, error::because, secret::sha256_hex};
use serde::{Deserialize, Serialize};

use super::{
    handle::{FamilyId, Handle, SecretHash},
    scopes::Scopes,
};
use crate::data_dir::DataDir;

const FILE: &str = "demo-provider.json";

/// More than a demo needs, and few enough to write all of them at each change. Above this number, the family that was
/// not used for the longest time is removed.
const MAX: usize = 256;

/// One authorization, with all tokens that come from it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Family {
    /// The hash of the client's id, since ids are long.
    pub(super) client: String,
    pub(super) user: String,
    pub(super) scopes: Scopes,
    pub(super) resource: String,
    /// The hash of the present refresh token. `None` before the code was exchanged, and always without
    /// `offline_access`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh: Option<SecretHash>,
    pub(super) used_at: Timestamp,
}

impl Family {
    pub(super) fn is_of(&self, client_id: &str) -> bool {
        self.client == hash_of_client(client_id)
    }
}

pub(super) fn hash_of_client(client_id: &str) -> String {
    sha256_hex(client_id.as_bytes())
}

type FamilyMap = BTreeMap<FamilyId, Family>;

#[derive(Debug)]
pub(super) struct Families {
    data: Arc<DataDir>,
    kept: RwLock<FamilyMap>,
    /// Held during a change, so that looking up a family does not wait for the disk.
    changing: Mutex<()>,
}

impl Families {
    pub(super) fn open(data: &Arc<DataDir>) -> io::Result<Self> {
        let kept = match fs::read(data.file(FILE)) {
            Ok(json) => serde_json::from_slice(&json)
                .map_err(|error| io::Error::other(because(format!("{FILE} cannot be read"), error)))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => FamilyMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { data: Arc::clone(data), kept: RwLock::new(kept), changing: Mutex::default() })
    }

    pub(super) fn get(&self, id: &FamilyId) -> Option<Family> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(super) async fn begin(self: &Arc<Self>, id: FamilyId, family: Family) -> io::Result<()> {
        self.change(move |kept| {
            while kept.len() >= MAX {
                let Some(oldest) = kept.iter().min_by_key(|(_, family)| family.used_at) else { break };
                let oldest = oldest.0.clone();
                kept.remove(&oldest);
            }
            kept.insert(id, family);
        })
        .await
    }

    /// Gives a family its first refresh token, if the family still exists.
    pub(super) async fn start_refreshing(self: &Arc<Self>, first: &Handle) -> io::Result<bool> {
        let (id, hash) = (first.family(), first.hash());
        self.change(move |kept| match kept.get_mut(&id) {
            Some(family) => {
                family.refresh = Some(hash);
                true
            }
            None => false,
        })
        .await
    }

    /// Exchanges a family's refresh token for its successor. A refresh token that is not the present one
    /// means that two parties have it and one of them stole it. So the family ends (RFC 9700 section 4.14.2).
    pub(super) async fn rotate(
        self: &Arc<Self>,
        presented: &Handle,
        successor: &Handle,
        now: Timestamp,
    ) -> io::Result<Option<Family>> {
        let (id, presented, next) = (presented.family(), presented.hash(), successor.hash());
        self.change(move |kept| {
            let family = kept.get_mut(&id)?;
            if family.refresh.as_ref().is_some_and(|good| good.matches(&presented)) {
                family.refresh = Some(next);
                family.used_at = now;
                return Some(family.clone());
            }
            kept.remove(&id);
            None
        })
        .await
    }

    pub(super) async fn end(self: &Arc<Self>, id: FamilyId) -> io::Result<()> {
        self.change(move |kept| drop(kept.remove(&id))).await
    }

    /// Changes the families in the file and then in memory, so that a restart forgets nothing that was
    /// answered.
    async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut FamilyMap) -> T + Send + 'static,
    ) -> io::Result<T> {
        let families = Arc::clone(self);
        let changed = tokio::task::spawn_blocking(move || {
            let _changing = families.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let mut kept = families.kept.read().unwrap_or_else(PoisonError::into_inner).clone();
            let result = change(&mut kept);
            families.data.write(FILE, &serde_json::to_vec(&kept).map_err(io::Error::other)?)?;
            *families.kept.write().unwrap_or_else(PoisonError::into_inner) = kept;
            Ok(result)
        });
        changed.await.map_err(io::Error::other)?
    }
}
