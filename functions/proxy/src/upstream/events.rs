//! An answer as server-sent events. The response is one of them. Others may come before it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, stream};
use http::StatusCode;
use serde_json::value::RawValue;
use sse_stream::{Error as SseError, Sse, SseByteStream};
use tokio::time::{Instant, timeout_at};

use super::UpstreamError;
use super::answer::{ServerEvent, ServerMessage};
use super::message::is_no_attempt;

/// How long to wait for the end of a stream after the response. After the end, its connection can be used again.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// The events of a stream as parts, up to the response, the end, or the time that it has. One that could be
/// resumed may end without the response.
///
/// Only events of the type `message` are messages, which is also what an event without a type is. Servers keep streams
/// alive by others ([go-sdk#636](https://github.com/modelcontextprotocol/go-sdk/issues/636)), and by messages that are
/// none. An event that lacks only its last blank line counts if it holds a message.
pub(super) fn parts(
    chunks: impl Stream<Item = Result<Bytes, UpstreamError>> + Send + 'static,
    id: Option<Box<RawValue>>,
    until: Instant,
) -> impl Stream<Item = Result<ServerEvent, UpstreamError>> + Send {
    let is_cut = Arc::new(AtomicBool::new(false));
    let reading = Reading {
        events: SseByteStream::new(with_last_line(chunks, Arc::clone(&is_cut))),
        id,
        is_resumable: false,
        is_cut,
        unread: None,
    };
    stream::try_unfold(Some(reading), move |reading| async move {
        let Some(reading) = reading else { return Ok(None) };
        reading.next(until).await
    })
}

/// A stream of events that is being read.
struct Reading<S> {
    events: S,
    /// The request's.
    id: Option<Box<RawValue>>,
    is_resumable: bool,
    /// Whether the event that is read now lacked its last blank line.
    is_cut: Arc<AtomicBool>,
    /// What was wrong with the first event that is no message.
    unread: Option<UpstreamError>,
}

impl<S: Stream<Item = Result<Sse, SseError>> + Unpin + Send + 'static> Reading<S> {
    async fn next(mut self, until: Instant) -> Result<Option<(ServerEvent, Option<Self>)>, UpstreamError> {
        loop {
            let late = UpstreamError::Timeout { waiting_for: "the end of a stream", sent: false };
            // Events that come without a pause leave no other moment to look at the time.
            let next =
                if Instant::now() < until { timeout_at(until, self.events.next()).await.ok() } else { None };
            let Some(event) = next.ok_or(late)? else { return self.end() };
            let Sse { event: kind, data, id: event_id, retry } = match event {
                Ok(event) => event,
                Err(error) => return Err(failure(error)),
            };
            if kind.as_deref() == Some("endpoint") {
                return Err(UpstreamError::RetiredTransport);
            }
            let is_message = kind.as_deref().is_none_or(|kind| kind.is_empty() || kind == "message");
            let data = data.filter(|data| is_message && !data.is_empty());
            let is_cut = self.is_cut.load(Ordering::Relaxed);
            let read =
                |data: String| ServerMessage::read(data.as_bytes(), self.id.as_deref(), StatusCode::OK);
            let said = match data.map(|data| (is_no_attempt(data.as_bytes()), read(data))) {
                Some((_, Ok(said))) => Some(said),
                // An event that was cut is none.
                Some((_, Err(_))) | None if is_cut => return self.end(),
                Some((false, Err(error))) => return Err(error),
                Some((true, Err(error))) => {
                    self.unread.get_or_insert(error);
                    None
                }
                None => None,
            };
            self.is_resumable |= event_id.is_some();
            if said.is_none() && event_id.is_none() && retry.is_none() {
                continue;
            }
            let is_over = matches!(said, Some(ServerMessage::Response(_)));
            let part = ServerEvent { said, event_id, retry };
            if is_over {
                drain(self.events);
                return Ok(Some((part, None)));
            }
            return Ok(Some((part, Some(self))));
        }
    }

    /// A server that has given event ids may close a connection and go on when it is asked to.
    fn end<T>(self) -> Result<Option<T>, UpstreamError> {
        match self.id {
            Some(_) if !self.is_resumable => Err(self
                .unread
                .unwrap_or_else(|| UpstreamError::protocol("the events ended without a response"))),
            _ => Ok(None),
        }
    }
}

/// The same bytes, and at their end the blank line that some servers forget.
fn with_last_line(
    chunks: impl Stream<Item = Result<Bytes, UpstreamError>> + Send + 'static,
    is_cut: Arc<AtomicBool>,
) -> Pin<Box<dyn Stream<Item = Result<Bytes, UpstreamError>> + Send>> {
    let last = stream::once(async move {
        is_cut.store(true, Ordering::Relaxed);
        Ok(Bytes::from_static(b"\n\n"))
    });
    Box::pin(chunks.chain(last))
}

/// Lets the rest of an answered stream end in the background, while the answer is already on its way.
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
        for id in ["8", "\"8\"", "7.5", "-7", "70", "[7]", "\"c-7\"", "{}"] {
            let text = format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n\n");
            let (said, error) = read(text.as_bytes(), 100).await;
            assert!(said.is_empty() && matches!(error, Some(UpstreamError::Protocol { .. })), "{id}");
        }
    }

    #[tokio::test]
    async fn an_id_that_became_text_or_a_fraction_on_its_way_is_ours() {
        for id in ["\"7\"", "7.0", "\"\\u0037\""] {
            let text = format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n\n");
            assert_eq!(read(text.as_bytes(), 100).await.0, ["result {}"], "{id}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_ends_inside_the_response_has_no_response() {
        for end in [0, 1, 10] {
            let text = format!("data: {}\n", &RESPONSE[..RESPONSE.len() - 1 - end]);
            assert!(matches!(read(text.as_bytes(), 100).await.1, Some(UpstreamError::Protocol { .. })));
        }
    }

    #[tokio::test]
    async fn a_whole_response_needs_no_blank_line() {
        for end in ["", "\n", "\r\n"] {
            for size in [1, 1000] {
                let (said, error) = read(format!("data: {RESPONSE}{end}").as_bytes(), size).await;
                assert_eq!(said, [r#"result {"content":[ ]}"#], "{end:?}");
                assert!(error.is_none(), "{error:?}");
            }
        }
    }

    #[tokio::test]
    async fn the_id_of_an_event_that_was_cut_is_no_place_to_resume_at() {
        for text in ["id: 1\ndata:\n\nid: 2\ndata: {\"jso", "id: 1\ndata:\n\nid: 2\n"] {
            let chunks = stream::iter([Ok(Bytes::from_static(text.as_bytes()))]);
            let id = RawValue::from_string("7".to_owned()).unwrap();
            let parts = parts(chunks, Some(id), Instant::now() + Duration::from_secs(60));
            let ids: Vec<_> = parts.map(|part| part.unwrap().event_id.unwrap()).collect().await;
            assert_eq!(ids, ["1"], "{text}");
        }
    }

    #[tokio::test]
    async fn events_that_only_keep_the_stream_alive_are_skipped() {
        for event in [
            "event: ping\ndata: ping\n\n",
            "event: keepalive\ndata: {}\n\n",
            "event: ping\ndata: {\"jsonrpc\":\"2.0\",\"id\":8,\"result\":{}}\n\n",
            "data: {\"type\":\"heartbeat\"}\n\n",
            "data: ping\n\n",
            ": ping\n\n",
        ] {
            let text = format!("{event}event: message\ndata: {RESPONSE}\n\n");
            let (said, error) = read(text.as_bytes(), 7).await;
            assert_eq!(said, [r#"result {"content":[ ]}"#], "{event}");
            assert!(error.is_none(), "{error:?}");
        }
    }

    #[tokio::test]
    async fn an_event_of_the_retired_transport_says_what_it_is() {
        let text = "event: endpoint\ndata: /messages?sessionId=1\n\n";
        assert!(matches!(read(text.as_bytes(), 100).await.1, Some(UpstreamError::RetiredTransport)));
    }

    #[tokio::test]
    async fn bytes_that_are_not_text_are_refused() {
        assert!(matches!(
            read(b"data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"\xff\"}\n\n", 100).await.1,
            Some(UpstreamError::Protocol { .. })
        ));
    }
}
