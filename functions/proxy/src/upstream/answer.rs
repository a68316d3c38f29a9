//! What a server says, as it comes.
//!
//! Parameters, results, errors and notifications keep their bytes, and so do the event ids by which a handshake client
//! resumes a stream.

use std::fmt;
use std::pin::Pin;

use deputize_core::in_flight::TakenRoom;
use futures::{Stream, StreamExt, stream};
use http::{HeaderValue, StatusCode};
use serde_json::Value;
use serde_json::value::RawValue;

use super::UpstreamError;
use super::error::code;
use super::message::{Message, RpcError, bare};
use super::said::{is_about_session, is_about_version};

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
    /// The room that it takes in this process.
    pub room: Option<TakenRoom>,
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
    /// Whether its words are about a session.
    pub(super) is_about_session: bool,
    /// Whether its words are about a revision of the protocol.
    is_about_version: bool,
}

impl ErrorAnswer {
    /// Whether an `initialize` may have been refused for the revision that it proposes.
    pub(super) fn is_about_version(&self) -> bool {
        self.is_about_version
            || self.status == StatusCode::BAD_REQUEST
            || matches!(self.code, code::INVALID_PARAMS | code::UNSUPPORTED_PROTOCOL_VERSION)
    }
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
        let text = bare(text);
        let ours = |theirs: &RawValue| id.is_some_and(|id| is_same(id, theirs));
        match Message::parse(text)? {
            // On a stream that belongs to no request, all of it is the client's to understand.
            Message::Response { .. } | Message::Error { .. } if id.is_none() && status.is_success() => {
                message(text)
            }
            Message::Response { id: theirs, result } if ours(theirs) => {
                Ok(Self::Response(Reply { outcome: Ok(result.to_owned()), status, room: None }))
            }
            // Some servers refuse a request unread. Their error then has no id, or an id of their own.
            Message::Error { id: theirs, code, error }
                if theirs.is_none_or(|theirs| ours(theirs) || !status.is_success()) =>
            {
                let names_request = theirs.is_some_and(ours);
                let error = ReplyError { code, error: error.to_owned(), names_request };
                Ok(Self::Response(Reply { outcome: Err(error), status, room: None }))
            }
            Message::Response { .. } | Message::Error { .. } => {
                Err(UpstreamError::protocol("the response to another request"))
            }
            Message::Notification | Message::Request { .. } => message(text),
        }
    }

    /// With the room that it takes.
    pub(super) fn in_room(self, room: TakenRoom) -> Self {
        match self {
            Self::Response(reply) => Self::Response(Reply { room: Some(room), ..reply }),
            message @ Self::Message(_) => message,
        }
    }

    pub(super) fn refusal(&self) -> Option<ErrorAnswer> {
        match self {
            Self::Response(Reply { outcome: Err(error), status, .. }) => {
                let words = error.read().message;
                Some(ErrorAnswer {
                    code: error.code,
                    status: *status,
                    names_request: error.names_request,
                    is_about_session: is_about_session(&words),
                    is_about_version: is_about_version(&words),
                })
            }
            _ => None,
        }
    }
}

impl Reply {
    /// The result, or the server's error as an [`UpstreamError`].
    pub(super) fn into_result(self) -> Result<Box<RawValue>, UpstreamError> {
        let Self { outcome, status, .. } = self;
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

/// Whether two ids are the same. Text can be written in many ways, and servers exist that make text of a number, or a
/// number of text ([rust-sdk#1021](https://github.com/modelcontextprotocol/rust-sdk/pull/1021),
/// [python-sdk#961](https://github.com/modelcontextprotocol/python-sdk/issues/961)). One exchange has one request, so no
/// other can be meant.
fn is_same(ours: &RawValue, theirs: &RawValue) -> bool {
    ours.get() == theirs.get() || plain(ours).is_some_and(|ours| plain(theirs) == Some(ours))
}

/// What an id says, whatever it is written as.
fn plain(id: &RawValue) -> Option<String> {
    match serde_json::from_str(id.get()).ok()? {
        Value::String(text) => Some(text),
        // `7.0`, which a parser has made of `7`.
        Value::Number(number) => Some(number.to_string().trim_end_matches(".0").to_owned()),
        _ => None,
    }
}

fn message(text: &[u8]) -> Result<ServerMessage, UpstreamError> {
    let message = serde_json::from_slice::<&RawValue>(text)
        .map_err(|error| UpstreamError::unread("no JSON", &error))?;
    Ok(ServerMessage::Message(message.to_owned()))
}
