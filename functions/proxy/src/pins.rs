//! Holds back tools whose definitions differ from those that an admin approved, and approves definitions.

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core, Error, Result,
    access::{self, Access},
    audit::{Action, RequestContext},
    caller::Power,
    ids::ServerId,
    pins::{self, Approval, CheckedToolList, Comparison, Pinning, Pins, ToolStatus},
    servers::Server,
};
use deputize_service::{
    Changed, Changing, ErrorBody, Errors,
    extract::{Context, Credential, Json, NoBody, Path, User},
    handlers,
    routes::Routes,
};
use http::StatusCode;
use quick_cache::sync::Cache;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::{
    Proxy,
    call_audit::CallAudit,
    upstream::{Target, UpstreamClient},
    upstream_access::UpstreamAccess,
};

pub(crate) fn routes() -> Routes<Proxy> {
    Routes::new().mount(handlers!(compare, approve, remove))
}

/// How long a call believes what a list has shown. A list itself is always judged as it comes.
const BELIEVED_FOR: Duration = Duration::from_mins(5);

/// Which server, at which address, as whom, judged by which approval.
type ApprovalKey = (String, String, String, u64);

/// Tools that are as they were approved, and when this was seen.
type SeenApproval = (Instant, Arc<HashSet<String>>);

/// What the last list showed, for each key.
#[derive(Clone)]
pub(crate) struct SeenApprovals(Arc<Cache<ApprovalKey, SeenApproval>>);

impl std::fmt::Debug for SeenApprovals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SeenApprovals")
    }
}

impl Default for SeenApprovals {
    fn default() -> Self {
        Self(Arc::new(Cache::new(1_000)))
    }
}

/// The approved definitions, if they matter for this server.
pub(crate) async fn in_force(core: &Core, access: &Access) -> Result<Option<Arc<Pins>>> {
    match access.server.pinning {
        Pinning::Off => Ok(None),
        Pinning::Warn | Pinning::Block => Ok(Some(pins::of(core, &access.server).await?)),
    }
}

/// Whether a definition may be shown. The trail says which definitions are not as they were approved. `list` has all
/// definitions that come together, or is `None` if there is nothing to judge them by.
pub(crate) fn is_shown(
    list: Option<&CheckedToolList<'_>>,
    access: &Access,
    audit: &mut CallAudit,
    tool: &RawValue,
) -> bool {
    let Some(list) = list else { return true };
    match list.status(tool) {
        Some((_, ToolStatus::Approved)) => true,
        Some((name, status)) => {
            let status = match status {
                ToolStatus::New => "not approved",
                ToolStatus::Unclear => "says two things",
                ToolStatus::Changed | ToolStatus::Approved => "changed since approved",
            };
            let held = if access.server.pinning == Pinning::Block { ", held back" } else { "" };
            audit.note(&format!("{name}: {status}{held}"));
            access.server.pinning != Pinning::Block
        }
        None => false,
    }
}

/// Whether a tool may be called, judged by its definition now or a few minutes ago.
pub(crate) async fn require_callable(
    core: &Core,
    upstream: &UpstreamClient,
    seen_approvals: &SeenApprovals,
    upstream_access: &mut UpstreamAccess,
    audit: &mut CallAudit,
    tool: &str,
) -> Result<()> {
    let Some(pins) = in_force(core, upstream_access.access()).await? else { return Ok(()) };
    let approved = approved_now(upstream, seen_approvals, upstream_access, &pins).await?;
    if approved.contains(tool) {
        return Ok(());
    }
    match upstream_access.access().server.pinning {
        Pinning::Block => Err(Error::HeldBack),
        Pinning::Warn | Pinning::Off => {
            audit.note("called though its definition is not the approved one");
            Ok(())
        }
    }
}

async fn approved_now(
    upstream: &UpstreamClient,
    seen_approvals: &SeenApprovals,
    upstream_access: &mut UpstreamAccess,
    pins: &Pins,
) -> Result<Arc<HashSet<String>>> {
    let Target { server_id, url, credential_key, .. } = &upstream_access.target;
    let version = upstream_access.access().server.pins_version();
    let approval_key = (server_id.clone(), url.to_string(), credential_key.clone(), version);
    if let Some((at, approved)) = seen_approvals.0.get(&approval_key)
        && at.elapsed() < BELIEVED_FOR
    {
        return Ok(approved);
    }
    let tools = upstream_access.ask(|target, _| Box::pin(upstream.list_tools(target))).await?;
    let tools = || tools.iter().map(|tool| &**tool);
    let approved = Arc::new(pins.list(tools()).approved(tools()));
    seen_approvals.0.insert(approval_key, (Instant::now(), Arc::clone(&approved)));
    Ok(approved)
}

/// The tools that are approved.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApprovedTools {
    /// Their names.
    tools: Vec<String>,
    /// The names of tools that cannot be approved, since readers could differ about what they say: a name occurs twice
    /// in the definition, in the same or another case, or in the list.
    left_out: Vec<String>,
}

/// Approve a server's tools as they are
///
/// Admins only. Asks the server for its tools, with the caller's own OAuth session if the server wants one. Keeps a
/// hash of each definition, of at most 2,000 tools. From then on, `pinning` decides what happens to definitions that
/// differ: `warn` notes them in the audit trail, `block` neither lists nor calls them.
#[utoipa::path(
    put,
    path = path::APPROVED_TOOLS,
    operation_id = "approve_tools",
    tag = "servers",
    params(("server_id" = String, Path)),
    responses(
        (status = 200, description = "The tools that are approved from now on.", body = ApprovedTools),
        (status = 502, description = "The MCP server failed.", body = ErrorBody),
        (status = 504, description = "The MCP server took too long.", body = ErrorBody),
        Errors,
        Changed,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn approve(
    State(core): State<Arc<Core>>,
    State(upstream): State<UpstreamClient>,
    Changing(request): Changing,
    User(caller): User,
    Credential(presented): Credential,
    Path(server): Path<ServerId>,
    _: NoBody,
) -> deputize_service::Result<Json<ApprovedTools>> {
    caller.require(Power::Manage)?;
    let (tools, _) = Box::pin(tools_now(&core, &upstream, &request, presented, &server)).await?;
    let Approval { approved, left_out } = pins::approve(&core, &caller, &request, &server, &tools).await?;
    Ok(Json(ApprovedTools { tools: approved, left_out }))
}

/// What a server's tools are now, beside what was approved.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ToolsCompared {
    /// The tools that the server has now, by name.
    tools: Vec<ToolCompared>,
    /// How many approved tools the server has no more. Their names are not kept.
    gone: usize,
}

#[derive(Debug, Serialize, ToSchema)]
struct ToolCompared {
    name: String,
    status: Compared,
}

/// How a tool's definition compares with the approved one.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Compared {
    /// It is the approved one.
    Approved,
    /// It is another than the approved one.
    Changed,
    /// None was approved.
    New,
    /// Readers could differ about what it says, so it cannot be approved.
    Unclear,
}

impl From<ToolStatus> for Compared {
    fn from(status: ToolStatus) -> Self {
        match status {
            ToolStatus::Approved => Self::Approved,
            ToolStatus::Changed => Self::Changed,
            ToolStatus::New => Self::New,
            ToolStatus::Unclear => Self::Unclear,
        }
    }
}

/// A server's tools, beside those that were approved
///
/// Auditors, operators and admins. Asks the server for its tools, with the caller's own OAuth session if the server wants
/// one, and says of each whether it is as it was approved.
#[utoipa::path(
    get,
    path = path::APPROVED_TOOLS,
    operation_id = "list_approved_tools",
    tag = "servers",
    params(("server_id" = String, Path)),
    responses(
        (status = 200, description = "The tools that the server has now.", body = ToolsCompared),
        (status = 502, description = "The MCP server failed.", body = ErrorBody),
        (status = 504, description = "The MCP server took too long.", body = ErrorBody),
        Errors,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn compare(
    State(core): State<Arc<Core>>,
    State(upstream): State<UpstreamClient>,
    Context(request): Context,
    User(caller): User,
    Credential(presented): Credential,
    Path(server): Path<ServerId>,
) -> deputize_service::Result<Json<ToolsCompared>> {
    caller.require(Power::Read)?;
    let (tools, server) = Box::pin(tools_now(&core, &upstream, &request, presented, &server)).await?;
    let Comparison { tools, gone } = pins::of(&core, &server).await?.compare(&tools);
    let tools = tools.into_iter().map(|(name, status)| ToolCompared { name, status: status.into() });
    Ok(Json(ToolsCompared { tools: tools.collect(), gone }))
}

/// Take back the approval of a server's tools
///
/// Admins only. From then on no definition is an approved one: with `pinning` `block`, no tool is listed or called. If
/// nothing was approved, nothing changes.
#[utoipa::path(
    delete,
    path = path::APPROVED_TOOLS,
    operation_id = "delete_approved_tools",
    tag = "servers",
    params(("server_id" = String, Path)),
    responses((status = 204), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn remove(
    State(core): State<Arc<Core>>,
    Changing(request): Changing,
    User(caller): User,
    Path(server): Path<ServerId>,
    _: NoBody,
) -> deputize_service::Result<StatusCode> {
    pins::remove(&core, &caller, &request, &server).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn tools_now(
    core: &Arc<Core>,
    upstream: &UpstreamClient,
    request: &RequestContext,
    presented: deputize_core::authenticate::PresentedCredential,
    server: &ServerId,
) -> Result<(Vec<Box<RawValue>>, Server)> {
    let mut audit = CallAudit::begin(core, request, &presented, Action::ToolList, server)?;
    let outcome = async {
        let access = Arc::new(access::admit(core, presented, server, request, &mut audit.event).await?);
        let mut upstream_access = UpstreamAccess::to(core, request, &access, &mut audit).await?;
        let tools = upstream_access.ask(|target, _| Box::pin(upstream.list_tools(target))).await?;
        Ok((tools, access.server.clone()))
    }
    .await;
    audit.end(request, outcome).await
}
