//! The ways on which a client's message gets to a server: as it came, where both are of one era; in a session
//! of ours, for a stateless client at a handshake server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::value::RawValue;

use super::call::Errand;
use super::era::Era;
use super::events::refusal_of;
use super::message::{MODERN_VERSION, Message};
use super::param_headers::{ParamMismatch, encode};
use super::relay::{Part, Patience, Relayed, Said};
use super::session::{Session, cancel};
use super::transport::{METHOD, NAME, PROTOCOL_VERSION, SESSION_ID, Transport};
use super::{CallContext, Target, UpstreamClient, UpstreamError};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A client's message on its way to a modern server.
#[derive(Debug)]
pub struct ModernMessage<'a> {
    /// Its JSON-RPC method.
    pub method: &'a str,
    /// What it names: a tool, a prompt, a resource's URI.
    pub name: Option<&'a str>,
    /// The `Mcp-Param-*` headers that belong to it.
    pub param_headers: HeaderMap,
    /// The whole message.
    pub body: Vec<u8>,
    /// Its id, if it is a request.
    pub id: Option<&'a RawValue>,
}

/// A client's message on its way to a handshake server, in the client's own session.
#[derive(Debug)]
pub struct SessionMessage<'a> {
    /// The revision that the client and the server have agreed on.
    pub version: Option<&'a HeaderValue>,
    /// The server's session.
    pub session: Option<&'a HeaderValue>,
    /// The whole message. Without one, a stream is opened.
    pub body: Option<Vec<u8>>,
    /// Its id, if it is a request.
    pub id: Option<&'a RawValue>,
    /// Where to resume a stream.
    pub last_event_id: Option<&'a HeaderValue>,
}

impl UpstreamClient {
    /// The server's era, and whether it is a memory, which can be out of date.
    pub async fn era(&self, target: &Target) -> Result<(Era, bool), UpstreamError> {
        self.upstreams.eras.of(&self.upstreams.transport, target).await
    }

    /// Forgets the era, so that it is found out anew, if the server would hardly answer so in it.
    pub fn doubt(&self, target: &Target, era: Era, answer: Result<&Relayed, &UpstreamError>) -> bool {
        let doubtful = match answer {
            Ok(relayed) => relayed.refused.is_some_and(|refused| refused.casts_doubt_on(era)),
            Err(error) => error.casts_doubt_on(era),
        };
        if doubtful {
            self.upstreams.eras.forget(target, era);
        }
        doubtful
    }

    /// To a modern server, as it came.
    pub async fn relay_modern(
        &self,
        target: &Target,
        message: ModernMessage<'_>,
    ) -> Result<Relayed, UpstreamError> {
        let ModernMessage { method, name, param_headers, body, id } = message;
        let mut headers = param_headers;
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(MODERN_VERSION));
        headers.insert(METHOD, encode(method));
        if let Some(name) = name {
            headers.insert(NAME, encode(name));
        }
        let patience = self.patience(method == "subscriptions/listen");
        let transport = &self.upstreams.transport;
        transport.relay(Method::POST, target, headers, Some(body), id, patience).await
    }

    /// The `Mcp-Param-*` headers of a call whose client does not know of such.
    pub async fn param_headers(
        &self,
        target: &Target,
        tool: &str,
        arguments: &RawValue,
    ) -> Result<HeaderMap, UpstreamError> {
        let context = CallContext::default();
        let errand = Errand::new(target, &context);
        self.upstreams.in_time(target, self.upstreams.param_headers(&errand, tool, arguments)).await
    }

    /// Whether the `Mcp-Param-*` headers of a stateless client agree with its call of a handshake server's tool.
    pub async fn check_param_headers(
        &self,
        target: &Target,
        given: &HeaderMap,
        tool: &str,
        arguments: &RawValue,
    ) -> Result<Result<(), ParamMismatch>, UpstreamError> {
        let context = CallContext::default();
        let errand = Errand::new(target, &context);
        self.upstreams
            .in_time(target, self.upstreams.check_param_headers(&errand, given, tool, arguments))
            .await
    }

    /// To a handshake server, as it came, in the client's own session.
    pub async fn relay_in_session(
        &self,
        target: &Target,
        message: SessionMessage<'_>,
    ) -> Result<Relayed, UpstreamError> {
        let SessionMessage { version, session, body, id, last_event_id } = message;
        let mut headers = HeaderMap::with_capacity(8);
        for (name, value) in
            [(PROTOCOL_VERSION, version), (SESSION_ID, session), (LAST_EVENT_ID, last_event_id)]
        {
            headers.extend(value.map(|value| (name, value.clone())));
        }
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let patience = self.patience(body.is_none());
        self.upstreams.transport.relay(method, target, headers, body, id, patience).await
    }

    /// Ends the client's session at a handshake server, which may not allow it.
    pub async fn end_session(
        &self,
        target: &Target,
        version: Option<&HeaderValue>,
        session: &HeaderValue,
    ) -> Result<(), UpstreamError> {
        let mut headers = HeaderMap::with_capacity(4);
        headers.extend(version.map(|version| (PROTOCOL_VERSION, version.clone())));
        headers.insert(SESSION_ID, session.clone());
        let transport = &self.upstreams.transport;
        let ended = async {
            let response = transport.send(Method::DELETE, target, headers, None).await?;
            let status = response.status();
            if status.is_success() { Ok(()) } else { Err(UpstreamError::Status { status, sent: false }) }
        };
        self.upstreams.in_time(target, ended).await
    }

    /// The `InitializeResult` of the session that a stateless client's requests go through.
    pub async fn initialized(&self, target: &Target) -> Result<Box<RawValue>, UpstreamError> {
        let session = self.upstreams.sessions.of(&self.upstreams.transport, target);
        Ok(self.upstreams.in_time(target, session).await?.initialized().to_owned())
    }

    /// To a handshake server, in the credential's session, which is opened anew, once, if the server has
    /// ended it. `body` writes the request with the id that it gets.
    pub async fn relay_pooled(
        &self,
        target: &Target,
        body: impl Fn(&RawValue) -> Vec<u8>,
    ) -> Result<Relayed, UpstreamError> {
        let (mut asked, mut relayed) = self.upstreams.beside(self.relay_once(target, &body)).await?;
        if session_is_over(&asked.session, &relayed) {
            self.upstreams.sessions.discard(target, &asked.session);
            asked.end();
            (asked, relayed) = self.relay_once(target, &body).await?;
        }
        let relayed = relayed.inspect_err(|error| {
            // One that is late may still be at work.
            if !matches!(error, UpstreamError::Timeout { .. }) {
                asked.end();
            }
        })?;
        let Relayed { session_id, is_stream, refused, parts } = relayed;
        let answer =
            Answer { asked, parts, place: None, retry: RETRY, resumed: 0, patience: self.patience(false) };
        let parts = futures::stream::unfold(Some(answer), async |answer| answer?.next().await);
        Ok(Relayed { session_id, is_stream, refused, parts: Box::pin(parts) })
    }

    async fn relay_once(
        &self,
        target: &Target,
        body: impl Fn(&RawValue) -> Vec<u8>,
    ) -> Result<(Asked, Result<Relayed, UpstreamError>), UpstreamError> {
        let transport = &self.upstreams.transport;
        let session = self.upstreams.in_time(target, self.upstreams.sessions.of(transport, target)).await?;
        let number = self.upstreams.next_id();
        let id = serde_json::value::to_raw_value(&number)
            .map_err(|error| UpstreamError::protocol(error.to_string()))?;
        let (headers, body) = (session.headers().clone(), Some(body(&id)));
        let asked = Asked {
            transport: transport.clone(),
            target: target.clone(),
            session,
            id: number,
            is_under_way: AtomicBool::new(true),
        };
        let relayed =
            transport.relay(Method::POST, target, headers, body, Some(&id), self.patience(false)).await;
        Ok((asked, relayed))
    }

    fn patience(&self, notifications: bool) -> Patience {
        let config = self.upstreams.config();
        if notifications {
            Patience { idle: config.stream_idle_timeout, total: config.stream_total_timeout }
        } else {
            Patience { idle: config.idle_timeout, total: config.total_timeout }
        }
    }
}

/// Whether the answer says that the session is no more, before the request was looked at.
fn session_is_over(session: &Session, relayed: &Result<Relayed, UpstreamError>) -> bool {
    session.headers().contains_key(SESSION_ID)
        && match relayed {
            Err(UpstreamError::Status { status, .. }) => *status == StatusCode::NOT_FOUND,
            Ok(Relayed { refused: Some(refused), .. }) => match refused.status {
                StatusCode::NOT_FOUND => true,
                // What the reference servers answer to an id that they don't know.
                StatusCode::BAD_REQUEST => !refused.names_request,
                _ => false,
            },
            _ => false,
        }
}

/// How long to wait before a stream is resumed, if the server does not say; and at most.
const RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(10);
/// How often one answer is resumed.
const MAX_RESUMED: u32 = 20;

/// The answer to a request in a session of ours. A stream that the server closes before the response is resumed,
/// for a client that cannot
/// ([2025-11-25, resumability](https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery)).
struct Answer {
    asked: Asked,
    parts: super::relay::Parts,
    place: Option<HeaderValue>,
    retry: Duration,
    resumed: u32,
    patience: Patience,
}

impl Answer {
    /// The next part that is for the client, and the rest, if there is any.
    async fn next(mut self) -> Option<(Result<Part, UpstreamError>, Option<Self>)> {
        loop {
            match self.parts.next().await {
                Some(Ok(part)) => {
                    if let Some(id) = &part.event_id {
                        self.place = HeaderValue::from_str(id).ok();
                    }
                    if let Some(retry) = part.retry {
                        self.retry = Duration::from_millis(retry).min(MAX_RETRY);
                    }
                    let over = matches!(part.said, Some(Said::Response(_)));
                    // What a server asks in a session of ours, nobody can answer.
                    if let Some(part) = self.asked.hear(part).await {
                        return Some((Ok(part), (!over).then_some(self)));
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
        let Asked { transport, target, session, id, .. } = &self.asked;
        let mut headers = session.headers().clone();
        headers.insert(LAST_EVENT_ID, place);
        let id = serde_json::value::to_raw_value(id)
            .map_err(|error| UpstreamError::protocol(error.to_string()))?;
        let relayed = transport.relay(Method::GET, target, headers, None, Some(&id), self.patience);
        self.parts = relayed.await?.parts;
        Ok(())
    }
}

/// A request in a session of ours. If it is dropped before its response, the server is told.
struct Asked {
    transport: Transport,
    target: Target,
    session: Arc<Session>,
    id: u64,
    is_under_way: AtomicBool,
}

impl Asked {
    fn end(&self) {
        self.is_under_way.store(false, Ordering::Relaxed);
    }

    /// Lets everything pass but the server's requests, which are refused.
    async fn hear(&self, part: Part) -> Option<Part> {
        match &part.said {
            Some(Said::Response(_)) => self.end(),
            Some(Said::Message(message)) => {
                if let Ok(Message::Request { id, method }) = Message::parse(message.get().as_bytes()) {
                    let headers = self.session.headers().clone();
                    // Whether it arrives is the server's business: it is the one that waits.
                    self.transport.tell(&self.target, headers, refusal_of(id, &method)).await.ok();
                    return None;
                }
            }
            None => {}
        }
        Some(part)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.is_under_way.load(Ordering::Relaxed) {
            cancel(&self.transport, &self.target, self.session.headers(), self.id);
        }
    }
}
