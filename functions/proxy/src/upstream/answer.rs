//! What a server says, as it comes.
//!
//! Parameters, results, errors and notifications keep their bytes, and so do the event ids by which a handshake client
//! resumes a stream.

use std::fmt;
use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use http::{HeaderValue, StatusCode};
use serde_json::value::RawValue;

use super::UpstreamError;
use super::error::code;
use super::message::{Message, RpcError};

/// One thing that a server says.
#[derive(Debug)]
pub struct ServerEvent {
    /// What it says. An event without data only marks a place in the stream.
    pub said: Option<ServerMessage>,
    /// The event's id (`Last-Event-ID` of a resumption).
    pub event_id: Option<String>,
    /// How many milliseconds to wait before resuming.
    pub retry: Option<u64>,
}

impl ServerEvent {
    /// Says nothing, and marks no place in a stream.
    pub const NOWHERE: Self = Self { said: None, event_id: None, retry: None };
}

/// What a server says.
#[derive(Debug)]
pub enum ServerMessage {
    /// A notification, or a request from the server, with its own bytes. On a stream that belongs to no request, the
    /// response to a request is a message too.
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
    /// Whether it names our request. If not, the server refused the request before it read the id.
    names_request: bool,
}

/// An error that is the whole answer: the server has refused the request.
#[derive(Clone, Copy, Debug)]
pub struct ErrorAnswer {
    /// The error's code.
    pub code: i64,
    /// The HTTP status that it came with.
    pub status: StatusCode,
    /// Whether it names our request. If not, the server refused the request before it read the id.
    pub(super) names_request: bool,
}

pub(super) type Parts = Pin<Box<dyn Stream<Item = Result<ServerEvent, UpstreamError>> + Send>>;

/// An answer on its way.
pub struct RelayedResponse {
    /// The session that the server has just opened.
    pub session_id: Option<HeaderValue>,
    /// Whether it comes as events. Otherwise there is one part, or none if nothing was asked.
    pub is_stream: bool,
    /// The error, if the one part is an error.
    pub refused: Option<ErrorAnswer>,
    /// What the server says, in order.
    pub parts: Parts,
}

impl fmt::Debug for RelayedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayedResponse").field("is_stream", &self.is_stream).finish_non_exhaustive()
    }
}

impl RelayedResponse {
    /// An answer that is one message, and is complete at once.
    pub(crate) fn whole(session_id: Option<HeaderValue>, said: ServerMessage) -> Self {
        let refused = said.refusal();
        let part = ServerEvent { said: Some(said), ..ServerEvent::NOWHERE };
        Self { session_id, is_stream: false, refused, parts: Box::pin(stream::iter([Ok(part)])) }
    }

    /// The answer to a message that asks for nothing.
    pub(super) fn nothing(session_id: Option<HeaderValue>) -> Self {
        Self { session_id, is_stream: false, refused: None, parts: Box::pin(stream::empty()) }
    }

    /// Waits for the response. Notifications that come before it are skipped, since they are meant for a client that
    /// listens. A request from the server is an error, since the caller cannot answer it.
    pub(crate) async fn response(mut self) -> Result<Reply, UpstreamError> {
        while let Some(part) = self.parts.next().await {
            match part?.said {
                Some(ServerMessage::Response(reply)) => return Ok(reply),
                Some(ServerMessage::Message(message)) if Message::asks(&message) => {
                    return Err(UpstreamError::protocol("a request from the server in place of a response"));
                }
                Some(ServerMessage::Message(_)) | None => {}
            }
        }
        Err(UpstreamError::no_response())
    }
}

impl ServerMessage {
    /// What a text says to the client that sent the request `id`.
    pub(super) fn read(
        text: &[u8],
        id: Option<&RawValue>,
        status: StatusCode,
    ) -> Result<Self, UpstreamError> {
        let ours = |theirs: &RawValue| id.is_some_and(|id| is_same(id, theirs));
        match Message::parse(text)? {
            // A stream that belongs to no request is for the client to interpret.
            Message::Response { .. } | Message::Error { .. } if id.is_none() && status == StatusCode::OK => {
                message(text)
            }
            Message::Response { id: theirs, result } if ours(theirs) => {
                Ok(Self::Response(Reply { outcome: Ok(result.to_owned()), status }))
            }
            // Some servers refuse a request unread. Their error then has no id, or an id of their own.
            Message::Error { id: theirs, code, error }
                if theirs.is_none_or(|theirs| ours(theirs) || !status.is_success()) =>
            {
                let names_request = theirs.is_some_and(ours);
                let error = ReplyError { code, error: error.to_owned(), names_request };
                Ok(Self::Response(Reply { outcome: Err(error), status }))
            }
            Message::Response { .. } | Message::Error { .. } => {
                Err(UpstreamError::protocol("the response to another request"))
            }
            Message::Notification | Message::Request { .. } => message(text),
        }
    }

    pub(super) fn refusal(&self) -> Option<ErrorAnswer> {
        match self {
            Self::Response(Reply { outcome: Err(ReplyError { code, names_request, .. }), status }) => {
                Some(ErrorAnswer { code: *code, status: *status, names_request: *names_request })
            }
            _ => None,
        }
    }
}

impl Reply {
    /// The result, or the server's error as an [`UpstreamError`].
    pub(super) fn into_result(self) -> Result<Box<RawValue>, UpstreamError> {
        let Self { outcome, status } = self;
        outcome.map_err(|error| {
            let RpcError { code, message, data } = error.read();
            match code {
                code::INVALID_PARAMS => UpstreamError::InvalidParams { message, data, status },
                _ => UpstreamError::JsonRpc { code, message, data, status, sent: false },
            }
        })
    }
}

impl ReplyError {
    pub(super) fn read(&self) -> RpcError {
        let unread = RpcError { code: self.code, message: String::new(), data: None };
        serde_json::from_str(self.error.get()).unwrap_or(unread)
    }
}

/// Whether two ids are the same. The same text can be written in several ways.
fn is_same(ours: &RawValue, theirs: &RawValue) -> bool {
    let text = |id: &RawValue| serde_json::from_str::<String>(id.get()).ok();
    ours.get() == theirs.get() || text(ours).is_some_and(|ours| text(theirs) == Some(ours))
}

fn message(text: &[u8]) -> Result<ServerMessage, UpstreamError> {
    let message = serde_json::from_slice::<&RawValue>(text)
        .map_err(|error| UpstreamError::protocol(format!("no JSON: {error}")))?;
    Ok(ServerMessage::Message(message.to_owned()))
}
