//! A request's place in a distributed trace ([W3C Trace Context](https://www.w3.org/TR/trace-context-2/)).
//!
//! Traces are continued, not recorded. The ids go into the logs and on to MCP servers, so that another system can put
//! the pieces together. The request is a span of its own, which its log lines and its upstream requests name. There is
//! no `OpenTelemetry` SDK: nothing is exported, and two headers need none. Baggage is not passed on: it is the caller's
//! message to a party whom they do not know.

use std::fmt::{self, Write};

use crate::{clock::Random, error::Result};

/// The longest `tracestate` that is passed on, in characters, and the most members in it (section 3.3.1).
const MAX_STATE: usize = 512;
const MAX_MEMBERS: usize = 32;
/// The known flags: sampled, and that the trace id is random (section 3.2.2.5).
const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// A trace, and this request's span in it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Trace {
    id: [u8; 16],
    span: [u8; 8],
    flags: u8,
    state: Option<String>,
    is_continued: bool,
}

impl Trace {
    /// Continues the trace of `traceparent` and `tracestate`; malformed ones are ignored (section 4.3).
    /// Otherwise continues AWS X-Ray's trace, or begins a new one.
    pub fn enter(
        random: &Random,
        traceparent: Option<&str>,
        tracestate: &[&str],
        xray: Option<&str>,
    ) -> Result<Self> {
        let span = loop {
            let span = random.bytes::<8>()?;
            if span != [0; 8] {
                break span;
            }
        };
        if let Some((id, flags)) = traceparent.and_then(parent) {
            return Ok(Self { id, span, flags, state: state(tracestate), is_continued: true });
        }
        if let Some((id, flags)) = xray.and_then(xray_root) {
            return Ok(Self { id, span, flags, state: None, is_continued: true });
        }
        let id = loop {
            let id = random.bytes::<16>()?;
            if id != [0; 16] {
                break id;
            }
        };
        Ok(Self { id, span, flags: RANDOM, state: None, is_continued: false })
    }

    /// The trace's id, in hexadecimal.
    pub fn id(&self) -> String {
        hex(&self.id)
    }

    /// This request's span, in hexadecimal.
    pub fn span(&self) -> String {
        hex(&self.span)
    }

    /// Whether it began before this request.
    pub fn is_continued(&self) -> bool {
        self.is_continued
    }

    /// The `traceparent` to send on, with this request's span as the parent. `None` for a request outside of
    /// any trace.
    pub fn traceparent(&self) -> Option<String> {
        (self.id != [0; 16]).then(|| format!("00-{}-{}-{:02x}", self.id(), self.span(), self.flags))
    }

    /// The `tracestate` to send on.
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.traceparent()).finish()
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Lower case only, as the specification requires, and not all zeros.
fn id<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    (bytes != [0; N]).then_some(bytes)
}

/// `traceparent` (section 3.2). Of later versions, it reads the parts that this one has (section 3.2.4).
fn parent(text: &str) -> Option<([u8; 16], u8)> {
    const LENGTH: usize = 55;
    let text = text.trim();
    let (known, rest) = (text.get(..LENGTH)?, text.get(LENGTH..)?);
    let mut fields = known.split('-');
    let version = fields.next()?;
    let (trace, span, flags) = (id(fields.next()?)?, fields.next()?, fields.next()?);
    id::<8>(span)?;
    let is_hex = |text: &str| text.len() == 2 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if fields.next().is_some() || !is_hex(version) || version == "ff" || !is_hex(flags) {
        return None;
    }
    if !rest.is_empty() && (version == "00" || !rest.starts_with('-')) {
        return None;
    }
    Some((trace, u8::from_str_radix(flags, 16).ok()? & (SAMPLED | RANDOM)))
}

/// `tracestate` (section 3.3), which may come in several headers. If any of it is malformed, all of it is
/// ignored.
fn state(headers: &[&str]) -> Option<String> {
    let members = headers.iter().flat_map(|header| header.split(',')).map(str::trim);
    let members: Vec<&str> = members.filter(|member| !member.is_empty()).take(MAX_MEMBERS + 1).collect();
    let text = members.join(",");
    let fits =
        members.len() <= MAX_MEMBERS && text.len() <= MAX_STATE && members.iter().all(|m| is_member(m));
    (fits && !members.is_empty()).then_some(text)
}

fn is_member(text: &str) -> bool {
    let Some((key, value)) = text.split_once('=') else { return false };
    let key_fits = !key.is_empty()
        && key.len() <= 256
        && key.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'));
    let value_fits = !value.is_empty()
        && value.len() <= 256
        && value.bytes().all(|b| matches!(b, b' '..=b'~') && b != b',' && b != b'=');
    key_fits && value_fits
}

/// The root of `X-Amzn-Trace-Id`
/// ([AWS X-Ray, tracing
/// header](https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader)):
/// `Root=1-{8 digits}-{24 digits};Parent=…;Sampled=1`. The two numbers together are a W3C trace id.
fn xray_root(text: &str) -> Option<([u8; 16], u8)> {
    if text.len() > 512 {
        return None;
    }
    let field = |name: &str| {
        text.split(';').filter_map(|field| field.trim().split_once('=')).find(|(at, _)| *at == name)
    };
    let (_, root) = field("Root")?;
    let (version, digits) = root.split_once('-')?;
    let (time, unique) = digits.split_once('-')?;
    if version != "1" || time.len() != 8 {
        return None;
    }
    let sampled = field("Sampled").is_some_and(|(_, sampled)| sampled == "1");
    Some((id(&format!("{time}{unique}"))?, u8::from(sampled)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn enter(traceparent: &str, tracestate: &[&str]) -> Trace {
        Trace::enter(&Random::System, Some(traceparent), tracestate, None).unwrap()
    }

    #[test]
    fn a_trace_goes_on_with_a_span_of_its_own() {
        let trace = enter(PARENT, &["congo=t61rcWkgMzE", " rojo=00f067aa0ba902b7 , "]);
        assert_eq!(trace.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(trace.span(), "00f067aa0ba902b7");
        let on = trace.traceparent().unwrap();
        assert_eq!(on, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", trace.span()));
        assert_eq!(trace.tracestate(), Some("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"));
        assert!(trace.is_continued() && enter(&on, &[]).id() == trace.id());
    }

    #[test]
    fn a_malformed_parent_is_as_good_as_none() {
        for wrong in [
            "",
            "nonsense",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            let trace = enter(wrong, &["congo=t61rcWkgMzE"]);
            assert!(!trace.is_continued() && trace.tracestate().is_none(), "{wrong}");
            assert_ne!(trace.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        }
    }

    #[test]
    fn of_later_versions_what_is_known_is_read() {
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-what-comes-then";
        let on = enter(later, &[]).traceparent().unwrap();
        assert!(on.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && on.ends_with("-03"), "{on}");
    }

    #[test]
    fn a_state_that_is_wrong_or_too_long_is_left_out() {
        let long = format!("a={}", "b".repeat(600));
        let many = vec!["a=b"; 33].join(",");
        for wrong in ["novalue", "A=b", "a=b=c", "a=\u{7f}", "=b", "a=", &long, &many] {
            assert_eq!(enter(PARENT, &[wrong]).tracestate(), None, "{wrong}");
        }
    }

    #[test]
    fn without_a_parent_the_trace_is_that_of_x_ray() {
        let enter = |header| Trace::enter(&Random::System, None, &[], Some(header)).unwrap();
        let trace = enter("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1");
        assert_eq!(trace.id(), "5759e988bd862e3fe1be46a994272793");
        assert!(trace.traceparent().unwrap().ends_with("-01"));
        let unsampled = enter("Sampled=0;Root=1-5759e988-bd862e3fe1be46a994272793");
        assert!(unsampled.traceparent().unwrap().ends_with("-00"));
        for wrong in
            ["", "Root=2-5759e988-bd862e3fe1be46a994272793", "Root=1-5759e98-8bd862e3fe1be46a994272793"]
        {
            assert!(!enter(wrong).is_continued(), "{wrong}");
        }
    }

    #[test]
    fn a_request_outside_of_any_trace_sends_none_on() {
        assert_eq!(Trace::default().traceparent(), None);
    }
}
