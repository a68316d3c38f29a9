//! `/api/v1/policies`: who may call which tool, and why.
//!
//! | file | holds |
//! | --- | --- |
//! | `call` | the call that a question is about |
//! | `decision` | how a decision is told |
//! | `check` | what a call would say |
//! | `dry_run` | what a change would change |
//! | `who_could` | all who could make a call |

mod call;
mod check;
mod decision;
mod dry_run;
mod who_could;

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use deputize_api::path;
use deputize_core::{
    Core,
    caller::{Power, UserCaller},
    clock::Timestamp,
    explain::PolicyChange,
    ids::PolicyId,
    policies::{self, NewPolicy, SavedPolicy},
    table::{Key, Stored},
};
use deputize_service::{
    Changed, Errors, IfMatch, KeyReused, Once, Paged, Result, Tagged,
    extract::{Json, NoBody, Paging, PagingParams, Path, Query, User},
    handlers,
    routes::Routes,
};
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use self::dry_run::DryRun;
use deputize_service::bounds::Name;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new()
        .mount(handlers!(list(PagingParams), create(DryRunParams)))
        .mount(handlers!(get, replace(DryRunParams), delete(DryRunParams)))
        .merge(check::routes())
        .merge(who_could::routes())
}

/// What a policy does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = PolicyMode)]
enum Mode {
    /// It decides.
    #[default]
    Enforce,
    /// It decides nothing. What it would decide is in calls' audit events, as `logged`.
    Log,
}

impl From<policies::Mode> for Mode {
    fn from(mode: policies::Mode) -> Self {
        match mode {
            policies::Mode::Enforce => Self::Enforce,
            policies::Mode::Log => Self::Log,
        }
    }
}

impl From<Mode> for policies::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Enforce => Self::Enforce,
            Mode::Log => Self::Log,
        }
    }
}

/// A Cedar policy.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Policy {
    #[schema(value_type = Uuid)]
    id: PolicyId,
    name: String,
    text: String,
    mode: Mode,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<policies::Policy> for Policy {
    fn from(policy: policies::Policy) -> Self {
        let policies::Policy { id, name, text, mode, created_at, updated_at } = policy;
        Self { id, name, text, mode: mode.into(), created_at, updated_at }
    }
}

/// An entity that a policy names, and that does not exist. The policy is saved all the same.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicyWarning)]
struct Warning {
    /// As it is written in the policy.
    #[schema(example = "Server::\"demo\"")]
    entity: String,
    warning: String,
}

impl From<policies::Warning> for Warning {
    fn from(policies::Warning { entity, why }: policies::Warning) -> Self {
        Self { entity, warning: why }
    }
}

/// A policy that was saved.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SavedPolicy)]
struct Saved {
    #[serde(flatten)]
    policy: Policy,
    /// What it names that does not exist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<Warning>,
}

/// What replacing a policy answers.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = SavedPolicyOrDryRun)]
#[expect(dead_code, reason = "only its OpenAPI description is used")]
enum SavedOrDryRun {
    Saved(Saved),
    DryRun(DryRun),
}

/// A saved policy, with the tag that a `GET` of it has.
fn saved(SavedPolicy { policy: Stored { rev, value }, warnings }: SavedPolicy) -> Result<Tagged<Saved>> {
    let (key, policy) = (Key::policy(value.id), Policy::from(value.clone()));
    let warnings = warnings.into_iter().map(Into::into).collect();
    Ok(Tagged::new(&key, rev, Saved { policy, warnings }).known_as(&Policy::from(value))?)
}

fn tagged(caller: &UserCaller, Stored { rev, value }: Stored<policies::Policy>) -> Tagged<Policy> {
    let (key, shown) = (Key::policy(value.id), value.into());
    if caller.has(Power::Manage) { Tagged::new(&key, rev, shown) } else { Tagged::shown(shown) }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DryRunParams {
    /// Changes nothing, and answers with 200 and what the change would change for the last 1,000 recorded calls.
    #[serde(default)]
    dry_run: bool,
}

/// What would change.
async fn dry_run(core: &Core, caller: &UserCaller, change: PolicyChange) -> Result<Response> {
    let told = deputize_core::explain::dry_run(core, caller, change).await?;
    Ok(Json(DryRun::from(told)).into_response())
}

/// All policies
///
/// Auditors, operators and admins.
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
    /// If left out, a new policy is enforced, and one that is replaced keeps its mode.
    #[serde(default)]
    mode: Option<Mode>,
}

/// Put a policy in force
///
/// Admins only. A policy that does not parse or is not valid is a 400 with line and column. Another policy's name is a
/// 409. What it names that does not exist is told in `warnings`.
#[utoipa::path(
    post,
    path = path::POLICIES,
    operation_id = "create_policy",
    tag = "policies",
    params(DryRunParams),
    request_body = SavePolicy,
    responses(
        (status = 201, body = Saved),
        (status = 200, description = "With `dry_run`: what it would change.", body = DryRun),
        Errors,
        KeyReused,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn create(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Query(params): Query<DryRunParams>,
    Once(request, Json(SavePolicy { name, text, mode })): Once<Json<SavePolicy>>,
) -> Result<Response> {
    let new = NewPolicy { name: name.into(), text, mode: mode.unwrap_or_default().into() };
    if params.dry_run {
        return dry_run(&core, &caller, PolicyChange::Create(new)).await;
    }
    let made = policies::create(&core, &caller, &request, new).await?;
    let address = core.settings.address(path::POLICY, made.policy.id);
    Ok(saved(made)?.made_at(address).into_response())
}

/// A policy
///
/// Auditors, operators and admins.
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
) -> Result<Tagged<Policy>> {
    Ok(tagged(&caller, policies::get(&core, &caller, id).await?))
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
    params(("policy_id" = Uuid, Path), DryRunParams),
    request_body = SavePolicy,
    responses(
        (status = 200, description = "The policy; with `dry_run`, what the change would change.", body = SavedOrDryRun),
        Errors,
        Changed,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn replace(
    State(core): State<Arc<Core>>,
    User(caller): User,
    IfMatch(request): IfMatch,
    Path(id): Path<PolicyId>,
    Query(params): Query<DryRunParams>,
    Json(SavePolicy { name, text, mode }): Json<SavePolicy>,
) -> Result<Response> {
    let (name, mode) = (name.into(), mode.map(Into::into));
    if params.dry_run {
        return dry_run(&core, &caller, PolicyChange::Update { id, name, text, mode }).await;
    }
    Ok(saved(policies::update(&core, &caller, &request, id, (name, text, mode)).await?)?.into_response())
}

/// Take a policy out of force
///
/// Admins only.
#[utoipa::path(
    delete,
    path = path::POLICY,
    operation_id = "delete_policy",
    tag = "policies",
    params(("policy_id" = Uuid, Path), DryRunParams),
    responses(
        (status = 204),
        (status = 200, description = "With `dry_run`: what it would change.", body = DryRun),
        Errors,
        Changed,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn delete(
    State(core): State<Arc<Core>>,
    User(caller): User,
    IfMatch(request): IfMatch,
    Path(id): Path<PolicyId>,
    Query(params): Query<DryRunParams>,
    _: NoBody,
) -> Result<Response> {
    if params.dry_run {
        return dry_run(&core, &caller, PolicyChange::Delete(id)).await;
    }
    policies::delete(&core, &caller, &request, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
