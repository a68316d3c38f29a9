//! All people, agents and delegations. What is kept of each is small: who it is, and its class.

use futures::{StreamExt, TryStreamExt, stream};

use super::{super::as_of::AsOf, classes::Numbered};
use crate::{
    Core,
    agents::AgentAccount,
    app_standing,
    delegations::Delegation,
    email::Email,
    entities::user::Vouching,
    error::{Error, Result},
    ids::{AgentAccountId, ServerId, UserId},
    policies::{LooksAt, Seen},
    table::{Entity, Key, Partition, Query},
    users::User,
};

/// The most of each that is read.
pub(super) const MAX_PEOPLE: usize = 50_000;
pub(super) const MAX_AGENTS: usize = 5_000;
pub(super) const MAX_DELEGATIONS: usize = 100_000;
/// How many requests are under way at once.
const AT_ONCE: usize = 16;
/// How many entries of a list are read at once: about 150 KB.
const ENTRIES: usize = 1_000;
/// How many items are read at once: what one `BatchGetItem` takes.
const ITEMS: usize = 100;

#[derive(Debug)]
pub(super) struct Person {
    pub(super) id: UserId,
    pub(super) email: Option<Email>,
    /// Whether what they delegated is in force.
    vouching: Vouching,
    /// The class by what is asked about users.
    pub(super) class: usize,
    /// The class by what is asked about those for whom agents act.
    pub(super) class_as_delegator: usize,
}

/// Everybody who is active, by id.
#[derive(Debug, Default)]
pub(super) struct People {
    pub(super) all: Vec<Person>,
    /// One person of each class.
    pub(super) classes: Numbered<Seen, User>,
    pub(super) classes_as_delegators: Numbered<Seen, User>,
    pub(super) is_cut: bool,
    /// How many were there at that time of whom no more is known.
    pub(super) erased: usize,
}

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) id: AgentAccountId,
    pub(super) name: String,
    pub(super) class: usize,
}

/// All active agent accounts, by id.
#[derive(Debug, Default)]
pub(super) struct Agents {
    pub(super) all: Vec<Agent>,
    pub(super) classes: Numbered<Seen, AgentAccount>,
    pub(super) is_cut: bool,
    /// How many were there at that time of which no more is known.
    pub(super) erased: usize,
}

/// Delegations in force: the numbers of the agent and of the person.
#[derive(Debug, Default)]
pub(super) struct Delegations {
    pub(super) all: Vec<(usize, usize)>,
    pub(super) is_cut: bool,
}

impl People {
    pub(super) async fn read(core: &Core, as_of: &AsOf, users: &LooksAt, agents: &LooksAt) -> Result<Self> {
        let (keys, is_cut) =
            entries(core, &Partition::users(), MAX_PEOPLE, |id| id.parse().ok().map(Key::user)).await?;
        let (deleted, erased) = as_of.deleted_users(core).await?;
        let mut people = Self { is_cut, erased, ..Self::default() };
        let deleted = stream::iter([Ok(deleted)]);
        let mut read = items::<User>(core, &keys).chain(deleted);
        while let Some(page) = read.try_next().await? {
            for user in page {
                let user = as_of.user(core, user)?.filter(|user| user.active);
                let Some(user) = user else { continue };
                let class = people.classes.number(users.user(&user), || user.clone());
                let seen = agents.on_behalf_of(&user);
                let class_as_delegator = people.classes_as_delegators.number(seen, || user.clone());
                let vouching = user.vouching();
                let User { id, email, .. } = user;
                people.all.push(Person { id, email, vouching, class, class_as_delegator });
            }
        }
        drop(read);
        people.all.sort_unstable_by_key(|person| person.id);
        Ok(people)
    }

    /// The number of the person whose delegation it is, if it is in force as far as it rests on them.
    fn place_of_delegator(&self, made: &Delegation) -> Option<usize> {
        let place = self.all.binary_search_by_key(&made.delegator_user_id, |person| person.id).ok()?;
        self.all.get(place)?.vouching.is_for(made.user_epoch, made.created_at).then_some(place)
    }
}

impl Agents {
    pub(super) async fn read(core: &Core, as_of: &AsOf, looks_at: &LooksAt) -> Result<Self> {
        let list = Partition::agents();
        let (keys, is_cut) = entries(core, &list, MAX_AGENTS, |id| id.parse().ok().map(Key::agent)).await?;
        let (deleted, erased) = as_of.deleted_agents(core).await?;
        let mut agents = Self { is_cut, erased, ..Self::default() };
        let deleted = stream::iter([Ok(deleted)]);
        let mut read = items::<AgentAccount>(core, &keys).chain(deleted);
        while let Some(page) = read.try_next().await? {
            for agent in page {
                let agent = as_of.agent(agent)?.filter(|agent| agent.active);
                let Some(agent) = agent else { continue };
                let class = agents.classes.number(looks_at.agent(&agent), || agent.clone());
                let AgentAccount { id, name, .. } = agent;
                agents.all.push(Agent { id, name, class });
            }
        }
        drop(read);
        agents.all.sort_unstable_by_key(|agent| agent.id);
        Ok(agents)
    }
}

impl Delegations {
    /// Those in force to these agents, by active people, that cover the server.
    pub(super) async fn read(
        core: &Core,
        at: (&AsOf, &ServerId),
        (agents, of): (&Agents, Vec<usize>),
        people: &People,
    ) -> Result<Self> {
        let mut delegations = Self::default();
        let each = |place: usize| async move {
            let id = agents.all.get(place).map(|agent| agent.id);
            let given = match id {
                Some(id) => to_agent(core, id, at).await?,
                None => Vec::new(),
            };
            Ok::<_, Error>((place, given))
        };
        let mut read = stream::iter(of).map(each).buffer_unordered(AT_ONCE);
        while let Some((agent, given)) = TryStreamExt::try_next(&mut read).await? {
            delegations
                .all
                .extend(given.iter().filter_map(|made| Some((agent, people.place_of_delegator(made)?))));
            if delegations.all.len() > MAX_DELEGATIONS {
                delegations.all.truncate(MAX_DELEGATIONS);
                delegations.is_cut = true;
                break;
            }
        }
        drop(read);
        delegations.all.sort_unstable();
        Ok(delegations)
    }
}

/// The delegations to an agent account, as far as they do not rest on their users.
async fn to_agent(
    core: &Core,
    agent: AgentAccountId,
    (as_of, server): (&AsOf, &ServerId),
) -> Result<Vec<Delegation>> {
    let Partition { pk, prefix } = Partition::delegations_to(agent);
    let (mut given, mut after) = (Vec::new(), None);
    loop {
        let query = Query::partition(&pk, ENTRIES).prefix(prefix.as_str()).after(after);
        let page = core.table.query::<Delegation>(query).await?;
        let mut in_force = Vec::new();
        for delegation in page.items {
            let was = as_of.delegation(delegation.value)?;
            in_force.extend(was.filter(|was| was.is_active(as_of.at) && was.covers(server)));
        }
        let made = in_force.iter().map(|made| (made.delegator_user_id, made.made_by.as_ref()));
        let standing = app_standing::read(core, made.filter(|_| as_of.is_now)).await?;
        let stands = |made: &Delegation| !as_of.is_now || standing.of(made.made_by.as_ref());
        in_force.retain(stands);
        given.extend(in_force);
        after = page.next;
        if after.is_none() || given.len() > MAX_DELEGATIONS {
            return Ok(given);
        }
    }
}

/// The keys of the items that a list of UUIDs leads to, and whether there are more. The list is read in sixteen parts at
/// once, by the first digit.
async fn entries(
    core: &Core,
    list: &Partition,
    most: usize,
    key: impl Fn(&str) -> Option<Key> + Copy,
) -> Result<(Vec<Key>, bool)> {
    let part = |digit: u8| async move {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let query = Query::partition(&list.pk, ENTRIES).prefix(format!("{digit:x}")).after(after);
            let (found, next) = core.table.query_keys(query).await?;
            keys.extend(found.iter().filter_map(|entry| key(&entry.sk)));
            after = next;
            if after.is_none() || keys.len() > most {
                return Ok::<_, Error>(keys);
            }
        }
    };
    let parts: Vec<Vec<Key>> = stream::iter(0..16).map(part).buffered(AT_ONCE).try_collect().await?;
    let mut keys = parts.concat();
    let is_cut = keys.len() > most;
    keys.truncate(most);
    Ok((keys, is_cut))
}

/// Items, some at a time, in no particular order.
fn items<'a, T: Entity + Send + 'a>(
    core: &'a Core,
    keys: &'a [Key],
) -> impl futures::Stream<Item = Result<Vec<T>>> + Unpin + 'a {
    let reads = keys.chunks(ITEMS).map(async |keys| {
        let found = core.table.read_all::<T>(keys).await?;
        Ok(found.into_iter().map(|stored| stored.value).collect())
    });
    Box::pin(stream::iter(reads).buffer_unordered(AT_ONCE))
}
