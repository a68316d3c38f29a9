//! `POST /api/v1/proxy/{server_id}/tools` calls a tool. `GET` lists the tools that the caller may call.

use axum::{
    extract::Request as HttpRequest,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use deputize_api::{
    path,
    tools::{ToolCall, Tools},
};
use deputize_core::{
    Error,
    access::{Access, PolicyContext},
    audit::{Action, RequestContext},
    policies::Operation,
};
use deputize_service::{ErrorBody, Errors, extract, handlers, routes::Routes};
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    Proxy,
    call::{IncomingCall, ProxyCall},
    call_audit::MAX_TOOL_NAME,
    pins::{in_force, is_shown, require_callable},
    upstream::Called,
    upstream_access::UpstreamAccess,
};

pub(crate) fn routes() -> Routes<Proxy> {
    Routes::new().mount(handlers!(call, list))
}

/// The most bytes of a call's body, including the arguments.
pub(crate) const MAX_BODY: usize = 4 * 1024 * 1024;

/// An MCP `CallToolResult`, as the server gave it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its OpenAPI description is used")]
struct CallToolResult {
    /// The result for a model to read: text, images, resources.
    #[schema(value_type = Vec<HashMap<String, Value>>)]
    content: Vec<()>,
    /// The result for a program to read.
    #[schema(value_type = Option<HashMap<String, Value>>, rename = "structuredContent")]
    structured_content: Option<()>,
    /// Whether the tool failed. That is a result, not an HTTP error.
    #[schema(rename = "isError")]
    is_error: Option<bool>,
}

/// Call a tool
///
/// As the agent, on behalf of a user, or as a user. The policies of all parties must permit the call. For a server that
/// asks for OAuth, the caller's own session grant is used, or else the shared one.
#[utoipa::path(
    post,
    path = path::TOOLS,
    operation_id = "call_tool",
    tag = "proxy",
    params(("server_id" = String, Path)),
    request_body = ToolCall,
    responses(
        (status = 200, description = "The tool's result. A tool that fails says so in `isError`.", body = CallToolResult),
        (status = 502, description = "The MCP server failed.", body = ErrorBody),
        (status = 504, description = "The MCP server took too long.", body = ErrorBody),
        Errors,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn call(
    IncomingCall { call, presented }: IncomingCall,
    http: HttpRequest,
) -> deputize_service::Result<Response> {
    extract::require_type(&call.headers, "application/json")?;
    let body = extract::read_body(http, MAX_BODY).await?;
    let ToolCall::<&RawValue> { tool_name, arguments } = extract::parse_json(&body)?;
    if tool_name.is_empty()
        || tool_name.chars().count() > MAX_TOOL_NAME
        || tool_name.contains(char::is_control)
    {
        let why =
            format!("tool_name must have 1 to {MAX_TOOL_NAME} characters, none of them a control character");
        return Err(Error::invalid(why).into());
    }
    let none = RawValue::from_string("{}".to_owned()).map_err(Error::internal)?;
    let arguments = arguments.filter(|arguments| arguments.get() != "null").unwrap_or(&none);

    let mut audit = call.audit(&presented, Action::ToolCall)?;
    audit.tool(&tool_name, arguments.get());
    let ProxyCall { core, upstream, seen_approvals, request, .. } = &call;
    let outcome = async {
        let access = call.admit(presented, &mut audit).await?;
        let operation = Operation::CallTool(&tool_name);
        audit.require_permitted(&access, operation, Some(arguments), policy_context(request))?;
        // If the caller continues a trace, it also goes on in the call's own `_meta`, where MCP keeps it
        // (https://modelcontextprotocol.io/specification/2026-07-28/basic/index#meta).
        let traceparent = request.trace.traceparent().filter(|_| request.trace.is_continued());
        let mut upstream_access = UpstreamAccess::to(core, request, &access, &mut audit).await?;
        require_callable(core, upstream, seen_approvals, &mut upstream_access, &mut audit, &tool_name)
            .await?;
        upstream_access
            .ask(|target, _| {
                Box::pin(upstream.call_tool(target, &tool_name, (arguments, &body), traceparent.as_deref()))
            })
            .await
    }
    .await;
    if let Ok(called) = &outcome
        && is_error(&called.result)
    {
        audit.event.detail = Some("The tool reported an error".to_owned());
    }
    let Called { result, room } = audit.end(request, outcome).await?;
    let result = Box::<str>::from(result);
    Ok(match room {
        Some(room) => json(room.filled_by(Text(result))),
        None => json(String::from(result).into()),
    })
}

/// The tools that the caller may call
///
/// A tool is listed if the policies could permit a call of it with some arguments. A call is judged by its own.
#[utoipa::path(
    get,
    path = path::TOOLS,
    operation_id = "list_tools",
    tag = "proxy",
    params(("server_id" = String, Path)),
    responses(
        (status = 200, description = "The tools, as the MCP server defines them.", body = Tools),
        (status = 502, description = "The MCP server failed.", body = ErrorBody),
        (status = 504, description = "The MCP server took too long.", body = ErrorBody),
        Errors,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list(
    IncomingCall { call, presented }: IncomingCall,
) -> deputize_service::Result<extract::Json<Tools<Box<RawValue>>>> {
    let mut audit = call.audit(&presented, Action::ToolList)?;
    let ProxyCall { core, upstream, request, .. } = &call;
    let outcome = async {
        let access = call.admit(presented, &mut audit).await?;
        let mut upstream_access = UpstreamAccess::to(core, request, &access, &mut audit).await?;
        let tools = upstream_access.ask(|target, _| Box::pin(upstream.list_tools(target))).await?;
        let pins = in_force(core, &access).await?;
        let checked = pins.as_ref().map(|pins| pins.list(tools.iter().map(|tool| &**tool)));
        let is_shown = |tool: &RawValue| is_shown(checked.as_ref(), &access, &mut audit, tool);
        permitted(&access, tools, policy_context(request), is_shown).await
    }
    .await;
    let tools = audit.end(request, outcome).await?;
    Ok(extract::Json(Tools { tools }))
}

/// The tools that are shown and that the caller may call. Other tasks get their turn between two tools: there can be
/// some thousands of tools, and as many policies.
async fn permitted(
    access: &Access,
    tools: Vec<Box<RawValue>>,
    context: PolicyContext<'_>,
    mut is_shown: impl FnMut(&RawValue) -> bool,
) -> deputize_core::Result<Vec<Box<RawValue>>> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let mut permitted = Vec::with_capacity(tools.len());
    for tool in tools {
        tokio::task::yield_now().await;
        if !is_shown(&tool) {
            continue;
        }
        // A tool without a name cannot be called.
        let Ok(Named { name }) = serde_json::from_str(tool.get()) else { continue };
        if access.could_permit(Operation::CallTool(&name), context)? {
            permitted.push(tool);
        }
    }
    Ok(permitted)
}

fn policy_context(request: &RequestContext) -> PolicyContext<'static> {
    PolicyContext { source_ip: request.source_ip, client_name: None }
}

pub(crate) fn is_error(result: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Result {
        #[serde(default, rename = "isError")]
        is_error: bool,
    }
    serde_json::from_str::<Result>(result.get()).is_ok_and(|result| result.is_error)
}

/// A text as bytes.
struct Text(Box<str>);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn json(body: Bytes) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}
