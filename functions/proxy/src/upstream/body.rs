//! Reads an answer's bytes, within bounds of size and silence.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tower_http::timeout::{TimeoutBody, TimeoutError};

use super::UpstreamError;

/// A body that ends in an error when it grows over its bound or is silent for too long.
pub(super) struct BoundedBody {
    body: Limited<TimeoutBody<reqwest::Body>>,
    max_bytes: usize,
}

impl BoundedBody {
    pub(super) fn of(
        response: reqwest::Response,
        max_bytes: usize,
        idle: Duration,
    ) -> Result<Self, UpstreamError> {
        let announced = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if announced.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > max_bytes) {
            return Err(too_large(max_bytes));
        }
        Ok(Self::new(response.into(), max_bytes, idle))
    }

    fn new(body: reqwest::Body, max_bytes: usize, idle: Duration) -> Self {
        Self { body: Limited::new(TimeoutBody::new(idle, body), max_bytes), max_bytes }
    }

    /// The whole body. A body in a single chunk, which is the usual case, is not copied.
    pub(super) async fn collect(self) -> Result<Bytes, UpstreamError> {
        let Self { body, max_bytes } = self;
        let collected = Box::pin(body).collect().await.map_err(|error| failure(error, max_bytes))?;
        Ok(collected.to_bytes())
    }

    /// The chunks, for a parser that takes a stream.
    pub(super) fn into_chunks(self) -> impl Stream<Item = Result<Bytes, UpstreamError>> + Send {
        let Self { body, max_bytes } = self;
        body.into_data_stream().map_err(move |error| failure(error, max_bytes))
    }
}

fn too_large(max_bytes: usize) -> UpstreamError {
    UpstreamError::too_large(format!("{max_bytes} bytes"))
}

fn failure(error: Box<dyn StdError + Send + Sync>, max_bytes: usize) -> UpstreamError {
    if error.is::<LengthLimitError>() {
        too_large(max_bytes)
    } else if error.is::<TimeoutError>() {
        UpstreamError::Timeout { waiting_for: "more of an answer that had begun", sent: false }
    } else {
        UpstreamError::Interrupted { sent: false, source: error }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{StreamExt, stream};

    use super::*;

    fn chunks(parts: &[&'static str]) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
        stream::iter(parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect::<Vec<_>>())
    }

    fn body(
        chunks: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
        max_bytes: usize,
        idle_seconds: u64,
    ) -> BoundedBody {
        BoundedBody::new(reqwest::Body::wrap_stream(chunks), max_bytes, Duration::from_secs(idle_seconds))
    }

    #[tokio::test]
    async fn a_body_of_exactly_the_bound_is_read_whole() {
        assert_eq!(body(chunks(&["abc", "de", "f"]), 6, 1).collect().await.unwrap(), "abcdef");
    }

    #[tokio::test]
    async fn one_byte_over_the_bound_is_too_large() {
        let error = body(chunks(&["abc", "def", "g"]), 6, 1).collect().await.unwrap_err();
        assert!(matches!(error, UpstreamError::TooLarge { limit, .. } if limit == "6 bytes"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_falls_silent_is_given_up() {
        let begun = tokio::time::Instant::now();
        let silent = chunks(&["abc"]).chain(stream::pending());
        let error = body(silent, 100, 30).collect().await.unwrap_err();
        assert!(matches!(error, UpstreamError::Timeout { .. }));
        assert_eq!(begun.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_drip_is_stopped_by_the_byte_bound_at_the_latest() {
        let dripping = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(29)).await;
            Some((Ok(Bytes::from_static(b"x")), ()))
        });
        let error = body(dripping, 1000, 30).collect().await.unwrap_err();
        assert!(matches!(error, UpstreamError::TooLarge { .. }));
    }
}
