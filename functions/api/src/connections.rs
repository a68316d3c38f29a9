//! `/api/v1/servers/{id}/connect` and `…/connection`: the caller's own OAuth session at a server.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// Scope to ask for, in addition to what the server asks for and what the present session has (RFC 6749 section
    /// 3.3). An `insufficient_scope` error names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "chat:write"))]
    pub scope: Option<String>,
}

/// The address of the server's authorization server, for the caller's browser.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Connecting {
    /// The URL to open in the caller's browser.
    #[cfg_attr(feature = "openapi", schema(format = "uri"))]
    pub authorization_url: String,
    /// How many seconds the URL can be used.
    pub expires_in: u64,
}

/// The caller's OAuth session at a server, without its tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Connection {
    pub server_id: String,
    pub status: Status,
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub connected_at: String,
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub expires_at: Option<String>,
    /// Whether the session lasts beyond `expires_at`. If so, its tokens are refreshed when they are needed.
    pub renewable: bool,
    pub scope: Option<String>,
    /// Why the authorization server refused to renew the session, in its own words.
    #[serde(default)]
    pub ended_because: Option<String>,
}

/// Whether the connection can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Connected,
    /// The session's owner must connect again.
    Expired,
}
