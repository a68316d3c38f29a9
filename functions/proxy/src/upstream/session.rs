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

use super::answer::RelayedResponse;
use super::message::{HANDSHAKE_VERSIONS, InitializeParams, Request};
use super::session_closer::SessionCloser;
use super::target::CredentialKey;
use super::transport::{PROTOCOL_VERSION, SESSION_ID, Transport};
use super::{InboundRequest, Target, UpstreamError};

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

    /// Whether `answer` says that this session has ended, and that the request was not processed.
    ///
    /// By the specification, the sign of this is HTTP 404. The reference servers answer an unknown session id with a
    /// 400 and an error that belongs to no request.
    pub(super) fn is_ended_by(&self, answer: &Result<RelayedResponse, UpstreamError>) -> bool {
        self.headers.contains_key(SESSION_ID)
            && match answer {
                Err(UpstreamError::Status { status, .. }) => *status == StatusCode::NOT_FOUND,
                Ok(RelayedResponse { refused: Some(refused), .. }) => match refused.status {
                    StatusCode::NOT_FOUND => true,
                    StatusCode::BAD_REQUEST => !refused.names_request,
                    _ => false,
                },
                _ => false,
            }
    }
}

/// The open sessions, one for each credential at each server.
pub(super) struct Sessions {
    open: Cache<CredentialKey, Arc<Session>>,
    pub(super) session_closer: Arc<SessionCloser>,
}

impl Sessions {
    pub(super) fn new(capacity: usize) -> Self {
        Self { open: Cache::new(capacity), session_closer: Arc::default() }
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
                Box::pin(shake_hands(transport, target, &self.session_closer)).await.map(Arc::new)
            })
            .await
    }

    /// Drops `session`, which the server has ended, unless it has been replaced in the meantime.
    pub(super) fn discard(&self, target: &Target, session: &Arc<Session>) {
        session.is_over.store(true, Ordering::Relaxed);
        self.open.remove_if(&target.credential_ref(), |open| Arc::ptr_eq(open, session));
    }
}

/// `initialize`, then `notifications/initialized`
/// ([2025-11-25, lifecycle](https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#initialization)).
async fn shake_hands(
    transport: &Transport,
    target: &Target,
    session_closer: &Arc<SessionCloser>,
) -> Result<Session, UpstreamError> {
    let request = Request::new(1, "initialize", InitializeParams::OURS);
    let (reply, session_id) = transport.ask(target, HeaderMap::new(), request).await?;
    let result = reply.into_result()?;
    let initialized: Initialized = serde_json::from_str(result.get())
        .map_err(|error| UpstreamError::protocol(format!("no result of initialize: {error}")))?;
    let version = HANDSHAKE_VERSIONS
        .into_iter()
        .find(|ours| *ours == initialized.version)
        .ok_or_else(|| UpstreamError::protocol("no protocol version in common"))?;

    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(version));
    if let Some(mut session_id) = session_id {
        let visible = session_id.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte));
        if !visible || session_id.is_empty() || session_id.len() > MAX_SESSION_ID_BYTES {
            return Err(UpstreamError::protocol("a session id that is none"));
        }
        // A session id is a secret: it gives access to the session.
        session_id.set_sensitive(true);
        headers.insert(SESSION_ID, session_id);
    }
    let session = Session {
        headers,
        initialized: result,
        // The end of the session belongs to no request.
        target: Target { inbound: InboundRequest::default(), ..target.clone() },
        session_closer: Arc::clone(session_closer),
        is_over: AtomicBool::new(false),
    };
    transport.tell(target, session.headers.clone(), INITIALIZED.to_vec()).await?;
    Ok(session)
}

#[derive(Deserialize)]
struct Initialized {
    #[serde(rename = "protocolVersion")]
    version: String,
}
