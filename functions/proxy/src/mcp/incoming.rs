//! A client's message: how it is read within bounds, and which era it speaks
//! ([overview](https://modelcontextprotocol.io/specification/2026-07-28/basic/index),
//! [Streamable HTTP](https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http)).

use std::borrow::Cow;

use bytes::Bytes;
use deputize_api::reason::Reason;
use deputize_core::{network::without_byte_order_mark, wording};
use deputize_service::extract;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::ACCEPT};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::{json, value::RawValue};

use super::{
    answer::{RpcRefusal, code},
    fields::{Fields, shadows},
};
use crate::upstream::{
    message::{HANDSHAKE_VERSIONS, MODERN_VERSION, handshake_version, is_deeper_than, without_zeros},
    param_headers::decode,
};

pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

pub(super) const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
pub(super) const INFO_KEY: &str = "io.modelcontextprotocol/clientInfo";
pub(super) const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

/// The name of our question among those of a result that asks for input.
pub(super) const QUESTION: &str = "deputize.connect";

/// The one revision that has batches
/// ([2025-03-26](https://modelcontextprotocol.io/specification/2025-03-26/basic#batching)). It is also that of a client
/// that sends no version
/// ([2025-06-18, protocol version header](https://modelcontextprotocol.io/specification/2025-06-18/basic/transports#protocol-version-header)).
const VERSION_WITH_BATCHES: &str = "2025-03-26";

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
    pub(super) text: &'a Bytes,
    pub(super) kind: Kind<'a>,
    pub(super) era: ProtocolEra,
    /// Whether a handshake client, by its header, describes itself with the request as a modern one does, and names no
    /// session: it has never shaken hands.
    pub(super) is_sessionless: bool,
    /// Whether the client has been asked to connect, and sends the request again.
    pub(super) has_answered_question: bool,
}

/// A message's text without what some clients get wrong and no reader can misunderstand.
///
/// - A byte order mark (RFC 8259 section 8.1: a reader may ignore it).
/// - PHP writes an empty object as an empty list
///   ([modelcontextprotocol/php-sdk#284](https://github.com/modelcontextprotocol/php-sdk/issues/284),
///   [elgorro/aiquila#442](https://github.com/elgorro/aiquila/issues/442)).
/// - The id `1.0`, of writers that know no integers. Servers read `1`; the answer has the client's own bytes.
/// - `initialized` for `notifications/initialized`.
///
/// Nor has it the answer to our own question, which is nothing to the server.
#[derive(Debug)]
pub(super) struct Tidied {
    text: Bytes,
    /// The id as the client wrote it, if it is another in the text.
    id: Option<Box<RawValue>>,
    has_answered_question: bool,
}

impl Tidied {
    pub(super) fn of(body: &Bytes) -> Self {
        let text = body.slice_ref(without_byte_order_mark(body));
        let tidied = may_be_untidy(&text).then(|| tidied(&text)).flatten();
        tidied.unwrap_or(Self { text, id: None, has_answered_question: false })
    }

    #[cfg(feature = "fuzzing")]
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The id of the request, if it is one, and if its id can be read, whatever else is wrong with it.
    pub(super) fn readable_id(&self) -> Option<Box<RawValue>> {
        #[derive(Deserialize)]
        struct Request<'a> {
            #[serde(borrow)]
            id: &'a RawValue,
            #[serde(rename = "method")]
            _method: IgnoredAny,
        }
        let Request { id, .. } = serde_json::from_slice(&self.text).ok()?;
        is_id(id).then(|| self.id.clone().unwrap_or_else(|| id.to_owned()))
    }
}

/// Whether there is anything in a text that could be tidied.
fn may_be_untidy(text: &[u8]) -> bool {
    let mut last = 0;
    for byte in text.iter().filter(|byte| !byte.is_ascii_whitespace()) {
        if matches!((last, byte), (b'[', b']') | (b'.', b'0')) {
            return true;
        }
        last = *byte;
    }
    let has = |wanted: &str| text.windows(wanted.len()).any(|part| part == wanted.as_bytes());
    has(UNPREFIXED) || has(QUESTION)
}

const UNPREFIXED: &str = r#""initialized""#;

fn tidied(text: &[u8]) -> Option<Tidied> {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).ok();
    let is_empty_list = |value: &RawValue| {
        let inside = value.get().strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        inside.is_some_and(|inside| inside.trim_ascii().is_empty())
    };
    let mut message = Fields::of(serde_json::from_slice(text).ok()?)?;
    let (mut is_changed, mut has_answered_question) = (false, false);
    let mut set = |message: &mut Fields<'_>, name: &'static str, value| {
        message.set(name, value);
        is_changed = true;
    };
    let id = message.get("id").filter(|id| is_id_with_zeros(id)).map(ToOwned::to_owned);
    if let Some(id) = &id {
        set(&mut message, "id", raw(without_zeros(id.get()))?);
    } else if message.get("id").is_none()
        && message.get("method").is_some_and(|method| method.get() == UNPREFIXED)
    {
        set(&mut message, "method", raw(r#""notifications/initialized""#)?);
    }
    if let Some(params) = message.get("params").map(ToOwned::to_owned) {
        let has_arguments = message
            .get("method")
            .is_some_and(|method| matches!(method.get(), r#""tools/call""# | r#""prompts/get""#));
        if is_empty_list(&params) {
            set(&mut message, "params", raw("{}")?);
        } else if has_arguments
            && let Some(mut fields) = Fields::of(&params)
            && fields.get("arguments").is_some_and(is_empty_list)
        {
            fields.set("arguments", raw("{}")?);
            set(&mut message, "params", fields.to_raw());
        }
    }
    if let Some(params) = message.get("params").map(ToOwned::to_owned)
        && let Some(params) = without_answer(&params)
    {
        set(&mut message, "params", params);
        has_answered_question = true;
    }
    if !is_changed {
        return None;
    }
    Some(Tidied { text: String::from(Box::<str>::from(message.to_raw())).into(), id, has_answered_question })
}

/// The parameters without the answer to our question, if they have it.
fn without_answer(params: &RawValue) -> Option<Box<RawValue>> {
    let mut params = Fields::of(params)?;
    let answers = params.get("inputResponses")?.to_owned();
    let mut answers = Fields::of(&answers)?;
    answers.get(QUESTION)?;
    answers.remove(QUESTION);
    if answers.is_empty() {
        params.remove("inputResponses");
    } else {
        params.set("inputResponses", answers.to_raw());
    }
    Some(params.to_raw())
}

/// An integer that is written with a fraction of zeros.
fn is_id_with_zeros(id: &RawValue) -> bool {
    let whole = without_zeros(id.get());
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    whole.len() < id.get().len() && digits.bytes().all(|digit| digit.is_ascii_digit())
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

    pub(super) fn read(tidied: &'a Tidied, headers: &HeaderMap) -> Result<Self, RpcRefusal> {
        Self::read_tidied(tidied, headers).map_err(|refusal| {
            let refusal = match tidied.readable_id() {
                Some(id) => refusal.to(&id),
                None => refusal,
            };
            if is_of_handshake(headers) { refusal.in_handshake() } else { refusal }
        })
    }

    fn read_tidied(tidied: &'a Tidied, headers: &HeaderMap) -> Result<Self, RpcRefusal> {
        let text = &tidied.text;
        let invalid =
            |message: &str| RpcRefusal::new(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, message);
        if is_deeper_than(text, MAX_DEPTH) {
            return Err(invalid("The message nests too deeply"));
        }
        if text.trim_ascii_start().first() == Some(&b'[') {
            return Err(invalid("Only the revision 2025-03-26 has batches: send one message a request"));
        }
        let envelope: Envelope<'a> = serde_json::from_slice(text).map_err(|error| {
            let (code, what) = match error.classify() {
                serde_json::error::Category::Data => {
                    // Read again, since this reader also knows where it is.
                    let why = extract::parse_json::<Envelope<'_>>(text).err();
                    let why = why.map_or_else(|| wording::of_json(".", &error), |why| why.to_string());
                    (code::INVALID_REQUEST, format!("No JSON-RPC message: {why}"))
                }
                _ => (code::PARSE_ERROR, "Not one JSON text".to_owned()),
            };
            RpcRefusal::new(StatusCode::BAD_REQUEST, code, what)
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
                Kind::Request { id: tidied.id.as_deref().unwrap_or(id), method, params }
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
        let Spoken { era, is_sessionless } = era(&kind, headers)?;
        let has_answered_question = tidied.has_answered_question;
        Ok(Self { text, kind, era, is_sessionless, has_answered_question })
    }
}

/// RFC 8259 numbers without fraction and exponent, or text ([overview, requests]).
pub(super) fn is_id(id: &RawValue) -> bool {
    let text = id.get();
    text.len() <= 1024
        && (text.starts_with('"') || text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-')))
}

/// How a message is to be understood.
struct Spoken {
    era: ProtocolEra,
    is_sessionless: bool,
}

impl From<ProtocolEra> for Spoken {
    fn from(era: ProtocolEra) -> Self {
        Self { era, is_sessionless: false }
    }
}

/// The era of a message. A handshake version in the header says it, and so does a session. `_meta`, which such a client
/// has not, means nothing then: the connectors of claude.ai send a `_meta` of 2026-07-28 under the header 2025-11-25
/// ([claude-code#93290](https://github.com/anthropics/claude-code/issues/93290)), and in a session of 2025-11-25 the header
/// 2026-07-28 ([SparkyFitness#2155](https://github.com/CodeWithCJ/SparkyFitness/issues/2155)).
fn era(kind: &Kind<'_>, headers: &HeaderMap) -> Result<Spoken, RpcRefusal> {
    let in_session = headers.contains_key(SESSION_ID);
    let Kind::Request { method, params, .. } = kind else {
        // Only a handshake client notifies and responds; whatever else says so is accepted by nobody.
        return match version(headers)? {
            Some(MODERN_VERSION) if !in_session => Ok(ProtocolEra::Modern.into()),
            Some(MODERN_VERSION) => Ok(ProtocolEra::Handshake.into()),
            version => handshake(version).map(Spoken::from),
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
    let version = match version(headers) {
        // It says its version itself, and is answered whatever the header says.
        _ if method == "initialize" && asked.is_none() => return Ok(ProtocolEra::Handshake.into()),
        Err(_) if method == "initialize" => return Ok(ProtocolEra::Handshake.into()),
        version => version?,
    };
    let is_handshakes = match version {
        Some(MODERN_VERSION) => in_session,
        None => in_session || method == "initialize",
        Some(version) => method == "initialize" || handshake_version(version).is_some(),
    };
    if is_handshakes {
        let is_sessionless = asked.is_some() && !in_session;
        return Ok(Spoken { era: ProtocolEra::Handshake, is_sessionless });
    }
    let Some(asked) = asked else {
        return if version == Some(MODERN_VERSION) {
            Err(invalid_params(&format!("params._meta must have {VERSION_KEY}")))
        } else {
            handshake(version).map(Spoken::from)
        };
    };
    let asked = asked.map_err(|_| invalid_params(&format!("{VERSION_KEY} must be text")))?;
    match &version {
        None => return Err(mismatch("the MCP-Protocol-Version header is missing")),
        Some(version) if **version != *asked => {
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
    Ok(ProtocolEra::Modern.into())
}

fn handshake(version: Option<&str>) -> Result<ProtocolEra, RpcRefusal> {
    match version {
        Some(version) if handshake_version(version).is_none() => Err(unsupported(version)),
        _ => Ok(ProtocolEra::Handshake),
    }
}

/// The version in the header. The same one twice is one: Claude Code sends `2025-11-25, 2025-11-25`
/// ([lowdefy#2345](https://github.com/lowdefy/lowdefy/pull/2345)).
fn version(headers: &HeaderMap) -> Result<Option<&str>, RpcRefusal> {
    let mut found = None;
    for value in headers.get_all(PROTOCOL_VERSION) {
        let text = value
            .to_str()
            .map_err(|_| mismatch(&format!("the {PROTOCOL_VERSION} header holds invalid characters")))?;
        for version in text.split(',').map(str::trim).filter(|version| !version.is_empty()) {
            if found.is_some_and(|found| found != version) {
                return Err(mismatch(&format!("the {PROTOCOL_VERSION} header has two versions")));
            }
            found = Some(version);
        }
    }
    Ok(found)
}

/// The version for a handshake server: the client's, if it is one that such a server can know.
pub(super) fn version_for_server(headers: &HeaderMap) -> Option<HeaderValue> {
    let version = version(headers).ok().flatten().and_then(handshake_version);
    version.map(HeaderValue::from_static)
}

/// Whether a request is of a handshake revision, as far as its headers tell.
pub(super) fn is_of_handshake(headers: &HeaderMap) -> bool {
    match version(headers) {
        Ok(None) => true,
        Ok(Some(version)) => handshake_version(version).is_some() || headers.contains_key(SESSION_ID),
        Err(_) => false,
    }
}

/// Whether a body is a batch, of a client that may send one.
pub(super) fn is_batch(body: &[u8], headers: &HeaderMap) -> bool {
    let text = without_byte_order_mark(body);
    text.trim_ascii_start().first() == Some(&b'[')
        && matches!(version(headers), Ok(None | Some(VERSION_WITH_BATCHES)))
}

/// The messages of a batch.
pub(super) fn batch(body: &[u8]) -> &[u8] {
    without_byte_order_mark(body)
}

/// Whether the client takes an answer as events. One that says nothing of it takes anything (RFC 9110 section 12.5.1).
pub(super) fn takes_events(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().peekable();
    accepted.peek().is_none()
        || accepted.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).any(|range| {
            let range = range.split(';').next().unwrap_or_default().trim();
            ["text/event-stream", "text/*", "*/*"].iter().any(|events| range.eq_ignore_ascii_case(events))
        })
}

/// Requires that a header says what the body says.
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

/// What an `initialize` says.
#[derive(Deserialize)]
pub(super) struct Initialize<'a> {
    #[serde(borrow, rename = "protocolVersion")]
    version: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) capabilities: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "clientInfo")]
    pub(super) client_info: Option<&'a RawValue>,
}

impl Initialize<'_> {
    /// Whether the client can be asked to open an address, as 2025-11-25 has it.
    pub(super) fn opens_urls(&self) -> bool {
        self.version() == HANDSHAKE_VERSIONS[0] && self.capabilities.is_some_and(declares_urls)
    }

    /// The version that is agreed on
    /// ([2025-11-25, version negotiation](https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#version-negotiation)).
    pub(super) fn version(&self) -> &'static str {
        handshake_version(&self.version).unwrap_or(HANDSHAKE_VERSIONS[0])
    }
}

/// Whether a client's capabilities have URL elicitation.
pub(super) fn declares_urls(capabilities: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Capabilities<'a> {
        #[serde(borrow, default)]
        elicitation: Option<Elicitation<'a>>,
    }
    #[derive(Deserialize)]
    struct Elicitation<'a> {
        #[serde(borrow, default)]
        url: Option<&'a RawValue>,
    }
    let declared = serde_json::from_str::<Capabilities<'_>>(capabilities.get());
    let url = declared.ok().and_then(|declared| declared.elicitation?.url);
    url.is_some_and(|url| url.get().starts_with('{'))
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

/// What is spoken here, newest first. The oldest is accepted and not advertised.
pub(super) fn supported_versions() -> Vec<&'static str> {
    [MODERN_VERSION].into_iter().chain(HANDSHAKE_VERSIONS).collect()
}
