//! What must hold for everything that a server says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a fuzz target fails by panicking")]

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::StatusCode;
use serde_json::value::RawValue;
use tokio::{runtime::Runtime, time::Instant};

use super::{Reply, ServerEvent, ServerMessage, UpstreamError, events::parts, message::Message};
use crate::mcp::event;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());

fn id() -> Box<RawValue> {
    RawValue::from_string("7".to_owned()).unwrap()
}

/// One message.
pub fn server_message(text: &[u8]) {
    let parsed = Message::parse(text).is_ok();
    for (id, status) in [(Some(id()), 200), (Some(id()), 400), (None, 200)] {
        let Ok(said) = ServerMessage::read(text, id.as_deref(), StatusCode::from_u16(status).unwrap()) else {
            continue;
        };
        assert!(parsed);
        serde_json::from_str::<&RawValue>(json_of(&said)).unwrap();
    }
}

fn json_of(said: &ServerMessage) -> &str {
    match said {
        ServerMessage::Message(message) => message.get(),
        ServerMessage::Response(Reply { outcome: Ok(result), .. }) => result.get(),
        ServerMessage::Response(Reply { outcome: Err(error), .. }) => error.error.get(),
    }
}

/// A stream, cut into chunks. The first byte is their size in bytes.
pub fn server_events(text: &[u8]) {
    let Some((size, text)) = text.split_first() else { return };
    let size = usize::from(*size).max(1);
    let chunks =
        || stream::iter(text.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect::<Vec<_>>());
    RUNTIME.block_on(async {
        for id in [Some(id()), None] {
            let heard = hear(chunks(), id).await;
            // Written for the client and heard again, the stream is the same: no text can turn one event into two.
            let written: String =
                heard.iter().map(|part| event(part, part.said.as_ref().map(json_of))).collect();
            let again = hear(stream::iter([Ok(Bytes::from(written))]), None).await;
            // A result by itself is not a message, so the last part may be lost. No part may be added.
            let count = |parts: &[ServerEvent]| parts.len();
            assert!(count(&again) <= count(&heard), "{heard:?} became {again:?}");
            for (before, after) in heard.iter().zip(&again) {
                if let (Some(ServerMessage::Message(before)), Some(ServerMessage::Message(after))) =
                    (&before.said, &after.said)
                {
                    let value = |raw: &RawValue| serde_json::from_str::<serde_json::Value>(raw.get()).ok();
                    assert_eq!(value(before), value(after));
                }
            }
        }
    });
}

async fn hear(
    chunks: impl futures::Stream<Item = Result<Bytes, UpstreamError>> + Send + 'static,
    id: Option<Box<RawValue>>,
) -> Vec<ServerEvent> {
    let until = Instant::now() + Duration::from_secs(60);
    let parts = parts(chunks, id, until);
    parts
        .take_while(|part| std::future::ready(part.is_ok()))
        .filter_map(|part| std::future::ready(part.ok()))
        .collect()
        .await
}
