//! Holding back tools whose definitions are not the ones that an admin approved, and approving them.

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::extract::State;
use deputize_core::{
    Core, Error, Result,
    access::{self, Access},
    audit::{Action, Request},
    ids::ServerId,
    pins::{self, Pinning, Pins, Standing},
};
use deputize_service::{
    ErrorBody, Errors,
    extract::{Context, Credential, Json, Path, User},
    handlers,
    routes::Routes,
};
use quick_cache::sync::Cache;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::{
    Proxy,
    entry::Entry,
    trail::Trail,
    upstream::{CallContext, Target, UpstreamClient},
};

pub(crate) fn routes() -> Routes<Proxy> {
    Routes::new().mount(handlers!(approve))
}

/// How long a call believes what a list has shown. A list itself is always judged as it comes.
const BELIEVED_FOR: Duration = Duration::from_mins(5);

/// Whose list, of which server, judged by which approval.
type Whose = (String, String, u64);

/// Tools that are as they were approved, and when that was seen.
type Seen = (Instant, Arc<HashSet<String>>);

/// What the last list showed, by whose it was.
#[derive(Clone)]
pub(crate) struct Shown(Arc<Cache<Whose, Seen>>);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}

impl Default for Shown {
    fn default() -> Self {
        Self(Arc::new(Cache::new(1_000)))
    }
}

/// The approved definitions, where they matter.
pub(crate) async fn in_force(core: &Core, access: &Access) -> Result<Option<Arc<Pins>>> {
    match access.server.pinning {
        Pinning::Off => Ok(None),
        Pinning::Warn | Pinning::Block => Ok(Some(pins::of(core, &access.server).await?)),
    }
}

/// Whether a definition may be shown. The trail says which are not as they were approved.
pub(crate) fn is_shown(pins: Option<&Pins>, access: &Access, trail: &mut Trail, tool: &RawValue) -> bool {
    let Some(pins) = pins else { return true };
    match pins.judge(tool) {
        Some((_, Standing::Approved)) => true,
        Some((name, standing)) => {
            let standing = if standing == Standing::New { "not approved" } else { "changed since approved" };
            let held = if access.server.pinning == Pinning::Block { ", held back" } else { "" };
            trail.note(&format!("{name}: {standing}{held}"));
            access.server.pinning != Pinning::Block
        }
        None => false,
    }
}

/// Whether a tool may be called: as its definition is now, or was a few minutes ago.
pub(crate) async fn require_callable(
    core: &Core,
    upstream: &UpstreamClient,
    shown: &Shown,
    entry: &Entry,
    trail: &mut Trail,
    tool: &str,
) -> Result<()> {
    let access = entry.access();
    let Some(pins) = in_force(core, access).await? else { return Ok(()) };
    let approved = approved_now(upstream, shown, entry, &pins).await?;
    if approved.contains(tool) {
        return Ok(());
    }
    match access.server.pinning {
        Pinning::Block => Err(Error::HeldBack),
        Pinning::Warn | Pinning::Off => {
            trail.note("called though its definition is not the approved one");
            Ok(())
        }
    }
}

async fn approved_now(
    upstream: &UpstreamClient,
    shown: &Shown,
    entry: &Entry,
    pins: &Pins,
) -> Result<Arc<HashSet<String>>> {
    let Target { server_id, credential_key, .. } = &entry.target;
    let whose = (server_id.clone(), credential_key.clone(), entry.access().server.pins_version());
    if let Some((at, approved)) = shown.0.get(&whose)
        && at.elapsed() < BELIEVED_FOR
    {
        return Ok(approved);
    }
    let tools = upstream.list_tools(&entry.target, &CallContext::default()).await;
    let tools = tools.map_err(|error| entry.failure(&error))?;
    let approved = tools.iter().filter_map(|tool| pins.judge(tool));
    let approved = approved.filter(|(_, standing)| *standing == Standing::Approved).map(|(name, _)| name);
    let approved = Arc::new(approved.collect::<HashSet<_>>());
    shown.0.insert(whose, (Instant::now(), Arc::clone(&approved)));
    Ok(approved)
}

/// The tools that are approved.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApprovedTools {
    tools: Vec<String>,
}

/// Approve a server's tools as they are
///
/// Admins only. Asks the server for its tools, with the caller's own OAuth session if it wants one, and keeps a hash
/// of each definition. What `pinning` says is then done about definitions that differ: `warn` tells of them in the
/// audit trail, `block` neither lists nor calls them.
#[utoipa::path(
    put,
    path = "/api/v1/proxy/{server_id}/approved-tools",
    operation_id = "approve_tools",
    tag = "servers",
    params(("server_id" = String, Path)),
    responses(
        (status = 200, body = ApprovedTools),
        (status = 502, description = "The MCP server failed", body = ErrorBody),
        (status = 504, description = "The MCP server took too long", body = ErrorBody),
        Errors,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn approve(
    State(core): State<Arc<Core>>,
    State(upstream): State<UpstreamClient>,
    Context(request): Context,
    User(caller): User,
    Credential(presented): Credential,
    Path(server): Path<ServerId>,
) -> deputize_service::Result<Json<ApprovedTools>> {
    caller.require_admin()?;
    let tools = tools_now(&core, &upstream, &request, presented, &server).await?;
    let approved = pins::approve(&core, &caller, &request, &server, &tools).await?;
    Ok(Json(ApprovedTools { tools: approved.names().map(str::to_owned).collect() }))
}

async fn tools_now(
    core: &Arc<Core>,
    upstream: &UpstreamClient,
    request: &Request,
    presented: deputize_core::authenticate::Presented,
    server: &ServerId,
) -> Result<Vec<Box<RawValue>>> {
    let mut trail = Trail::begin(core, request, &presented, Action::ToolList, server)?;
    let outcome = async {
        let access = Arc::new(access::admit(core, presented, server, request, &mut trail.event).await?);
        let mut entry = Entry::to(core, request, &access, &mut trail).await?;
        let context = CallContext::default();
        let mut listed = upstream.list_tools(&entry.target, &context).await;
        if entry.is_renewed_after(listed.as_ref().err()).await? {
            listed = upstream.list_tools(&entry.target, &context).await;
        }
        listed.map_err(|error| entry.failure(&error))
    }
    .await;
    trail.end(request, outcome).await
}
