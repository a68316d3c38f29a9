//! Erasing what was deleted: what is left of it goes step by step, and its kept item last.
//!
//! No state of it is kept. What is left to do is what is still there, and each step is one transaction that requires the
//! thing to be deleted as it was read. So a crash between any two steps, a retry and a second process leave nothing half
//! done, and something that was restored meanwhile loses nothing.
//!
//! | kind | what goes with it |
//! | --- | --- |
//! | user | all in their partition, what says in the audit trail who they are ([`crate::trail::pseudonymize`]), and what leads to them: then their address is free |
//! | agent account | delegations to it, its session grants |
//! | server | grants and OAuth sessions at it, our OAuth clients, approved tools; delegations no longer name it. Then its id is free |
//! | policy, API key | nothing else |
//!
//! Nothing begins before [`SETTLES_IN`] after the thing was deleted, or became due: requests that were under way then have
//! ended. Of a user, events can come for longer, so it is [`EVENTS_SETTLE_IN`] after they were deleted.

use std::time::{Duration, Instant};

use super::canonical;
use crate::{
    Core,
    audit::{Action, Event, RequestContext},
    caller::{Power, UserCaller},
    delegations::{self, Delegation, DelegationPointer},
    deleted::{self, Deleted, DeletedEntry, Kind},
    error::{Error, Result, chain},
    gone,
    ids::{AgentAccountId, ServerId, UserId},
    listed::{self, Index},
    session_grants::{self, Grant, GrantPointer},
    sessions::SessionEntry,
    table::{Change, CommitError, Entity, Key, PAGE_SIZE, Page, Partition, Query, Stored, retry_on_conflict},
    trail::{self, EVENTS_SETTLE_IN},
    users::{self, User},
};

/// How long requests that were under way when something was deleted may take to end.
pub const SETTLES_IN: Duration = Duration::from_secs(60);
/// How long one request works on it. What is left then is for the next.
const WORKS_FOR: Duration = Duration::from_secs(15);
/// How long one step may take.
const LONGEST_STEP: Duration = Duration::from_secs(4);
/// How many items one transaction removes. It has room for 100.
const AT_ONCE: usize = 80;

/// What one run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErasedDue {
    /// How many things were erased.
    pub erased: usize,
    /// How many could not be, which the log names.
    pub failed: usize,
    /// Whether there was too little time for all that is due: then it goes on when it is called again.
    pub unfinished: bool,
}

/// What became of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Erased,
    /// There was too little time.
    Unfinished,
    /// Events of the user can still come.
    TooEarly,
    /// Somebody else has erased or restored it.
    ByAnother,
}

struct Work<'a> {
    core: &'a Core,
    request: &'a RequestContext,
    until: Instant,
}

/// Erases what is due. It can be called at any time, and by several at once.
pub async fn erase_due(core: &Core, request: &RequestContext) -> Result<ErasedDue> {
    let work = Work::new(core, request);
    let due = core.clock.now().minus(SETTLES_IN).to_string();
    let mut came_to = ErasedDue::default();
    for kind in Kind::ALL {
        let list = Partition::deleted(kind.name());
        let mut after = None;
        loop {
            let query = Query::partition(&list.pk, PAGE_SIZE).between("0", &*due).after(after);
            let (entries, next) = core.table.query_keys(query).await?;
            for entry in entries {
                if !work.has_time() {
                    return Ok(ErasedDue { unfinished: true, ..came_to });
                }
                match work.follow(kind, &entry).await {
                    Ok(Came::Erased) => came_to.erased += 1,
                    Ok(Came::ByAnother | Came::TooEarly) => {}
                    Ok(Came::Unfinished) => return Ok(ErasedDue { unfinished: true, ..came_to }),
                    Err(error @ (Error::Unavailable { .. } | Error::Undecided { .. })) => return Err(error),
                    Err(error) => {
                        tracing::error!(%kind, entry = entry.sk, error = %chain(&error), "a deleted thing could not be erased");
                        came_to.failed += 1;
                    }
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(came_to)
}

/// Erases a deleted thing before its time. `false`: it cannot be restored any more, but there was too little time, or events
/// of the user can still come. The rest is erased with what is due. Admins only.
pub async fn erase_now(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    kind: Kind,
    id: &str,
) -> Result<bool> {
    caller.require(Power::Manage)?;
    let id = &*canonical(kind, id)?;
    let key = Key::deleted(kind.name(), id);
    let ended = retry_on_conflict(|| async {
        let was = core.table.read_one::<Deleted>(key.clone()).await?;
        let was = was.ok_or(Error::NotFound(Deleted::KIND))?;
        let now = core.clock.now();
        if !was.can_be_restored(now) {
            return Ok(was.value);
        }
        if now < was.deleted_at.plus(SETTLES_IN) {
            let why = "it was deleted just now, and requests that were under way then may not have ended: \
                       try again in a minute";
            return Err(Error::conflict(why).into());
        }
        let ended = was.ended(now);
        let mut change = caller.change()?;
        change.replace(key.clone(), &ended, was.rev)?.remove(&was.entry())?;
        change.put_ending(ended.entry(), &DeletedEntry { id: ended.id.clone() }, None)?;
        let event = caller.event(core, request, action_of(kind))?.about(kind.name(), id);
        change.record(&event.note("asked for: it can no longer be restored"))?;
        core.table.commit(change).await?;
        Ok(ended)
    });
    let ended = match ended.await {
        Ok(ended) => ended,
        Err(error) => {
            return gone::or_before(core, &key, Deleted::KIND, Err(error)).await.map(|()| true);
        }
    };
    let came = Work::new(core, request).follow(kind, &ended.entry()).await?;
    Ok(!matches!(came, Came::Unfinished | Came::TooEarly))
}

fn action_of(kind: Kind) -> Action {
    match kind {
        Kind::User => Action::UserErase,
        Kind::AgentAccount => Action::AgentErase,
        Kind::Server => Action::ServerErase,
        Kind::Policy => Action::PolicyErase,
        Kind::ApiKey => Action::ApiKeyErase,
    }
}

/// A deleted thing that is being erased, and that its steps require to be as it was read.
struct Erased<'a> {
    work: &'a Work<'a>,
    deleted: Stored<Deleted>,
}

impl<'a> Work<'a> {
    fn new(core: &'a Core, request: &'a RequestContext) -> Self {
        let now = Instant::now();
        let ends = request.work_until.and_then(|ends| ends.checked_sub(LONGEST_STEP));
        let until = now.checked_add(WORKS_FOR).into_iter().chain(ends).min().unwrap_or(now);
        Self { core, request, until }
    }

    fn has_time(&self) -> bool {
        Instant::now() < self.until
    }

    /// Erases what an entry of the list leads to.
    async fn follow(&self, kind: Kind, entry: &Key) -> Result<Came> {
        while self.has_time() {
            if let Some(came) = self.attempt(kind, entry).await? {
                return Ok(came);
            }
        }
        Ok(Came::Unfinished)
    }

    /// `None` if another change was faster.
    async fn attempt(&self, kind: Kind, entry: &Key) -> Result<Option<Came>> {
        let id = entry.sk.split_once('#').map(|(_, id)| id).unwrap_or_default();
        let read = self.core.table.read_one::<Deleted>(Key::deleted(kind.name(), id)).await?;
        // Another process was faster.
        let Some(deleted) = read.filter(|deleted| deleted.entry() == *entry) else {
            return Ok(Some(Came::ByAnother));
        };
        if kind == Kind::User && self.core.clock.now() < deleted.deleted_at.plus(EVENTS_SETTLE_IN) {
            return Ok(Some(Came::TooEarly));
        }
        match Box::pin(Erased { work: self, deleted }.run()).await {
            Ok(true) => Ok(Some(Came::Erased)),
            Ok(false) => Ok(Some(Came::Unfinished)),
            // The thing itself, or something that a step was about, has changed.
            Err(CommitError::ConditionFailed) => Ok(None),
            Err(CommitError::Failed(error)) => Err(error),
        }
    }
}

impl Erased<'_> {
    fn core(&self) -> &Core {
        self.work.core
    }

    /// A step.
    fn change(&self) -> Result<Change> {
        let mut change = Change::new();
        change.require(&self.deleted.key(), self.deleted.rev)?;
        Ok(change)
    }

    /// `false` if there was too little time.
    async fn run(&self) -> Result<bool, CommitError> {
        let deleted = &self.deleted;
        let is_done = match deleted.kind {
            Kind::User => self.user(deleted.item::<User>()?.id).await?,
            Kind::AgentAccount => {
                let id =
                    deleted.id.parse().map_err(|_| Error::internal("a deleted account without an id"))?;
                self.agent(AgentAccountId(id)).await?
            }
            Kind::Server => {
                let id = deleted.id.parse().map_err(|_| Error::internal("a deleted server without an id"))?;
                self.server(&id).await?
            }
            Kind::Policy | Kind::ApiKey => true,
        };
        if is_done {
            self.end().await?;
        }
        Ok(is_done)
    }

    /// The last step.
    async fn end(&self) -> Result<(), CommitError> {
        let (core, deleted) = (self.core(), &self.deleted);
        let mut change = Change::new();
        deleted::release(&mut change, deleted)?;
        if deleted.kind == Kind::User {
            users::deleting::forget(core, &mut change, &deleted.item()?).await?;
        }
        gone::note(core, &mut change, &deleted.key())?;
        let event = Event::new(core, self.work.request, action_of(deleted.kind))?;
        let event = event.about(deleted.kind.name(), &deleted.id);
        change.record(&event.note(format!("deleted on {}", deleted.deleted_at)))?;
        core.table.commit(change).await
    }

    async fn page<T: Entity>(&self, list: &Partition, limit: usize) -> Result<Page<T>> {
        let query = Query::partition(&list.pk, limit).prefix(list.prefix.as_str());
        self.core().table.query(query).await
    }

    /// Removes items, in this order.
    async fn remove(&self, keys: &[Key]) -> Result<(), CommitError> {
        for keys in keys.chunks(AT_ONCE) {
            let mut change = self.change()?;
            for key in keys {
                change.remove(key)?;
            }
            self.core().table.commit(change).await?;
        }
        Ok(())
    }

    /// Removes what a list has, with what `all` says belongs to each. That must end with the item itself: what is left after
    /// a crash is found by it.
    async fn remove_list<T: Entity>(
        &self,
        list: &Partition,
        all: impl Fn(&T) -> Vec<Key>,
    ) -> Result<bool, CommitError> {
        loop {
            let page = self.page::<T>(list, PAGE_SIZE).await?;
            if page.items.is_empty() {
                return Ok(true);
            }
            for item in &page.items {
                self.remove(&all(&item.value)).await?;
                if !self.work.has_time() {
                    return Ok(false);
                }
            }
        }
    }

    /// Removes what else is in a partition.
    async fn remove_rest(&self, partition: &str) -> Result<bool, CommitError> {
        loop {
            let (keys, _) = self.core().table.query_keys(Query::partition(partition, AT_ONCE)).await?;
            if keys.is_empty() {
                return Ok(true);
            }
            self.remove(&keys).await?;
            if !self.work.has_time() {
                return Ok(false);
            }
        }
    }

    async fn user(&self, user: UserId) -> Result<bool, CommitError> {
        let at_servers = Partition::sessions_of(user);
        let sessions = self.remove_list(&at_servers, crate::sessions::Session::keys).await?;
        if !(sessions && self.remove_rest(&Key::user(user).pk).await?) {
            return Ok(false);
        }
        Ok(trail::pseudonymize(self.core(), user, || self.work.has_time()).await?)
    }

    async fn agent(&self, agent: AgentAccountId) -> Result<bool, CommitError> {
        let (delegations, grants) = (Partition::delegations_to(agent), Partition::grants_of(agent));
        Ok(self.remove_list(&delegations, Delegation::keys).await?
            && self.remove_list(&grants, Grant::keys).await?
            && self.remove_rest(&Key::agent(agent).pk).await?)
    }

    async fn server(&self, server: &ServerId) -> Result<bool, CommitError> {
        for index in [Index::Delegations, Index::SessionGrants, Index::Connections] {
            if !listed::is_complete(self.core(), index).await? {
                return Err(listed::incomplete().into());
            }
        }
        let connections = Partition::sessions_at(server);
        let of_session = |entry: &SessionEntry| {
            let user = entry.user_id;
            vec![Key::session(user, server), Key::session_at(server, user)]
        };
        Ok(self.delegations_at(server).await?
            && self.grants_at(server).await?
            && self.remove_list(&connections, of_session).await?
            && self.remove_rest(&Key::server(server).pk).await?)
    }

    async fn delegations_at(&self, server: &ServerId) -> Result<bool, CommitError> {
        let list = Partition::delegations_at(server);
        loop {
            let page = self.page::<DelegationPointer>(&list, PAGE_SIZE).await?;
            if page.items.is_empty() {
                return Ok(true);
            }
            for entry in page.items {
                let (core, request, mut change) = (self.core(), self.work.request, self.change()?);
                delegations::leave_server(core, request, &mut change, &entry, server).await?;
                core.table.commit(change).await?;
                if !self.work.has_time() {
                    return Ok(false);
                }
            }
        }
    }

    async fn grants_at(&self, server: &ServerId) -> Result<bool, CommitError> {
        let list = Partition::grants_at(server);
        loop {
            let page = self.page::<GrantPointer>(&list, PAGE_SIZE).await?;
            if page.items.is_empty() {
                return Ok(true);
            }
            for entry in page.items {
                let mut change = self.change()?;
                session_grants::remove(self.core(), &mut change, &entry).await?;
                self.core().table.commit(change).await?;
                if !self.work.has_time() {
                    return Ok(false);
                }
            }
        }
    }
}
