//! All connections of a user, and all at a server. Each page is a query and one read of all that its sessions rest on.

use futures::future::{try_join, try_join_all, try_join3};

use super::{
    has_ended,
    our_client::{client_keys, has_ended_by},
};
use crate::{
    Core,
    caller::{Power, UserCaller},
    error::{Error, Result},
    ids::{ServerId, UserId},
    listed::{self, Index},
    paging::{Listing, PageRequest},
    servers::Server,
    sessions::{Session, SessionEntry},
    table::{Key, Partition},
    users::User,
};

/// Which connections. A connection must match all fields that are set.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFilter {
    /// Whether the user must connect again.
    pub has_ended: Option<bool>,
    /// Whose, at a server.
    pub user_id: Option<UserId>,
}

impl ConnectionFilter {
    fn keeps(&self, has_ended: bool) -> bool {
        self.has_ended.is_none_or(|wanted| wanted == has_ended)
    }
}

/// A user's OAuth sessions at servers, and whether each has ended. For the user, admins and auditors.
pub async fn list(
    core: &Core,
    caller: &UserCaller,
    user: UserId,
    filter: &ConnectionFilter,
    page: &PageRequest,
) -> Result<Listing<(Session, bool)>> {
    caller.require_self_or(user, Power::Read)?;
    let list = Partition::sessions_of(user);
    let there = core.table.read_one::<User>(Key::user(user));
    let (there, listing) = try_join(there, page.list_items::<Session>(core, &list)).await?;
    there.ok_or(Error::NotFound(UserId::WHAT))?;
    // What they read, they read together.
    let ended = try_join_all(listing.items.iter().map(|session| has_ended(core, session))).await?;
    let items = listing.items.into_iter().map(|session| session.value).zip(ended).collect();
    Ok(Listing { items, next: listing.next }.only(|(_, has_ended)| filter.keeps(*has_ended)))
}

/// A connection at a server, with the user whose it is.
#[derive(Clone, Debug)]
pub struct ConnectionOfUser {
    pub session: Session,
    pub has_ended: bool,
    pub user: User,
}

/// Who is connected at a server. Admins, operators and auditors only.
pub async fn list_at_server(
    core: &Core,
    caller: &UserCaller,
    server: &ServerId,
    filter: &ConnectionFilter,
    page: &PageRequest,
) -> Result<Listing<ConnectionOfUser>> {
    caller.require(Power::Read)?;
    let mut list = Partition::sessions_at(server);
    if let Some(user) = filter.user_id {
        list = list.beginning(Key::session_at(server, user).sk);
    }
    let (is_complete, there, entries) = try_join3(
        listed::is_complete(core, Index::Connections),
        core.table.read_one::<Server>(Key::server(server)),
        page.list_items::<SessionEntry>(core, &list),
    )
    .await?;
    there.ok_or(Error::NotFound(ServerId::WHAT))?;
    if !is_complete {
        return Err(listed::incomplete());
    }
    let keys = entries.items.iter().flat_map(|entry| {
        let SessionEntry { user_id, issuer } = &entry.value;
        let clients = issuer.iter().flat_map(|issuer| client_keys(server, issuer));
        [Key::session(*user_id, server), Key::user(*user_id)].into_iter().chain(clients)
    });
    let mut keys: Vec<Key> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    let found = core.table.read(keys).await?;
    let mut items = Vec::with_capacity(entries.items.len());
    for entry in entries.items {
        let user = found.get::<User>(&Key::user(entry.user_id))?;
        let session = found.get::<Session>(&Key::session(entry.user_id, server))?;
        // It was ended between the two reads.
        let (Some(user), Some(session)) = (user, session) else { continue };
        let issuer = session.provider.as_ref().map(|provider| &provider.issuer);
        let has_ended = if issuer == entry.issuer.as_ref() {
            has_ended_by(&found, &session, core.clock.now())?
        } else {
            // They connected again between the two reads, at another provider.
            has_ended(core, &session).await?
        };
        if filter.keeps(has_ended) {
            items.push(ConnectionOfUser { session: session.value, has_ended, user: user.value });
        }
    }
    Ok(Listing { items, next: entries.next })
}
