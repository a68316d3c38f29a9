//! The answers to a client: JSON-RPC responses as JSON or as events, and refusals.

use std::{fmt::Write, time::Duration};

use axum::response::{IntoResponse, Response};
use deputize_core::{Error, policies::Denial};
use deputize_service::response::{classify, log};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json, value::RawValue};

use crate::upstream::ServerEvent;

/// JSON-RPC's and MCP's error codes
/// ([overview, error codes](https://modelcontextprotocol.io/specification/2026-07-28/basic/index#error-codes)).
pub(super) mod code {
    pub(crate) const PARSE_ERROR: i64 = -32700;
    pub(crate) const INVALID_REQUEST: i64 = -32600;
    pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
    pub(crate) const INVALID_PARAMS: i64 = -32602;
    pub(crate) const HEADER_MISMATCH: i64 = -32020;
    pub(crate) const UNSUPPORTED_PROTOCOL_VERSION: i64 = -32022;
    /// Of 2025-11-25.
    pub(crate) const URL_ELICITATION_REQUIRED: i64 = -32042;
    /// A user must connect to the MCP server. HTTP has nothing for it: 424 is *Failed Dependency* (RFC 4918 section
    /// 11.4). The 401 of the JSON endpoint is no code here, since clients read it as their token's refusal: the error
    /// classes of the TypeScript SDK have JSON-RPC's codes and HTTP's statuses in the same field.
    pub(crate) const CONNECTION_NEEDED: i64 = 424;
}

/// A JSON-RPC error of our own.
#[derive(Clone, Debug)]
pub(super) struct RpcRefusal(Box<RpcErrorFields>);

#[derive(Clone, Debug)]
struct RpcErrorFields {
    status: StatusCode,
    code: i64,
    message: String,
    data: Option<Value>,
    id: Option<Box<RawValue>>,
    /// A result in place of the error, which asks the client for something first.
    question: Option<Value>,
}

impl RpcRefusal {
    pub(super) fn new(status: StatusCode, code: i64, message: impl Into<String>) -> Self {
        Self(Box::new(RpcErrorFields {
            status,
            code,
            message: message.into(),
            data: None,
            id: None,
            question: None,
        }))
    }

    pub(super) fn with(mut self, data: Value) -> Self {
        self.0.data = Some(data);
        self
    }

    /// Says this in place of what it says.
    pub(super) fn saying(mut self, message: &str) -> Self {
        message.clone_into(&mut self.0.message);
        self
    }

    /// By another code.
    pub(super) fn coded(mut self, code: i64) -> Self {
        self.0.code = code;
        self
    }

    /// With one more field in its data.
    pub(super) fn adding(mut self, field: &str, value: Value) -> Self {
        self.0.data.get_or_insert_with(|| json!({}))[field] = value;
        self
    }

    /// By a result that asks for something, if it is the answer to a request.
    pub(super) fn asking(mut self, question: Value) -> Self {
        self.0.question = Some(question);
        self
    }

    /// Makes this the answer to the request `id`.
    pub(super) fn to(mut self, id: &RawValue) -> Self {
        self.0.id = Some(id.to_owned());
        self
    }

    /// To a client of a handshake revision. There HTTP errors end the whole session: Python's `mcp` cancels all of its
    /// requests ([python-sdk#2047](https://github.com/modelcontextprotocol/python-sdk/pull/2047)). So the refusal of a
    /// request whose id is known is told in the protocol alone. What says that there is no common revision stays as it
    /// is, since a client that speaks several looks for its status.
    pub(super) fn in_handshake(self) -> Self {
        let RpcErrorFields { status, code, id, .. } = &*self.0;
        let is_told = id.is_some()
            && *status == StatusCode::BAD_REQUEST
            && matches!(*code, code::INVALID_REQUEST | code::INVALID_PARAMS | code::PARSE_ERROR);
        if is_told { self.by(StatusCode::OK) } else { self }
    }

    /// That there is no such method.
    pub(super) fn of_unknown_method(mut self) -> Self {
        self.0.code = code::METHOD_NOT_FOUND;
        "Method not found".clone_into(&mut self.0.message);
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// By another HTTP status.
    pub(super) fn by(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    pub(super) fn message(&self) -> &str {
        &self.0.message
    }

    /// The refusal of a request whose caller has been admitted. It is told in the protocol, with HTTP 200: a 401 would
    /// make the client get another token, and a 404 would make it begin another session. The code is the HTTP status
    /// that the error would otherwise have, but for those that a connection would put right. This is outside the codes
    /// that JSON-RPC reserves.
    pub(super) fn of(error: &Error) -> Self {
        log(error);
        let (status, name) = classify(error);
        let mut data = json!({ "error": name, "reason": error.reason() });
        match error {
            Error::PolicyDenied(Denial { denied_for, policies, reason }) => {
                data["denied_for"] = json!(denied_for);
                data["policies"] = json!(policies);
                data["explanation"] = json!(reason);
            }
            Error::InsufficientScope { scope, .. } => data["scope"] = json!(scope),
            _ => {}
        }
        let (status, code) = match error {
            Error::Invalid(_) => (StatusCode::BAD_REQUEST, code::INVALID_PARAMS),
            error if error.needs_connection() => (StatusCode::OK, code::CONNECTION_NEEDED),
            _ => (StatusCode::OK, i64::from(status.as_u16())),
        };
        Self::new(status, code, error.to_string()).with(data)
    }

    pub(super) fn json(&self) -> String {
        let RpcErrorFields { code, message, data, id, question, .. } = &*self.0;
        if let (Some(question), Some(id)) = (question, id) {
            return format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{question}}}"#);
        }
        let mut error = json!({ "code": code, "message": message });
        if let Some(data) = data {
            error["data"] = data.clone();
        }
        match id {
            Some(id) => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#),
            None => format!(r#"{{"jsonrpc":"2.0","error":{error}}}"#),
        }
    }
}

impl IntoResponse for RpcRefusal {
    fn into_response(self) -> Response {
        (self.0.status, [(header::CONTENT_TYPE, JSON)], self.json()).into_response()
    }
}

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A response with a result or an error from the server.
pub(super) fn envelope(id: &RawValue, outcome: Result<&RawValue, &RawValue>) -> String {
    match outcome {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        Err(error) => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#),
    }
}

pub(super) fn json_answer(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], text).into_response()
}

/// An answer as events. Proxies on the way are told not to buffer it.
pub(super) fn event_stream(body: axum::body::Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, EVENTS);
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}

/// A comment, which keeps a silent stream open.
pub(super) const KEEP_ALIVE: &str = ":\n\n";
/// How often a silent stream gets one, so that nothing on the way takes it for dead.
pub(super) const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(20);

/// One event. `data` may have several lines.
pub(crate) fn event(place: &ServerEvent, data: Option<&str>) -> String {
    let mut event = String::with_capacity(data.map_or(0, str::len) + 64);
    if let Some(id) = place.event_id.as_deref().filter(|id| !id.contains(['\r', '\n', '\0'])) {
        let _ = writeln!(event, "id: {id}");
    }
    if let Some(retry) = place.retry {
        let _ = writeln!(event, "retry: {retry}");
    }
    match data {
        Some(data) => {
            event.push_str("event: message\n");
            for line in data.split(['\r', '\n']) {
                let _ = writeln!(event, "data: {line}");
            }
        }
        None => event.push_str("data:\n"),
    }
    event.push('\n');
    event
}
