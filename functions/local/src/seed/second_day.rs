//! A deployment on its second day: people in groups, agents, delegations, policies, and an audit trail of a month.
//!
//! All of it is made by the service's own code. People, agents, delegations and policies are committed as changes. Events
//! are stored as they are when calls append them, with their entries, but at times of the past and by bulk loading.

use std::time::{Duration, Instant};

use deputize_core::{
    Core, Error,
    audit::{Action, Event, Outcome, RequestContext},
    clock::Timestamp,
    ids::{AgentAccountId, ServerId, UserId},
    pins::Pinning,
    seed::Seed,
    servers::{NewServer, ServerAuth},
    table::{CommitError, Record, TableOptions},
    users::{NewUser, Role},
};
use serde_json::json;

use super::{CHUNK, load};
use crate::{
    StartError,
    server::{Options, Server},
};

/// The server that policies and calls are about.
const SERVER: &str = "github";
const TOOLS: [&str; 20] = [
    "delete_repo",
    "merge",
    "deploy",
    "create_issue",
    "close_issue",
    "list_issues",
    "list_repos",
    "get_file",
    "put_file",
    "search",
    "comment",
    "review",
    "label",
    "assign",
    "fork",
    "release",
    "tag",
    "branch",
    "star",
    "archive",
];
const NAMES: [&str; 20] = [
    "Ann", "Ben", "Cem", "Dora", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jana", "Kai", "Lea", "Max", "Nina",
    "Otto", "Pia", "Quin", "Rosa", "Sam", "Tove",
];
/// How many people there are for each agent.
const PEOPLE_OF_AN_AGENT: u32 = 20;
const DEPARTMENTS: u32 = 50;
/// How long ago the first event was. Lists without a range reach a day further.
const TRAIL: Duration = Duration::from_hours(30 * 24);

/// Adds people, an agent for every 20 of them, a delegation of each person and one more for each agent, policies, and
/// events.
pub async fn fill(options: &Options, people: u32, events: u32) -> Result<(), StartError> {
    let server = Server::start(options.clone()).await?;
    let organization =
        server.organization().ok_or_else(|| StartError::new("--seed-people needs the demo"))?;
    let core = server.core();
    let started = Instant::now();
    let users = people_of(core, people).await?;
    let agents = agents_of(core, people.div_ceil(PEOPLE_OF_AN_AGENT), organization.alice.id).await?;
    let pairs = delegations_of(core, &users, &agents).await?;
    policies_of(core, users.len()).await?;
    eprintln!("{people} people in {:.0?}", started.elapsed());
    server.store()?.database().enable_bulk_loading().map_err(StartError::new)?;
    let day = Day { core, admin: organization.alice.id, users, pairs, events, now: core.clock.now() };
    let options = TableOptions::default();
    let mut items = Vec::with_capacity(CHUNK + 4);
    for n in 0..events {
        let (event, at) = day.event(n)?;
        items.extend(event.stored_at(at, &options, false)?.items);
        if items.len() >= CHUNK || n + 1 == events {
            load(&server, &items)?;
            items.clear();
        }
        if (n + 1) % 100_000 == 0 {
            eprintln!("{} of {events} events in {:.0?}", n + 1, started.elapsed());
        }
    }
    server.store()?.database().disable_bulk_loading().map_err(StartError::new)
}

/// Commits some things after the other, as many in each change as a transaction has room for.
async fn plant<'a, T, U>(
    core: &'a Core,
    things: impl IntoIterator<Item = T>,
    in_one: usize,
    add: impl Fn(&mut Seed<'a>, T) -> Result<U, Error>,
) -> Result<Vec<U>, StartError> {
    let mut things = things.into_iter().peekable();
    let mut made = Vec::new();
    while things.peek().is_some() {
        let mut seed = Seed::new(core);
        for thing in things.by_ref().take(in_one) {
            made.push(add(&mut seed, thing)?);
        }
        seed.plant().await.map_err(|error| match error {
            CommitError::ConditionFailed => StartError::new("the data directory is not new"),
            CommitError::Failed(error) => error.into(),
        })?;
    }
    Ok(made)
}

async fn people_of(core: &Core, count: u32) -> Result<Vec<UserId>, StartError> {
    let add = |seed: &mut Seed<'_>, n: u32| {
        let name = NAMES[n as usize % NAMES.len()];
        let email = format!("{}.{n:05}@acme.test", name.to_lowercase());
        let mut groups = vec![format!("department-{}", n % DEPARTMENTS)];
        groups.extend((n % 10 == 3).then(|| "engineering".to_owned()));
        groups.extend((n % 100 == 3).then(|| "on-call".to_owned()));
        let new = NewUser {
            email: Some(email.parse().map_err(Error::internal)?),
            name: Some(format!("{name} {n:05}")),
            role: Role::User,
            groups,
            identity: None,
        };
        Ok(seed.user(new)?.id)
    };
    plant(core, 0..count, 10, add).await
}

async fn agents_of(core: &Core, count: u32, owner: UserId) -> Result<Vec<AgentAccountId>, StartError> {
    let add = |seed: &mut Seed<'_>, n: u32| Ok(seed.agent(&format!("Agent {n:05}"), owner)?.0.id);
    plant(core, 0..count, 10, add).await
}

async fn delegations_of(
    core: &Core,
    users: &[UserId],
    agents: &[AgentAccountId],
) -> Result<Vec<(AgentAccountId, UserId)>, StartError> {
    let agent_of = |n: usize| agents[n % agents.len()];
    let each = users.iter().enumerate().map(|(n, user)| (agent_of(n), *user));
    let more = agents.iter().enumerate().map(|(n, _)| (agent_of(n + 1), users[n]));
    let add = |seed: &mut Seed<'_>, (agent, user): (AgentAccountId, UserId)| {
        seed.delegation(agent, user).map(|()| (agent, user))
    };
    plant(core, each.chain(more), 15, add).await
}

/// A policy for each of some departments, one by a group, one by what the arguments are, and two by people's addresses.
async fn policies_of(core: &Core, people: usize) -> Result<(), StartError> {
    let mut seed = Seed::new(core);
    seed.server(NewServer {
        id: Some(SERVER.parse::<ServerId>().map_err(Error::internal)?),
        name: "Repositories".to_owned(),
        url: "http://127.0.0.1:9/mcp".to_owned(),
        auth: ServerAuth::None,
        pinning: Pinning::Off,
    })?;
    let call = "action == Action::\"call_tool\"";
    for (department, tool) in TOOLS.iter().enumerate() {
        let text = format!(
            "permit(principal in Group::\"department-{department}\", {call}, resource == Tool::\"{SERVER}/{tool}\");"
        );
        seed.policy(&format!("Department {department} may {tool}"), &text)?;
    }
    let somebody = format!("ann.{:05}@acme.test", people / 2 / NAMES.len() * NAMES.len());
    let others = [
        (
            "Agents may call the repositories",
            format!("permit(principal is Agent, {call}, resource in Server::\"{SERVER}\");"),
        ),
        (
            "Engineering may delete",
            format!(
                "permit(principal in Group::\"engineering\", {call}, resource == Tool::\"{SERVER}/delete_repo\");"
            ),
        ),
        (
            "Those on call may deploy to staging",
            format!(
                "permit(principal in Group::\"on-call\", {call}, resource == Tool::\"{SERVER}/deploy\")\n\
                 when {{ context.arguments.hasTag(\"env\") && context.arguments.getTag(\"env\") == \"staging\" }};"
            ),
        ),
        (
            "People of acme.test may merge",
            format!(
                "permit(principal is User, {call}, resource == Tool::\"{SERVER}/merge\")\n\
                 when {{ principal has email && principal.email like \"*@acme.test\" }};"
            ),
        ),
        (
            "One person may not merge",
            format!(
                "forbid(principal is User, {call}, resource == Tool::\"{SERVER}/merge\")\n\
                 when {{ principal has email && principal.email == \"{somebody}\" }};"
            ),
        ),
    ];
    for (name, text) in others {
        seed.policy(name, &text)?;
    }
    seed.plant().await.map_err(|error| match error {
        CommitError::ConditionFailed => StartError::new("the data directory is not new"),
        CommitError::Failed(error) => error.into(),
    })
}

/// What events are made of.
struct Day<'a> {
    core: &'a Core,
    admin: UserId,
    users: Vec<UserId>,
    pairs: Vec<(AgentAccountId, UserId)>,
    events: u32,
    now: Timestamp,
}

impl Day<'_> {
    /// An event and when it is stored. Of a hundred, two are changes, four are tokens, and the others are calls, of which
    /// one in 32 is refused.
    fn event(&self, n: u32) -> Result<(Event, Timestamp), Error> {
        let ago = TRAIL.mul_f64(f64::from(self.events - n) / f64::from(self.events));
        let at = self.now.minus(ago);
        let request = RequestContext { id: self.core.random.uuid_at(at)?, ..RequestContext::default() };
        // The events of one person, agent or tool are far from one another.
        let drawn = n.wrapping_mul(2_654_435_761) >> 4;
        let event = match n % 50 {
            0 => self.change(&request, drawn)?,
            1 | 26 => {
                let (agent, user) = self.pairs[drawn as usize % self.pairs.len()];
                let event = Event::new(self.core, &request, Action::TokenIssue)?.agent(agent);
                Event {
                    user_id: Some(user),
                    credential: Some(format!("client_secret:{}", request.id)),
                    token_id: Some(self.core.random.uuid()?),
                    ..event
                }
            }
            _ => self.call(&request, drawn)?,
        };
        Ok((Event { at, ..event }, at))
    }

    fn call(&self, request: &RequestContext, drawn: u32) -> Result<Event, Error> {
        let (agent, user) = self.pairs[drawn as usize % self.pairs.len()];
        let event = Event::new(self.core, request, Action::ToolCall)?.agent(agent);
        let event = Event {
            user_id: Some(user),
            credential: Some(format!("agent_token:{}", request.id)),
            tool: Some(TOOLS[(drawn >> 9) as usize % TOOLS.len()].to_owned()),
            arguments_sha256: Some(deputize_core::secret::sha256_hex(&drawn.to_be_bytes())),
            policies: vec![self.admin.to_string()],
            duration_ms: Some(u64::from(drawn % 200)),
            ..event.server(SERVER.parse().map_err(Error::internal)?)
        };
        Ok(match drawn % 32 {
            7 => event.denied("no policy permits it"),
            _ => event,
        })
    }

    /// An admin took somebody out of a group.
    fn change(&self, request: &RequestContext, drawn: u32) -> Result<Event, Error> {
        let n = drawn as usize % self.users.len();
        let department = u32::try_from(n).unwrap_or_default() % DEPARTMENTS;
        let mut groups = vec![format!("department-{department}")];
        groups.extend((n % 10 == 3).then(|| "engineering".to_owned()));
        groups.extend((n % 100 == 3).then(|| "on-call".to_owned()));
        let before = [groups.clone(), vec!["guests".to_owned()]].concat();
        let event = Event::new(self.core, request, Action::UserUpdate)?.about("user", self.users[n]);
        let event = Event {
            user_id: Some(self.admin),
            credential: Some(format!("api_key:{}", self.admin)),
            ..event.changed(&json!({ "groups": before }), &json!({ "groups": groups }))?
        };
        debug_assert_eq!(event.outcome, Outcome::Allowed);
        Ok(event)
    }
}
