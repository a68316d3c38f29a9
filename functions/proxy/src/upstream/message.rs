//! JSON-RPC messages: writing ours, and reading the server's without changing the parts that are passed on.

use std::borrow::Cow;

use bytes::Bytes;
use deputize_core::network::without_byte_order_mark;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::{Outgoing, ProtocolEra, UpstreamError};

/// The stateless revision, which is spoken to modern servers.
pub(crate) const MODERN_VERSION: &str = "2026-07-28";

/// Handshake revisions with Streamable HTTP, newest first; the first is the one proposed.
pub(crate) const HANDSHAKE_VERSIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// An id that is a number, without a fraction of zeros: `1.0` is the integer 1, and some writers of JSON make either of
/// the other.
pub(crate) fn without_zeros(id: &str) -> &str {
    match id.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|digit| digit == b'0') => {
            whole
        }
        _ => id,
    }
}

/// The revision before them has another transport. Some servers answer it all the same, by Streamable HTTP
/// ([pgedge-postgres-mcp#277](https://github.com/pgEdge/pgedge-postgres-mcp/issues/277)), and its clients come by
/// adapters, such as `mcp-remote`. It is accepted, and not advertised.
const OLDEST_VERSION: &str = "2024-11-05";

/// The handshake revision of this name, if it can be spoken here.
pub(crate) fn handshake_version(name: &str) -> Option<&'static str> {
    HANDSHAKE_VERSIONS.into_iter().chain([OLDEST_VERSION]).find(|ours| *ours == name)
}

/// Nesting allowed in an answer: the depth to which `serde_json` itself parses. A raw value is not
/// subject to that limit, so whoever parses it after us would be.
const MAX_DEPTH: usize = 128;

/// A request as it is sent.
#[derive(Serialize)]
pub(super) struct Request<'a, P> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: P,
}

impl<'a, P: Serialize> Request<'a, P> {
    pub(super) fn new(id: u64, method: &'a str, params: P) -> Self {
        Self { jsonrpc: "2.0", id, method, params }
    }

    pub(super) fn id(&self) -> Result<Box<RawValue>, UpstreamError> {
        to_raw_value(&self.id).map_err(|error| unwritten(&error))
    }

    pub(super) fn written(&self) -> Result<Outgoing, UpstreamError> {
        self.written_around(&Bytes::new())
    }

    /// With parts of the body of a client's request.
    pub(super) fn written_around(&self, body: &Bytes) -> Result<Outgoing, UpstreamError> {
        Outgoing::write(self, body).map_err(|error| unwritten(&error))
    }
}

fn unwritten(error: &serde_json::Error) -> UpstreamError {
    UpstreamError::protocol(format!("the request cannot be written: {error}"))
}

#[derive(Serialize)]
pub(super) struct CallParams<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: &'a RawValue,
    #[serde(rename = "_meta", skip_serializing_if = "Meta::is_empty")]
    pub(super) meta: Meta<'a>,
}

#[derive(Serialize)]
pub(super) struct ListParams<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<&'a str>,
    #[serde(rename = "_meta", skip_serializing_if = "Meta::is_empty")]
    pub(super) meta: Meta<'a>,
}

#[derive(Serialize)]
pub(super) struct DiscoverParams<'a> {
    #[serde(rename = "_meta")]
    pub(super) meta: Meta<'a>,
}

#[derive(Serialize)]
pub(super) struct InitializeParams {
    #[serde(rename = "protocolVersion")]
    version: &'static str,
    capabilities: NoCapabilities,
    #[serde(rename = "clientInfo")]
    client_info: Implementation,
}

impl InitializeParams {
    pub(super) fn proposing(version: &'static str) -> Self {
        Self { version, capabilities: NoCapabilities {}, client_info: Implementation::OURS }
    }
}

#[derive(Serialize)]
struct NoCapabilities {}

#[derive(Serialize)]
struct Implementation {
    name: &'static str,
    version: &'static str,
}

impl Implementation {
    const OURS: Self = Self { name: "deputize", version: env!("CARGO_PKG_VERSION") };
}

/// The `_meta` of a request
/// ([overview, `_meta`](https://modelcontextprotocol.io/specification/2026-07-28/basic/index#meta)).
#[derive(Clone, Copy)]
pub(super) struct Meta<'a> {
    /// Modern requests describe the connection. In a session, this was done once.
    pub(super) era: ProtocolEra,
    /// W3C trace context.
    pub(super) traceparent: Option<&'a str>,
}

const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const INFO_KEY: &str = "io.modelcontextprotocol/clientInfo";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
const TRACE_KEY: &str = "traceparent";

impl Meta<'_> {
    fn is_empty(&self) -> bool {
        self.era == ProtocolEra::Handshake && self.traceparent.is_none()
    }
}

impl Serialize for Meta<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.era == ProtocolEra::Modern {
            map.serialize_entry(VERSION_KEY, MODERN_VERSION)?;
            map.serialize_entry(INFO_KEY, &Implementation::OURS)?;
            map.serialize_entry(CAPABILITIES_KEY, &NoCapabilities {})?;
        }
        if let Some(traceparent) = self.traceparent {
            map.serialize_entry(TRACE_KEY, traceparent)?;
        }
        map.end()
    }
}

/// A message as it is received.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Response { id: &'a RawValue, result: &'a RawValue },
    Error { id: Option<&'a RawValue>, code: i64, error: &'a RawValue },
    Notification,
    Request { id: &'a RawValue, method: Cow<'a, str> },
}

/// The error of a JSON-RPC response.
#[derive(Debug, Deserialize)]
pub(super) struct RpcError {
    pub(super) code: i64,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) data: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    /// Reads one message. Anything but a request, a notification or a response is an error. So is a member that occurs
    /// twice, since two parsers would read two different messages.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, UpstreamError> {
        let text = bare(text);
        if is_deeper_than(text, MAX_DEPTH) {
            return Err(UpstreamError::too_large(format!("a depth of {MAX_DEPTH}")));
        }
        // Serde would also read a list of the members' values.
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err(UpstreamError::protocol("no JSON-RPC message: no object"));
        }
        let no_message = |error: serde_json::Error| UpstreamError::unread("no JSON-RPC message", &error);
        let envelope: Envelope<'a> = serde_json::from_slice(text).map_err(no_message)?;
        // Some leave it out. What says another version is another protocol.
        if envelope.jsonrpc.as_ref().is_some_and(|version| version != "2.0") {
            return Err(UpstreamError::protocol("no JSON-RPC 2.0 message"));
        }
        match envelope {
            Envelope { method: Some(method), id: Some(id), result: None, error: None, .. } => {
                Ok(Self::Request { id, method })
            }
            Envelope { method: Some(_), id: None, result: None, error: None, .. } => Ok(Self::Notification),
            Envelope { method: None, id: Some(id), result: Some(result), error: None, .. } => {
                Ok(Self::Response { id, result })
            }
            Envelope { method: None, id, result: None, error: Some(error), .. } => {
                let RpcError { code, .. } = serde_json::from_str(error.get()).map_err(no_message)?;
                Ok(Self::Error { id, code, error })
            }
            _ => Err(UpstreamError::protocol("a message that is neither request nor response")),
        }
    }

    /// Whether a message that was parsed before is a request.
    pub(super) fn asks(message: &'a RawValue) -> bool {
        matches!(Self::parse(message.get().as_bytes()), Ok(Self::Request { .. }))
    }
}

/// A message without what some servers put around it: a byte order mark, or an array that holds nothing else (RFC 8259
/// section 8.1 lets parsers ignore the mark; the revision 2025-03-26 had batches).
pub(super) fn bare(text: &[u8]) -> &[u8] {
    let text = without_byte_order_mark(text);
    if text.trim_ascii_start().first() != Some(&b'[') {
        return text;
    }
    let only = serde_json::from_slice::<[&RawValue; 1]>(text);
    only.map_or(text, |[message]| message.get().as_bytes())
}

/// Whether a text does not even try to be a message: what servers send to keep a stream alive, such as `ping` or
/// `{"type":"heartbeat"}` ([dav-mcp#31](https://github.com/PhilflowIO/dav-mcp/issues/31)).
pub(super) fn is_no_attempt(text: &[u8]) -> bool {
    let text = bare(text).trim_ascii();
    match text.first() {
        Some(b'{') => matches!(
            serde_json::from_slice(text),
            Ok(Envelope { jsonrpc: None, id: None, method: None, result: None, error: None })
        ),
        Some(b'[') => false,
        _ => true,
    }
}

/// Whether brackets nest deeper than `limit`. Only brackets are counted: that it is JSON is for the
/// parser to find out.
pub(crate) fn is_deeper_than(text: &[u8], limit: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn written(era: ProtocolEra, traceparent: Option<&str>) -> String {
        let arguments = raw(r#"{"b": 1.0,"a":[ ]}"#);
        let params = CallParams { name: "echo", arguments: &arguments, meta: Meta { era, traceparent } };
        String::from_utf8(Request::new(7, "tools/call", params).written().unwrap().joined()).unwrap()
    }

    #[test]
    fn arguments_keep_their_own_bytes() {
        assert_eq!(
            written(ProtocolEra::Handshake, None),
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"b": 1.0,"a":[ ]}}}"#
        );
    }

    #[test]
    fn a_modern_request_says_version_client_and_capabilities() {
        let text = written(ProtocolEra::Modern, None);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let meta = &value["params"]["_meta"];
        assert_eq!(meta[VERSION_KEY], MODERN_VERSION);
        assert_eq!(meta[INFO_KEY]["name"], "deputize");
        assert_eq!(meta[CAPABILITIES_KEY], serde_json::json!({}));
    }

    #[test]
    fn a_trace_goes_on_in_the_meta_of_either_era() {
        for era in [ProtocolEra::Modern, ProtocolEra::Handshake] {
            let text = written(era, Some("00-ab-cd-01"));
            assert!(text.contains(r#""traceparent":"00-ab-cd-01""#), "{text}");
        }
    }

    #[test]
    fn a_message_that_is_both_result_and_error_is_refused() {
        let text = br#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"m"}}"#;
        assert!(matches!(Message::parse(text), Err(UpstreamError::Protocol { .. })));
    }

    #[test]
    fn a_message_with_two_results_is_refused() {
        let text = br#"{"jsonrpc":"2.0","id":1,"result":{"a":1},"result":{"a":2}}"#;
        assert!(matches!(Message::parse(text), Err(UpstreamError::Protocol { .. })));
    }

    #[test]
    fn garbage_is_no_message() {
        for text in [
            "",
            "nonsense",
            "[]",
            "[{},{}]",
            r#"["2.0",1,null,{}]"#,
            "1",
            "{}",
            r#"{"jsonrpc":"1.0","id":1,"result":{}}"#,
            "\"\u{0}\"",
        ] {
            assert!(Message::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Message::parse(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"\xff\"}").is_err());
    }

    #[test]
    fn what_surrounds_a_message_or_is_left_out_of_it_does_not_matter() {
        let whole = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        for text in [
            r#"{"id":1,"result":{}}"#.to_owned(),
            format!("\u{feff}{whole}"),
            format!("[{whole}]"),
            format!("\u{feff} [ {whole} ] "),
        ] {
            assert!(matches!(Message::parse(text.as_bytes()), Ok(Message::Response { .. })), "{text}");
        }
    }

    #[test]
    fn only_what_has_nothing_of_a_message_is_no_attempt_at_one() {
        for text in ["ping", "", "7", "{}", r#"{"type":"heartbeat"}"#, "[DONE", "\u{feff}{}"] {
            assert_eq!(is_no_attempt(text.as_bytes()), !text.starts_with('['), "{text}");
        }
        for text in [r#"{"id":1}"#, r#"{"jsonrpc":"2.0"}"#, r#"{"result":{},"result":{}}"#, "{", "[1,2]"] {
            assert!(!is_no_attempt(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn nesting_over_the_limit_is_refused_even_in_a_raw_value() {
        let deep = |depth: usize| {
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{}{}}}"#, "[".repeat(depth), "]".repeat(depth))
        };
        assert!(matches!(Message::parse(deep(127).as_bytes()), Ok(Message::Response { .. })));
        assert!(matches!(Message::parse(deep(128).as_bytes()), Err(UpstreamError::TooLarge { .. })));
        assert!(matches!(Message::parse(deep(1_000_000).as_bytes()), Err(UpstreamError::TooLarge { .. })));
    }

    #[test]
    fn brackets_in_strings_are_not_nesting() {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":"\"{}"}}"#, "[".repeat(1000));
        assert!(Message::parse(text.as_bytes()).is_ok());
    }
}
