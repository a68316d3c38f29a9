//! Which lists are complete: those of a deployment that began with them, and those that `deputize reindex` has walked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU8, Ordering},
};

use deputize_api::reason::Reason;
use serde::{Deserialize, Serialize};

use crate::{
    Core,
    error::{Error, Result, Told},
    table::{Entity, Key},
};

/// Lists whose entries are written together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    Users,
    Agents,
    Servers,
    /// The delegations at a server.
    Delegations,
    /// The session grants that a user gave, and those at a server.
    SessionGrants,
    /// The connections at a server.
    Connections,
}

impl Index {
    pub const ALL: [Self; 6] =
        [Self::Users, Self::Agents, Self::Servers, Self::Delegations, Self::SessionGrants, Self::Connections];

    /// Lists that get another kind of entry get another name too: where they were complete, they are walked again.
    pub fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Agents => "agent_accounts",
            Self::Servers => "servers",
            Self::Delegations => "delegations",
            Self::SessionGrants => "session_grants",
            Self::Connections => "connections",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Users => 1,
            Self::Agents => 2,
            Self::Servers => 4,
            Self::Delegations => 8,
            Self::SessionGrants => 16,
            Self::Connections => 32,
        }
    }
}

/// The item that says it. Names are texts, so that a version before this one reads what a later one has written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CompleteLists {
    complete: BTreeSet<String>,
    /// How far a walk has come that is not over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) walked: BTreeMap<String, String>,
}

impl Entity for CompleteLists {
    const KIND: &'static str = "complete lists";
}

impl CompleteLists {
    /// Of a deployment that begins.
    pub(crate) fn all() -> Self {
        let complete = Index::ALL.iter().map(|index| index.name().to_owned()).collect();
        Self { complete, walked: BTreeMap::new() }
    }

    pub(crate) fn has(&self, index: Index) -> bool {
        self.complete.contains(index.name())
    }

    pub(crate) fn add(&mut self, index: Index) {
        self.complete.insert(index.name().to_owned());
        self.walked.remove(index.name());
    }
}

/// The lists that this process knows to be complete. Once complete, they stay so.
#[derive(Debug, Default)]
pub(crate) struct KnownComplete(AtomicU8);

/// Whether a list is complete. It is read until it is.
pub(crate) async fn is_complete(core: &Core, index: Index) -> Result<bool> {
    let known = core.complete_lists.0.load(Ordering::Relaxed);
    if known & index.bit() != 0 {
        return Ok(true);
    }
    let Some(lists) = core.table.read_one::<CompleteLists>(Key::complete_lists()).await? else {
        return Ok(false);
    };
    let complete = Index::ALL.iter().filter(|index| lists.has(**index)).map(|index| index.bit()).sum();
    core.complete_lists.0.fetch_or(complete, Ordering::Relaxed);
    Ok(lists.has(index))
}

/// The error for an order that cannot be answered yet.
pub(crate) fn incomplete() -> Error {
    Error::Conflict(Told::of(
        Reason::ListIncomplete,
        "The entries of this list are not complete since the deployment was updated; its operator must run `deputize reindex`",
    ))
}
