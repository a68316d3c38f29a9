//! Reading an answer's bytes, bounded in size and in silence, and undoing a coding that was not asked for.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use async_compression::tokio::bufread::{GzipDecoder, ZlibDecoder};
use bytes::{Bytes, BytesMut};
use deputize_core::in_flight::{NoRoom, TakenRoom};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt;
use tokio::io::AsyncRead;
use tokio::time::timeout;
use tokio_util::io::{ReaderStream, StreamReader};

use super::UpstreamError;

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, UpstreamError>> + Send>>;

/// How long a body may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    pub(super) limit: Duration,
    pub(super) counts: Counts,
}

/// From when on silence counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    AtOnce,
    /// From the first byte on.
    FromByte,
    /// From the first message on, of which a brace is the sign. What comes before it in a stream of events only opens it,
    /// such as the event without data of the revision 2025-11-25, and then a tool may take its time.
    FromMessage,
}

impl Counts {
    fn from(self, chunk: &[u8]) -> bool {
        match self {
            Self::AtOnce => true,
            Self::FromByte => !chunk.is_empty(),
            Self::FromMessage => chunk.contains(&b'{'),
        }
    }
}

/// A coding of content (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    fn of(headers: &HeaderMap) -> Result<Option<Self>, UpstreamError> {
        let named = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?"));
        let named: Vec<String> = named
            .flat_map(|value| value.split(','))
            .map(|coding| coding.trim().to_ascii_lowercase())
            .filter(|coding| !coding.is_empty() && coding != "identity")
            .collect();
        match named.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => Ok(None),
            ["gzip" | "x-gzip"] => Ok(Some(Self::Gzip)),
            ["deflate"] => Ok(Some(Self::Deflate)),
            _ => {
                let named: String = named.join(", ").escape_debug().take(40).collect();
                Err(UpstreamError::protocol(format!(
                    "an answer in the coding {named}, which was not asked for"
                )))
            }
        }
    }
}

/// A body that ends in an error when it grows over its bound or falls silent for too long.
pub(super) struct BoundedBody {
    chunks: Chunks,
    /// How long it says it is, within its bound; 0 if it does not.
    announced: usize,
}

impl BoundedBody {
    pub(super) fn of(
        response: reqwest::Response,
        max_bytes: usize,
        silence: Silence,
    ) -> Result<Self, UpstreamError> {
        let announced = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let announced = announced.and_then(|length| length.parse().ok()).unwrap_or(0);
        if announced > max_bytes {
            return Err(too_large(max_bytes));
        }
        let coding = Coding::of(response.headers())?;
        Ok(Self { announced, ..Self::new(response.into(), max_bytes, silence, coding) })
    }

    /// What is coded is bounded by the same number: a coding can make much of little, and nothing of much.
    fn new(body: reqwest::Body, max_bytes: usize, silence: Silence, coding: Option<Coding>) -> Self {
        let came: Chunks = Box::pin(at_most(max_bytes, not_silent(body, silence)));
        let chunks = match coding {
            None => came,
            Some(coding) => Box::pin(at_most(max_bytes, decoded(came, coding))),
        };
        Self { chunks, announced: 0 }
    }

    /// The whole body, which takes `room`. A body in a single chunk, which is the usual case, is not copied.
    pub(super) async fn collect(self, room: &mut TakenRoom) -> Result<Bytes, UpstreamError> {
        let Self { mut chunks, announced } = self;
        let mut next = async || -> Result<Option<Bytes>, UpstreamError> {
            let Some(chunk) = chunks.next().await.transpose()? else { return Ok(None) };
            room.grow(chunk.len()).map_err(|NoRoom| UpstreamError::NoRoom { sent: false })?;
            Ok(Some(chunk))
        };
        let first = next().await?.unwrap_or_default();
        let Some(second) = next().await? else { return Ok(first) };
        // All of it at once, so that it is not moved as it grows.
        let mut whole = BytesMut::with_capacity(announced.max(first.len() + second.len()));
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        drop((first, second));
        while let Some(chunk) = next().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// The chunks, for a parser that takes a stream.
    pub(super) fn into_chunks(self) -> impl Stream<Item = Result<Bytes, UpstreamError>> + Send {
        self.chunks
    }
}

fn not_silent(
    body: reqwest::Body,
    silence: Silence,
) -> impl Stream<Item = Result<Bytes, UpstreamError>> + Send {
    let state = (body.into_data_stream(), silence.counts == Counts::AtOnce);
    stream::try_unfold(state, move |(mut chunks, counts)| async move {
        let next = chunks.next();
        let chunk = if counts {
            let silent =
                || UpstreamError::Timeout { waiting_for: "more of an answer that had begun", sent: false };
            timeout(silence.limit, next).await.map_err(|_| silent())?
        } else {
            next.await
        };
        let interrupted = |error: reqwest::Error| UpstreamError::Interrupted {
            sent: false,
            source: error.without_url().into(),
        };
        let Some(chunk) = chunk.transpose().map_err(interrupted)? else { return Ok(None) };
        let counts = counts || silence.counts.from(&chunk);
        Ok(Some((chunk, (chunks, counts))))
    })
}

fn at_most(
    max_bytes: usize,
    chunks: impl Stream<Item = Result<Bytes, UpstreamError>> + Send,
) -> impl Stream<Item = Result<Bytes, UpstreamError>> + Send {
    let mut left = max_bytes;
    chunks.map(move |chunk| {
        let chunk = chunk?;
        left = left.checked_sub(chunk.len()).ok_or_else(|| too_large(max_bytes))?;
        Ok(chunk)
    })
}

/// Undoes a coding as the bytes come, a few of them at a time. Some servers use one unasked
/// ([executor#1399](https://github.com/UsefulSoftwareCo/executor/pull/1399),
/// [ai-dial-core#1586](https://github.com/epam/ai-dial-core/issues/1586)).
fn decoded(mut came: Chunks, coding: Coding) -> impl Stream<Item = Result<Bytes, UpstreamError>> + Send {
    let begun = async move {
        // What has no bytes at all is not coded either.
        let Some(first) = came.next().await else { return stream::empty().boxed() };
        let coded = stream::iter([first]).chain(came).map_err(io::Error::other);
        let reader = StreamReader::new(coded);
        let reader: Pin<Box<dyn AsyncRead + Send>> = match coding {
            Coding::Gzip => {
                let mut decoder = GzipDecoder::new(reader);
                decoder.multiple_members(true);
                Box::pin(decoder)
            }
            Coding::Deflate => Box::pin(ZlibDecoder::new(reader)),
        };
        ReaderStream::new(reader).map_err(undecodable).boxed()
    };
    stream::once(begun).flatten()
}

fn undecodable(error: io::Error) -> UpstreamError {
    error.downcast::<UpstreamError>().unwrap_or_else(|error| {
        UpstreamError::protocol(format!("an answer that is not in the coding that it names: {error}"))
    })
}

fn too_large(max_bytes: usize) -> UpstreamError {
    UpstreamError::too_large(format!("{max_bytes} bytes"))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use deputize_core::in_flight::InFlight;

    use super::*;

    fn room() -> TakenRoom {
        InFlight::default().of_one_body()
    }

    fn chunks(parts: &[&'static str]) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
        stream::iter(parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect::<Vec<_>>())
    }

    fn body(
        chunks: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
        max_bytes: usize,
        idle_seconds: u64,
    ) -> BoundedBody {
        counting(
            chunks,
            max_bytes,
            Silence { limit: Duration::from_secs(idle_seconds), counts: Counts::FromByte },
            None,
        )
    }

    fn counting(
        chunks: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
        max_bytes: usize,
        silence: Silence,
        coding: Option<Coding>,
    ) -> BoundedBody {
        BoundedBody::new(reqwest::Body::wrap_stream(chunks), max_bytes, silence, coding)
    }

    /// A body in a coding, in chunks of as many bytes.
    fn coded(bytes: &[u8], size: usize, max_bytes: usize, coding: Coding) -> BoundedBody {
        let chunks: Vec<_> = bytes.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let silence = Silence { limit: Duration::from_secs(1), counts: Counts::AtOnce };
        counting(stream::iter(chunks), max_bytes, silence, Some(coding))
    }

    async fn gzip(text: impl tokio::io::AsyncBufRead + Unpin) -> Vec<u8> {
        let mut coded = Vec::new();
        let mut encoder = async_compression::tokio::bufread::GzipEncoder::new(text);
        tokio::io::AsyncReadExt::read_to_end(&mut encoder, &mut coded).await.unwrap();
        coded
    }

    async fn deflate(text: &[u8]) -> Vec<u8> {
        let mut coded = Vec::new();
        let mut encoder = async_compression::tokio::bufread::ZlibEncoder::new(text);
        tokio::io::AsyncReadExt::read_to_end(&mut encoder, &mut coded).await.unwrap();
        coded
    }

    #[tokio::test]
    async fn a_coding_that_comes_unasked_is_undone() {
        let (gzip, deflate) = (gzip(&b"hello, hello"[..]).await, deflate(b"hello, hello").await);
        for size in [1, 7, 1000] {
            assert_eq!(
                coded(&gzip, size, 100, Coding::Gzip).collect(&mut room()).await.unwrap(),
                "hello, hello"
            );
            assert_eq!(
                coded(&deflate, size, 100, Coding::Deflate).collect(&mut room()).await.unwrap(),
                "hello, hello"
            );
            let twice = [&gzip[..], &gzip[..]].concat();
            assert_eq!(
                coded(&twice, size, 100, Coding::Gzip).collect(&mut room()).await.unwrap(),
                "hello, hellohello, hello"
            );
        }
        assert_eq!(coded(b"", 1, 100, Coding::Gzip).collect(&mut room()).await.unwrap(), "");
    }

    #[tokio::test]
    async fn what_is_not_in_its_coding_or_breaks_off_in_it_is_an_error() {
        let whole = gzip(&b"hello, hello"[..]).await;
        for bytes in [&b"hello, hello"[..], &whole[..whole.len() - 9]] {
            let error = coded(bytes, 5, 100, Coding::Gzip).collect(&mut room()).await.unwrap_err();
            assert!(matches!(error, UpstreamError::Protocol { .. }), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_few_bytes_that_become_many_are_cut_off_at_the_bound() {
        let many = tokio::io::BufReader::new(tokio::io::AsyncReadExt::take(tokio::io::repeat(0), 50_000_000));
        let bomb = gzip(many).await;
        assert!(bomb.len() < 100_000);
        let mut read = 0;
        let mut chunks = coded(&bomb, bomb.len(), 100_000, Coding::Gzip).into_chunks().boxed();
        let error = loop {
            match chunks.next().await.unwrap() {
                Ok(chunk) => read += chunk.len(),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, UpstreamError::TooLarge { limit, .. } if limit == "100000 bytes"));
        assert!(read <= 100_000, "{read}");
    }

    #[tokio::test]
    async fn many_bytes_that_become_none_are_cut_off_at_the_bound() {
        // Blocks of no bytes, without end (RFC 1951 section 3.2.4).
        let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
        let nothing = [&head[..], &[0, 0, 0, 0xff, 0xff].repeat(100_000)].concat();
        let error = coded(&nothing, 1000, 10_000, Coding::Gzip).collect(&mut room()).await.unwrap_err();
        assert!(matches!(error, UpstreamError::TooLarge { .. }), "{error:?}");
    }

    #[test]
    fn one_known_coding_is_undone_and_no_other() {
        let of = |values: &[&'static str]| {
            let headers =
                values.iter().map(|value| (CONTENT_ENCODING, http::HeaderValue::from_static(value)));
            Coding::of(&headers.collect())
        };
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&["identity", ""]).unwrap(), None);
        assert_eq!(of(&["GZIP"]).unwrap(), Some(Coding::Gzip));
        assert_eq!(of(&["identity, x-gzip"]).unwrap(), Some(Coding::Gzip));
        assert_eq!(of(&["deflate"]).unwrap(), Some(Coding::Deflate));
        for other in [&["br"][..], &["gzip, gzip"], &["gzip", "gzip"], &["\"x"]] {
            assert!(matches!(of(other), Err(UpstreamError::Protocol { .. })), "{other:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_only_once_an_answer_has_begun() {
        for (counts, opening, waits) in [
            (Counts::FromMessage, ": hello\n\nid: 1\ndata:\n\n", true),
            (Counts::FromMessage, "data: {\"jsonrpc\"", false),
            (Counts::FromByte, "{", false),
        ] {
            let late = stream::once(async {
                tokio::time::sleep(Duration::from_secs(100)).await;
                Ok(Bytes::from_static(b"late"))
            });
            let silence = Silence { limit: Duration::from_secs(60), counts };
            let read =
                counting(chunks(&[opening]).chain(late), 100, silence, None).collect(&mut room()).await;
            assert_eq!(read.is_ok(), waits, "{opening}");
        }
    }

    #[tokio::test]
    async fn a_body_of_exactly_the_bound_is_read_whole() {
        assert_eq!(body(chunks(&["abc", "de", "f"]), 6, 1).collect(&mut room()).await.unwrap(), "abcdef");
    }

    #[tokio::test]
    async fn one_byte_over_the_bound_is_too_large() {
        let error = body(chunks(&["abc", "def", "g"]), 6, 1).collect(&mut room()).await.unwrap_err();
        assert!(matches!(error, UpstreamError::TooLarge { limit, .. } if limit == "6 bytes"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_falls_silent_is_given_up() {
        let begun = tokio::time::Instant::now();
        let silent = chunks(&["abc"]).chain(stream::pending());
        let error = body(silent, 100, 30).collect(&mut room()).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Timeout { .. }));
        assert_eq!(begun.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_drip_is_stopped_by_the_byte_bound_at_the_latest() {
        let dripping = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(29)).await;
            Some((Ok(Bytes::from_static(b"x")), ()))
        });
        let error = body(dripping, 1000, 30).collect(&mut room()).await.unwrap_err();
        assert!(matches!(error, UpstreamError::TooLarge { .. }));
    }
}
