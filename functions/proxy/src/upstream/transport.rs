//! One HTTP exchange: a JSON-RPC request goes out as a POST, its response comes back as a JSON object
//! or at the end of a stream of events
//! ([Streamable HTTP](https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http)).

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use deputize_service::{address::refusal_in, lazy::LazyClient};
use futures::Stream;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::value::RawValue;

use super::body::BoundedBody;
use super::error::code;
use super::events;
use super::message::{Message, RpcError};
use super::{Target, UpstreamConfig, UpstreamError};

pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
pub(super) const NAME: HeaderName = HeaderName::from_static("mcp-name");

const BOTH_ANSWERS: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Header fields of one answer. Their bytes are bounded by hyper's read buffer (about 400 KiB).
const MAX_HEADERS: usize = 100;
/// An HTTP error's body is read for its JSON-RPC error, which is short.
pub(super) const MAX_ERROR_BYTES: usize = 64 * 1024;
const MAX_CHALLENGE_BYTES: usize = 4 * 1024;

#[derive(Clone)]
pub(super) struct Transport {
    http: LazyClient,
    pub(super) config: Arc<UpstreamConfig>,
}

/// Where messages go that arrive before the response.
#[derive(Clone, Copy)]
pub(super) struct Listener<'a> {
    pub(super) notifications: Option<&'a tokio::sync::mpsc::Sender<Box<RawValue>>>,
    /// The headers of the session in which a server's request is to be refused. Modern servers make no
    /// requests, and are not sent responses.
    pub(super) refuse_with: Option<&'a HeaderMap>,
}

impl Listener<'_> {
    pub(super) const NOBODY: Self = Self { notifications: None, refuse_with: None };
}

/// The response to a request.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) status: StatusCode,
    pub(super) session_id: Option<HeaderValue>,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Result(Box<RawValue>),
    Error {
        error: RpcError,
        /// Whether it names our request. If not, the server did not get to reading its id.
        names_request: bool,
    },
}

impl Exchange {
    pub(super) fn into_result(self) -> Result<Box<RawValue>, UpstreamError> {
        let Self { status, outcome, .. } = self;
        match outcome {
            Outcome::Result(result) => Ok(result),
            Outcome::Error { error: RpcError { code, message, data }, .. } => Err(match code {
                code::INVALID_PARAMS => UpstreamError::InvalidParams { message, data, status },
                _ => UpstreamError::JsonRpc { code, message, data, status, sent: false },
            }),
        }
    }
}

impl Transport {
    pub(super) fn new(config: Arc<UpstreamConfig>) -> Self {
        let UpstreamConfig { addresses, connect_timeout, keep_alive, .. } = *config;
        let http = LazyClient::guarded(addresses, move |client| {
            client
                .connect_timeout(connect_timeout)
                .pool_idle_timeout(keep_alive)
                .http1_max_headers(MAX_HEADERS)
        });
        Self { http, config }
    }

    /// Sets up TLS. If that fails, the first call says so.
    pub(super) fn prepare(&self) {
        let _ = self.http.get();
    }

    fn client(&self) -> Result<&reqwest::Client, UpstreamError> {
        self.http.get().map_err(|error| UpstreamError::Unreachable(error.into()))
    }

    /// Sends the request `id` and waits for its response. An HTTP error with a JSON-RPC error in its body
    /// counts as a response.
    pub(super) async fn exchange(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: Vec<u8>,
        id: u64,
        listener: Listener<'_>,
    ) -> Result<Exchange, UpstreamError> {
        let response = self.post(target, headers, body).await?;
        let status = response.status();
        let session_id = response.headers().get(SESSION_ID).cloned();
        let kind = AnswerKind::of(response.headers());
        let outcome = match (status, kind) {
            (StatusCode::OK, Some(AnswerKind::Json)) => {
                let text = self.body(response, self.config.max_response_bytes)?.collect().await?;
                outcome_of(&text, id, status)?
            }
            (StatusCode::OK, Some(AnswerKind::Events)) => {
                let body = self.body(response, self.config.max_response_bytes)?;
                events::until_response(body.into_chunks(), id, |message| self.hear(target, listener, message))
                    .await?
            }
            (StatusCode::OK, None) => return Err(UpstreamError::protocol("neither JSON nor events")),
            (status, _) if status.is_success() => {
                return Err(UpstreamError::protocol(format!("HTTP {status} to a request")));
            }
            (status, _) => {
                let text = self.body(response, MAX_ERROR_BYTES)?.collect().await;
                text.ok()
                    .and_then(|text| outcome_of(&text, id, status).ok())
                    .filter(|outcome| matches!(outcome, Outcome::Error { .. }))
                    .ok_or(UpstreamError::Status { status, sent: false })?
            }
        };
        Ok(Exchange { status, session_id, outcome })
    }

    /// Sends a notification or response, to which there is no response.
    pub(super) async fn tell(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<(), UpstreamError> {
        let response = self.post(target, headers, body).await?;
        let status = response.status();
        // Read to its end, and the connection can be used again; a stream might have none.
        if !matches!(AnswerKind::of(response.headers()), Some(AnswerKind::Events)) {
            self.body(response, MAX_ERROR_BYTES)?.collect().await.ok();
        }
        if status.is_success() { Ok(()) } else { Err(UpstreamError::Status { status, sent: false }) }
    }

    /// Posts, and turns the statuses that end everything into errors.
    async fn post(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<reqwest::Response, UpstreamError> {
        self.send(http::Method::POST, target, headers, Some(body)).await
    }

    pub(super) async fn send(
        &self,
        method: http::Method,
        target: &Target,
        mut headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<reqwest::Response, UpstreamError> {
        self.config.addresses.check_url(&target.url)?;
        if body.is_some() {
            headers.insert(ACCEPT, BOTH_ANSWERS);
            headers.insert(CONTENT_TYPE, JSON);
        } else {
            headers.insert(ACCEPT, EVENTS);
        }
        if let Some(authorization) = &target.authorization {
            let header = authorization.header();
            let (name, value) =
                header.ok_or_else(|| UpstreamError::protocol("the credential is not fit for a header"))?;
            headers.insert(name, value);
        }
        target.journey.add_to(&mut headers);
        let mut request = reqwest::Request::new(method, target.url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(Into::into);
        let client = self.client()?;
        let began = Instant::now();
        let response = client.execute(request).await;
        target.journey.measured.waited_upstream(began.elapsed());
        let response = response.map_err(unsent_or_interrupted)?;
        match response.status() {
            StatusCode::UNAUTHORIZED => {
                Err(UpstreamError::Unauthorized { www_authenticate: challenge(response.headers()) })
            }
            StatusCode::FORBIDDEN => {
                Err(UpstreamError::Forbidden { www_authenticate: challenge(response.headers()) })
            }
            status if status.is_redirection() => Err(UpstreamError::Redirected { status }),
            _ => Ok(response),
        }
    }

    fn body(
        &self,
        response: reqwest::Response,
        max_bytes: usize,
    ) -> Result<BoundedBody<impl Stream<Item = reqwest::Result<Bytes>> + Unpin + Send + use<>>, UpstreamError>
    {
        Self::body_within(response, max_bytes, self.config.idle_timeout)
    }

    pub(super) fn body_within(
        response: reqwest::Response,
        max_bytes: usize,
        idle: std::time::Duration,
    ) -> Result<BoundedBody<impl Stream<Item = reqwest::Result<Bytes>> + Unpin + Send + use<>>, UpstreamError>
    {
        let announced = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if announced.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > max_bytes) {
            return Err(UpstreamError::too_large(format!("{max_bytes} bytes")));
        }
        Ok(BoundedBody::new(Box::pin(response.bytes_stream()), max_bytes, idle))
    }

    /// Deals with what a server says before its response: notifications are handed on, requests refused.
    async fn hear(
        &self,
        target: &Target,
        listener: Listener<'_>,
        message: events::Interjection,
    ) -> Result<(), UpstreamError> {
        match (message, listener.refuse_with) {
            (events::Interjection::Notification(notification), _) => {
                if let Some(receiver) = listener.notifications {
                    receiver.send(notification).await.ok();
                }
                Ok(())
            }
            (events::Interjection::Request(reply), Some(session)) => {
                // Whether it arrives is the server's business: it is the one that waits.
                self.tell(target, session.clone(), reply).await.ok();
                Ok(())
            }
            (events::Interjection::Request(_), None) => {
                Err(UpstreamError::protocol("a request from the server in place of a response"))
            }
        }
    }
}

pub(super) enum AnswerKind {
    Json,
    Events,
}

impl AnswerKind {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = value.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") {
            Some(Self::Json)
        } else if essence.eq_ignore_ascii_case("text/event-stream") {
            Some(Self::Events)
        } else {
            None
        }
    }
}

/// The outcome in a body that is one message.
fn outcome_of(text: &[u8], id: u64, status: StatusCode) -> Result<Outcome, UpstreamError> {
    match Message::parse(text)? {
        Message::Response { id: theirs, result } if is_id(theirs, id) => {
            Ok(Outcome::Result(result.to_owned()))
        }
        Message::Error(error, Some(theirs)) if is_id(theirs, id) => {
            Ok(Outcome::Error { error, names_request: true })
        }
        Message::Error(error, None) => Ok(Outcome::Error { error, names_request: false }),
        // Some servers echo an id that they made up when they refuse a request unread.
        Message::Error(error, Some(_)) if !status.is_success() => {
            Ok(Outcome::Error { error, names_request: false })
        }
        Message::Response { .. } | Message::Error(..) => {
            Err(UpstreamError::protocol("the response to another request"))
        }
        Message::Notification | Message::Request { .. } => {
            Err(UpstreamError::protocol("a message in place of a response"))
        }
    }
}

/// We number our requests, and a number is what must come back.
pub(super) fn is_id(theirs: &RawValue, ours: u64) -> bool {
    theirs.get().parse() == Ok(ours)
}

fn challenge(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(WWW_AUTHENTICATE)?.to_str().ok()?;
    (value.len() <= MAX_CHALLENGE_BYTES).then(|| value.to_owned())
}

/// An error from before there was a connection, or from after. The URL is taken out of it.
fn unsent_or_interrupted(error: reqwest::Error) -> UpstreamError {
    if let Some(refusal) = refusal_in(&error) {
        return refusal.into();
    }
    if !error.is_connect() {
        return UpstreamError::Interrupted { sent: false, source: error.without_url().into() };
    }
    if error.is_timeout() {
        return UpstreamError::Timeout { waiting_for: "a connection", sent: false };
    }
    UpstreamError::Unreachable(error.without_url().into())
}
