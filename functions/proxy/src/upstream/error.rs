//! What can go wrong between the proxy and an MCP server, and whether the tool may have run.

use http::StatusCode;
use serde_json::value::RawValue;

use super::AddressRefusal;

/// JSON-RPC's and MCP's error codes that steer this client
/// ([overview, error codes](https://modelcontextprotocol.io/specification/2026-07-28/basic/index#error-codes)).
pub(super) mod code {
    pub(crate) const PARSE_ERROR: i64 = -32700;
    pub(crate) const INVALID_REQUEST: i64 = -32600;
    pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
    pub(crate) const INVALID_PARAMS: i64 = -32602;
    pub(crate) const INTERNAL_ERROR: i64 = -32603;
    pub(crate) const HEADER_MISMATCH: i64 = -32020;
    pub(crate) const MISSING_CLIENT_CAPABILITY: i64 = -32021;
    pub(crate) const UNSUPPORTED_PROTOCOL_VERSION: i64 = -32022;
}

/// Why there is no result. No variant holds a credential or a URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The operator does not allow the URL.
    #[error("the MCP server's address is refused: {0}")]
    AddressRefused(#[from] AddressRefusal),
    /// No connection could be made: the name does not resolve, no server listens, or TLS failed.
    #[error("the MCP server cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke after the request had been begun.
    #[error("the connection to the MCP server broke")]
    Interrupted {
        /// Whether a tool call was under way.
        sent: bool,
        /// What broke it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// One of the configured times has passed.
    #[error("the MCP server took too long ({waiting_for})")]
    Timeout {
        /// Which of them.
        waiting_for: &'static str,
        /// Whether a tool call was under way.
        sent: bool,
    },
    /// The answer is larger, deeper or longer than is allowed.
    #[error("the MCP server's answer exceeds {limit}")]
    TooLarge {
        /// Which bound it exceeds.
        limit: String,
        /// Whether a tool call was under way.
        sent: bool,
    },
    /// The server redirects. Redirects are not followed: they would take the credential elsewhere.
    #[error("the MCP server redirects ({status}), which is not followed")]
    Redirected {
        /// The HTTP status.
        status: StatusCode,
    },
    /// HTTP 401: the credential is missing, expired or wrong.
    #[error("the MCP server does not accept the credential")]
    Unauthorized {
        /// The challenge, for discovery of the authorization server (RFC 9728).
        www_authenticate: Option<String>,
    },
    /// HTTP 403: the credential is not sufficient.
    #[error("the MCP server forbids the request")]
    Forbidden {
        /// The challenge. It names the missing scopes when it says `insufficient_scope`.
        www_authenticate: Option<String>,
    },
    /// Another HTTP error, with no JSON-RPC error in its body.
    #[error("the MCP server answered HTTP {status}")]
    Status {
        /// The HTTP status.
        status: StatusCode,
        /// Whether a tool call was under way.
        sent: bool,
    },
    /// The server does not keep to the protocol.
    #[error("the MCP server breaks the protocol: {what}")]
    Protocol {
        /// In which way.
        what: String,
        /// Whether a tool call was under way.
        sent: bool,
    },
    /// JSON-RPC error `-32602`: there is no tool of that name, or the arguments do not fit its schema
    /// ([tools, error handling](https://modelcontextprotocol.io/specification/2026-07-28/server/tools#error-handling)).
    #[error("unknown tool or invalid arguments: {message}")]
    InvalidParams {
        /// The server's message.
        message: String,
        /// The server's data.
        data: Option<Box<RawValue>>,
        /// The HTTP status that it came with.
        status: StatusCode,
    },
    /// Any other JSON-RPC error.
    #[error("the MCP server answered error {code}: {message}")]
    JsonRpc {
        /// The JSON-RPC error code.
        code: i64,
        /// The server's message.
        message: String,
        /// The server's data.
        data: Option<Box<RawValue>>,
        /// The HTTP status that it came with.
        status: StatusCode,
        /// Whether a tool call was under way.
        sent: bool,
    },
    /// The tool wants input from the user, but the caller declared no capability to give input.
    #[error("the tool asks for input that cannot be given here")]
    InputRequired,
}

impl UpstreamError {
    /// Whether the tool may have been reached, so that repeating the call could do its work twice.
    ///
    /// `false` is a promise: either the request was not sent, or it was refused for a reason that, by the protocol,
    /// comes before the tool runs. When in doubt it is `true`.
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::AddressRefused(_)
            | Self::Unreachable(_)
            | Self::Redirected { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::InvalidParams { .. } => false,
            Self::Interrupted { sent, .. }
            | Self::Timeout { sent, .. }
            | Self::TooLarge { sent, .. }
            | Self::Protocol { sent, .. } => *sent,
            Self::Status { status, sent } => *sent && !refuses_before_dispatch(*status),
            Self::JsonRpc { code, sent, .. } => {
                *sent
                    && !matches!(
                        *code,
                        code::PARSE_ERROR
                            | code::INVALID_REQUEST
                            | code::METHOD_NOT_FOUND
                            | code::HEADER_MISMATCH
                            | code::MISSING_CLIENT_CAPABILITY
                            | code::UNSUPPORTED_PROTOCOL_VERSION
                    )
            }
            Self::InputRequired => true,
        }
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol { what: what.into(), sent: false }
    }

    /// The answer ended before the response.
    pub(crate) fn no_response() -> Self {
        Self::protocol("no response")
    }

    pub(super) fn too_large(limit: impl Into<String>) -> Self {
        Self::TooLarge { limit: limit.into(), sent: false }
    }

    /// Notes that a tool call was under way when this happened.
    pub(crate) fn while_calling(mut self, under_way: bool) -> Self {
        match &mut self {
            Self::Interrupted { sent, .. }
            | Self::Timeout { sent, .. }
            | Self::TooLarge { sent, .. }
            | Self::Status { sent, .. }
            | Self::Protocol { sent, .. }
            | Self::JsonRpc { sent, .. } => *sent = under_way,
            _ => {}
        }
        self
    }
}

/// Client errors with which an HTTP server or gateway refuses a request without processing it.
fn refuses_before_dispatch(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 404 | 405 | 406 | 411 | 413 | 414 | 415 | 421 | 429 | 431)
}
