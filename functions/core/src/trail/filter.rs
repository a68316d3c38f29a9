//! Which events a reader asks for, and where they are looked for.
//!
//! An event must match all of a filter. They are looked for in the one list that likely has the fewest events for it;
//! the rest of the filter is held against what is found. Where the list's items have a filter's field, the store does
//! it.
//!
//! **Request ids** are in no list. Ours are UUIDs of version 7, so an id says when the request came, and only the events
//! of the [`REQUEST_LASTS`] after that are looked at.

use std::time::Duration;

use deputize_api::reason::Reason;
use uuid::Uuid;

use super::REACH;
use crate::{
    audit::{Action, Actor, Event, Outcome, WRITTEN_WITHIN, is_listed_subject},
    caller::{Power, UserCaller},
    clock::{Timestamp, uuid_time},
    error::{Error, Result, Told},
    ids::{AgentAccountId, AppId, ServerId, UserId},
    table::{AuditIndex, AuditList, Condition},
};

/// Which events. An event must match all fields that are set.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub agent_account_id: Option<AgentAccountId>,
    pub user_id: Option<UserId>,
    pub server_id: Option<ServerId>,
    pub client_id: Option<AppId>,
    /// One of these; any, if it is empty.
    pub actions: Vec<Action>,
    pub outcomes: Vec<Outcome>,
    pub tool: Option<String>,
    pub subject: Option<String>,
    pub actor: Option<Actor>,
    pub on_behalf_of: Option<UserId>,
    pub credential: Option<String>,
    pub request_id: Option<Uuid>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// How long after its beginning a request can store events: a function's longest time.
const REQUEST_LASTS: Duration = Duration::from_secs(15 * 60 + WRITTEN_WITHIN.as_secs());

/// The longest range in which all events are looked at for a field that no list is sorted by.
const LOOKED_THROUGH: Duration = Duration::from_hours(1);

/// When a request came, if its id is one of ours.
fn began(request: Uuid) -> Option<Timestamp> {
    uuid_time(request).filter(|_| request.get_version_num() == 7)
}

/// Where events are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Entries(Vec<AuditList>),
    Index(AuditIndex, String),
    /// Everything.
    Days,
}

/// The moments between which events are looked for, inclusive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Span {
    fn is_longer_than(self, longest: Duration) -> bool {
        self.to.as_millis() - self.from.as_millis() > i64::try_from(longest.as_millis()).unwrap_or(i64::MAX)
    }
}

impl Filter {
    /// The filter for what this caller may see: others than readers of everything see what they did, and what was done
    /// for them.
    pub(super) fn seen_by(mut self, caller: &UserCaller) -> Result<Self> {
        if !caller.has(Power::Read) {
            if self.user_id.is_some_and(|user| user != caller.user.id) {
                return Err(Error::Forbidden(Told::of(
                    Reason::AdminRequired,
                    "Only an admin may see other users' audit events",
                )));
            }
            self.user_id = Some(caller.user.id);
        }
        Ok(self)
    }

    pub(super) fn matches(&self, event: &Event) -> bool {
        fn is<T: PartialEq>(asked: Option<&T>, had: Option<&T>) -> bool {
            asked.is_none() || asked == had
        }
        is(self.agent_account_id.as_ref(), event.agent_account_id.as_ref())
            && is(self.user_id.as_ref(), event.user_id.as_ref())
            && is(self.server_id.as_ref(), event.server_id.as_ref())
            && is(self.client_id.as_ref(), event.client_id.as_ref())
            && (self.actions.is_empty() || self.actions.contains(&event.action))
            && (self.outcomes.is_empty() || self.outcomes.contains(&event.outcome))
            && is(self.tool.as_ref(), event.tool.as_ref())
            && is(self.subject.as_ref(), event.subject.as_ref())
            && is(self.actor.as_ref(), event.actor().as_ref())
            && is(self.on_behalf_of.as_ref(), event.on_behalf_of().as_ref())
            && is(self.credential.as_ref(), event.credential.as_ref())
            && is(self.request_id.as_ref(), Some(&event.request_id))
    }

    fn agent(&self) -> Option<AgentAccountId> {
        let actor = match self.actor {
            Some(Actor::Agent(agent)) => Some(agent),
            _ => None,
        };
        self.agent_account_id.or(actor)
    }

    fn user(&self) -> Option<UserId> {
        let actor = match self.actor {
            Some(Actor::User(user)) => Some(user),
            _ => None,
        };
        self.user_id.or(self.on_behalf_of).or(actor)
    }

    /// The list that likely has the fewest events for the filter.
    pub(super) fn source(&self) -> Source {
        if let Some(subject) = self.subject.as_ref().filter(|subject| is_listed_subject(subject)) {
            return Source::Entries(vec![AuditList::Subject(subject.clone())]);
        }
        if let Some(user) = self.user() {
            return Source::Index(AuditIndex::User, user.to_string());
        }
        if !self.actions.is_empty() && self.actions.iter().all(|action| action.is_listed()) {
            let lists = self.actions.iter().map(|action| AuditList::Action(action.as_str()));
            return Source::Entries(lists.collect());
        }
        if !self.outcomes.is_empty() && !self.outcomes.contains(&Outcome::Allowed) {
            return Source::Entries(vec![AuditList::Refused]);
        }
        if let (Some(server), Some(tool)) = (&self.server_id, &self.tool) {
            return Source::Entries(vec![AuditList::Tool(server.clone(), tool.clone())]);
        }
        if let Some(app) = &self.client_id {
            return Source::Entries(vec![AuditList::App(app.clone())]);
        }
        if let Some(agent) = self.agent() {
            return Source::Index(AuditIndex::Agent, agent.to_string());
        }
        match &self.server_id {
            Some(server) => Source::Index(AuditIndex::Server, server.to_string()),
            None => Source::Days,
        }
    }

    /// When the events can be.
    pub(super) fn span(&self, now: Timestamp) -> Result<Span> {
        let to = self.to.unwrap_or(now);
        let began = self.request_id.and_then(began);
        let from = self.from.or(began).unwrap_or_else(|| to.minus(REACH));
        if from > to && self.from.is_some() {
            return Err(Error::invalid("from must not be after to"));
        }
        let (from, to) = match began {
            Some(began) => (from.max(began), to.min(began.plus(REQUEST_LASTS))),
            None => (from, to),
        };
        Ok(Span { from, to })
    }

    /// Whether everything of a span may be looked at for this.
    pub(super) fn require_short(&self, span: Span, what: &str) -> Result<()> {
        if span.is_longer_than(REACH) {
            return Err(Error::invalid(format!(
                "name an agent, a user or a server, or a range of at most 31 days{what}"
            )));
        }
        self.require_selective(span)
    }

    /// Refuses to look at much for little.
    pub(super) fn require_selective(&self, span: Span) -> Result<()> {
        let field = if self.tool.is_some() && self.server_id.is_none() {
            "tool: name its server beside it"
        } else if self.credential.is_some() {
            "credential: name an agent or a user beside it"
        } else if self.request_id.is_some_and(|id| began(id).is_none()) {
            "request_id is not one of ours: name an agent, a user or a server beside it"
        } else if self.subject.as_ref().is_some_and(|subject| !is_listed_subject(subject)) {
            "subject: what an MCP request is about is not listed; name an agent, a user or a server beside it"
        } else {
            return Ok(());
        };
        if span.is_longer_than(LOOKED_THROUGH) {
            return Err(Error::invalid(format!("{field}, or a range of at most an hour")));
        }
        Ok(())
    }

    /// What the store can hold against the entries of a list, beside what holds for all of them.
    pub(super) fn of_entries(&self, list: Option<&AuditList>) -> Vec<Condition> {
        let holds = match list {
            Some(AuditList::Action(_)) => "action",
            Some(AuditList::Refused) if self.outcomes.len() > 1 => "outcome",
            Some(AuditList::Tool(..)) => "server",
            _ => "",
        };
        let mut conditions = self.conditions("agent", "user", "server");
        conditions.retain(|Condition(attribute, _)| *attribute != holds);
        conditions
    }

    /// What the store can hold against events.
    pub(super) fn of_events(&self) -> Vec<Condition> {
        let mut conditions = self.conditions("audit_agent", "audit_user", "audit_server");
        let fields = [
            ("client_id", self.client_id.as_ref().map(ToString::to_string)),
            ("tool", self.tool.clone()),
            ("subject", self.subject.clone()),
            ("credential", self.credential.clone()),
            ("request_id", self.request_id.map(|id| id.to_string())),
        ];
        let asked = fields.into_iter().filter_map(|(name, value)| Some(Condition(name, vec![value?])));
        conditions.extend(asked);
        conditions
    }

    fn conditions(&self, agent: &'static str, user: &'static str, server: &'static str) -> Vec<Condition> {
        let outcome = |outcome: &Outcome| outcome.as_str().to_owned();
        let fields = [
            ("action", self.actions.iter().map(|action| action.as_str().to_owned()).collect::<Vec<_>>()),
            ("outcome", self.outcomes.iter().map(outcome).collect()),
            (agent, self.agent().iter().map(ToString::to_string).collect()),
            (user, self.user().iter().map(ToString::to_string).collect()),
            (server, self.server_id.iter().map(ToString::to_string).collect()),
        ];
        fields
            .into_iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(n, values)| Condition(n, values))
            .collect()
    }
}
