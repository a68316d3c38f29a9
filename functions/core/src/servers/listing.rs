//! Lists of servers.

use std::collections::BTreeSet;

use super::{Server, ServerEntry};
use crate::{
    Core,
    caller::UserCaller,
    case_folding::folded,
    error::Result,
    listed::{self, Index, Listed, label},
    paging::{Listing, PageRequest},
    table::{Key, Partition},
};

/// What servers are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerOrder {
    Id,
    /// Without case.
    Name,
}

/// Which servers, and in which order. A server must match all fields that are set.
#[derive(Clone, Debug, Default)]
pub struct ServerFilter {
    pub name_prefix: Option<String>,
    pub active: Option<bool>,
    /// If none is asked for, by name if there is a prefix of it, else by id.
    pub sort: Option<ServerOrder>,
}

impl Listed for Server {
    const INDEX: Index = Index::Servers;

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn key_of(id: &str) -> Option<Key> {
        Some(Key::server(&id.parse().ok()?))
    }

    fn entries(&self) -> BTreeSet<Key> {
        BTreeSet::from([Key::sorted(&Partition::servers_by_name(), &label(&self.name), &self.id())])
    }
}

impl ServerFilter {
    fn keeps(&self, server: &Server) -> bool {
        let has_name = |prefix: &String| folded(&server.name).starts_with(&*folded(prefix));
        self.name_prefix.as_ref().is_none_or(has_name)
            && self.active.is_none_or(|active| active == server.active)
    }
}

/// Servers. Every user may see them, in order to delegate and to connect.
pub async fn list(
    core: &Core,
    _caller: &UserCaller,
    filter: &ServerFilter,
    page: &PageRequest,
) -> Result<Listing<Server>> {
    let keep = |server: &Server| filter.keeps(server);
    let by_name = match filter.sort {
        Some(order) => order == ServerOrder::Name,
        None => filter.name_prefix.is_some(),
    };
    if by_name {
        let prefix = filter.name_prefix.as_deref().map(label).unwrap_or_default();
        let list = Partition::servers_by_name().beginning(prefix);
        if let Some(servers) = listed::page(core, page, &list, keep).await? {
            return Ok(servers);
        }
        if filter.sort.is_some() {
            return Err(listed::incomplete());
        }
    }
    let follow = |entry: &ServerEntry| Key::server(&entry.server_id);
    Ok(page.list_entries(core, &Partition::servers(), follow).await?.only(keep))
}
