//! Reading an answer's bytes, bounded in size and in silence.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::UpstreamError;

/// A body that ends in an error when it grows over its bound or falls silent for too long.
pub(super) struct BoundedBody<S> {
    stream: S,
    left: usize,
    max_bytes: usize,
    idle: Duration,
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyFailure {
    #[error("silent for {0:?}")]
    Silent(Duration),
    #[error("over {0} bytes")]
    TooLarge(usize),
    #[error("the connection broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<BodyFailure> for UpstreamError {
    fn from(failure: BodyFailure) -> Self {
        match failure {
            BodyFailure::Silent(_) => {
                Self::Timeout { waiting_for: "more of an answer that had begun", sent: false }
            }
            BodyFailure::TooLarge(bytes) => Self::too_large(format!("{bytes} bytes")),
            BodyFailure::Broken(source) => Self::Interrupted { sent: false, source },
        }
    }
}

impl<S, E> BoundedBody<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(stream: S, max_bytes: usize, idle: Duration) -> Self {
        Self { stream, left: max_bytes, max_bytes, idle }
    }

    pub(super) async fn next_chunk(&mut self) -> Result<Option<Bytes>, BodyFailure> {
        let next = tokio::time::timeout(self.idle, self.stream.next())
            .await
            .map_err(|_| BodyFailure::Silent(self.idle))?;
        let Some(chunk) = next.transpose().map_err(|error| BodyFailure::Broken(error.into()))? else {
            return Ok(None);
        };
        self.left = self.left.checked_sub(chunk.len()).ok_or(BodyFailure::TooLarge(self.max_bytes))?;
        Ok(Some(chunk))
    }

    /// The whole body. One that came in a single chunk, as most do, is not copied.
    pub(super) async fn collect(mut self) -> Result<Bytes, BodyFailure> {
        let Some(first) = self.next_chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.next_chunk().await? else { return Ok(first) };
        let mut whole = Vec::with_capacity((first.len() + second.len()).next_power_of_two());
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(chunk) = self.next_chunk().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.into())
    }

    /// The chunks as a stream, for a parser that takes one.
    pub(super) fn into_chunks(self) -> impl Stream<Item = Result<Bytes, BodyFailure>> {
        futures::stream::try_unfold(self, |mut body| async move {
            Ok(body.next_chunk().await?.map(|chunk| (chunk, body)))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::*;

    fn chunks(parts: &[&'static str]) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin {
        stream::iter(parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect::<Vec<_>>())
    }

    fn dripping(every: Duration) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin {
        Box::pin(stream::unfold((), move |()| async move {
            tokio::time::sleep(every).await;
            Some((Ok(Bytes::from_static(b"x")), ()))
        }))
    }

    #[tokio::test]
    async fn a_body_of_exactly_the_bound_is_read_whole() {
        let body = BoundedBody::new(chunks(&["abc", "de", "f"]), 6, Duration::from_secs(1));
        assert_eq!(body.collect().await.unwrap(), "abcdef");
    }

    #[tokio::test]
    async fn one_byte_over_the_bound_is_too_large() {
        let body = BoundedBody::new(chunks(&["abc", "def", "g"]), 6, Duration::from_secs(1));
        assert!(matches!(body.collect().await, Err(BodyFailure::TooLarge(6))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_falls_silent_is_given_up() {
        let body = BoundedBody::new(
            chunks(&["abc"]).chain(stream::pending::<Result<Bytes, Infallible>>()),
            100,
            Duration::from_secs(30),
        );
        let begun = tokio::time::Instant::now();
        assert!(matches!(body.collect().await, Err(BodyFailure::Silent(_))));
        assert_eq!(begun.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_drip_is_stopped_by_the_byte_bound_at_the_latest() {
        let body = BoundedBody::new(dripping(Duration::from_secs(29)), 1000, Duration::from_secs(30));
        assert!(matches!(body.collect().await, Err(BodyFailure::TooLarge(1000))));
    }
}
