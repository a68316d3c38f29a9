//! Sessions with handshake servers
//! ([2025-11-25, session management](https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management)).
//!
//! A session belongs to one caller with one connection or header at one address, and is never used with another. What a
//! server keeps in it (the user, and what they may see) is that user's. Two agents that use one person's connection
//! have a session each.
//!
//! A person may connect again while a call waits for a refresh, or is refused and repeated. The call then goes on with
//! the new connection, and so in another session. In a client's own session that is a 404.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderValue, StatusCode};
use quick_cache::sync::Cache;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::ErrorAnswer;
use super::error::code;
use super::message::{HANDSHAKE_VERSIONS, InitializeParams, Request, handshake_version};
use super::session_closer::SessionCloser;
use super::target::{CredentialKey, ServerKey};
use super::transport::{PROTOCOL_VERSION, SESSION_ID, Transport};
use super::{InboundRequest, Said, Target, UpstreamError, said};

const MAX_SESSION_ID_BYTES: usize = 1024;
const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// The outcome of a handshake: the headers that every further request carries. When it is dropped, the session is to be
/// ended at the server.
pub(super) struct Session {
    headers: HeaderMap,
    /// The `InitializeResult`'s own bytes.
    initialized: Box<RawValue>,
    /// With the credential that is used to end the session.
    target: Target,
    session_closer: Arc<SessionCloser>,
    /// Whether the server has ended it.
    is_over: AtomicBool,
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.headers.contains_key(SESSION_ID) && !self.is_over.load(Ordering::Relaxed) {
            self.session_closer.add(self.target.clone(), std::mem::take(&mut self.headers));
        }
    }
}

impl Session {
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn initialized(&self) -> &RawValue {
        &self.initialized
    }

    /// What `answer` says of this session.
    pub(super) fn after(&self, answer: Result<Option<ErrorAnswer>, &UpstreamError>) -> SessionState {
        if !self.headers.contains_key(SESSION_ID) {
            return SessionState::Open;
        }
        match SessionState::by(answer) {
            // The reference servers answer so to an id that they do not know, some with no more than a text
            // (https://github.com/zoedsoupe/anubis-mcp/pull/124). It is no request's error, so no request was read.
            SessionState::Open if is_nameless_400(answer) => SessionState::Ended,
            state => state,
        }
    }
}

/// Whether a session goes on after an answer in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionState {
    Open,
    /// It is over, and the request was not looked at.
    Ended,
    /// It may be over: the request was refused unread, be it for the session or for the credential.
    Doubted,
    /// It may be over, and the request may have been read. It must not be sent again.
    Abandoned,
}

impl SessionState {
    /// What an answer says of the session that its request named. The specification's sign of an end is HTTP 404. Others
    /// are in use.
    pub(super) fn by(answer: Result<Option<ErrorAnswer>, &UpstreamError>) -> Self {
        match answer {
            Ok(Some(refused)) => match refused.status {
                StatusCode::NOT_FOUND => Self::Ended,
                // https://github.com/DAWNCR0W/affine-mcp-server/issues/301
                StatusCode::BAD_REQUEST if refused.is_about_session && !refused.names_request => Self::Ended,
                // https://github.com/onyx-dot-app/agent-wiki/pull/158
                _ if refused.is_about_session && code::is_refused_unread(refused.code) => Self::Ended,
                // A tool may have a session of its own, and say so of that one.
                _ if refused.is_about_session => Self::Abandoned,
                _ => Self::Open,
            },
            // https://github.com/modelcontextprotocol/rust-sdk/issues/559
            // https://github.com/punkpeye/mcp-proxy/issues/108
            Err(UpstreamError::Unauthorized { said, .. }) if !said.is_about_session() => Self::Doubted,
            Err(UpstreamError::Status { status: StatusCode::NOT_FOUND | StatusCode::GONE, .. }) => {
                Self::Ended
            }
            Err(error) if error.said().is_some_and(Said::is_about_session) => {
                if error.may_have_run() {
                    Self::Abandoned
                } else {
                    Self::Ended
                }
            }
            // https://github.com/sparfenyuk/mcp-proxy/issues/149
            Err(UpstreamError::Status { status: StatusCode::SERVICE_UNAVAILABLE, .. }) => Self::Abandoned,
            _ => Self::Open,
        }
    }
}

fn is_nameless_400(answer: Result<Option<ErrorAnswer>, &UpstreamError>) -> bool {
    match answer {
        Ok(Some(refused)) => refused.status == StatusCode::BAD_REQUEST && !refused.names_request,
        Err(UpstreamError::Status { status, .. }) => *status == StatusCode::BAD_REQUEST,
        _ => false,
    }
}

/// The open sessions, one for each credential at each server.
pub(super) struct Sessions {
    open: Cache<CredentialKey, Arc<Session>>,
    /// What to propose to servers that refused the newest revision instead of choosing another.
    versions: Cache<ServerKey, &'static str>,
    pub(super) session_closer: Arc<SessionCloser>,
}

impl Sessions {
    pub(super) fn new(capacity: usize) -> Self {
        let (open, versions) = (Cache::new(capacity), Cache::new(capacity));
        Self { open, versions, session_closer: Arc::default() }
    }

    /// Ends all of them at their servers, of which each has a moment for that.
    pub(super) async fn end(&self, transport: &Transport) {
        self.open.clear();
        self.session_closer.end(transport).await;
    }

    /// The credential's session. It is opened if there is none. Concurrent callers share one handshake.
    pub(super) async fn of(
        &self,
        transport: &Transport,
        target: &Target,
    ) -> Result<Arc<Session>, UpstreamError> {
        if let Some(session) = self.open.get(&target.credential_ref()) {
            return Ok(session);
        }
        self.open
            .get_or_insert_async(&target.credential_key(), async {
                Box::pin(self.shake_hands(transport, target)).await.map(Arc::new)
            })
            .await
    }

    /// Drops `session`, unless it has been replaced meanwhile. If the server may still have it, it is ended there.
    pub(super) fn discard(&self, target: &Target, session: &Arc<Session>, state: SessionState) {
        if state == SessionState::Ended {
            session.is_over.store(true, Ordering::Relaxed);
        }
        self.open.remove_if(&target.credential_ref(), |open| Arc::ptr_eq(open, session));
    }

    /// `initialize`, then `notifications/initialized`
    /// ([2025-11-25, lifecycle](https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#initialization)).
    ///
    /// A server that does not know the proposed revision is to choose another. Some refuse it instead, and are asked
    /// again with an older one ([openwork#3569](https://github.com/different-ai/openwork/pull/3569)).
    pub(super) async fn shake_hands(
        &self,
        transport: &Transport,
        target: &Target,
    ) -> Result<Session, UpstreamError> {
        let known = self.versions.get(&target.server_ref());
        let mut proposed = known.unwrap_or(HANDSHAKE_VERSIONS[0]);
        let (result, session_id) = loop {
            let asked = initialize(transport, target, proposed).await;
            let older = HANDSHAKE_VERSIONS.into_iter().skip_while(|version| *version != proposed).nth(1);
            match (asked, older) {
                (Err(error), Some(older)) if is_about_version(&error) => proposed = older,
                (Err(error), _) => return Err(transport.explained(target, error).await),
                (Ok(answer), _) => break answer,
            }
        };
        if proposed != HANDSHAKE_VERSIONS[0] && known != Some(proposed) {
            self.versions.insert(target.server_key(), proposed);
        }
        let initialized: Initialized = serde_json::from_str(result.get())
            .map_err(|error| UpstreamError::unread("no result of initialize", &error))?;
        let version = handshake_version(&initialized.version)
            .ok_or_else(|| UpstreamError::protocol("no protocol version in common"))?;

        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(version));
        if let Some(mut session_id) = session_id {
            let visible = session_id.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte));
            if !visible || session_id.is_empty() || session_id.len() > MAX_SESSION_ID_BYTES {
                return Err(UpstreamError::protocol("a session id that is none"));
            }
            // Whoever has the id has the session.
            session_id.set_sensitive(true);
            headers.insert(SESSION_ID, session_id);
        }
        let session = Session {
            headers,
            initialized: result,
            // Its end is on no request's way.
            target: Target { inbound: InboundRequest::default(), ..target.clone() },
            session_closer: Arc::clone(&self.session_closer),
            is_over: AtomicBool::new(false),
        };
        match transport.tell(target, session.headers.clone(), INITIALIZED.to_vec()).await {
            // A server without use for this may have no place for it. If it matters, the next request is refused.
            Ok(()) | Err(UpstreamError::Status { .. }) => Ok(session),
            Err(error) => Err(error),
        }
    }
}

async fn initialize(
    transport: &Transport,
    target: &Target,
    version: &'static str,
) -> Result<(Box<RawValue>, Option<HeaderValue>), UpstreamError> {
    let request = Request::new(1, "initialize", InitializeParams::proposing(version));
    let (reply, session_id) = transport.ask(target, HeaderMap::new(), request).await?;
    Ok((reply.into_result()?, session_id))
}

/// Whether an `initialize` may have been refused for the revision that it proposes: by 400, or in words.
pub(super) fn is_about_version(error: &UpstreamError) -> bool {
    match error {
        UpstreamError::Status { status, .. } => *status == StatusCode::BAD_REQUEST,
        UpstreamError::InvalidParams { .. } => true,
        UpstreamError::JsonRpc { code, message, status, .. } => {
            *code == code::UNSUPPORTED_PROTOCOL_VERSION
                || *status == StatusCode::BAD_REQUEST
                || said::is_about_version(message)
        }
        _ => false,
    }
}

#[derive(Deserialize)]
struct Initialized {
    #[serde(rename = "protocolVersion")]
    version: String,
}
