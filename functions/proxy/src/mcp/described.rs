//! The errors of the endpoint, for the OpenAPI document.
#![allow(dead_code, reason = "these are only described: `answer` writes the bytes")]

use deputize_service::ErrorBody;
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// A JSON-RPC error response.
#[derive(Serialize, ToSchema)]
pub(super) struct JsonRpcErrorBody {
    #[schema(example = "2.0")]
    jsonrpc: String,
    /// The request's id, if it could be read.
    #[schema(value_type = Option<serde_json::Value>)]
    id: Option<serde_json::Value>,
    /// `code`, `message` and perhaps `data`.
    #[schema(value_type = HashMap<String, Value>)]
    error: serde_json::Value,
}

/// A JSON-RPC error. Before there is a message to answer, it is an error like those of all other endpoints.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum McpErrorBody {
    Message(JsonRpcErrorBody),
    Request(ErrorBody),
}

/// The errors by HTTP status, without 400, which each operation describes. An error that stops a request after its
/// caller was admitted comes with 200.
#[derive(IntoResponses)]
pub(super) enum McpErrors {
    /// The credential is missing, or is not valid (any more).
    #[response(status = 401)]
    Unauthorized(McpErrorBody),
    /// The caller may not do this, or the page may not.
    #[response(status = 403)]
    Forbidden(McpErrorBody),
    /// There is no such server, session or method.
    #[response(status = 404)]
    NotFound(McpErrorBody),
    /// There is no such stream, or no ending of sessions.
    #[response(status = 405)]
    MethodNotAllowed(McpErrorBody),
    /// The request contradicts the present state.
    #[response(status = 409)]
    Conflict(McpErrorBody),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(McpErrorBody),
    /// The body is not JSON.
    #[response(status = 415)]
    UnsupportedMediaType(McpErrorBody),
    /// The MCP server failed.
    #[response(status = 502)]
    BadGateway(McpErrorBody),
    /// The store is unavailable.
    #[response(status = 503)]
    Unavailable(McpErrorBody),
    /// The MCP server took too long.
    #[response(status = 504)]
    TimedOut(McpErrorBody),
}
