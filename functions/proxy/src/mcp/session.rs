//! The `Mcp-Session-Id` of a handshake client. It holds all that a process needs to continue the session. It is sealed,
//! and bound to the caller, the server, its address, and the connection or header that is used there
//! ([`deputize_core::mcp_sessions`]). Nothing is kept in memory for it.

use deputize_api::reason::Reason;
use deputize_core::{Core, Result, access::Access, mcp_sessions};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use super::{
    answer::{RpcRefusal, code},
    incoming::{Initialize, SESSION_ID},
};
use crate::upstream_access::UpstreamAccess;

/// The content of a session id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Session {
    /// The session at a handshake server.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
    /// Whether the server has shaken hands. A server that speaks both eras does this for a handshake client.
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) handshake: bool,
    /// The name that the client gives itself, for the policies. It gives it once.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub(super) client_name: Option<String>,
    /// Who the client is, for a modern server, which is told with each request…
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub(super) client_info: Option<Box<RawValue>>,
    /// … and what the client can do.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(super) capabilities: Option<Box<RawValue>>,
    /// Whether the client can be asked to open an address. It says so once.
    #[serde(rename = "o", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) opens_urls: bool,
}

/// The session that a request names.
#[derive(Clone, Debug)]
pub(super) enum NamedSession {
    /// The request names no session.
    None,
    Open(Session),
    /// The request names a session that does not exist, or not for this caller.
    Unknown,
}

impl NamedSession {
    /// Refuses a request that names a session that does not exist.
    pub(super) fn known(self) -> Result<Option<Session>, RpcRefusal> {
        match self {
            Self::None => Ok(None),
            Self::Open(session) => Ok(Some(session)),
            Self::Unknown => Err(no_such()),
        }
    }

    pub(super) fn client_name(&self) -> Option<&str> {
        match self {
            Self::Open(session) => session.client_name.as_deref(),
            Self::None | Self::Unknown => None,
        }
    }
}

/// The longest description of a client that is kept, in bytes. Headers are not made for more.
const MAX_DESCRIPTION: usize = 2 * 1024;

impl Session {
    /// With a server that has shaken hands. The session is the server's own, if the server keeps one.
    pub(super) fn upstream(
        id: Option<&HeaderValue>,
        initialize: &Initialize<'_>,
        client_name: Option<String>,
    ) -> Self {
        let upstream = id.and_then(|id| id.to_str().ok()).map(str::to_owned);
        let opens_urls = initialize.opens_urls();
        Self { upstream, handshake: true, client_name, client_info: None, capabilities: None, opens_urls }
    }

    /// For a client that has described itself in `initialize`, with a server that keeps no session.
    pub(super) fn described(initialize: &Initialize<'_>, client_name: Option<String>) -> Self {
        let Initialize { client_info: info, capabilities, .. } = initialize;
        let short = |text: &&RawValue| text.get().len() <= MAX_DESCRIPTION;
        Self {
            upstream: None,
            handshake: false,
            client_name,
            client_info: info.filter(short).map(ToOwned::to_owned),
            capabilities: capabilities.filter(short).map(ToOwned::to_owned),
            opens_urls: initialize.opens_urls(),
        }
    }

    /// The server's session id.
    pub(super) fn upstream_id(&self) -> Option<HeaderValue> {
        let mut id = HeaderValue::from_str(self.upstream.as_deref()?).ok()?;
        id.set_sensitive(true);
        Some(id)
    }

    pub(super) async fn seal(&self, upstream_access: &UpstreamAccess) -> Result<HeaderValue> {
        let content = serde_json::to_vec(self).map_err(deputize_core::Error::internal)?;
        let id =
            mcp_sessions::seal(upstream_access.core(), &Binding::of(upstream_access).0, &content).await?;
        let mut id = HeaderValue::try_from(id).map_err(deputize_core::Error::internal)?;
        id.set_sensitive(true);
        Ok(id)
    }

    /// The session that a request names. An id of another caller, another server or other credentials is answered like
    /// the id of a session that has ended: the client begins another.
    pub(super) async fn open(core: &Core, binding: &Binding, headers: &HeaderMap) -> Result<NamedSession> {
        let mut ids = headers.get_all(SESSION_ID).iter();
        let Some(id) = ids.next() else { return Ok(NamedSession::None) };
        let Some(id) = id.to_str().ok().filter(|_| ids.next().is_none()) else {
            return Ok(NamedSession::Unknown);
        };
        let content = mcp_sessions::open(core, &binding.0, id).await?;
        let session = content.and_then(|content| serde_json::from_slice(&content).ok());
        Ok(session.map_or(NamedSession::Unknown, NamedSession::Open))
    }
}

pub(super) fn no_such() -> RpcRefusal {
    RpcRefusal::new(StatusCode::NOT_FOUND, code::INVALID_REQUEST, "There is no such session")
        .with(json!({ "reason": Reason::McpSessionGone }))
}

/// What a session id is bound to: who calls, which server, at which address, and with which connection or header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding(String);

impl Binding {
    /// With the credentials of the caller's admission.
    pub(super) fn admitted(access: &Access) -> Self {
        Self::with(access, &access.credential_key())
    }

    /// With the credentials that are used for the request.
    pub(super) fn of(upstream_access: &UpstreamAccess) -> Self {
        Self::with(upstream_access.access(), &upstream_access.target.credential_key)
    }

    fn with(access: &Access, credential_key: &str) -> Self {
        let server = &access.server;
        Self(format!("{}\0{}\0{}\0{credential_key}", access.caller_key(), server.id, server.url))
    }
}
