//! What a change of a policy would change.

use deputize_core::{
    clock::Timestamp,
    explain,
    ids::{AgentAccountId, ServerId, UserId},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Warning, decision::Decided};

/// What a change would change, for the last recorded calls of tools.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicyDryRun)]
pub(super) struct DryRun {
    /// How many calls were looked at: the last 1,000 of the last 31 days.
    calls: usize,
    /// When the oldest and the newest of them were.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Whether there were more calls before them.
    more: bool,
    /// The calls whose decision would be another one: each agent, user, server and tool once, the most frequent first, at
    /// most 200.
    changed: Vec<ChangedCall>,
    /// How many calls would be decided otherwise.
    changed_calls: usize,
    /// How many calls would be decided as they are now.
    unchanged_calls: usize,
    /// How many calls were not judged: their agent, user or server is no more, or there are too many kinds of calls for the
    /// number of policies.
    not_judged_calls: usize,
    policies_version: u64,
    /// What the policy names that does not exist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<Warning>,
}

/// Calls of one agent, user, server and tool.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicyDryRunChange)]
struct ChangedCall {
    #[schema(value_type = Option<Uuid>, required)]
    agent_account_id: Option<AgentAccountId>,
    #[schema(value_type = Option<Uuid>, required)]
    user_id: Option<UserId>,
    #[schema(value_type = String)]
    server_id: ServerId,
    tool_name: String,
    /// How many there were.
    calls: usize,
    /// How they are decided now. Arguments are not recorded: where they decide, it `depends`.
    before: Decided,
    /// How they would be decided.
    after: Decided,
}

/// The most kinds of calls in one answer.
const MAX_CHANGED: usize = 200;

impl From<explain::DryRun> for DryRun {
    fn from(run: explain::DryRun) -> Self {
        let (from, to) = run.span.unzip();
        let changed_calls = run.changed.iter().map(|changed| changed.calls).sum();
        let changed = run.changed.into_iter().take(MAX_CHANGED).map(|changed| ChangedCall {
            agent_account_id: changed.agent_account_id,
            user_id: changed.user_id,
            server_id: changed.server_id,
            tool_name: changed.tool,
            calls: changed.calls,
            before: changed.before.into(),
            after: changed.after.into(),
        });
        Self {
            calls: run.calls,
            from,
            to,
            more: run.is_cut,
            changed: changed.collect(),
            changed_calls,
            unchanged_calls: run.unchanged,
            not_judged_calls: run.not_judged,
            policies_version: run.policies_version,
            warnings: run.warnings.into_iter().map(Into::into).collect(),
        }
    }
}
