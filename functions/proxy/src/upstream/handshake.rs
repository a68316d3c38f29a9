//! Requests to handshake servers. A handshake client's requests go through its own session as they came. Requests of
//! callers without a session go through a session of ours.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::answer::{ErrorAnswer, Parts, RelayedResponse, ServerEvent, ServerMessage};
use super::error::code;
use super::message::{HANDSHAKE_VERSIONS, Message};
use super::session::{Session, SessionState, is_about_version};
use super::transport::{PROTOCOL_VERSION, SESSION_ID, Transport, status_error};
use super::{Outgoing, Shared, Target, UpstreamClient, UpstreamError};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A client's message on its way to a handshake server, in the client's own session.
#[derive(Debug)]
pub struct SessionMessage<'a> {
    /// The revision that the client and the server have agreed on.
    pub version: Option<&'a HeaderValue>,
    /// The server's session.
    pub session: Option<&'a HeaderValue>,
    /// The whole message. Without a body, a stream is opened.
    pub body: Option<Outgoing>,
    /// Its id, if it is a request.
    pub id: Option<&'a RawValue>,
    /// Where to resume a stream.
    pub last_event_id: Option<&'a HeaderValue>,
}

impl UpstreamClient {
    /// Relays a message unchanged to a handshake server, in the client's own session.
    pub async fn relay_in_session(
        &self,
        target: &Target,
        message: SessionMessage<'_>,
    ) -> Result<RelayedResponse, UpstreamError> {
        let SessionMessage { version, session, body, id, last_event_id } = message;
        let mut headers = HeaderMap::with_capacity(8);
        for (name, value) in
            [(PROTOCOL_VERSION, version), (SESSION_ID, session), (LAST_EVENT_ID, last_event_id)]
        {
            headers.extend(value.map(|value| (name, value.clone())));
        }
        let transport = &self.shared.transport;
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let timeouts = transport.timeouts(body.is_none());
        self.beside(transport.relay(method, target, headers, body, id, timeouts)).await
    }

    /// A handshake client's `initialize`, as it came. If the server refuses its revision instead of choosing another, it is
    /// asked again with older ones: the client learns from the answer which it is.
    pub(crate) async fn relay_initialize(
        &self,
        target: &Target,
        body: &Bytes,
        id: &RawValue,
    ) -> Result<RelayedResponse, UpstreamError> {
        let relay = async |body: Outgoing| {
            let body = Some(body);
            let message =
                SessionMessage { version: None, session: None, body, id: Some(id), last_event_id: None };
            self.relay_in_session(target, message).await
        };
        let mut answer = relay(body.clone().into()).await;
        let proposed = proposed_version(body).unwrap_or_default();
        for older in HANDSHAKE_VERSIONS.into_iter().filter(|version| **version < *proposed) {
            let refused = match &answer {
                Ok(RelayedResponse { refused: Some(refused), .. }) => refused.is_about_version(),
                Ok(_) => false,
                Err(error) => is_about_version(error),
            };
            match proposing(body, older).filter(|_| refused) {
                Some(body) => answer = relay(body.into()).await,
                None => break,
            }
        }
        match answer {
            Err(error) => Err(self.shared.transport.explained(target, error).await),
            answer => answer,
        }
    }

    /// Ends the client's session at a handshake server, which may not allow it.
    pub(crate) async fn end_session(
        &self,
        target: &Target,
        version: Option<&HeaderValue>,
        session: &HeaderValue,
    ) -> Result<(), UpstreamError> {
        let mut headers = HeaderMap::with_capacity(4);
        headers.extend(version.map(|version| (PROTOCOL_VERSION, version.clone())));
        headers.insert(SESSION_ID, session.clone());
        let ended = async {
            let response = self.shared.transport.send(Method::DELETE, target, headers, None).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(());
            }
            Err(status_error(status, self.shared.transport.said(target, response).await))
        };
        self.in_time(target, ended).await
    }

    /// The `InitializeResult` of the session that a stateless client's requests go through.
    pub(crate) async fn initialized(&self, target: &Target) -> Result<Box<RawValue>, UpstreamError> {
        Ok(self.session(target).await?.initialized().to_owned())
    }

    /// To a handshake server, in the credential's session, which is opened anew, once, if the server has
    /// ended it. `body` writes the request with the id that it gets. All of it shares the time of one answer.
    pub async fn relay_pooled(
        &self,
        target: &Target,
        body: impl Fn(u64) -> Result<Outgoing, UpstreamError>,
    ) -> Result<RelayedResponse, UpstreamError> {
        let target = &target.within(self.config().total_timeout);
        let (mut asked, mut relayed) = self.beside(self.relay_once(target, &body)).await?;
        match asked.session.after(relayed.as_ref().map(|relayed| relayed.refused)) {
            SessionState::Open => {}
            state @ SessionState::Abandoned => self.shared.sessions.discard(target, &asked.session, state),
            state @ (SessionState::Ended | SessionState::Doubted) => {
                self.shared.sessions.discard(target, &asked.session, state);
                asked.end();
                (asked, relayed) = self.relay_once(target, &body).await?;
            }
        }
        let relayed = relayed.inspect_err(|error| {
            // A request that timed out may still be running.
            if !matches!(error, UpstreamError::Timeout { .. }) {
                asked.end();
            }
        })?;
        let RelayedResponse { session_id, is_stream, refused, parts } = relayed;
        let answer = ResumableAnswer {
            shared: Arc::clone(&self.shared),
            asked,
            parts,
            place: None,
            retry: RETRY,
            resumed: 0,
            server_requests: 0,
            began: Instant::now(),
        };
        let parts = futures::stream::unfold(Some(answer), async |answer| answer?.next().await);
        Ok(RelayedResponse { session_id, is_stream, refused, parts: Box::pin(parts) })
    }

    async fn relay_once(
        &self,
        target: &Target,
        body: impl Fn(u64) -> Result<Outgoing, UpstreamError>,
    ) -> Result<(SessionRequest, Result<RelayedResponse, UpstreamError>), UpstreamError> {
        let session = self.session(target).await?;
        let number = self.next_id();
        let id = to_raw_value(&number).map_err(|error| UpstreamError::protocol(error.to_string()))?;
        let (headers, body) = (session.headers().clone(), Some(body(number)?));
        let transport = self.shared.transport.clone();
        let target = target.clone();
        let asked = SessionRequest { transport, target, session, id, is_under_way: AtomicBool::new(true) };
        let SessionRequest { transport, target, id, .. } = &asked;
        let timeouts = transport.timeouts(false);
        let relayed = transport.relay(Method::POST, target, headers, body, Some(id), timeouts).await;
        Ok((asked, relayed))
    }

    async fn session(&self, target: &Target) -> Result<Arc<Session>, UpstreamError> {
        self.in_time(target, self.shared.sessions.of(&self.shared.transport, target)).await
    }
}

/// Whether the session that a client's request named is over, by the answer that the request got. A 401 without a word of
/// the session is about the credential.
pub(crate) fn ends_session(answer: Result<Option<ErrorAnswer>, &UpstreamError>) -> bool {
    SessionState::by(answer) == SessionState::Ended
}

/// How long to wait before a stream is resumed, if the server does not say; and at most.
const RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(10);
/// How often one answer is resumed.
const MAX_RESUMED: u32 = 20;
/// A server that asks more often than this within one answer is not asking: so many times at once, and as many more each
/// ten seconds. Some ask each second or two whether we are still there.
const MAX_SERVER_REQUESTS: u32 = 20;
/// How long the server may take to hear an answer of ours. It may wait for it itself, before it goes on.
const TIME_TO_ANSWER: Duration = Duration::from_secs(5);
/// How long the server may take to hear that a request is given up.
const TIME_TO_CANCEL: Duration = Duration::from_secs(5);

/// The answer to a request in a session of ours. If the server closes the stream before the response, the stream is
/// resumed on the caller's behalf, since the caller cannot do it
/// ([2025-11-25, resumability](https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery)).
struct ResumableAnswer {
    shared: Arc<Shared>,
    asked: SessionRequest,
    parts: Parts,
    place: Option<HeaderValue>,
    retry: Duration,
    resumed: u32,
    server_requests: u32,
    began: Instant,
}

impl ResumableAnswer {
    /// The next part for the caller, and the remaining answer, if there is any.
    async fn next(mut self) -> Option<(Result<ServerEvent, UpstreamError>, Option<Self>)> {
        loop {
            match self.parts.next().await {
                Some(Ok(part)) => {
                    if let Some(id) = &part.event_id {
                        self.place = HeaderValue::from_str(id).ok();
                    }
                    if let Some(retry) = part.retry {
                        self.retry = Duration::from_millis(retry).min(MAX_RETRY);
                    }
                    match &part.said {
                        Some(said @ ServerMessage::Response(_)) => {
                            self.asked.end();
                            // It comes in the stream of a request, so the request may have been read.
                            if said.refusal().is_some_and(|refused| refused.is_about_session) {
                                let SessionRequest { target, session, .. } = &self.asked;
                                self.shared.sessions.discard(target, session, SessionState::Abandoned);
                            }
                            return Some((Ok(part), None));
                        }
                        // The caller cannot answer what the server asks in a session of ours.
                        Some(ServerMessage::Message(message)) if Message::asks(message) => {
                            self.server_requests += 1;
                            let tens = u32::try_from(self.began.elapsed().as_secs() / 10).unwrap_or(u32::MAX);
                            let allowed = MAX_SERVER_REQUESTS.saturating_mul(tens.saturating_add(1));
                            if self.server_requests > allowed {
                                let error =
                                    UpstreamError::protocol("one request from the server after another");
                                return Some((Err(error), None));
                            }
                            self.asked.refuse(message).await;
                        }
                        Some(ServerMessage::Message(_)) | None => return Some((Ok(part), Some(self))),
                    }
                }
                Some(Err(error)) => return Some((Err(error), None)),
                None => {
                    if let Err(error) = self.resume().await {
                        return Some((Err(error), None));
                    }
                }
            }
        }
    }

    async fn resume(&mut self) -> Result<(), UpstreamError> {
        let place = self.place.clone().filter(|_| self.resumed < MAX_RESUMED);
        let place = place.ok_or_else(UpstreamError::no_response)?;
        self.resumed += 1;
        tokio::time::sleep(self.retry).await;
        let SessionRequest { transport, target, session, id, .. } = &self.asked;
        let mut headers = session.headers().clone();
        headers.insert(LAST_EVENT_ID, place);
        let timeouts = transport.timeouts(false);
        self.parts = transport.relay(Method::GET, target, headers, None, Some(id), timeouts).await?.parts;
        Ok(())
    }
}

/// A request in a session of ours. If it is dropped before its response, the server gets a notification: in this
/// protocol a closed connection does not cancel a request
/// ([2025-11-25, cancellation](https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/cancellation)).
struct SessionRequest {
    transport: Transport,
    target: Target,
    session: Arc<Session>,
    id: Box<RawValue>,
    is_under_way: AtomicBool,
}

impl SessionRequest {
    fn end(&self) {
        self.is_under_way.store(false, Ordering::Relaxed);
    }

    async fn refuse(&self, request: &RawValue) {
        if let Ok(Message::Request { id, method }) = Message::parse(request.get().as_bytes()) {
            let headers = self.session.headers().clone();
            // Whether it arrives is the server's business: it is the one that waits.
            let told = self.transport.tell(&self.target, headers, refusal_of(id, &method));
            tokio::time::timeout(TIME_TO_ANSWER, told).await.ok();
        }
    }
}

impl Drop for SessionRequest {
    fn drop(&mut self) {
        if !self.is_under_way.load(Ordering::Relaxed) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let Self { transport, target, session, id, .. } = self;
        let (transport, target, headers) = (transport.clone(), target.clone(), session.headers().clone());
        let body = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#
        );
        runtime.spawn(async move {
            let told = transport.tell(&target, headers, body.into_bytes());
            tokio::time::timeout(TIME_TO_CANCEL, told).await.ok();
        });
    }
}

/// The revision that an `initialize` proposes.
fn proposed_version(initialize: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Proposal {
        params: Proposed,
    }
    #[derive(Deserialize)]
    struct Proposed {
        #[serde(rename = "protocolVersion")]
        version: String,
    }
    let Proposal { params: Proposed { version } } = serde_json::from_slice(initialize).ok()?;
    Some(version)
}

/// An `initialize` that proposes another revision.
fn proposing(initialize: &[u8], version: &str) -> Option<Vec<u8>> {
    type Fields = BTreeMap<String, Box<RawValue>>;
    let mut message: Fields = serde_json::from_slice(initialize).ok()?;
    let mut params: Fields = serde_json::from_str(message.get("params")?.get()).ok()?;
    params.insert("protocolVersion".to_owned(), to_raw_value(version).ok()?);
    message.insert("params".to_owned(), to_raw_value(&params).ok()?);
    serde_json::to_vec(&message).ok()
}

/// A `ping` is answered, as every peer must; anything else is a method that we do not have, which we did
/// not claim either.
fn refusal_of(id: &RawValue, method: &str) -> Vec<u8> {
    let answer = if method == "ping" {
        r#""result":{}"#.to_owned()
    } else {
        format!(r#""error":{{"code":{},"message":"Method not found"}}"#, code::METHOD_NOT_FOUND)
    };
    format!(r#"{{"jsonrpc":"2.0","id":{},{answer}}}"#, id.get()).into_bytes()
}
