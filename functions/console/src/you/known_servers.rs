//! The servers that delegations are for, by their names.

use std::collections::{BTreeMap, BTreeSet};

use deputize_core::{
    Core,
    caller::UserCaller,
    delegations::ActingAgent,
    error::Result,
    ids::ServerId,
    paging::PageRequest,
    servers::{self, Server, ServerAuth, ServerFilter},
};

/// Of how many servers it is said with whose credentials an agent would work there that may work at all.
const MOST_OF_ALL: usize = 20;

/// Some of the servers. Names that are read beside a page of other things.
pub(super) struct KnownServers {
    by_id: BTreeMap<ServerId, Server>,
}

impl KnownServers {
    /// The first servers of all, by id.
    pub(super) async fn first(core: &Core, caller: &UserCaller) -> Result<Self> {
        let all = servers::list(core, caller, &ServerFilter::default(), &PageRequest::default()).await?;
        Ok(Self { by_id: all.items.into_iter().map(|server| (server.id.clone(), server)).collect() })
    }

    /// And those that these delegations name.
    pub(super) async fn with_named(
        mut self,
        core: &Core,
        caller: &UserCaller,
        acting: &[ActingAgent],
    ) -> Result<Self> {
        let named = acting.iter().filter_map(|acting| acting.delegation.delegation.server_ids.as_ref());
        let missing: BTreeSet<&ServerId> =
            named.flatten().filter(|id| !self.by_id.contains_key(*id)).collect();
        let found = servers::get_all(core, caller, missing).await?;
        self.by_id.extend(found.into_iter().map(|server| (server.id.clone(), server)));
        Ok(self)
    }

    pub(super) fn get(&self, id: &ServerId) -> Option<&Server> {
        self.by_id.get(id)
    }

    /// What it is called; its id, if it is not known any more.
    pub(super) fn name<'a>(&'a self, id: &'a ServerId) -> &'a str {
        self.by_id.get(id).map_or(id.as_str(), |server| server.name.as_str())
    }

    /// Those at which it matters whose credentials are used, for a delegation that names none.
    pub(super) fn asking_for_oauth(&self) -> impl Iterator<Item = &Server> {
        let asking = self.by_id.values().filter(|server| server.active && server.auth == ServerAuth::OAuth);
        asking.take(MOST_OF_ALL)
    }
}
