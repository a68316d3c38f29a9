//! `/api/v1/policies`: who may call which tool, and why.

use std::{net::IpAddr, sync::Arc};

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core,
    clock::Timestamp,
    ids::{AgentAccountId, PolicyId, ServerId, UserId},
    policies::{self, CheckRequest, Denial, Explanation, NewPolicy, Possibility},
};
use deputize_service::{
    Errors, Paged, Result,
    extract::{Context, Json, NoBody, Paging, PagingParams, Path, User},
    handlers,
    routes::Routes,
};
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::bounds::{Name, ToolName, ip_address};

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new()
        .mount(handlers!(list(PagingParams), create))
        .mount(handlers!(get, replace, delete))
        .mount(handlers!(check))
}

/// A Cedar policy.
#[derive(Debug, Serialize, ToSchema)]
struct Policy {
    #[schema(value_type = Uuid)]
    id: PolicyId,
    name: String,
    text: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<policies::Policy> for Policy {
    fn from(policy: policies::Policy) -> Self {
        let policies::Policy { id, name, text, created_at, updated_at } = policy;
        Self { id, name, text, created_at, updated_at }
    }
}

/// All policies
///
/// Admins only.
#[utoipa::path(
    get,
    path = path::POLICIES,
    operation_id = "list_policies",
    tag = "policies",
    params(PagingParams),
    responses((status = 200, body = Vec<Policy>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<Policy>> {
    Ok(Paged::new(&uri, policies::list(&core, &caller, &page).await?, Policy::from))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SavePolicy {
    name: Name,
    /// One Cedar policy, valid against the schema; at most 10,240 bytes.
    #[schema(
        format = "cedar",
        min_length = 1,
        max_length = 10_240,
        example = "permit(principal, action, resource);"
    )]
    text: String,
}

impl From<SavePolicy> for NewPolicy {
    fn from(SavePolicy { name, text }: SavePolicy) -> Self {
        Self { name: name.into(), text }
    }
}

/// Put a policy in force
///
/// Admins only. A policy that does not parse or is not valid is a 400 with line and column.
#[utoipa::path(
    post,
    path = path::POLICIES,
    operation_id = "create_policy",
    tag = "policies",
    request_body = SavePolicy,
    responses((status = 201, body = Policy), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn create(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Json(body): Json<SavePolicy>,
) -> Result<(StatusCode, Json<Policy>)> {
    let policy = policies::create(&core, &caller, &request, body.into()).await?;
    Ok((StatusCode::CREATED, Json(policy.into())))
}

/// A policy
///
/// Admins only.
#[utoipa::path(
    get,
    path = path::POLICY,
    operation_id = "get_policy",
    tag = "policies",
    params(("policy_id" = Uuid, Path)),
    responses((status = 200, body = Policy), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn get(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(id): Path<PolicyId>,
) -> Result<Json<Policy>> {
    Ok(Json(policies::get(&core, &caller, id).await?.value.into()))
}

/// Replace a policy
///
/// Admins only. In force from the next call on. A policy that does not parse or is not valid is a 400 with
/// line and column, and the old one stays.
#[utoipa::path(
    put,
    path = path::POLICY,
    operation_id = "replace_policy",
    tag = "policies",
    params(("policy_id" = Uuid, Path)),
    request_body = SavePolicy,
    responses((status = 200, body = Policy), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn replace(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Path(id): Path<PolicyId>,
    Json(body): Json<SavePolicy>,
) -> Result<Json<Policy>> {
    Ok(Json(policies::update(&core, &caller, &request, id, body.into()).await?.into()))
}

/// Take a policy out of force
///
/// Admins only.
#[utoipa::path(
    delete,
    path = path::POLICY,
    operation_id = "delete_policy",
    tag = "policies",
    params(("policy_id" = Uuid, Path)),
    responses((status = 204), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn delete(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Path(id): Path<PolicyId>,
    _: NoBody,
) -> Result<StatusCode> {
    policies::delete(&core, &caller, &request, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A call to be judged: of an agent account, of a user, or of an agent account on behalf of a user.
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
    tool_name: ToolName,
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
}

/// How a call would be judged.
#[derive(Debug, Serialize, ToSchema)]
struct PolicyDecision {
    decision: Decision,
    /// The policies that permit the call, or those that forbid it; empty if none permits it.
    #[schema(value_type = Vec<Uuid>)]
    policies: Vec<PolicyId>,
    /// For a denial: the principal that may not make the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    denied_for: Option<DeniedFor>,
    /// For a denial: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Where it depends on the arguments: what remains of each policy that may permit or forbid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    conditions: Vec<Condition>,
    /// The version of the policies that the decision rests on; each change of a policy raises it.
    policies_version: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Decision {
    Permit,
    Deny,
    /// On the arguments, of which none were given.
    Depends,
}

/// A policy that may permit or forbid a call, by its arguments.
#[derive(Debug, Serialize, ToSchema)]
struct Condition {
    #[schema(value_type = Uuid)]
    policy: PolicyId,
    effect: Effect,
    /// The principal for whom it is judged.
    of: DeniedFor,
    /// What remains of the policy once all that is known has been filled in, as a Cedar policy.
    text: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Effect {
    Permit,
    Forbid,
}

impl From<policies::Condition> for Condition {
    fn from(policies::Condition { policy, permits, of, text }: policies::Condition) -> Self {
        let effect = if permits { Effect::Permit } else { Effect::Forbid };
        Self { policy, effect, of: of.into(), text }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum DeniedFor {
    Agent,
    User,
}

impl From<policies::DeniedFor> for DeniedFor {
    fn from(denied_for: policies::DeniedFor) -> Self {
        match denied_for {
            policies::DeniedFor::Agent => Self::Agent,
            policies::DeniedFor::User => Self::User,
        }
    }
}

impl From<Explanation> for PolicyDecision {
    fn from(Explanation { decision, policies_version }: Explanation) -> Self {
        let undecided = Self {
            decision: Decision::Depends,
            policies: Vec::new(),
            denied_for: None,
            reason: None,
            conditions: Vec::new(),
            policies_version,
        };
        match decision {
            Possibility::Decided(policies::Decision::Permitted(policies)) => {
                Self { decision: Decision::Permit, policies, ..undecided }
            }
            Possibility::Decided(policies::Decision::Denied(Denial { denied_for, policies, reason })) => {
                Self {
                    decision: Decision::Deny,
                    policies,
                    denied_for: Some(denied_for.into()),
                    reason: Some(reason),
                    ..undecided
                }
            }
            Possibility::Depends(conditions) => {
                Self { conditions: conditions.into_iter().map(Into::into).collect(), ..undecided }
            }
        }
    }
}

/// Explain a decision
///
/// Judges a call as the proxy would, without calling anything. Without `arguments`, it says whether the decision
/// depends on them, and what remains of the policies then. Admins, and users about their own calls.
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
    User(caller): User,
    Json(body): Json<CheckPolicies>,
) -> Result<Json<PolicyDecision>> {
    let call = CheckRequest {
        agent_account_id: body.agent_account_id,
        user_id: body.user_id,
        server_id: body.server_id,
        tool_name: body.tool_name.into(),
        arguments: body.arguments,
        source_ip: body.source_ip,
        client_name: body.client_name.map(String::from),
    };
    Ok(Json(policies::check(&core, &caller, call).await?.into()))
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
    fn a_call_to_be_judged_names_a_server_and_a_tool() {
        let refusal = |body: &str| parse_json::<CheckPolicies>(body.as_bytes()).unwrap_err().to_string();
        assert!(refusal(r#"{"tool_name":"t"}"#).contains("server_id"));
        assert!(refusal(r#"{"server_id":"demo"}"#).contains("tool_name"));
        assert!(refusal(r#"{"server_id":"A#B","tool_name":"t"}"#).starts_with("server_id: "));
        assert!(refusal(r#"{"server_id":"demo","tool_name":""}"#).starts_with("tool_name: "));
        let address = r#"{"server_id":"demo","tool_name":"t","source_ip":"localhost"}"#;
        assert!(refusal(address).starts_with("source_ip: "));
    }
}
