//! JSON-RPC messages: writing ours, and reading the server's without changing the parts that are passed on.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::{ProtocolEra, UpstreamError};

/// The stateless revision, which is spoken to modern servers.
pub(crate) const MODERN_VERSION: &str = "2026-07-28";

/// Handshake revisions with Streamable HTTP, newest first; the first is the one proposed.
pub(crate) const HANDSHAKE_VERSIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// Nesting allowed in an answer: the depth to which `serde_json` itself parses. A raw value is not subject to that
/// limit, but the next parser that reads it may be.
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

    pub(super) fn bytes(&self) -> Result<Vec<u8>, UpstreamError> {
        serde_json::to_vec(self).map_err(|error| unwritten(&error))
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
    pub(super) const OURS: Self = Self {
        version: HANDSHAKE_VERSIONS[0],
        capabilities: NoCapabilities {},
        client_info: Implementation::OURS,
    };
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
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
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
        if is_deeper_than(text, MAX_DEPTH) {
            return Err(UpstreamError::too_large(format!("a depth of {MAX_DEPTH}")));
        }
        // Serde would also read a list of the members' values.
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err(UpstreamError::protocol("no JSON-RPC message: no object"));
        }
        let no_message =
            |error: serde_json::Error| UpstreamError::protocol(format!("no JSON-RPC message: {error}"));
        let envelope: Envelope<'a> = serde_json::from_slice(text).map_err(no_message)?;
        if envelope.jsonrpc != "2.0" {
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

/// Whether brackets nest deeper than `limit`. Only brackets are counted. The parser finds out whether it is JSON.
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
        String::from_utf8(Request::new(7, "tools/call", params).bytes().unwrap()).unwrap()
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
