//! Passing a client's message on to a server, and what the server says back as it comes.
//!
//! Nothing that is not ours to change is touched: parameters, results, errors and notifications travel as
//! their own bytes, and so do the event ids by which a handshake client resumes a stream.

use std::pin::Pin;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use sse_stream::SseByteStream;
use tokio::time::Instant;

use super::body::BodyFailure;
use super::events::failure;
use super::message::Message;
use super::transport::{AnswerKind, MAX_ERROR_BYTES, SESSION_ID, Transport};
use super::{Target, UpstreamError};

/// One thing that a server says.
#[derive(Debug)]
pub struct Part {
    /// What it says; an event without data says only where in the stream it is.
    pub said: Option<Said>,
    /// The event's id (`Last-Event-ID` of a resumption).
    pub event_id: Option<String>,
    /// How many milliseconds to wait before resuming.
    pub retry: Option<u64>,
}

/// What a server says.
#[derive(Debug)]
pub enum Said {
    /// A notification, or a request of the server's, as its own bytes; on a stream that belongs to no request,
    /// the response to one too.
    Message(Box<RawValue>),
    /// The response to the client's request.
    Response(Reply),
}

/// A response's result or error, as its own bytes.
#[derive(Debug)]
pub struct Reply {
    /// The result, or the error.
    pub outcome: Result<Box<RawValue>, ReplyError>,
    /// The HTTP status that it came with.
    pub status: StatusCode,
}

/// A JSON-RPC error.
#[derive(Debug)]
pub struct ReplyError {
    /// The error's code.
    pub code: i64,
    /// The whole error object.
    pub error: Box<RawValue>,
    /// Whether it names our request. If not, the server did not get to reading its id.
    names_request: bool,
}

/// An error that is all of an answer: the server has refused the request.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// The error's code.
    pub code: i64,
    /// The HTTP status that it came with.
    pub status: StatusCode,
    /// Whether it names our request. If not, the server did not get to reading its id.
    pub(super) names_request: bool,
}

pub(super) type Parts = Pin<Box<dyn Stream<Item = Result<Part, UpstreamError>> + Send>>;

/// An answer on its way.
pub struct Relayed {
    /// The session that the server has just opened.
    pub session_id: Option<HeaderValue>,
    /// Whether it comes as events. Otherwise there is one part, or none where nothing was asked.
    pub is_stream: bool,
    /// The error that is the one part.
    pub refused: Option<Refused>,
    /// What the server says, in order.
    pub parts: Parts,
}

impl std::fmt::Debug for Relayed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relayed").field("is_stream", &self.is_stream).finish_non_exhaustive()
    }
}

/// How long a stream may be silent, and last.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub(super) idle: std::time::Duration,
    pub(super) total: std::time::Duration,
}

impl Transport {
    /// Sends a message, or opens a stream with `GET`, and gives what comes back as it comes. `id` is the
    /// request's; without one nothing is asked. An error says that the request may have been taken.
    pub(super) async fn relay(
        &self,
        method: Method,
        target: &Target,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
        id: Option<&RawValue>,
        patience: Patience,
    ) -> Result<Relayed, UpstreamError> {
        let relayed = self.relay_message(method, target, headers, body, id, patience).await;
        relayed.map_err(|error| error.while_calling(id.is_some()))
    }

    async fn relay_message(
        &self,
        method: Method,
        target: &Target,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
        id: Option<&RawValue>,
        patience: Patience,
    ) -> Result<Relayed, UpstreamError> {
        let until = Instant::now() + target.journey.at_most(patience.total);
        let sent = self.send(method, target, headers, body);
        let late = || UpstreamError::Timeout { waiting_for: "an answer", sent: false };
        let response = tokio::time::timeout_at(until, sent).await.map_err(|_| late())??;
        let status = response.status();
        let session_id = response.headers().get(SESSION_ID).cloned();
        let kind = AnswerKind::of(response.headers());
        if matches!((status, &kind), (StatusCode::OK, Some(AnswerKind::Events))) {
            let chunks = Self::body_within(response, self.config.max_response_bytes, patience.idle)?;
            let parts = Box::pin(parts(chunks.into_chunks(), id.map(ToOwned::to_owned), until));
            return Ok(Relayed { session_id, is_stream: true, refused: None, parts });
        }
        let limit = if status.is_success() { self.config.max_response_bytes } else { MAX_ERROR_BYTES };
        let text = Self::body_within(response, limit, patience.idle)?.collect();
        let text = tokio::time::timeout_at(until, text).await.map_err(|_| late())?;
        if id.is_none() {
            // Nothing was asked, so what it says does not matter.
            if !status.is_success() {
                return Err(UpstreamError::Status { status, sent: false });
            }
            let parts = Box::pin(stream::empty());
            return Ok(Relayed { session_id, is_stream: false, refused: None, parts });
        }
        let said = match (status, kind) {
            (StatusCode::OK, Some(AnswerKind::Json)) => said(&text?, id, status)?,
            (StatusCode::OK, _) => return Err(UpstreamError::protocol("neither JSON nor events")),
            (status, _) if status.is_success() => {
                return Err(UpstreamError::protocol(format!("HTTP {status} to a request")));
            }
            (status, _) if id.is_none() => return Err(UpstreamError::Status { status, sent: false }),
            (status, _) => {
                let said = text.ok().and_then(|text| said(&text, id, status).ok());
                said.filter(|said| refusal(said).is_some())
                    .ok_or(UpstreamError::Status { status, sent: false })?
            }
        };
        let refused = refusal(&said);
        let part = Part { said: Some(said), event_id: None, retry: None };
        Ok(Relayed { session_id, is_stream: false, refused, parts: Box::pin(stream::iter([Ok(part)])) })
    }
}

fn refusal(said: &Said) -> Option<Refused> {
    match said {
        Said::Response(Reply { outcome: Err(ReplyError { code, names_request, .. }), status }) => {
            Some(Refused { code: *code, status: *status, names_request: *names_request })
        }
        _ => None,
    }
}

/// The events of a stream as parts, up to the response, the end, or the time that it has. One that could be
/// resumed may end without the response.
pub(super) fn parts(
    chunks: impl Stream<Item = Result<Bytes, BodyFailure>> + Send + 'static,
    id: Option<Box<RawValue>>,
    until: Instant,
) -> impl Stream<Item = Result<Part, UpstreamError>> + Send {
    let events = SseByteStream::new(Box::pin(chunks));
    let state = Some((events, id, false));
    stream::try_unfold(state, move |state| async move {
        let Some((mut events, id, resumable)) = state else { return Ok(None) };
        let late = UpstreamError::Timeout { waiting_for: "the end of a stream", sent: false };
        let next = tokio::time::timeout_at(until, events.next()).await.map_err(|_| late)?;
        let Some(event) = next else {
            // A server that has given event ids may close a connection and go on when it is asked to.
            return match id {
                Some(_) if !resumable => Err(UpstreamError::protocol("the events ended without a response")),
                _ => Ok(None),
            };
        };
        let event = event.map_err(failure)?;
        let data = event.data.filter(|data| !data.is_empty());
        let said = match &data {
            Some(data) => Some(said(data.as_bytes(), id.as_deref(), StatusCode::OK)?),
            None => None,
        };
        let over = matches!(said, Some(Said::Response(_)));
        let resumable = resumable || event.id.is_some();
        let part = Part { said, event_id: event.id, retry: event.retry };
        if over {
            super::events::drain(events);
            return Ok(Some((part, None)));
        }
        Ok(Some((part, Some((events, id, resumable)))))
    })
}

#[derive(Deserialize)]
struct WithError<'a> {
    #[serde(borrow)]
    error: &'a RawValue,
}

/// What a text says to whoever asked with `id`.
pub(super) fn said(text: &[u8], id: Option<&RawValue>, status: StatusCode) -> Result<Said, UpstreamError> {
    let ours = |theirs: &RawValue| id.is_some_and(|id| is_same(id, theirs));
    match Message::parse(text)? {
        // On a stream that belongs to no request, all of it is the client's to understand.
        Message::Response { .. } | Message::Error(..) if id.is_none() && status == StatusCode::OK => {
            message(text)
        }
        Message::Response { id: theirs, result } if ours(theirs) => {
            Ok(Said::Response(Reply { outcome: Ok(result.to_owned()), status }))
        }
        // Some servers name no id, or one of their own, where they refuse a request unread.
        Message::Error(error, theirs) if theirs.is_none_or(|theirs| ours(theirs) || !status.is_success()) => {
            let whole: WithError<'_> = serde_json::from_slice(text)
                .map_err(|error| UpstreamError::protocol(format!("no JSON-RPC message: {error}")))?;
            let names_request = theirs.is_some_and(ours);
            let error = ReplyError { code: error.code, error: whole.error.to_owned(), names_request };
            Ok(Said::Response(Reply { outcome: Err(error), status }))
        }
        Message::Response { .. } | Message::Error(..) => {
            Err(UpstreamError::protocol("the response to another request"))
        }
        Message::Notification | Message::Request { .. } => message(text),
    }
}

/// Whether two ids are the same; text can be written in many ways.
fn is_same(ours: &RawValue, theirs: &RawValue) -> bool {
    let text = |id: &RawValue| serde_json::from_str::<String>(id.get()).ok();
    ours.get() == theirs.get() || text(ours).is_some_and(|ours| text(theirs) == Some(ours))
}

fn message(text: &[u8]) -> Result<Said, UpstreamError> {
    let text = std::str::from_utf8(text).map_err(|_| UpstreamError::protocol("a message that is no text"))?;
    let message = serde_json::from_str::<&RawValue>(text)
        .map_err(|error| UpstreamError::protocol(format!("no JSON: {error}")))?;
    Ok(Said::Message(message.to_owned()))
}
