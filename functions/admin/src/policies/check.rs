//! `/api/v1/policies/check`: what a call would say.

use std::{net::IpAddr, sync::Arc};

use axum::extract::State;
use deputize_api::{path, reason::Reason};
use deputize_core::{
    Core,
    access::CredentialSource,
    clock::Timestamp,
    explain::{self, CheckRequest, Draft, DraftPolicy, Explanation, Outcome, Refusal, Verdict},
    ids::{AgentAccountId, GrantId, PolicyId, ServerId, UserId},
};
use deputize_service::{
    Errors, Result,
    bounds::{Name, PromptName, ResourceUri, ToolName, ip_address},
    extract::{Json, Reader},
    handlers,
    routes::Routes,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Mode, call::CallFields, decision::Decided};
use crate::audit_events::LoggedDecision;

pub(super) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(check))
}

/// A call to be judged: of an agent account, of a user, or of an agent account on behalf of a user. It is of a tool, a
/// resource or a prompt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CheckPolicies {
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    agent_account_id: Option<AgentAccountId>,
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    user_id: Option<UserId>,
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    server_id: ServerId,
    #[serde(default)]
    tool_name: Option<ToolName>,
    #[serde(default)]
    resource_uri: Option<ResourceUri>,
    #[serde(default)]
    prompt_name: Option<PromptName>,
    /// Left out, the answer says what the decision depends on.
    #[serde(default)]
    #[schema(value_type = Option<HashMap<String, Value>>)]
    arguments: Option<Box<RawValue>>,
    /// The caller's address.
    #[serde(default)]
    #[schema(schema_with = ip_address)]
    source_ip: Option<IpAddr>,
    /// The MCP client's name.
    #[serde(default)]
    client_name: Option<Name>,
    /// A time before now: what the call would have said then (RFC 3339). For those who may read everything.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
    /// Policies to judge by, in place of all that are in force.
    #[serde(default)]
    #[schema(max_items = 2_000)]
    policies: Option<Vec<PolicyDraft>>,
    /// Policies to judge by beside the others.
    #[serde(default)]
    #[schema(max_items = 2_000)]
    added: Vec<PolicyDraft>,
    /// Policies to leave out.
    #[serde(default)]
    #[schema(value_type = Vec<Uuid>, max_items = 2_000)]
    removed: Vec<PolicyId>,
}

/// A policy that is not in force. Nothing is stored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PolicyDraft {
    /// The policy of which it takes the place. If left out, the answer names it by its place in the list:
    /// `00000000-0000-0000-0000-000000000001` is the first of `policies`, `00000000-0000-0001-0000-000000000001` the first
    /// of `added`.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    id: Option<PolicyId>,
    #[serde(default)]
    name: Option<Name>,
    /// One Cedar policy, valid against the schema; at most 10,240 bytes.
    #[schema(format = "cedar", min_length = 1, max_length = 10_240)]
    text: String,
    #[serde(default)]
    mode: Mode,
}

impl From<PolicyDraft> for DraftPolicy {
    fn from(PolicyDraft { id, name, text, mode }: PolicyDraft) -> Self {
        Self { id, name: name.map(Into::into), text, mode: mode.into() }
    }
}

/// What a call would say.
#[derive(Debug, Serialize, ToSchema)]
struct PolicyDecision {
    #[serde(flatten)]
    decided: Decided,
    /// All that decides, in the order of a call. The first that refuses is the answer.
    steps: Vec<Step>,
    /// What would be decided if the policies in mode `log` were enforced, if they have a part in it. For those who may
    /// read everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    logged: Option<LoggedDecision>,
    /// The version of the policies that the decision rests on; each change of a policy raises it.
    policies_version: u64,
    /// What cannot be known of an earlier time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    notes: Vec<String>,
}

/// A step of a decision.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DecisionStep)]
struct Step {
    step: StepName,
    outcome: StepOutcome,
    /// Why it refuses: the `reason` with which the call would be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    reason: Option<Reason>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Whose credentials would be used at the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<Credentials>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DecisionStepName)]
enum StepName {
    /// Is the agent account active; without one: is the user?
    Caller,
    /// Is there a delegation in force, is its user active, and does the app's authorization stand that made it?
    Delegation,
    /// Is it active, and does the delegation cover it?
    Server,
    Policies,
    /// Are there credentials for the server that can be used?
    Credentials,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DecisionStepOutcome)]
enum StepOutcome {
    Passed,
    Refused,
    /// On the arguments, of which none were given.
    Depends,
    /// It was not looked at.
    Skipped,
}

/// Whose credentials would be used at a server.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CredentialsUsed)]
struct Credentials {
    kind: CredentialKind,
    /// The user whose OAuth session it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    user_id: Option<UserId>,
    /// The session grant by which an agent uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    session_grant_id: Option<GrantId>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CredentialsKind)]
enum CredentialKind {
    /// The server asks for none.
    None,
    /// A header that is the same for all callers.
    Header,
    /// A user's OAuth session.
    Session,
}

impl From<CredentialSource> for Credentials {
    fn from(source: CredentialSource) -> Self {
        let (kind, user_id, session_grant_id) = match source {
            CredentialSource::None => (CredentialKind::None, None, None),
            CredentialSource::Header => (CredentialKind::Header, None, None),
            CredentialSource::Session { of, grant } => (CredentialKind::Session, Some(of), grant),
        };
        Self { kind, user_id, session_grant_id }
    }
}

impl From<explain::Step> for Step {
    fn from(explain::Step { name, outcome, credentials }: explain::Step) -> Self {
        let step = match name {
            explain::StepName::Caller => StepName::Caller,
            explain::StepName::Delegation => StepName::Delegation,
            explain::StepName::Server => StepName::Server,
            explain::StepName::Policies => StepName::Policies,
            explain::StepName::Credentials => StepName::Credentials,
        };
        let (outcome, refusal) = match outcome {
            Outcome::Passed => (StepOutcome::Passed, None),
            Outcome::Depends => (StepOutcome::Depends, None),
            Outcome::Skipped => (StepOutcome::Skipped, None),
            Outcome::Refused(refusal) => (StepOutcome::Refused, Some(refusal)),
        };
        let (reason, text) = refusal.map(|Refusal { reason, text }| (reason, text)).unzip();
        Self { step, outcome, reason, text, credentials: credentials.map(Into::into) }
    }
}

impl From<Explanation> for PolicyDecision {
    fn from(Explanation { verdict, steps, logged, policies_version, notes }: Explanation) -> Self {
        let decided = match verdict {
            Verdict::Policies(possibility) => possibility.into(),
            Verdict::Refused(Refusal { text, .. }) => Decided::refused(text),
        };
        let steps = steps.into_iter().map(Into::into).collect();
        Self { decided, steps, logged: logged.map(Into::into), policies_version, notes }
    }
}

/// Explain a decision
///
/// Says what a call would say, without calling anything: whether agent and user are active, the delegation, the server,
/// the policies, and whose credentials would be used. Without `arguments`, it says whether the decision depends on them,
/// and what remains of the policies then. Those who may read everything; users about themselves, and about agents that act
/// for them. Not judged: whether the tool's definition is the approved one, which only its server can say.
///
/// `policies`, or `added` and `removed`, judge by policies that are not in force.
#[utoipa::path(
    post,
    path = path::CHECK_POLICIES,
    operation_id = "check_policies",
    tag = "policies",
    request_body = CheckPolicies,
    responses((status = 200, description = "The decision, and what it rests on.", body = PolicyDecision), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn check(
    State(core): State<Arc<Core>>,
    Reader(caller): Reader,
    Json(body): Json<CheckPolicies>,
) -> Result<Json<PolicyDecision>> {
    let (tool_name, resource_uri, prompt_name) = (body.tool_name, body.resource_uri, body.prompt_name);
    let (arguments, source_ip, client_name) = (body.arguments, body.source_ip, body.client_name);
    let fields = CallFields { tool_name, resource_uri, prompt_name, arguments, source_ip, client_name };
    let (target, details) = fields.read()?;
    let is_draft = body.policies.is_some() || !body.added.is_empty() || !body.removed.is_empty();
    let drafts = |drafts: Vec<PolicyDraft>| drafts.into_iter().map(DraftPolicy::from).collect();
    let draft =
        Draft { policies: body.policies.map(drafts), added: drafts(body.added), removed: body.removed };
    let call = CheckRequest {
        agent_account_id: body.agent_account_id,
        user_id: body.user_id,
        server_id: body.server_id,
        target,
        details,
        draft: is_draft.then_some(draft),
        at: body.at,
    };
    Ok(Json(Box::pin(explain::check(&core, &caller, call)).await?.into()))
}

#[cfg(test)]
mod tests {
    use deputize_service::extract::parse_json;

    use super::*;

    #[test]
    fn arguments_reach_the_policies_as_they_came() {
        let body = r#"{"server_id":"demo","tool_name":"list_repos","arguments":{ "n": 1.0, "n": 2 }}"#;
        let CheckPolicies { arguments, .. } = parse_json(body.as_bytes()).unwrap();
        assert_eq!(arguments.unwrap().get(), r#"{ "n": 1.0, "n": 2 }"#);
    }

    #[test]
    fn a_call_to_be_judged_names_a_server_and_what_is_called_fits() {
        let refusal = |body: &str| parse_json::<CheckPolicies>(body.as_bytes()).unwrap_err().to_string();
        assert!(refusal(r#"{"tool_name":"t"}"#).contains("server_id"));
        assert!(refusal(r#"{"server_id":"A#B","tool_name":"t"}"#).starts_with("server_id: "));
        assert!(refusal(r#"{"server_id":"demo","tool_name":""}"#).starts_with("tool_name: "));
        let address = r#"{"server_id":"demo","tool_name":"t","source_ip":"localhost"}"#;
        assert!(refusal(address).starts_with("source_ip: "));
    }
}
