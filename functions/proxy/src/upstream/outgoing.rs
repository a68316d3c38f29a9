//! A message on its way to a server, without a second copy of what came with the client's request.
//!
//! A call's arguments are most of it, and they keep their bytes. So the message is written around the part of the request's
//! body that they are.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use serde::Serialize;

/// Smaller parts are copied: a part costs more than that.
const MIN_PART: usize = 16 * 1024;

/// A message's bytes, in parts.
#[derive(Clone, Debug, Default)]
pub struct Outgoing(VecDeque<Bytes>);

impl Outgoing {
    /// Writes a message. Raw values that are parts of `body` are not copied.
    pub(crate) fn write(message: &impl Serialize, body: &Bytes) -> serde_json::Result<Self> {
        let mut writer = Writer { body, parts: VecDeque::new(), small: Vec::with_capacity(128) };
        serde_json::to_writer(&mut writer, message)?;
        writer.end_part();
        Ok(Self(writer.parts))
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn joined(&self) -> Vec<u8> {
        self.0.iter().flat_map(|part| part.to_vec()).collect()
    }
}

impl From<Bytes> for Outgoing {
    fn from(whole: Bytes) -> Self {
        Self(VecDeque::from([whole]))
    }
}

impl From<Vec<u8>> for Outgoing {
    fn from(whole: Vec<u8>) -> Self {
        Bytes::from(whole).into()
    }
}

impl From<Outgoing> for reqwest::Body {
    fn from(Outgoing(mut parts): Outgoing) -> Self {
        // A connection that is closed before it takes the request gives a whole body back, to be sent on another one.
        if parts.len() <= 1 {
            return parts.pop_front().unwrap_or_default().into();
        }
        Self::wrap(Parts(parts))
    }
}

struct Writer<'a> {
    body: &'a Bytes,
    parts: VecDeque<Bytes>,
    small: Vec<u8>,
}

impl Writer<'_> {
    fn end_part(&mut self) {
        if !self.small.is_empty() {
            self.parts.push_back(std::mem::take(&mut self.small).into());
        }
    }

    /// Whether a text is a part of the body itself, and not only equal to one.
    fn is_in_body(&self, text: &[u8]) -> bool {
        let (body, text) = (self.body.as_ptr_range(), text.as_ptr_range());
        body.start <= text.start && text.end <= body.end
    }
}

impl io::Write for Writer<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if text.len() >= MIN_PART && self.is_in_body(text) {
            self.end_part();
            self.parts.push_back(self.body.slice_ref(text));
        } else {
            self.small.extend_from_slice(text);
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The body of a request that is sent part by part.
struct Parts(VecDeque<Bytes>);

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|part| part.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn a_large_value_of_the_body_is_sent_from_where_it_is() {
        let body = Bytes::from(format!(r#"{{ "arguments": "{}" }}"#, "x".repeat(MIN_PART)));
        let value: std::collections::HashMap<&str, &RawValue> = serde_json::from_slice(&body).unwrap();
        let message = [value["arguments"], value["arguments"]];
        let outgoing = Outgoing::write(&message, &body).unwrap();
        assert_eq!(outgoing.joined(), serde_json::to_vec(&message).unwrap());
        let lengths: Vec<_> = outgoing.0.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [1, MIN_PART + 2, 1, MIN_PART + 2, 1]);
        assert!(
            outgoing.0.iter().filter(|part| part.len() > 1).all(|part| *part == body[15..15 + MIN_PART + 2])
        );
        assert!(body.as_ptr_range().contains(&outgoing.0[1].as_ptr()));
        assert_eq!(Parts(outgoing.0).size_hint().exact(), Some(2 * (MIN_PART as u64 + 2) + 3));
    }

    #[test]
    fn a_value_of_another_text_or_a_small_one_is_copied() {
        let body = Bytes::from_static(br#"{"arguments":{"a":1}}"#);
        let other = RawValue::from_string(format!(r#""{}""#, "x".repeat(MIN_PART))).unwrap();
        let value: std::collections::HashMap<&str, &RawValue> = serde_json::from_slice(&body).unwrap();
        let outgoing = Outgoing::write(&[value["arguments"], &other], &body).unwrap();
        assert_eq!(outgoing.0.len(), 1);
        assert_eq!(outgoing.joined(), format!(r#"[{{"a":1}},{other}]"#).into_bytes());
    }
}
