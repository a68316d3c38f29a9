//! Sessions with handshake servers
//! ([2025-11-25, session management](https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management)).
//!
//! A session belongs to the credential that opened it and is never used with another: what a server
//! keeps in it (who the user is, what they may see) is that user's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use quick_cache::sync::Cache;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::runtime::Handle;

use super::farewells::Farewells;
use super::message::{HANDSHAKE_VERSIONS, InitializeParams, Request};
use super::target::CredentialKey;
use super::transport::{Exchange, Listener, Outcome, PROTOCOL_VERSION, SESSION_ID, Transport};
use super::{Journey, Target, UpstreamError};

const MAX_SESSION_ID_BYTES: usize = 1024;
const TIME_TO_CANCEL: Duration = Duration::from_secs(5);
const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A handshake's outcome: the headers that every further request carries. When nobody holds it any more, it is to
/// be ended at the server.
pub(super) struct Session {
    headers: HeaderMap,
    /// The `InitializeResult`'s own bytes.
    initialized: Box<RawValue>,
    /// What lets its end in.
    target: Target,
    farewells: Arc<Farewells>,
    /// Whether the server has ended it.
    is_over: AtomicBool,
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.headers.contains_key(SESSION_ID) && !self.is_over.load(Ordering::Relaxed) {
            self.farewells.add(self.target.clone(), std::mem::take(&mut self.headers));
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

    /// Whether `answer` says that this session is no more, before the request was looked at.
    ///
    /// The specification's sign is HTTP 404. A 400 with an error that belongs to no request is what
    /// the reference servers answer to an id that they don't know.
    pub(super) fn is_ended_by(&self, answer: &Result<Exchange, UpstreamError>) -> bool {
        self.headers.contains_key(SESSION_ID)
            && match answer {
                Ok(exchange) => match (exchange.status, &exchange.outcome) {
                    (StatusCode::NOT_FOUND, Outcome::Error { .. }) => true,
                    (StatusCode::BAD_REQUEST, Outcome::Error { names_request, .. }) => !names_request,
                    _ => false,
                },
                Err(UpstreamError::Status { status, .. }) => *status == StatusCode::NOT_FOUND,
                Err(_) => false,
            }
    }
}

/// The open sessions, one for each credential at each server.
pub(super) struct Sessions {
    open: Cache<CredentialKey, Arc<Session>>,
    pub(super) farewells: Arc<Farewells>,
}

impl Sessions {
    pub(super) fn new(capacity: usize) -> Self {
        Self { open: Cache::new(capacity), farewells: Arc::default() }
    }

    /// The credential's session, opened if there is none. Callers that come at once share one handshake.
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
                Box::pin(shake_hands(transport, target, &self.farewells)).await.map(Arc::new)
            })
            .await
    }

    /// Drops `session`, which the server has ended, unless it has been replaced meanwhile.
    pub(super) fn discard(&self, target: &Target, session: &Arc<Session>) {
        session.is_over.store(true, Ordering::Relaxed);
        self.open.remove_if(&target.credential_ref(), |open| Arc::ptr_eq(open, session));
    }
}

/// Tells the server when a call in a session is dropped before its answer, for there a closed connection
/// does not say it
/// ([2025-11-25, cancellation](https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/cancellation)).
pub(super) struct GivenUp<'a> {
    transport: &'a Transport,
    target: &'a Target,
    session: &'a HeaderMap,
    id: u64,
    armed: bool,
}

impl<'a> GivenUp<'a> {
    pub(super) fn new(transport: &'a Transport, target: &'a Target, session: &'a HeaderMap, id: u64) -> Self {
        Self { transport, target, session, id, armed: true }
    }

    /// The call came to its end.
    pub(super) fn not(mut self) {
        self.armed = false;
    }
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if self.armed {
            cancel(self.transport, self.target, self.session, self.id);
        }
    }
}

/// Tells the server that nobody waits for the response to `id` any more.
pub(super) fn cancel(transport: &Transport, target: &Target, session: &HeaderMap, id: u64) {
    let Ok(runtime) = Handle::try_current() else { return };
    let (transport, target, headers) = (transport.clone(), target.clone(), session.clone());
    let body =
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
    runtime.spawn(async move {
        let told = transport.tell(&target, headers, body.into_bytes());
        tokio::time::timeout(TIME_TO_CANCEL, told).await.ok();
    });
}

/// `initialize`, then `notifications/initialized`
/// ([2025-11-25, lifecycle](https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#initialization)).
async fn shake_hands(
    transport: &Transport,
    target: &Target,
    farewells: &Arc<Farewells>,
) -> Result<Session, UpstreamError> {
    let id = 1;
    let body = Request::bytes(id, "initialize", InitializeParams::OURS)?;
    let exchange = transport.exchange(target, HeaderMap::new(), body, id, Listener::NOBODY).await?;
    let session_id = exchange.session_id.clone();
    let result = exchange.into_result()?;
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
        // Whoever has the id has the session.
        session_id.set_sensitive(true);
        headers.insert(SESSION_ID, session_id);
    }
    let session = Session {
        headers,
        initialized: result,
        // Its end is on no request's way.
        target: Target { journey: Journey::default(), ..target.clone() },
        farewells: Arc::clone(farewells),
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
