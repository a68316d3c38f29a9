//! `POST /api/v1/proxy/{server_id}/tools` calls a tool; `GET` lists those that the caller may call.

use axum::{
    extract::Request as HttpRequest,
    response::{IntoResponse, Response},
};
use deputize_api::{
    path,
    tools::{ToolCall, Tools},
};
use deputize_core::{
    Error,
    access::{Access, CallContext},
    audit::{Action, Request},
    policies::{Decision, Deed},
};
use deputize_service::{ErrorBody, Errors, extract, handlers, routes::Routes};
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    Proxy,
    caller::{Arrival, Caller},
    entry::Entry,
    pins::{in_force, is_shown, require_callable},
    trail::MAX_TOOL_NAME,
    upstream,
};

pub(crate) fn routes() -> Routes<Proxy> {
    Routes::new().mount(handlers!(call, list))
}

/// Bytes of a call's body, its arguments included.
pub(crate) const MAX_BODY: usize = 4 * 1024 * 1024;

/// An MCP `CallToolResult`, as the server gave it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its OpenAPI description is used")]
struct CallToolResult {
    /// The result for a model to read: text, images, resources.
    #[schema(value_type = Vec<Object>)]
    content: Vec<()>,
    /// The result for a program to read.
    #[schema(value_type = Option<Object>, rename = "structuredContent")]
    structured_content: Option<()>,
    /// Whether the tool failed. That is a result, not an HTTP error.
    #[schema(rename = "isError")]
    is_error: Option<bool>,
}

/// Call a tool
///
/// As the agent, on behalf of a user, or as a user. The policies of all concerned must permit the call;
/// for a server that asks for OAuth, the caller's own session grant is used, else the shared one.
#[utoipa::path(
    post,
    path = path::TOOLS,
    operation_id = "call_tool",
    tag = "proxy",
    params(("server_id" = String, Path)),
    request_body = ToolCall,
    responses(
        (status = 200, body = CallToolResult),
        (status = 502, description = "The MCP server failed", body = ErrorBody),
        (status = 504, description = "The MCP server took too long", body = ErrorBody),
        Errors,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn call(
    Arrival { caller, presented }: Arrival,
    http: HttpRequest,
) -> deputize_service::Result<Response> {
    extract::require_type(&caller.headers, "application/json")?;
    let body = extract::read_body(http, MAX_BODY).await?;
    let ToolCall::<Box<RawValue>> { tool_name, arguments } = extract::parse_json(&body)?;
    if tool_name.is_empty()
        || tool_name.chars().count() > MAX_TOOL_NAME
        || tool_name.contains(char::is_control)
    {
        let why =
            format!("tool_name must have 1 to {MAX_TOOL_NAME} characters, none of them a control character");
        return Err(Error::Invalid(why).into());
    }
    let arguments = match arguments {
        Some(arguments) if arguments.get() != "null" => arguments,
        _ => RawValue::from_string("{}".to_owned()).map_err(Error::internal)?,
    };

    let mut trail = caller.trail(&presented, Action::ToolCall)?;
    trail.tool(&tool_name, arguments.get());
    let Caller { core, upstream, shown, request, .. } = &caller;
    let outcome = async {
        let access = caller.admit(presented, &mut trail).await?;
        match access.permits(Deed::CallTool(&tool_name), Some(&arguments), call_context(request))? {
            Decision::Permitted(policies) => trail.permitted_by(&policies),
            Decision::Denied(denial) => return Err(Error::PolicyDenied(denial)),
        }
        let context = call_of(request);
        let mut entry = Entry::to(core, request, &access, &mut trail).await?;
        require_callable(core, upstream, shown, &entry, &mut trail, &tool_name).await?;
        let mut called = upstream.call_tool(&entry.target, &tool_name, &arguments, &context).await;
        if entry.is_renewed_after(called.as_ref().err()).await? {
            called = upstream.call_tool(&entry.target, &tool_name, &arguments, &context).await;
        }
        called.map_err(|error| entry.failure(&error))
    }
    .await;
    if let Ok(result) = &outcome
        && is_error(result)
    {
        trail.event.detail = Some("The tool reported an error".to_owned());
    }
    let result = trail.end(request, outcome).await?;
    Ok(json(String::from(Box::<str>::from(result))))
}

/// The tools that the caller may call
///
/// A tool whose policies ask for certain arguments is listed if they permit a call without any.
#[utoipa::path(
    get,
    path = path::TOOLS,
    operation_id = "list_tools",
    tag = "proxy",
    params(("server_id" = String, Path)),
    responses(
        (status = 200, body = Tools),
        (status = 502, description = "The MCP server failed", body = ErrorBody),
        (status = 504, description = "The MCP server took too long", body = ErrorBody),
        Errors,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list(
    Arrival { caller, presented }: Arrival,
) -> deputize_service::Result<extract::Json<Tools<Box<RawValue>>>> {
    let mut trail = caller.trail(&presented, Action::ToolList)?;
    let Caller { core, upstream, request, .. } = &caller;
    let outcome = async {
        let access = caller.admit(presented, &mut trail).await?;
        let context = call_of(request);
        let mut entry = Entry::to(core, request, &access, &mut trail).await?;
        let mut listed = upstream.list_tools(&entry.target, &context).await;
        if entry.is_renewed_after(listed.as_ref().err()).await? {
            listed = upstream.list_tools(&entry.target, &context).await;
        }
        let tools = listed.map_err(|error| entry.failure(&error))?;
        let pins = in_force(core, &access).await?;
        let shown = tools.into_iter().filter(|tool| is_shown(pins.as_deref(), &access, &mut trail, tool));
        permitted(&access, shown.collect(), call_context(request))
    }
    .await;
    let tools = trail.end(request, outcome).await?;
    Ok(extract::Json(Tools { tools }))
}

fn permitted(
    access: &Access,
    tools: Vec<Box<RawValue>>,
    context: CallContext<'_>,
) -> deputize_core::Result<Vec<Box<RawValue>>> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let mut permitted = Vec::with_capacity(tools.len());
    for tool in tools {
        // A tool without a name cannot be called.
        let Ok(Named { name }) = serde_json::from_str(tool.get()) else { continue };
        if let Decision::Permitted(_) = access.permits(Deed::CallTool(&name), None, context)? {
            permitted.push(tool);
        }
    }
    Ok(permitted)
}

fn call_context(request: &Request) -> CallContext<'static> {
    CallContext { source_ip: request.source_ip, client_name: None }
}

pub(crate) fn is_error(result: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Result {
        #[serde(default, rename = "isError")]
        is_error: bool,
    }
    serde_json::from_str::<Result>(result.get()).is_ok_and(|result| result.is_error)
}

/// A trace that the caller is in goes on in the call's own `_meta`, too, where MCP keeps it
/// ([`_meta`](https://modelcontextprotocol.io/specification/2026-07-28/basic/index#meta)).
fn call_of(request: &Request) -> upstream::CallContext {
    let traceparent = request.trace.traceparent().filter(|_| request.trace.is_continued());
    upstream::CallContext { traceparent, ..upstream::CallContext::default() }
}

fn json(body: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}
