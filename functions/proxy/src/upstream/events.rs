//! An answer as server-sent events. The response is one of them. Others may come before it.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, stream};
use http::StatusCode;
use serde_json::value::RawValue;
use sse_stream::{Error as SseError, SseByteStream};
use tokio::time::Instant;

use super::UpstreamError;
use super::answer::{ServerEvent, ServerMessage};

/// How long to wait for the end of a stream after the response. After the end, its connection can be used again.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// The events of a stream as parts, up to the response, the end of the stream, or `until`. A stream that can be resumed
/// may end without the response.
pub(super) fn parts(
    chunks: impl Stream<Item = Result<Bytes, UpstreamError>> + Send + 'static,
    id: Option<Box<RawValue>>,
    until: Instant,
) -> impl Stream<Item = Result<ServerEvent, UpstreamError>> + Send {
    let events = SseByteStream::new(Box::pin(chunks));
    let state = Some((events, id, false));
    stream::try_unfold(state, move |state| async move {
        let Some((mut events, id, resumable)) = state else { return Ok(None) };
        let late = UpstreamError::Timeout { waiting_for: "the end of a stream", sent: false };
        let next = tokio::time::timeout_at(until, events.next()).await.map_err(|_| late)?;
        let Some(event) = next else {
            // A server that has sent event ids may close the connection, and continue when the client resumes the
            // stream.
            return match id {
                Some(_) if !resumable => Err(UpstreamError::protocol("the events ended without a response")),
                _ => Ok(None),
            };
        };
        let event = event.map_err(failure)?;
        let data = event.data.filter(|data| !data.is_empty());
        let said = data
            .map(|data| ServerMessage::read(data.as_bytes(), id.as_deref(), StatusCode::OK))
            .transpose()?;
        let over = matches!(said, Some(ServerMessage::Response(_)));
        let resumable = resumable || event.id.is_some();
        let part = ServerEvent { said, event_id: event.id, retry: event.retry };
        if over {
            drain(events);
            return Ok(Some((part, None)));
        }
        Ok(Some((part, Some((events, id, resumable)))))
    })
}

/// Reads the rest of a stream in the background, while the response is already on its way to the client.
fn drain<S: Stream + Unpin + Send + 'static>(mut events: S) {
    let ended = async move { while events.next().await.is_some() {} };
    let mut ended = Box::pin(ended);
    if pin!(&mut ended).now_or_never().is_none() {
        tokio::spawn(tokio::time::timeout(DRAIN_TIME, ended));
    }
}

fn failure(error: SseError) -> UpstreamError {
    match error {
        SseError::Body(inner) => match inner.downcast::<UpstreamError>() {
            Ok(failure) => *failure,
            Err(source) => UpstreamError::Interrupted { sent: false, source },
        },
        other => UpstreamError::protocol(format!("no event stream: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::{RelayedResponse, Reply};
    use super::*;

    /// Feeds `text` in chunks of `size` bytes, and returns what was said, and the error at its end.
    async fn read(text: &[u8], size: usize) -> (Vec<String>, Option<UpstreamError>) {
        let chunks: Vec<_> = text.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let id = RawValue::from_string("7".to_owned()).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        let mut parts = Box::pin(parts(stream::iter(chunks), Some(id), until));
        let mut said = Vec::new();
        while let Some(part) = parts.next().await {
            match part {
                Ok(ServerEvent { said: Some(ServerMessage::Message(message)), .. }) => {
                    said.push(message.get().to_owned());
                }
                Ok(ServerEvent { said: Some(ServerMessage::Response(Reply { outcome, .. })), .. }) => {
                    said.push(format!("result {}", outcome.unwrap().get()));
                }
                Ok(ServerEvent { said: None, .. }) => {}
                Err(error) => return (said, Some(error)),
            }
        }
        (said, None)
    }

    const RESPONSE: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[ ]}}"#;

    #[tokio::test]
    async fn notifications_before_the_response_are_heard_in_order_however_the_bytes_are_cut() {
        let text = format!(
            ": a comment\r\nid: 1\r\ndata:\r\n\r\nretry: 10\n\nevent: message\ndata: {}\n\ndata: {}\n\nid: 9\ndata: {RESPONSE}\n\n",
            r#"{"jsonrpc":"2.0","method":"a"}"#, r#"{"jsonrpc":"2.0","method":"b"}"#,
        );
        for size in [1, 2, 7, 10_000] {
            let (said, error) = read(text.as_bytes(), size).await;
            assert_eq!(
                said,
                [
                    r#"{"jsonrpc":"2.0","method":"a"}"#,
                    r#"{"jsonrpc":"2.0","method":"b"}"#,
                    r#"result {"content":[ ]}"#
                ]
            );
            assert!(error.is_none(), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_response_over_several_data_lines_is_one_response() {
        let text = "data: {\"jsonrpc\":\"2.0\",\ndata: \"id\":7,\"result\":{}}\n\n";
        assert_eq!(read(text.as_bytes(), 5).await.0, ["result {}"]);
    }

    #[tokio::test]
    async fn a_request_of_the_servers_is_no_response() {
        let ping = br#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
        let said =
            ServerMessage::read(ping, Some(&RawValue::from_string("7".to_owned()).unwrap()), StatusCode::OK);
        let error = RelayedResponse::whole(None, said.unwrap()).response().await.unwrap_err();
        assert!(matches!(error, UpstreamError::Protocol { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn another_requests_response_is_not_taken_for_ours() {
        for id in ["8", "\"7\"", "7.0", "-7"] {
            let text = format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n\n");
            let (said, error) = read(text.as_bytes(), 100).await;
            assert!(said.is_empty() && matches!(error, Some(UpstreamError::Protocol { .. })), "{id}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_ends_inside_the_response_has_no_response() {
        let text = format!("data: {RESPONSE}\n");
        assert!(matches!(read(text.as_bytes(), 100).await.1, Some(UpstreamError::Protocol { .. })));
    }

    #[tokio::test]
    async fn bytes_that_are_not_text_are_refused() {
        assert!(matches!(
            read(b"data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"\xff\"}\n\n", 100).await.1,
            Some(UpstreamError::Protocol { .. })
        ));
    }
}
