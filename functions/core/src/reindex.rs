//! Adding the entries of lists to items from before there were these lists: `deputize reindex`.
//!
//! A walk goes over the list by id, a page after the other, and writes the entries that are missing, each with the
//! condition that its item is as it was read. So it can run beside live changes, twice at once, and again after a crash. It
//! notes how far it has come, and goes on from there. At its end it notes that the list is complete, and from then on
//! readers use it ([`crate::listed`]).
//!
//! It must run after the last process of the former version has ended: what that makes has no entries.

use futures::future::try_join_all;

use crate::{
    agents::AgentAccount,
    delegations::{self, Delegation},
    error::Result,
    ids::{AgentAccountId, UserId},
    listed::{CompleteLists, ListEntry, Listed, entry_of},
    servers::Server,
    session_grants::{Grant, GrantPointer},
    sessions::Session,
    table::{Change, Entity, Key, PAGE_SIZE, Partition, Query, Stored, Table, retry_on_conflict},
    users::User,
};

pub use crate::listed::Index;

/// How far a walk has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub index: Index,
    /// Users, agent accounts or servers.
    pub walked: usize,
    /// Items that got entries.
    pub added: usize,
    pub is_complete: bool,
}

/// How many items are written at the same time.
const AT_ONCE: usize = 16;

/// An entry of a list by id. Each kind has one attribute beside the key, and the sort key is the id.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct ById {
    sk: String,
}

impl Entity for ById {
    const KIND: &'static str = "list entry by id";
}

/// Which lists are complete.
async fn noted(table: &Table) -> Result<Option<Stored<CompleteLists>>> {
    table.read_one(Key::complete_lists()).await
}

async fn note(table: &Table, edit: impl Fn(&mut CompleteLists)) -> Result<()> {
    retry_on_conflict(|| async {
        let was = noted(table).await?;
        let mut lists = was.as_ref().map(|was| was.value.clone()).unwrap_or_default();
        edit(&mut lists);
        let mut change = Change::new();
        change.write(Key::complete_lists(), &lists, was.as_ref())?;
        table.commit(change).await
    })
    .await
}

/// Adds all missing entries. `told` hears of each page. A list that is complete is walked again only if all are to be.
pub async fn run(table: &Table, again: bool, mut told: impl FnMut(Progress)) -> Result<()> {
    for index in Index::ALL {
        let lists = noted(table).await?.map(|lists| lists.value).unwrap_or_default();
        if lists.has(index) && !again {
            continue;
        }
        let list = match index {
            Index::Users | Index::Connections => Partition::users(),
            Index::Servers => Partition::servers(),
            Index::Agents | Index::Delegations | Index::SessionGrants => Partition::agents(),
        };
        let mut progress = Progress { index, walked: 0, added: 0, is_complete: false };
        let mut after = lists.walked.get(index.name()).cloned();
        loop {
            let start = after.map(|sk| Key { pk: list.pk.clone(), sk });
            let page = table.query::<ById>(Query::partition(&list.pk, PAGE_SIZE).after(start)).await?;
            let ids: Vec<String> = page.items.into_iter().map(|entry| entry.value.sk).collect();
            progress.walked += ids.len();
            progress.added += match index {
                Index::Users => add::<User>(table, &ids).await?,
                Index::Agents => add::<AgentAccount>(table, &ids).await?,
                Index::Servers => add::<Server>(table, &ids).await?,
                Index::Delegations => of_each::<Delegation>(table, &ids).await?,
                Index::SessionGrants => of_each::<Grant>(table, &ids).await?,
                Index::Connections => of_each::<Session>(table, &ids).await?,
            };
            let Some(next) = page.next else { break };
            note(table, |lists| {
                lists.walked.insert(index.name().to_owned(), next.sk.clone());
            })
            .await?;
            told(progress);
            after = Some(next.sk);
        }
        note(table, |lists| lists.add(index)).await?;
        told(Progress { is_complete: true, ..progress });
    }
    Ok(())
}

/// Adds the missing entries of these items. Answers how many items got some.
async fn add<T: Listed>(table: &Table, ids: &[String]) -> Result<usize> {
    let keys: Vec<Key> = ids.iter().filter_map(|id| T::key_of(id)).collect();
    let items = table.read_all::<T>(&keys).await?;
    let entries = items.iter().flat_map(|item| item.entries()).collect();
    let found = table.read(entries).await?;
    let lacking = items.iter().filter(|item| item.entries().iter().any(|key| !found.contains(key)));
    let lacking: Vec<Key> = lacking.filter_map(|item| T::key_of(&item.id())).collect();
    for keys in lacking.chunks(AT_ONCE) {
        try_join_all(keys.iter().map(|key| add_one::<T>(table, key))).await?;
    }
    Ok(lacking.len())
}

async fn add_one<T: Listed>(table: &Table, key: &Key) -> Result<()> {
    retry_on_conflict(|| async {
        let Some(item) = table.read_one::<T>(key.clone()).await? else { return Ok(()) };
        let mut change = Change::new();
        change.require(key, item.rev)?;
        for entry in item.entries() {
            change.put_ending::<ListEntry>(entry, &entry_of(&item.value), None)?;
        }
        table.commit(change).await
    })
    .await
}

/// What an agent account or a user has many of, with entries elsewhere.
trait OfOwner: Entity {
    /// All that the one with this id has.
    fn all(owner: uuid::Uuid) -> Partition;

    fn key(&self) -> Key;

    fn entries(&self) -> Vec<Key>;

    fn add_entries(&self, change: &mut Change) -> Result<()>;
}

impl OfOwner for Delegation {
    fn all(agent: uuid::Uuid) -> Partition {
        Partition::delegations_to(AgentAccountId(agent))
    }

    fn key(&self) -> Key {
        Key::delegation(self.agent_account_id, self.delegator_user_id)
    }

    fn entries(&self) -> Vec<Key> {
        self.pointers().into_iter().collect()
    }

    fn add_entries(&self, change: &mut Change) -> Result<()> {
        delegations::add_pointers(change, self)
    }
}

impl OfOwner for Grant {
    fn all(agent: uuid::Uuid) -> Partition {
        Partition::grants_of(AgentAccountId(agent))
    }

    fn key(&self) -> Key {
        Key::grant(self.agent_account_id, &self.server_id, self.grantor_user_id)
    }

    fn entries(&self) -> Vec<Key> {
        Self::entries(self).to_vec()
    }

    fn add_entries(&self, change: &mut Change) -> Result<()> {
        for key in Self::entries(self) {
            change.put_ending(key, &GrantPointer::of(self), self.ends())?;
        }
        Ok(())
    }
}

impl OfOwner for Session {
    fn all(user: uuid::Uuid) -> Partition {
        Partition::sessions_of(UserId(user))
    }

    fn key(&self) -> Key {
        Self::key(self)
    }

    fn entries(&self) -> Vec<Key> {
        vec![self.entry_key()]
    }

    fn add_entries(&self, change: &mut Change) -> Result<()> {
        self.add_entry(change)
    }
}

async fn of_each<T: OfOwner>(table: &Table, owners: &[String]) -> Result<usize> {
    let mut added = 0;
    for owners in owners.chunks(AT_ONCE) {
        let owners = owners.iter().filter_map(|owner| owner.parse().ok());
        added += try_join_all(owners.map(|owner| of_one::<T>(table, owner))).await?.iter().sum::<usize>();
    }
    Ok(added)
}

async fn of_one<T: OfOwner>(table: &Table, owner: uuid::Uuid) -> Result<usize> {
    let list = T::all(owner);
    let (mut added, mut after) = (0, None);
    loop {
        let query = Query::partition(&list.pk, PAGE_SIZE).prefix(list.prefix.as_str()).after(after);
        let page = table.query::<T>(query).await?;
        let found = table.read(page.items.iter().flat_map(|item| item.entries()).collect()).await?;
        let lacking = page.items.iter().filter(|item| item.entries().iter().any(|key| !found.contains(key)));
        let lacking: Vec<Key> = lacking.map(|item| item.key()).collect();
        for keys in lacking.chunks(AT_ONCE) {
            try_join_all(keys.iter().map(|key| add_entries::<T>(table, key))).await?;
        }
        added += lacking.len();
        after = page.next;
        if after.is_none() {
            return Ok(added);
        }
    }
}

async fn add_entries<T: OfOwner>(table: &Table, key: &Key) -> Result<()> {
    retry_on_conflict(|| async {
        let Some(item) = table.read_one::<T>(key.clone()).await? else { return Ok(()) };
        let mut change = Change::new();
        change.require(key, item.rev)?;
        item.add_entries(&mut change)?;
        table.commit(change).await
    })
    .await
}
