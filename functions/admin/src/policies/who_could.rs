//! `/api/v1/policies/who-could`: all who could make a call.

use std::{net::IpAddr, sync::Arc};

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core,
    clock::Timestamp,
    explain::{self, Answer, Group, Member, Page, Section, WhoCouldRequest},
    ids::{AgentAccountId, PolicyId, ServerId, UserId},
};
use deputize_service::{
    Errors, Result,
    extract::{Json, Reader},
    handlers,
    routes::Routes,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    call::CallFields,
    decision::{Condition, Decided, Decision},
};
use deputize_service::bounds::{Name, PromptName, ResourceUri, ToolName, ip_address};

pub(super) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(who_could))
}

/// A call of a tool, a resource or a prompt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WhoCouldRequest)]
struct AskWhoCould {
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    server_id: ServerId,
    #[serde(default)]
    tool_name: Option<ToolName>,
    #[serde(default)]
    resource_uri: Option<ResourceUri>,
    #[serde(default)]
    prompt_name: Option<PromptName>,
    /// Left out, the answer says what it depends on.
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
    /// A time before now: who could have made the call then (RFC 3339).
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
    /// How many of each kind are named: 1 to 1,000, or 100 if left out.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// Where to continue: the `next` of one kind. Only that kind is answered.
    #[serde(default)]
    #[schema(format = "cursor")]
    cursor: Option<String>,
}

/// All who could make the call.
#[derive(Debug, Serialize, ToSchema)]
struct WhoCould {
    /// People by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    people: Option<Those>,
    /// Agents by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    agents: Option<Those>,
    /// Agents on behalf of people who have delegated to them, for this server.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<Those>,
    policies_version: u64,
    /// What the answer does not say.
    notes: Vec<String>,
}

/// Those of one kind who could.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WhoCouldSection)]
struct Those {
    /// How many could.
    count: usize,
    /// How many there are: active people or agents, or delegations in force that cover the server, to agents that could act
    /// for somebody.
    of: usize,
    /// By what they could, the most frequent first.
    groups: Vec<ByTheSame>,
    /// To go on after those who are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Those who could by the same policies.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WhoCouldGroup)]
struct ByTheSame {
    decision: Decision,
    /// The policies that permit it.
    #[schema(value_type = Vec<Uuid>)]
    policies: Vec<PolicyId>,
    /// Where it depends on the arguments: what remains of each policy that may permit or forbid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    conditions: Vec<Condition>,
    /// How many they are.
    count: usize,
    /// Some of them, by id.
    members: Vec<OneOfThose>,
}

/// A person, an agent, or an agent on behalf of a person.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WhoCouldMember)]
struct OneOfThose {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    agent_account_id: Option<AgentAccountId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    user_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_email: Option<String>,
}

impl From<Member> for OneOfThose {
    fn from(Member { agent, user }: Member) -> Self {
        let (agent_account_id, agent_name) = agent.unzip();
        let (user_id, email) = user.unzip();
        let user_email = email.flatten().map(|email| email.as_str().to_owned());
        Self { agent_account_id, agent_name, user_id, user_email }
    }
}

impl From<Group> for ByTheSame {
    fn from(Group { answer, count, members }: Group) -> Self {
        let Decided { decision, policies, conditions, .. } = match answer {
            Answer::Permitted(policies) => Decided::permitted(policies),
            Answer::Depends(conditions) => Decided::depends(conditions),
        };
        Self { decision, policies, conditions, count, members: members.into_iter().map(Into::into).collect() }
    }
}

impl From<Section> for Those {
    fn from(Section { count, of, groups, next }: Section) -> Self {
        Self { count, of, groups: groups.into_iter().map(Into::into).collect(), next }
    }
}

impl From<explain::WhoCould> for WhoCould {
    fn from(who: explain::WhoCould) -> Self {
        Self {
            people: who.people.map(Into::into),
            agents: who.agents.map(Into::into),
            on_behalf_of: who.on_behalf_of.map(Into::into),
            policies_version: who.policies_version,
            notes: who.notes,
        }
    }
}

/// Who could make a call
///
/// All people, all agents, and all agents on behalf of people who are active and whom the policies permit the call, or may
/// permit it by its arguments. Those who may read everything. Who did is in the audit trail.
#[utoipa::path(
    post,
    path = path::WHO_COULD,
    operation_id = "find_who_could",
    tag = "policies",
    request_body = AskWhoCould,
    responses((status = 200, description = "Those who could, and by what.", body = WhoCould), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn who_could(
    State(core): State<Arc<Core>>,
    Reader(caller): Reader,
    Json(body): Json<AskWhoCould>,
) -> Result<Json<WhoCould>> {
    let (tool_name, resource_uri, prompt_name) = (body.tool_name, body.resource_uri, body.prompt_name);
    let (arguments, source_ip, client_name) = (body.arguments, body.source_ip, body.client_name);
    let fields = CallFields { tool_name, resource_uri, prompt_name, arguments, source_ip, client_name };
    let (target, details) = fields.read()?;
    let page = Page::new(body.limit, body.cursor.as_deref())?;
    let asked = WhoCouldRequest { server_id: body.server_id, target, details, page, at: body.at };
    Ok(Json(Box::pin(explain::who_could(&core, &caller, asked)).await?.into()))
}
