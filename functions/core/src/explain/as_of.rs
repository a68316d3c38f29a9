//! The state at an earlier time: what is there now, with the changes since then undone, newest first.
//!
//! The audit trail is the history, and there is no other. Each change's event says what was before and after, of each
//! field that decides: the policies, people's groups, role and whether they are active, the same of agents and servers,
//! and delegations. It is read from now back to that time, within bounds: if there is more, the question is refused, since
//! a part of the changes would be a wrong answer.
//!
//! **What was deleted since** is found where it is kept until it is erased ([`crate::deleted`]), and its deletion is undone
//! like every other change. What was erased is known by its id alone: the answer says that it was there, and is refused or
//! leaves it out. A policy's events have all of it, so an erased one is judged as it was.
//!
//! What no event says is not known of another time, and the answer says so: whose connection was usable, whether an app's
//! authorization stood that made a delegation, and how old an issuer's word was.

use std::{collections::HashMap, fmt::Display, hash::Hash, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    Core,
    agents::AgentAccount,
    audit::{self, Action, Event, FieldChange},
    clock::Timestamp,
    delegations::Delegation,
    deleted::{self, Deleted, Kind},
    entities::server::Server,
    error::{Error, Result},
    ids::{AgentAccountId, DelegationId, PolicyId, ServerId, UserId},
    policies::Policy,
    table::Key,
    trail::changes_since,
    users::User,
};

/// The most changes that are undone.
const MAX_CHANGES: usize = 20_000;

/// The time that a question is about.
#[derive(Debug)]
pub(super) struct AsOf {
    pub(super) at: Timestamp,
    /// Whether it is now: then nothing is undone.
    pub(super) is_now: bool,
    users: Changes<UserId>,
    agents: Changes<AgentAccountId>,
    servers: Changes<ServerId>,
    delegations: Changes<DelegationId>,
    policies: Vec<(PolicyId, Event)>,
    /// Changes that do not say all of what was before.
    unclear: usize,
}

/// The changes of each thing since then, newest first.
type Changes<Id> = HashMap<Id, Vec<Vec<FieldChange>>>;

/// What the trail tells in another form than it is stored, or in part. It decides nothing here.
const NOT_UNDONE: [&str; 6] =
    ["secrets", "keys", "header", "oauth_client", "pins_version", "allowed_origins"];

impl AsOf {
    pub(super) fn now(core: &Core) -> Self {
        Self {
            at: core.clock.now(),
            is_now: true,
            users: HashMap::new(),
            agents: HashMap::new(),
            servers: HashMap::new(),
            delegations: HashMap::new(),
            policies: Vec::new(),
            unclear: 0,
        }
    }

    /// The state at a time; now without one.
    pub(super) async fn of(core: &Core, at: Option<Timestamp>) -> Result<Self> {
        let Some(at) = at else { return Ok(Self::now(core)) };
        let now = core.clock.now();
        if at > now {
            return Err(Error::invalid("at must not be in the future"));
        }
        if let Some(days) = core.table.retention().audit
            && at < now.minus(Duration::from_hours(24 * u64::from(days)))
        {
            let why =
                format!("at: the audit trail is kept for {days} days, so nothing is known of a time before");
            return Err(Error::invalid(why));
        }
        let changes = changes_since(core, at, &UNDONE, MAX_CHANGES).await?;
        let changes = changes.ok_or_else(|| {
            Error::invalid("at: there are too many events since then to go back so far: name a later time")
        })?;
        let mut as_of = Self { at, is_now: false, ..Self::now(core) };
        for event in changes {
            as_of.note(event);
        }
        Ok(as_of)
    }

    fn note(&mut self, event: Event) {
        fn put<Id: std::str::FromStr + Eq + Hash>(of: &mut Changes<Id>, id: &str, changes: Vec<FieldChange>) {
            if let Ok(id) = id.parse() {
                of.entry(id).or_default().push(changes);
            }
        }
        // An event from before the trail said what was before, or one whose values were too long to be kept.
        if event.changes.is_empty() || !event.changes.iter().all(FieldChange::is_complete) {
            self.unclear += 1;
        }
        let Some((kind, id)) = event.subject.as_deref().and_then(|subject| subject.split_once(':')) else {
            return;
        };
        let id = id.to_owned();
        match kind {
            "user" => put(&mut self.users, &id, event.changes),
            "agent_account" => put(&mut self.agents, &id, event.changes),
            "server" => put(&mut self.servers, &id, event.changes),
            "delegation" => put(&mut self.delegations, &id, event.changes),
            "policy" => {
                if let Ok(id) = id.parse() {
                    self.policies.push((id, event));
                }
            }
            _ => {}
        }
    }

    pub(super) fn user(&self, core: &Core, now: User) -> Result<Option<User>> {
        let was = match self.users.get(&now.id) {
            Some(changes) => undone(&now, &now.recorded(), changes)?,
            None => Some(now),
        };
        Ok(was.map(|user| core.counting_claims(user)))
    }

    pub(super) fn agent(&self, now: AgentAccount) -> Result<Option<AgentAccount>> {
        match self.agents.get(&now.id) {
            Some(changes) => undone(&now, &now.recorded(), changes),
            None => Ok(Some(now)),
        }
    }

    pub(super) fn server(&self, now: Server) -> Result<Option<Server>> {
        match self.servers.get(&now.id) {
            Some(changes) => undone(&now, &now.recorded(), changes),
            None => Ok(Some(now)),
        }
    }

    /// A user who is not there now and was at that time, as they were when they were deleted.
    pub(super) async fn deleted_user(&self, core: &Core, id: UserId) -> Result<Option<User>> {
        kept(core, Kind::User, &self.users, &id).await
    }

    pub(super) async fn deleted_agent(
        &self,
        core: &Core,
        id: AgentAccountId,
    ) -> Result<Option<AgentAccount>> {
        kept(core, Kind::AgentAccount, &self.agents, &id).await
    }

    pub(super) async fn deleted_server(&self, core: &Core, id: &ServerId) -> Result<Option<Server>> {
        kept(core, Kind::Server, &self.servers, id).await
    }

    /// All users who are not there now and were at that time, and how many more of them have been erased.
    pub(super) async fn deleted_users(&self, core: &Core) -> Result<(Vec<User>, usize)> {
        all_kept(core, Kind::User, &self.users).await
    }

    pub(super) async fn deleted_agents(&self, core: &Core) -> Result<(Vec<AgentAccount>, usize)> {
        all_kept(core, Kind::AgentAccount, &self.agents).await
    }

    /// The delegation of the same agent and user. Another one may be in its place now.
    pub(super) fn delegation(&self, now: Delegation) -> Result<Option<Delegation>> {
        let mut delegation = now;
        // Each time, one that was made before. More than there are events there cannot be.
        for _ in 0..=self.delegations.len() {
            let Some(changes) = self.delegations.get(&delegation.id) else { return Ok(Some(delegation)) };
            let Some(was) = undone(&delegation, &delegation.recorded(), changes)? else { return Ok(None) };
            if was.id == delegation.id {
                return Ok(Some(was));
            }
            delegation = was;
        }
        Ok(None)
    }

    /// The policies and their version.
    pub(super) fn policies(&self, version: u64, live: Vec<Policy>) -> Result<(u64, Vec<Policy>)> {
        let mut policies: HashMap<PolicyId, Policy> =
            live.into_iter().map(|policy| (policy.id, policy)).collect();
        for (id, event) in &self.policies {
            let was = match (policies.remove(id), event.action) {
                (Some(policy), _) => {
                    undone(&policy, &policy.recorded(), std::slice::from_ref(&event.changes))?
                }
                // It was deleted, or made.
                (None, _) if is_made(&event.changes) => None,
                (None, _) => {
                    let mut view = Map::from_iter([
                        ("id".to_owned(), Value::from(id.to_string())),
                        ("created_at".to_owned(), serde_json::to_value(self.at).map_err(Error::internal)?),
                        ("updated_at".to_owned(), serde_json::to_value(self.at).map_err(Error::internal)?),
                    ]);
                    undo(&mut view, &event.changes);
                    serde_json::from_value(Value::Object(view)).ok()
                }
            };
            if let Some(was) = was {
                policies.insert(*id, was);
            }
        }
        let mut policies: Vec<Policy> = policies.into_values().collect();
        policies.sort_by_key(|policy| policy.id);
        Ok((version.saturating_sub(self.policies.len() as u64), policies))
    }

    /// What cannot be known of that time.
    pub(super) fn notes(&self) -> Vec<String> {
        if self.is_now {
            return Vec::new();
        }
        let mut notes = vec![
            "Connections, session grants, and what users allowed apps are not known of an earlier time"
                .to_owned(),
            "Delegations that had ended, and have been removed since, are not known any more".to_owned(),
        ];
        if self.unclear > 0 {
            notes.push(format!(
                "{} changes since then do not say what was before: what they changed is told as it is now",
                self.unclear
            ));
        }
        notes
    }
}

/// The changes that are undone.
const UNDONE: [Action; 22] = [
    Action::UserCreate,
    Action::UserUpdate,
    Action::UserProvision,
    Action::UserOffboard,
    Action::IdentityBind,
    Action::UserDelete,
    Action::UserRestore,
    Action::AgentCreate,
    Action::AgentUpdate,
    Action::AgentDelete,
    Action::AgentRestore,
    Action::ServerCreate,
    Action::ServerUpdate,
    Action::ServerDelete,
    Action::ServerRestore,
    Action::DelegationCreate,
    Action::DelegationUpdate,
    Action::DelegationRevoke,
    Action::PolicyCreate,
    Action::PolicyUpdate,
    Action::PolicyDelete,
    Action::PolicyRestore,
];

/// The thing before these changes, which are the newest first. `None` if it was not there. `recorded` is what the trail
/// shows of it.
fn undone<T: Serialize + DeserializeOwned>(
    now: &T,
    recorded: &impl Serialize,
    changes: &[Vec<FieldChange>],
) -> Result<Option<T>> {
    let fields = |value: &dyn Fn() -> serde_json::Result<Value>| match value().map_err(Error::internal)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(Error::internal("an item that is no object")),
    };
    let mut view = fields(&|| serde_json::to_value(now))?;
    let recorded = fields(&|| serde_json::to_value(recorded))?;
    let mut is_there = true;
    for changes in changes {
        if is_made(changes) {
            // Before that it was not there, or was deleted: then it was what its deletion says.
            is_there = false;
            continue;
        }
        if is_deleted(changes) {
            is_there = true;
            // A deletion names all that was there. What is kept was changed with it, and has more.
            let is_known = |field: &str| {
                !NOT_UNDONE.contains(&field)
                    && changes.iter().all(|change| change.field != field || change.is_complete())
            };
            view.retain(|field, _| !recorded.contains_key(field) || !is_known(field));
        }
        undo(&mut view, changes);
    }
    if !is_there {
        return Ok(None);
    }
    serde_json::from_value(Value::Object(view)).map(Some).map_err(Error::internal)
}

fn is_made(changes: &[FieldChange]) -> bool {
    changes.iter().all(|change| change.before.is_null()) && names_what_is_there(changes)
}

fn is_deleted(changes: &[FieldChange]) -> bool {
    changes.iter().all(|change| change.after.is_null()) && names_what_is_there(changes)
}

fn names_what_is_there(changes: &[FieldChange]) -> bool {
    changes.iter().any(|change| IS_THERE.contains(&&*change.field))
}

/// Whether a thing that is not there now was there before these changes, which are the newest first.
fn was_deleted(changes: &[Vec<FieldChange>]) -> bool {
    let is_gone = changes.first().is_some_and(|newest| is_deleted(newest));
    is_gone && changes.last().is_some_and(|oldest| !is_made(oldest))
}

/// What was deleted since then, as it is kept. `None` if it was not there at that time either.
async fn kept<Id: Eq + Hash + Display, T: DeserializeOwned>(
    core: &Core,
    kind: Kind,
    of: &Changes<Id>,
    id: &Id,
) -> Result<Option<T>> {
    if !of.get(id).is_some_and(|changes| was_deleted(changes)) {
        return Ok(None);
    }
    match deleted::find(core, kind, &id.to_string()).await? {
        Some(deleted) => deleted.item().map(Some),
        None => {
            let what = kind.name().replace('_', " ");
            Err(Error::invalid(format!(
                "at: the {what} {id} was there at that time, and has been erased since: nothing more is known of it"
            )))
        }
    }
}

/// All of them, and how many have been erased.
async fn all_kept<Id: Eq + Hash + Display, T: DeserializeOwned>(
    core: &Core,
    kind: Kind,
    of: &Changes<Id>,
) -> Result<(Vec<T>, usize)> {
    let were = of.iter().filter(|(_, changes)| was_deleted(changes));
    let keys: Vec<Key> = were.map(|(id, _)| Key::deleted(kind.name(), &id.to_string())).collect();
    let now = core.clock.now();
    let found = core.table.read_all::<Deleted>(&keys).await?;
    let found = found.iter().filter(|deleted| deleted.can_be_restored(now));
    let kept = found.map(|deleted| deleted.item()).collect::<Result<Vec<T>>>()?;
    let erased = keys.len() - kept.len();
    Ok((kept, erased))
}

/// Fields that each thing has as long as it is there.
const IS_THERE: [&str; 4] = ["active", "id", "text", "role"];

/// Takes a view back. What was absent is absent, and what is not undone stays.
fn undo(view: &mut Map<String, Value>, changes: &[FieldChange]) {
    let changes: Vec<FieldChange> = changes
        .iter()
        .filter(|change| change.is_complete() && !NOT_UNDONE.contains(&&*change.field))
        .cloned()
        .collect();
    audit::undo(view, &changes);
    view.retain(|_, value| !value.is_null());
}
