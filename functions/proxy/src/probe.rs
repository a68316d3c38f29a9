//! `POST /api/v1/servers/probe`: what a server is and asks for, before an admin registers it.
//!
//! The server is asked without a credential, by the client that the proxy calls servers with. So its address is checked
//! by the same policy, and what the probe can read, calls can read. Whether the server asks for OAuth is decided by its
//! metadata, not by a 401: some list their tools to everybody and refuse only calls
//! (<https://github.com/NousResearch/hermes-agent/issues/89412>).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core, Error,
    audit::{Action, RequestContext},
    caller::Power,
    connections::{Challenge, FoundAuthorization, look},
};
use deputize_service::{
    Errors,
    extract::{Context, Json, User},
    handlers,
    routes::Routes,
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use url::Url;
use utoipa::ToSchema;

use crate::{
    Proxy,
    failure::told,
    upstream::{InboundRequest, ProtocolEra, Shown, Target, UpstreamClient, UpstreamError},
};

pub(crate) fn routes() -> Routes<Proxy> {
    Routes::new().mount(handlers!(probe))
}

/// How long all of it may take, with a rest for ending the session and for the audit event.
const WITHIN: Duration = Duration::from_secs(14);
const MAX_URL: usize = 2048;
/// How many tools are named.
const MAX_TOOLS: usize = 500;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProbeServer {
    /// The address to try: the server's MCP endpoint (Streamable HTTP).
    #[schema(format = "uri", max_length = 2048)]
    url: String,
}

/// What was found at an address.
#[derive(Debug, Serialize, ToSchema)]
struct ProbedServer {
    /// Whether an MCP server answered, be it only to ask for a credential.
    reachable: bool,
    /// What went wrong, in words.
    problem: Option<String>,
    /// The kind of MCP revision, if it can be told without a credential.
    era: Option<Era>,
    /// The revision of MCP that is spoken to it.
    protocol_version: Option<String>,
    /// What the server calls itself.
    name: Option<String>,
    /// The `auth` to register it with, as far as that can be told.
    auth: Option<ProbedAuth>,
    /// With `oauth`: the authorization server.
    #[schema(format = "uri")]
    issuer: Option<String>,
    /// How many tools it lists without a credential.
    tool_count: Option<usize>,
    /// The names of the first 500 of them.
    tools: Option<Vec<String>>,
    /// A better address of the server, to which it redirects.
    #[schema(format = "uri")]
    better_url: Option<String>,
    /// What an admin must give besides `url` and `auth`: `header`, or `oauth_client`, to be registered by hand at the
    /// issuer.
    needs: Vec<Needed>,
}

/// *Modern* is 2026-07-28, *handshake* 2025-11-25 and before.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Era {
    Modern,
    Handshake,
}

/// What a server asks of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ProbedAuth {
    None,
    OAuth,
    /// A credential, and not one that its metadata tells of: probably a key in a header.
    Header,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Needed {
    Header,
    OauthClient,
}

/// Look at a server before it is registered
///
/// Admins only. Asks the address, without a credential and for at most 20 seconds, what is there: whether an MCP server
/// answers, which revision it speaks, what it asks of its callers, which tools it lists, whether it has a better address,
/// and what else must be given to register it. Changes nothing. In the audit trail as `server.probe`.
#[utoipa::path(
    post,
    path = path::PROBE_SERVER,
    operation_id = "probe_server",
    tag = "servers",
    request_body = ProbeServer,
    responses((status = 200, description = "What was found. That nothing answers is a finding too.", body = ProbedServer), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn probe(
    State(core): State<Arc<Core>>,
    State(upstream): State<UpstreamClient>,
    Context(request): Context,
    User(caller): User,
    Json(body): Json<ProbeServer>,
) -> deputize_service::Result<Json<ProbedServer>> {
    caller.require(Power::Manage)?;
    let url = address(&body.url)?;
    let found = find(&core, &upstream, &request, &url).await;
    let mut shown = url.clone();
    shown.set_query(None);
    let event = caller.event(&core, &request, Action::ServerProbe)?.about("address", &shown);
    let event = match &found.problem {
        Some(problem) if !found.reachable => event.failed(problem),
        _ => event,
    };
    core.table.append(&event).await?;
    Ok(Json(found))
}

/// What is registered is read more strictly: this only has to be an address that can be asked.
fn address(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "https" | "http")
            && text.len() <= MAX_URL
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    });
    url.ok_or_else(|| {
        Error::invalid("url: must be an https or http URL of at most 2048 characters, without a fragment, user name or password")
    })
}

async fn find(
    core: &Arc<Core>,
    upstream: &UpstreamClient,
    request: &RequestContext,
    url: &Url,
) -> ProbedServer {
    let until = Instant::now() + WITHIN;
    let until = request.work_until.map_or(until, |work_until| work_until.min(until));
    let inbound = InboundRequest {
        trace: request.trace.clone(),
        until: Some(until),
        measured: Arc::clone(&request.measured),
        in_flight: request.in_flight.clone(),
    };
    let target = Target {
        server_id: "probe".to_owned(),
        url: url.clone(),
        authorization: None,
        credential_key: "probe".to_owned(),
        inbound,
    };
    let (shown, authorization) =
        tokio::join!(Box::pin(upstream.look_at(&target)), timeout(WITHIN, Box::pin(look(core, url))));
    found(shown, authorization.ok(), url)
}

fn found(shown: Shown, authorization: Option<Result<FoundAuthorization, Error>>, url: &Url) -> ProbedServer {
    let Shown { era, version, name, tools, moved } = shown;
    // What is not known to be a modern server counts as one of the handshake era, whatever it is.
    let answered = version.is_some() || tools.is_ok() && era.is_ok();
    let failed = era.as_ref().err().or(tools.as_ref().err());
    let challenge = match failed {
        Some(UpstreamError::Unauthorized { www_authenticate, .. }) => {
            Some(Challenge::parse(www_authenticate.as_deref().unwrap_or_default()))
        }
        _ => None,
    };
    let (authorized, not_found) = match authorization {
        Some(Ok(found)) => (Some(found), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let is_refused = challenge.is_some();
    let auth = match (&authorized, challenge) {
        (Some(_), _) => Some(ProbedAuth::OAuth),
        (None, Some(challenge)) if challenge.resource_metadata.is_some() => Some(ProbedAuth::OAuth),
        (None, Some(_)) => Some(ProbedAuth::Header),
        (None, None) if failed.is_none() => Some(ProbedAuth::None),
        (None, None) => None,
    };
    let registers_clients = authorized.as_ref().is_some_and(|found| found.registers_clients);
    let needs = match auth {
        Some(ProbedAuth::Header) => vec![Needed::Header],
        Some(ProbedAuth::OAuth) if !registers_clients => vec![Needed::OauthClient],
        Some(ProbedAuth::OAuth | ProbedAuth::None) | None => Vec::new(),
    };
    let problem = match failed {
        // It asks for a credential, and how to get one could not be found out.
        Some(UpstreamError::Unauthorized { .. }) => not_found.map(|error| error.to_string()),
        Some(error) => Some(told(error)),
        None => None,
    };
    let tools = tools.ok().filter(|_| era.is_ok());
    ProbedServer {
        reachable: answered || is_refused,
        problem,
        era: era.ok().filter(|_| answered).map(|era| match era {
            ProtocolEra::Modern => Era::Modern,
            ProtocolEra::Handshake => Era::Handshake,
        }),
        protocol_version: version,
        name,
        auth,
        issuer: authorized.map(|authorization| authorization.issuer),
        tool_count: tools.as_ref().map(Vec::len),
        tools: tools.map(|tools| tools.into_iter().take(MAX_TOOLS).collect()),
        better_url: moved.filter(|moved| moved != url).map(String::from),
        needs,
    }
}
