//! What a change of a policy would change, for the last recorded calls.
//!
//! Arguments are not recorded. So each kind of call (agent, user, server and tool) is judged once, with the arguments
//! unknown, by the policies as they are and as they would be. First it is asked whether the policy that changes, as it was
//! and as it would be, could have a part in it at all. All others are judged only if it could.
//!
//! It is judged by what agents, users and servers are now. The address is that of the newest call of its kind. An MCP
//! client's name is not recorded.

use std::collections::{HashMap, HashSet};

use super::target::{CallDetails, Target};
use crate::{
    Core,
    agents::AgentAccount,
    audit::{Action, Event, SourceIp},
    caller::{Power, UserCaller},
    clock::Timestamp,
    control::Control,
    entities::server::Server,
    error::{Error, Result},
    ids::{AgentAccountId, PolicyId, ServerId, UserId},
    policies::{
        self, CompiledPolicies, Decision, Mode, NewPolicy, Policy, Possibility, Principals, Warning,
        require_free_name, require_room, validate,
    },
    table::Key,
    trail::recent,
    users::User,
};

/// A change that is not made.
#[derive(Debug)]
pub enum PolicyChange {
    Create(NewPolicy),
    /// Without a mode, it stays as it is.
    Update {
        id: PolicyId,
        name: String,
        text: String,
        mode: Option<Mode>,
    },
    Delete(PolicyId),
}

/// What the change would change.
#[derive(Debug)]
pub struct DryRun {
    /// How many calls were looked at.
    pub calls: usize,
    /// When the oldest and the newest of them were.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Whether there are calls before them, of the last 31 days.
    pub is_cut: bool,
    /// The kinds of calls whose decision would be another one, the most frequent first.
    pub changed: Vec<ChangedCall>,
    /// How many calls would be decided in the same way.
    pub unchanged: usize,
    /// How many calls were not judged: their agent, user or server is no more, or there are too many policies and kinds of
    /// calls.
    pub not_judged: usize,
    pub policies_version: u64,
    pub warnings: Vec<Warning>,
}

/// A kind of calls, and how they are decided and would be.
#[derive(Debug)]
pub struct ChangedCall {
    pub agent_account_id: Option<AgentAccountId>,
    pub user_id: Option<UserId>,
    pub server_id: ServerId,
    pub tool: String,
    pub calls: usize,
    pub before: Possibility,
    pub after: Possibility,
}

/// How many calls are looked at.
const CALLS: usize = 1_000;
/// How many policies are evaluated in all. With 2,000 policies that is a hundred kinds of calls.
const EVALUATIONS: usize = 400_000;

#[derive(PartialEq, Eq, Hash)]
struct Kind {
    agent: Option<AgentAccountId>,
    user: Option<UserId>,
    server: ServerId,
    tool: String,
}

/// What would change if this change were made. Refused like the change itself, if it would be.
pub async fn dry_run(core: &Core, caller: &UserCaller, change: PolicyChange) -> Result<DryRun> {
    caller.require(Power::Read)?;
    let seen = Control::read(core).await?.version_of_policies();
    let (version, live) = policies::load(core, seen).await?;
    let (id, changed) = changed(core, &live, change)?;
    let warnings = match changed.iter().find(|policy| policy.id == id) {
        Some(policy) => policies::warnings(core, [&*policy.text]).await?,
        None => Vec::new(),
    };
    let (before, after) = (CompiledPolicies::new(version, &live)?, CompiledPolicies::new(version, &changed)?);
    let only = HashSet::from([id]);
    let parts = [before.only(&only)?, after.only(&only)?];

    let recent = recent(core, &[Action::ToolCall], CALLS).await?;
    let (calls, span, is_cut) = (recent.events.len(), recent.span(), recent.is_cut);
    let kinds = kinds(recent.events);
    let things = Things::read(core, &kinds).await?;
    let mut left = EVALUATIONS / (live.len() + changed.len()).max(1);
    let (mut changed, mut unchanged, mut not_judged) = (Vec::new(), 0, 0);
    for (Kind { agent, user, server, tool }, calls, details) in kinds {
        tokio::task::yield_now().await;
        let Some((principals, at)) = things.of(agent, user, &server) else {
            not_judged += calls;
            continue;
        };
        let target = Target::Tool(tool);
        let facts = target.facts(at, &details);
        if !parts[0].has_part(principals, &facts)? && !parts[1].has_part(principals, &facts)? {
            unchanged += calls;
            continue;
        }
        if left == 0 {
            not_judged += calls;
            continue;
        }
        left -= 1;
        let (before, after) =
            (before.possibility(principals, &facts)?, after.possibility(principals, &facts)?);
        if is_same(&before, &after) {
            unchanged += calls;
            continue;
        }
        let tool = target.operation().name().to_owned();
        let (agent_account_id, user_id, server_id) = (agent, user, server);
        changed.push(ChangedCall { agent_account_id, user_id, server_id, tool, calls, before, after });
    }
    let policies_version = version;
    Ok(DryRun { calls, span, is_cut, changed, unchanged, not_judged, policies_version, warnings })
}

/// The policy's id, and the policies as they would be.
fn changed(core: &Core, live: &[Policy], change: PolicyChange) -> Result<(PolicyId, Vec<Policy>)> {
    let now = core.clock.now();
    let mut policies = live.to_vec();
    let place = |id| live.iter().position(|policy| policy.id == id).ok_or(Error::NotFound(PolicyId::WHAT));
    let id = match change {
        PolicyChange::Create(NewPolicy { name, text, mode }) => {
            let id = PolicyId(core.random.uuid()?);
            validate(id, &text)?;
            require_room(live.len())?;
            require_free_name(live, &name, None)?;
            policies.push(Policy { id, name, text, mode, created_at: now, updated_at: now });
            id
        }
        PolicyChange::Update { id, name, text, mode } => {
            validate(id, &text)?;
            let policy = &mut policies[place(id)?];
            if policy.name != name {
                require_free_name(live, &name, Some(id))?;
            }
            let mode = mode.unwrap_or(policy.mode);
            *policy = Policy { name, text, mode, updated_at: now, ..policy.clone() };
            id
        }
        PolicyChange::Delete(id) => {
            policies.remove(place(id)?);
            id
        }
    };
    Ok((id, policies))
}

/// The kinds of calls, with how many there are, and what the newest says; the most frequent first.
fn kinds(calls: Vec<Event>) -> Vec<(Kind, usize, CallDetails)> {
    let mut kinds: HashMap<Kind, (usize, CallDetails)> = HashMap::new();
    for Event { agent_account_id: agent, user_id: user, server_id, tool, source_ip, .. } in calls {
        let (Some(server), Some(tool)) = (server_id, tool) else { continue };
        let source_ip = source_ip.and_then(SourceIp::known);
        let details = CallDetails { source_ip, ..CallDetails::default() };
        kinds.entry(Kind { agent, user, server, tool }).or_insert((0, details)).0 += 1;
    }
    let mut kinds: Vec<_> =
        kinds.into_iter().map(|(kind, (calls, details))| (kind, calls, details)).collect();
    kinds.sort_by(|(one, calls, _), (other, others, _)| {
        let order = |kind: &Kind| (kind.server.clone(), kind.tool.clone(), kind.agent, kind.user);
        others.cmp(calls).then_with(|| order(one).cmp(&order(other)))
    });
    kinds
}

/// The agents, users and servers of calls, as they are now.
struct Things {
    agents: HashMap<AgentAccountId, AgentAccount>,
    users: HashMap<UserId, User>,
    servers: HashMap<ServerId, Server>,
}

impl Things {
    async fn read(core: &Core, kinds: &[(Kind, usize, CallDetails)]) -> Result<Self> {
        let agents: HashSet<_> = kinds.iter().filter_map(|(kind, ..)| kind.agent).collect();
        let users: HashSet<_> = kinds.iter().filter_map(|(kind, ..)| kind.user).collect();
        let servers: HashSet<_> = kinds.iter().map(|(kind, ..)| &kind.server).collect();
        let keys: [Vec<Key>; 3] = [
            agents.into_iter().map(Key::agent).collect(),
            users.into_iter().map(Key::user).collect(),
            servers.into_iter().map(Key::server).collect(),
        ];
        let (agents, users, servers) = futures::try_join!(
            core.table.read_all::<AgentAccount>(&keys[0]),
            core.table.read_all::<User>(&keys[1]),
            core.table.read_all::<Server>(&keys[2]),
        )?;
        let users = users.into_iter().map(|user| core.counting_claims(user.value));
        Ok(Self {
            agents: agents.into_iter().map(|agent| (agent.id, agent.value)).collect(),
            users: users.map(|user| (user.id, user)).collect(),
            servers: servers.into_iter().map(|server| (server.id.clone(), server.value)).collect(),
        })
    }

    /// `None` if one of them is no more.
    fn of(
        &self,
        agent: Option<AgentAccountId>,
        user: Option<UserId>,
        server: &ServerId,
    ) -> Option<(Principals<'_>, &Server)> {
        let principals = match (agent, user) {
            (Some(agent), Some(user)) => {
                Principals::AgentFor(self.agents.get(&agent)?, self.users.get(&user)?)
            }
            (Some(agent), None) => Principals::Agent(self.agents.get(&agent)?),
            (None, Some(user)) => Principals::User(self.users.get(&user)?),
            (None, None) => return None,
        };
        Some((principals, self.servers.get(server)?))
    }
}

/// Whether both say the same: the same decision, or the same that it depends on. Which policies permit may differ.
fn is_same(before: &Possibility, after: &Possibility) -> bool {
    match (before, after) {
        (Possibility::Decided(Decision::Permitted(_)), Possibility::Decided(Decision::Permitted(_)))
        | (Possibility::Decided(Decision::Denied(_)), Possibility::Decided(Decision::Denied(_))) => true,
        (Possibility::Depends(before), Possibility::Depends(after)) => before == after,
        _ => false,
    }
}
