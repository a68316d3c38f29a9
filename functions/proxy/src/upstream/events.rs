//! Answers as server-sent events: the response is one of them, and others may come before it.
//!
//! Event ids and `retry` are ignored, since a stream is not resumed: the stateless revision does not know
//! it, and a call whose stream broke may have run.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt};
use serde_json::value::RawValue;
use sse_stream::{Error as SseError, SseByteStream};

use super::UpstreamError;
use super::body::BodyFailure;
use super::error::code;
use super::message::Message;
use super::transport::{Outcome, is_id};

/// A server that asks more often than this within one answer is not asking.
const MAX_SERVER_REQUESTS: usize = 8;
/// How long the end of an answered stream is waited for. Ended, its connection can be used again.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// What a server may say before its response.
pub(super) enum Interjection {
    /// A notification's own bytes.
    Notification(Box<RawValue>),
    /// A request, as the response to send to it.
    Request(Vec<u8>),
}

/// Reads events up to the response to request `id`, handing what comes before it to `hear`.
pub(super) async fn until_response<S, F>(
    chunks: S,
    id: u64,
    mut hear: impl FnMut(Interjection) -> F,
) -> Result<Outcome, UpstreamError>
where
    S: Stream<Item = Result<Bytes, BodyFailure>> + Send + 'static,
    F: Future<Output = Result<(), UpstreamError>>,
{
    let mut requests = 0;
    let mut events = SseByteStream::new(Box::pin(chunks));
    while let Some(event) = events.next().await {
        let Some(data) = event.map_err(failure)?.data.filter(|data| !data.is_empty()) else { continue };
        match Message::parse(data.as_bytes())? {
            Message::Response { id: theirs, result } if is_id(theirs, id) => {
                let outcome = Outcome::Result(result.to_owned());
                drain(events);
                return Ok(outcome);
            }
            Message::Error(error, theirs) if theirs.is_none_or(|theirs| is_id(theirs, id)) => {
                drain(events);
                return Ok(Outcome::Error { error, names_request: theirs.is_some() });
            }
            Message::Response { .. } | Message::Error(..) => {
                return Err(UpstreamError::protocol("the response to another request"));
            }
            Message::Notification => {
                let notification = RawValue::from_string(data)
                    .map_err(|error| UpstreamError::protocol(format!("no JSON: {error}")))?;
                hear(Interjection::Notification(notification)).await?;
            }
            Message::Request { id: theirs, method } => {
                requests += 1;
                if requests > MAX_SERVER_REQUESTS {
                    return Err(UpstreamError::protocol("one request from the server after another"));
                }
                hear(Interjection::Request(refusal_of(theirs, &method))).await?;
            }
        }
    }
    Err(UpstreamError::protocol("the events ended without a response"))
}

/// A `ping` is answered, as every peer must; anything else is a method that we do not have, which we did
/// not claim either.
pub(super) fn refusal_of(id: &RawValue, method: &str) -> Vec<u8> {
    let answer = if method == "ping" {
        r#""result":{}"#.to_owned()
    } else {
        format!(r#""error":{{"code":{},"message":"Method not found"}}"#, code::METHOD_NOT_FOUND)
    };
    format!(r#"{{"jsonrpc":"2.0","id":{},{answer}}}"#, id.get()).into_bytes()
}

/// Lets the rest of an answered stream end in the background, while the answer is already on its way.
pub(super) fn drain<S: Stream + Unpin + Send + 'static>(mut events: S) {
    let ended = async move { while events.next().await.is_some() {} };
    let mut ended = Box::pin(ended);
    if pin!(&mut ended).now_or_never().is_none() {
        tokio::spawn(tokio::time::timeout(DRAIN_TIME, ended));
    }
}

pub(super) fn failure(error: SseError) -> UpstreamError {
    match error {
        SseError::Body(inner) => match inner.downcast::<BodyFailure>() {
            Ok(failure) => (*failure).into(),
            Err(source) => UpstreamError::Interrupted { sent: false, source },
        },
        other => UpstreamError::protocol(format!("no event stream: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    /// Feeds `text` in chunks of `size` bytes, and returns what was heard beside the outcome.
    async fn read(text: &[u8], size: usize) -> (Vec<String>, Result<Outcome, UpstreamError>) {
        let chunks: Vec<_> = text.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let mut heard = Vec::new();
        let outcome = until_response(stream::iter(chunks), 7, |interjection| {
            heard.push(match interjection {
                Interjection::Notification(raw) => raw.get().to_owned(),
                Interjection::Request(reply) => String::from_utf8(reply).unwrap(),
            });
            async { Ok(()) }
        })
        .await;
        (heard, outcome)
    }

    fn result(outcome: Result<Outcome, UpstreamError>) -> String {
        match outcome.unwrap() {
            Outcome::Result(raw) => raw.get().to_owned(),
            Outcome::Error { error, .. } => panic!("{error:?}"),
        }
    }

    const RESPONSE: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[ ]}}"#;

    #[tokio::test]
    async fn notifications_before_the_response_are_heard_in_order_however_the_bytes_are_cut() {
        let text = format!(
            ": a comment\r\nid: 1\r\ndata:\r\n\r\nretry: 10\n\nevent: message\ndata: {}\n\ndata: {}\n\nid: 9\ndata: {RESPONSE}\n\n",
            r#"{"jsonrpc":"2.0","method":"a"}"#, r#"{"jsonrpc":"2.0","method":"b"}"#,
        );
        for size in [1, 2, 7, 10_000] {
            let (heard, outcome) = read(text.as_bytes(), size).await;
            assert_eq!(heard, [r#"{"jsonrpc":"2.0","method":"a"}"#, r#"{"jsonrpc":"2.0","method":"b"}"#]);
            assert_eq!(result(outcome), r#"{"content":[ ]}"#);
        }
    }

    #[tokio::test]
    async fn a_response_over_several_data_lines_is_one_response() {
        let text = "data: {\"jsonrpc\":\"2.0\",\ndata: \"id\":7,\"result\":{}}\n\n";
        assert_eq!(result(read(text.as_bytes(), 5).await.1), "{}");
    }

    #[tokio::test]
    async fn a_server_request_is_refused_and_a_ping_answered() {
        let text = format!(
            "data: {}\n\ndata: {}\n\ndata: {RESPONSE}\n\n",
            r#"{"jsonrpc":"2.0","id":"x","method":"sampling/createMessage","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#,
        );
        let (heard, _) = read(text.as_bytes(), 100).await;
        assert_eq!(
            heard,
            [
                r#"{"jsonrpc":"2.0","id":"x","error":{"code":-32601,"message":"Method not found"}}"#,
                r#"{"jsonrpc":"2.0","id":0,"result":{}}"#,
            ]
        );
    }

    #[tokio::test]
    async fn a_server_that_keeps_asking_is_cut_off() {
        let text = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n\n".repeat(100);
        let (heard, outcome) = read(text.as_bytes(), 64).await;
        assert_eq!(heard.len(), MAX_SERVER_REQUESTS);
        assert!(matches!(outcome, Err(UpstreamError::Protocol { .. })));
    }

    #[tokio::test]
    async fn another_requests_response_is_not_taken_for_ours() {
        for id in ["8", "\"7\"", "7.0", "-7"] {
            let text = format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n\n");
            let outcome = read(text.as_bytes(), 100).await.1;
            assert!(matches!(outcome, Err(UpstreamError::Protocol { .. })), "{id}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_ends_inside_the_response_has_no_response() {
        let text = format!("data: {RESPONSE}\n");
        assert!(matches!(read(text.as_bytes(), 100).await.1, Err(UpstreamError::Protocol { .. })));
    }

    #[tokio::test]
    async fn bytes_that_are_not_text_are_refused() {
        assert!(matches!(
            read(b"data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"\xff\"}\n\n", 100).await.1,
            Err(UpstreamError::Protocol { .. })
        ));
    }
}
