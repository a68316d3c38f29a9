//! The lists that an event is in, beside its day's: what it is about, its action, its tool, its app, what was refused, and
//! whose personal data it has, if nothing else leads from them to it.
//!
//! An entry is a small item, written in the request that writes the event: one more write unit for a tool call. It has
//! the fields that a filter asks for, so that only the events that match are read. Its attributes are not those of the
//! secondary indexes, so it is in none of them.
//!
//! A batch is not a transaction. If its process dies while it writes an event, the event may be there without an entry:
//! then its caller got no answer, and it is in all lists but that one. An entry without its event is left out.
//!
//! Calls, lists and tokens are most of all events. They are not listed by action, and calls not by what they are about.

use serde::{Deserialize, Serialize};

use super::{Action, Event, Outcome};
use crate::{
    clock::Timestamp,
    error::Result,
    ids::{AgentAccountId, EventId, ServerId, UserId},
    table::{AuditList, Entity, Item, Key, to_item},
};

/// An event's entry in a list. Its fields and its key have ids only, so nothing in it says who a person is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AuditEntry {
    pub(crate) id: EventId,
    action: Action,
    outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<AgentAccountId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server: Option<ServerId>,
}

impl Entity for AuditEntry {
    const KIND: &'static str = "audit entry";
}

/// Since when events have entries: of those before, only the day is listed. A new deployment has had them for ever.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct EntriesSince {
    pub(crate) at: Timestamp,
}

impl Entity for EntriesSince {
    const KIND: &'static str = "beginning of audit entries";
}

impl Action {
    /// Whether it is a request to an MCP server.
    fn is_proxied(self) -> bool {
        matches!(
            self,
            Self::ToolCall | Self::ToolList | Self::ResourceRead | Self::PromptGet | Self::McpRequest
        )
    }

    /// Whether events of this action are listed by it.
    pub(crate) fn is_listed(self) -> bool {
        !self.is_proxied() && !matches!(self, Self::TokenIssue | Self::TokenIntrospect | Self::AppTokenIssue)
    }
}

/// Whether events about this are listed by it. What MCP requests are about, is not.
pub(crate) fn is_listed_subject(subject: &str) -> bool {
    let kind = subject.split_once(':').map_or(subject, |(kind, _)| kind);
    !matches!(kind, "method" | "resource" | "prompt")
}

impl Event {
    fn lists(&self) -> Vec<AuditList> {
        let mut lists = Vec::new();
        if let Some(subject) = self.subject.as_ref().filter(|_| !self.action.is_proxied()) {
            lists.push(AuditList::Subject(subject.clone()));
        }
        if self.action.is_listed() {
            lists.push(AuditList::Action(self.action.as_str()));
        }
        if self.outcome != Outcome::Allowed {
            lists.push(AuditList::Refused);
        }
        if let (Some(server), Some(tool)) = (&self.server_id, &self.tool) {
            lists.push(AuditList::Tool(server.clone(), tool.clone()));
        }
        lists.extend(self.client_id.clone().map(AuditList::App));
        lists.extend(self.tells_of().map(AuditList::Person));
        lists
    }

    /// How many items an event is stored as.
    pub(super) fn count_items(&self) -> usize {
        1 + self.lists().len()
    }

    /// The entries of an event that is dated.
    pub(super) fn entries(&self, ttl: Option<Timestamp>) -> Result<Vec<Item>> {
        let Self { id, action, outcome, agent_account_id: agent, user_id: user, .. } = *self;
        let entry = AuditEntry { id, action, outcome, agent, user, server: self.server_id.clone() };
        self.lists().iter().map(|list| to_item(Key::audit_entry(list, id), &entry, 1, ttl)).collect()
    }
}
