//! What can go wrong between the proxy and an MCP server, and whether the tool may have run.

use deputize_core::wording;
use http::StatusCode;
use serde_json::value::RawValue;

use super::{AddressRefusal, Said};

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

    /// Whether an error of this code comes before anything else: no tool was reached.
    pub(crate) fn is_refused_unread(code: i64) -> bool {
        matches!(
            code,
            PARSE_ERROR
                | INVALID_REQUEST
                | METHOD_NOT_FOUND
                | HEADER_MISMATCH
                | MISSING_CLIENT_CAPABILITY
                | UNSUPPORTED_PROTOCOL_VERSION
        )
    }
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
    /// The answer found no room in this process.
    #[error("the MCP server's answer found no room beside those of other requests")]
    NoRoom {
        /// Whether a tool call was under way.
        sent: bool,
    },
    /// The server redirects elsewhere, in another way than by 307 and 308, or without end. That is not followed: it
    /// would take the credential elsewhere, or lose the request.
    #[error("the MCP server redirects ({status}){}, which is not followed", to_where(.to.as_deref()))]
    Redirected {
        /// The HTTP status.
        status: StatusCode,
        /// Where to: scheme, host and path.
        to: Option<String>,
    },
    /// HTTP 401: the credential is missing, expired or wrong.
    #[error("the MCP server does not accept the credential{said}")]
    Unauthorized {
        /// The challenge, for discovery of the authorization server (RFC 9728).
        www_authenticate: Option<String>,
        /// The server's words.
        said: Said,
    },
    /// HTTP 403: the credential does not suffice.
    #[error("the MCP server forbids the request{said}")]
    Forbidden {
        /// The challenge. It names the missing scopes when it says `insufficient_scope`.
        www_authenticate: Option<String>,
        /// The server's words.
        said: Said,
    },
    /// Another HTTP error, with no JSON-RPC error in its body.
    #[error("the MCP server answered HTTP {status}{said}")]
    Status {
        /// The HTTP status.
        status: StatusCode,
        /// Whether a tool call was under way.
        sent: bool,
        /// The server's words.
        said: Said,
    },
    /// The server has the transport of the revision 2024-11-05 and no other
    /// ([2025-03-26, backwards compatibility](https://modelcontextprotocol.io/specification/2025-03-26/basic/transports#backwards-compatibility)).
    #[error(
        "the MCP server speaks only the retired HTTP+SSE transport at this address; it needs Streamable HTTP, often at a path that ends in /mcp"
    )]
    RetiredTransport,
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
            | Self::RetiredTransport
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::InvalidParams { .. } => false,
            Self::Interrupted { sent, .. }
            | Self::Timeout { sent, .. }
            | Self::TooLarge { sent, .. }
            | Self::NoRoom { sent }
            | Self::Protocol { sent, .. } => *sent,
            Self::Status { status, sent, .. } => *sent && !refuses_before_dispatch(*status),
            Self::JsonRpc { code, sent, .. } => *sent && !code::is_refused_unread(*code),
            Self::InputRequired => true,
        }
    }

    /// What the server says beside an HTTP status.
    pub fn said(&self) -> Option<&Said> {
        match self {
            Self::Unauthorized { said, .. } | Self::Forbidden { said, .. } | Self::Status { said, .. } => {
                Some(said)
            }
            _ => None,
        }
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol { what: what.into(), sent: false }
    }

    /// What should have been JSON of some kind.
    pub(crate) fn unread(what: &str, error: &serde_json::Error) -> Self {
        Self::protocol(format!("{what}: {}", wording::of_json(".", error)))
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
            | Self::NoRoom { sent }
            | Self::Status { sent, .. }
            | Self::Protocol { sent, .. }
            | Self::JsonRpc { sent, .. } => *sent = under_way,
            _ => {}
        }
        self
    }
}

fn to_where(to: Option<&str>) -> String {
    to.map(|to| format!(" to {to}")).unwrap_or_default()
}

/// Client errors by which an HTTP server or gateway turns a request away unprocessed.
fn refuses_before_dispatch(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 404 | 405 | 406 | 410 | 411 | 413 | 414 | 415 | 421 | 429 | 431)
}
