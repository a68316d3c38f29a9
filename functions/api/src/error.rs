//! The body of every error.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The body of every error.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// A code for programs: RFC 6749 section 5.2's at the token endpoint, RFC 6750 section 3.1's and our
    /// own elsewhere.
    #[cfg_attr(feature = "openapi", schema(example = "invalid_request"))]
    pub error: Cow<'static, str>,
    /// The same for people.
    pub error_description: String,
    /// At the token endpoint `"<error>: <description>"`, elsewhere the description.
    pub detail: String,
    /// What exactly went wrong, for programs. A client takes a word that it does not know for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::reason::Reason, required))]
    pub reason: Option<Cow<'static, str>>,
    /// For a policy's refusal: the principal that may not make the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "user"))]
    pub denied_for: Option<Cow<'static, str>>,
    /// For a policy's refusal: the policies that forbid the call; empty if none permits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<Uuid>>))]
    pub policies: Option<Vec<String>>,
    /// For a policy's refusal: why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// For `insufficient_scope`: what the OAuth session lacks at the MCP server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "chat:write"))]
    pub scope: Option<String>,
    /// For a 409: the thing that is in the way, if there is one and the caller may know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<ConflictingThing>,
    /// For a 409 of a deletion: what depends on the thing. `cascade=true` deletes it all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependents: Option<Vec<Dependents>>,
    /// For a 503: whether nothing was changed and no tool was called, so that the same request may be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safe_to_retry: Option<bool>,
}

/// The thing that is in a request's way.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConflictingThing {
    /// What it is, in the audit trail's word.
    #[cfg_attr(feature = "openapi", schema(example = "user"))]
    pub kind: Cow<'static, str>,
    pub id: String,
}

/// Things of one kind that depend on another.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Dependents {
    /// What they are, as a list of them is called.
    #[cfg_attr(feature = "openapi", schema(example = "delegations"))]
    pub kind: Cow<'static, str>,
    /// How many there are, or `more`.
    pub count: u64,
    /// Whether there are more than `count`.
    pub more: bool,
    /// The ids of the first 100 of them. Of a connection, its server's or its user's.
    pub first: Vec<String>,
}

/// The codes.
pub mod code {
    pub const ACCESS_DENIED: &str = "access_denied";
    pub const CONFLICT: &str = "conflict";
    pub const INSUFFICIENT_SCOPE: &str = "insufficient_scope";
    pub const IDEMPOTENCY_KEY_REUSED: &str = "idempotency_key_reused";
    pub const INVALID_CLIENT: &str = "invalid_client";
    /// RFC 7591 section 3.2.2.
    pub const INVALID_CLIENT_METADATA: &str = "invalid_client_metadata";
    pub const INVALID_REDIRECT_URI: &str = "invalid_redirect_uri";
    pub const INVALID_GRANT: &str = "invalid_grant";
    pub const INVALID_REQUEST: &str = "invalid_request";
    pub const INVALID_SCOPE: &str = "invalid_scope";
    /// RFC 8707 section 2.
    pub const INVALID_TARGET: &str = "invalid_target";
    /// The credential proves nothing (any more). Nothing of the request was done.
    pub const INVALID_TOKEN: &str = "invalid_token";
    pub const METHOD_NOT_ALLOWED: &str = "method_not_allowed";
    pub const NO_CREDENTIALS: &str = "no_credentials";
    pub const PRECONDITION_FAILED: &str = "precondition_failed";
    pub const NOT_BOOTSTRAPPED: &str = "not_bootstrapped";
    pub const NOT_FOUND: &str = "not_found";
    pub const REQUEST_TOO_LARGE: &str = "request_too_large";
    /// Larger than the platform can send. What was asked for has been done.
    pub const RESPONSE_TOO_LARGE: &str = "response_too_large";
    pub const SERVER_ERROR: &str = "server_error";
    pub const SESSION_EXPIRED: &str = "session_expired";
    pub const SESSION_NOT_FOUND: &str = "session_not_found";
    /// A right on which the request depended was revoked while its answer streamed.
    pub const STREAM_ENDED: &str = "stream_ended";
    pub const TEMPORARILY_UNAVAILABLE: &str = "temporarily_unavailable";
    /// The platform's time limit was reached.
    pub const TIMED_OUT: &str = "timed_out";
    pub const TOOL_HELD_BACK: &str = "tool_held_back";
    pub const UNAUTHORIZED: &str = "unauthorized";
    pub const UNAUTHORIZED_CLIENT: &str = "unauthorized_client";
    pub const UNSUPPORTED_GRANT_TYPE: &str = "unsupported_grant_type";
    pub const UNSUPPORTED_MEDIA_TYPE: &str = "unsupported_media_type";
    pub const UPSTREAM_ERROR: &str = "upstream_error";
    pub const UPSTREAM_REFUSED: &str = "upstream_refused";
    pub const UPSTREAM_TIMEOUT: &str = "upstream_timeout";
}
