//! A client's message: how it is read within bounds, and which era it speaks
//! ([overview](https://modelcontextprotocol.io/specification/2026-07-28/basic/index),
//! [Streamable HTTP](https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http)).

use std::borrow::Cow;

use deputize_api::reason::Reason;
use http::{HeaderMap, HeaderName, StatusCode};
use serde::{Deserialize, Deserializer};
use serde_json::{json, value::RawValue};

use super::{
    answer::{RpcRefusal, code},
    fields::{Fields, shadows},
};
use crate::upstream::{
    message::{HANDSHAKE_VERSIONS, MODERN_VERSION, is_deeper_than},
    param_headers::decode,
};

pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

pub(super) const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
pub(super) const INFO_KEY: &str = "io.modelcontextprotocol/clientInfo";
pub(super) const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

/// Nesting allowed in a message.
const MAX_DEPTH: usize = 128;
/// More `Mcp-Param-*` headers than any tool has.
const MAX_PARAM_HEADERS: usize = 32;

/// The era that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProtocolEra {
    Modern,
    Handshake,
}

/// A message.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    /// The message's own bytes.
    pub(super) text: &'a [u8],
    pub(super) kind: Kind<'a>,
    pub(super) era: ProtocolEra,
}

#[derive(Debug)]
pub(super) enum Kind<'a> {
    Request {
        id: &'a RawValue,
        method: Cow<'a, str>,
        params: Option<&'a RawValue>,
    },
    Notification {
        method: Cow<'a, str>,
    },
    /// A response to a request from the server.
    Response,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// Reads an id even if it is null. Null is not a valid id, but without an id the request would be a notification.
fn even_null<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The fields that we read of a message, and of its parameters.
pub(super) const ENVELOPE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
const PARAMS: [&str; 6] = ["_meta", "name", "arguments", "uri", "ref", "notifications"];

impl<'a> Incoming<'a> {
    pub(super) fn params(&self) -> Option<&'a RawValue> {
        match &self.kind {
            Kind::Request { params, .. } => *params,
            _ => None,
        }
    }

    pub(super) fn read(text: &'a [u8], headers: &HeaderMap) -> Result<Self, RpcRefusal> {
        let invalid =
            |message: &str| RpcRefusal::new(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, message);
        if is_deeper_than(text, MAX_DEPTH) {
            return Err(invalid("The message nests too deeply"));
        }
        if text.trim_ascii_start().first() == Some(&b'[') {
            return Err(invalid("Batches are not supported: send one message a request"));
        }
        let envelope: Envelope<'a> = serde_json::from_slice(text).map_err(|error| {
            let (code, what) = match error.classify() {
                serde_json::error::Category::Data => (code::INVALID_REQUEST, "No JSON-RPC message"),
                _ => (code::PARSE_ERROR, "Not one JSON text"),
            };
            let place = format!("{what} (line {}, column {})", error.line(), error.column());
            RpcRefusal::new(StatusCode::BAD_REQUEST, code, place)
        })?;
        if envelope.jsonrpc != "2.0" {
            return Err(invalid("jsonrpc must be \"2.0\""));
        }
        if shadows(text, &ENVELOPE) {
            return Err(invalid(
                "The message has a field twice, or one that is called like another but for its case",
            ));
        }
        let kind = match envelope {
            Envelope { method: Some(method), id: Some(id), params, result: None, error: None, .. } => {
                if !is_id(id) {
                    return Err(invalid("id must be text or an integer"));
                }
                Kind::Request { id, method, params }
            }
            Envelope { method: Some(method), id: None, result: None, error: None, .. } => {
                // The policies judge requests only, and a server may carry out a request that has no id.
                if !method.starts_with("notifications/") {
                    return Err(invalid("The message has no id, and its method is no notification's"));
                }
                Kind::Notification { method }
            }
            Envelope { method: None, id: Some(_), result, error, .. }
                if result.is_some() != error.is_some() =>
            {
                Kind::Response
            }
            _ => return Err(invalid("The message is neither request, notification nor response")),
        };
        let era = era(&kind, headers).map_err(|refusal| match &kind {
            Kind::Request { id, .. } => refusal.to(id),
            _ => refusal,
        })?;
        Ok(Self { text, kind, era })
    }
}

/// An integer as in RFC 8259, without fraction and exponent, or text ([overview, requests]).
fn is_id(id: &RawValue) -> bool {
    let text = id.get();
    text.len() <= 1024
        && (text.starts_with('"') || text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-')))
}

fn era(kind: &Kind<'_>, headers: &HeaderMap) -> Result<ProtocolEra, RpcRefusal> {
    let version = one(headers, &PROTOCOL_VERSION)?;
    let Kind::Request { method, params, .. } = kind else {
        // Only a handshake client sends notifications and responses. Those of other clients are dropped.
        return match version {
            Some(version) if version == MODERN_VERSION => Ok(ProtocolEra::Modern),
            version => handshake(version),
        };
    };
    let given = match params {
        Some(given) => {
            Fields::of(given).filter(|_| !shadows(given.get().as_bytes(), &PARAMS)).ok_or_else(|| {
                invalid_params("params must be an object, in which nothing occurs twice, in whatever case")
            })?
        }
        None => Fields::default(),
    };
    let meta = given.get("_meta").and_then(Fields::of).unwrap_or_default();
    let asked = meta.get(VERSION_KEY).map(|version| serde_json::from_str::<Cow<'_, str>>(version.get()));
    let Some(asked) = asked else {
        // `initialize` names its version itself.
        return if version.as_deref() == Some(MODERN_VERSION) && method != "initialize" {
            Err(invalid_params(&format!("params._meta must have {VERSION_KEY}")))
        } else {
            handshake(version)
        };
    };
    let asked = asked.map_err(|_| invalid_params(&format!("{VERSION_KEY} must be text")))?;
    match &version {
        None => return Err(mismatch("the MCP-Protocol-Version header is missing")),
        Some(version) if *version != asked => {
            return Err(mismatch(&format!(
                "MCP-Protocol-Version '{version}' does not match the body's '{asked}'"
            )));
        }
        Some(_) => {}
    }
    if asked != MODERN_VERSION {
        return Err(unsupported(&asked));
    }
    if meta.get(CAPABILITIES_KEY).is_none_or(|value| !value.get().starts_with('{')) {
        return Err(invalid_params(&format!("params._meta must have {CAPABILITIES_KEY}, an object")));
    }
    if meta.get(INFO_KEY).is_some_and(|value| !value.get().starts_with('{')) {
        return Err(invalid_params(&format!("{INFO_KEY} must be an object")));
    }
    same(headers, &METHOD, method)?;
    let naming = match &**method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        _ => None,
    };
    if let Some(naming) = naming {
        let named =
            given.get(naming).and_then(|named| serde_json::from_str::<Cow<'_, str>>(named.get()).ok());
        let named = named.ok_or_else(|| invalid_params(&format!("params.{naming} must be text")))?;
        same(headers, &NAME, &named)?;
    }
    Ok(ProtocolEra::Modern)
}

fn handshake(version: Option<Cow<'_, str>>) -> Result<ProtocolEra, RpcRefusal> {
    match version {
        Some(version) if !HANDSHAKE_VERSIONS.contains(&&*version) => Err(unsupported(&version)),
        _ => Ok(ProtocolEra::Handshake),
    }
}

/// Requires that a header agrees with the body.
fn same(headers: &HeaderMap, name: &HeaderName, body: &str) -> Result<(), RpcRefusal> {
    let Some(header) = one(headers, name)? else {
        return Err(mismatch(&format!("the {name} header is missing")));
    };
    if decode(&header).is_some_and(|header| header == body) {
        return Ok(());
    }
    Err(mismatch(&format!("{name} does not match the body")))
}

/// A header's only value. If there were two, two proxies could disagree on which one counts.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<Cow<'a, str>>, RpcRefusal> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(mismatch(&format!("the {name} header occurs twice")));
    }
    let text = value.map(|value| value.to_str().map(Cow::Borrowed)).transpose();
    text.map_err(|_| mismatch(&format!("the {name} header holds invalid characters")))
}

/// The `Mcp-Param-*` headers. A modern server compares them with the arguments. For a server that does not know these
/// headers, the proxy does this.
pub(super) fn param_headers(headers: &HeaderMap) -> Result<HeaderMap, RpcRefusal> {
    let mut found = HeaderMap::new();
    for (name, value) in headers {
        if !name.as_str().starts_with("mcp-param-") {
            continue;
        }
        if found.insert(name.clone(), value.clone()).is_some() || found.len() > MAX_PARAM_HEADERS {
            return Err(mismatch("an Mcp-Param header occurs twice, or there are too many"));
        }
        if value.to_str().ok().and_then(decode).is_none() {
            return Err(mismatch(&format!("the {name} header holds invalid characters")));
        }
    }
    Ok(found)
}

fn invalid_params(message: &str) -> RpcRefusal {
    RpcRefusal::new(StatusCode::BAD_REQUEST, code::INVALID_PARAMS, message)
}

pub(super) fn mismatch(what: &str) -> RpcRefusal {
    RpcRefusal::new(StatusCode::BAD_REQUEST, code::HEADER_MISMATCH, format!("Header mismatch: {what}"))
}

fn unsupported(requested: &str) -> RpcRefusal {
    let requested: String = requested.chars().take(64).collect();
    let data = json!({
        "supported": supported_versions(),
        "requested": requested,
        "reason": Reason::ProtocolVersionUnsupported,
    });
    let refusal = RpcRefusal::new(
        StatusCode::BAD_REQUEST,
        code::UNSUPPORTED_PROTOCOL_VERSION,
        "Unsupported protocol version",
    );
    refusal.with(data)
}

/// The versions that the proxy speaks, newest first.
pub(super) fn supported_versions() -> Vec<&'static str> {
    [MODERN_VERSION].into_iter().chain(HANDSHAKE_VERSIONS).collect()
}
