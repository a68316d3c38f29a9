//! Translates between the eras: a handshake client's messages into a modern server's words, and the reverse.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{json, value::RawValue};

use super::{
    fields::Fields,
    incoming::{CAPABILITIES_KEY, INFO_KEY, Initialize, VERSION_KEY, supported_versions},
    session::Session,
};
use crate::upstream::{Outgoing, UpstreamError, message::MODERN_VERSION};

const SERVER_INFO_KEY: &str = "io.modelcontextprotocol/serverInfo";
const LOG_LEVEL_KEY: &str = "io.modelcontextprotocol/logLevel";
/// Agents without a user at hand get access by the client credentials grant
/// (`ext-auth`, *OAuth Client Credentials Extension*).
const CLIENT_CREDENTIALS: &str = "io.modelcontextprotocol/oauth-client-credentials";

fn raw(value: &serde_json::Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_default()
}

/// A whole request. What is a part of `body`, the client's own, is sent from there.
pub(super) fn request(
    id: &RawValue,
    method: &str,
    params: Option<&Fields<'_>>,
    body: &Bytes,
) -> Result<Outgoing, UpstreamError> {
    #[derive(Serialize)]
    struct Request<'a> {
        jsonrpc: &'static str,
        id: &'a RawValue,
        method: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        params: Option<&'a Fields<'a>>,
    }
    let request = Request { jsonrpc: "2.0", id, method, params };
    Outgoing::write(&request, body).map_err(|error| UpstreamError::protocol(error.to_string()))
}

/// A handshake client's parameters, with what a modern server must be told with each request.
pub(super) fn params_for_modern<'a>(params: Option<&'a RawValue>, session: Option<&Session>) -> Fields<'a> {
    let empty = Box::<RawValue>::default();
    let mut fields = params.and_then(Fields::of).unwrap_or_default();
    let meta = fields.get("_meta").map_or(empty, ToOwned::to_owned);
    let mut meta = Fields::of(&meta).unwrap_or_default();
    let described = |of: fn(&Session) -> Option<&Box<RawValue>>| session.and_then(of).cloned();
    meta.set(VERSION_KEY, raw(&json!(MODERN_VERSION)));
    meta.set(
        INFO_KEY,
        described(|session| session.client_info.as_ref())
            .unwrap_or_else(|| raw(&json!({ "name": "deputize", "version": env!("CARGO_PKG_VERSION") }))),
    );
    let capabilities = described(|session| session.capabilities.as_ref());
    // A server's request to the client would come in a result that a handshake client cannot read.
    let mut capabilities = Fields::of(capabilities.as_deref().unwrap_or(RawValue::NULL)).unwrap_or_default();
    for asking in ["sampling", "elicitation", "roots"] {
        capabilities.remove(asking);
    }
    // A capability is an object, even if it has nothing to say. Some clients say `true`, which servers refuse.
    capabilities.retain(|value| value.get().starts_with('{'));
    meta.set(CAPABILITIES_KEY, capabilities.to_raw());
    let meta = meta.to_raw();
    fields.set("_meta", meta);
    fields
}

/// A modern client's parameters, without what a handshake server was told once.
pub(super) fn params_for_handshake(params: Option<&RawValue>) -> Option<Fields<'_>> {
    let mut fields = Fields::of(params?)?;
    let meta = fields.get("_meta")?.to_owned();
    let mut meta = Fields::of(&meta)?;
    for key in [VERSION_KEY, INFO_KEY, CAPABILITIES_KEY, LOG_LEVEL_KEY] {
        meta.remove(key);
    }
    if meta.is_empty() {
        fields.remove("_meta");
    } else {
        fields.set("_meta", meta.to_raw());
    }
    Some(fields)
}

/// The log levels, beginning with the least important (RFC 5424 section 6.2.1).
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

fn level(name: &RawValue) -> Option<usize> {
    let name: Cow<'_, str> = serde_json::from_str(name.get()).ok()?;
    LEVELS.iter().position(|level| *level == name)
}

/// The lowest level of log messages that a modern client wants.
pub(super) fn log_level(params: Option<&RawValue>) -> Option<usize> {
    let params = Fields::of(params?)?;
    let meta = Fields::of(params.get("_meta")?)?;
    level(meta.get(LOG_LEVEL_KEY)?)
}

/// The level of a log message; `None` for any other message.
pub(super) fn level_of(message: &RawValue) -> Option<usize> {
    let message = Fields::of(message)?;
    if message.get("method")?.get() != r#""notifications/message""# {
        return None;
    }
    let params = message.get("params").and_then(Fields::of);
    Some(params.as_ref().and_then(|params| level(params.get("level")?)).unwrap_or(0))
}

/// A modern server's discovery as the `InitializeResult` of a handshake.
pub(super) fn initialize_result(discovered: &RawValue, initialize: &Initialize<'_>) -> Option<Box<RawValue>> {
    let discovered = Fields::of(discovered)?;
    let meta = discovered.get("_meta").and_then(Fields::of);
    let unnamed = raw(&json!({ "name": "unnamed", "version": "0" }));
    let info = meta.as_ref().and_then(|meta| meta.get(SERVER_INFO_KEY)).unwrap_or(&unnamed);
    let mut result = Fields::default();
    result.set("protocolVersion", raw(&json!(initialize.version())));
    result.set("capabilities", discovered.get("capabilities").map_or_else(empty, ToOwned::to_owned));
    result.set("serverInfo", info.to_owned());
    if let Some(instructions) = discovered.get("instructions") {
        result.set("instructions", instructions.to_owned());
    }
    Some(result.to_raw())
}

/// A handshake server's `InitializeResult` as a discovery.
pub(super) fn discovery(initialized: &RawValue) -> Option<Box<RawValue>> {
    let initialized = Fields::of(initialized)?;
    let mut result = Fields::default();
    result.set("resultType", raw(&json!("complete")));
    result.set("capabilities", initialized.get("capabilities").map_or_else(empty, without_sessions));
    if let Some(info) = initialized.get("serverInfo") {
        let mut meta = Fields::default();
        meta.set(SERVER_INFO_KEY, info.to_owned());
        result.set("_meta", meta.to_raw());
    }
    if let Some(instructions) = initialized.get("instructions") {
        result.set("instructions", instructions.to_owned());
    }
    Some(result.to_raw())
}

/// A handshake server's capabilities, without those that need a session of the client's own.
fn without_sessions(capabilities: &RawValue) -> Box<RawValue> {
    let Some(mut all) = Fields::of(capabilities) else { return empty() };
    for kind in ["tools", "prompts", "resources"] {
        let Some(one) = all.get(kind).map(ToOwned::to_owned) else { continue };
        let Some(mut one) = Fields::of(&one) else { continue };
        one.remove("listChanged");
        one.remove("subscribe");
        all.set(kind, one.to_raw());
    }
    all.to_raw()
}

fn empty() -> Box<RawValue> {
    raw(&json!({}))
}

/// Our own part of a discovery: which versions the proxy speaks, and how a client gets access.
pub(super) fn advertise(discovery: &mut Fields<'_>) {
    discovery.set("supportedVersions", raw(&json!(supported_versions())));
    let capabilities = discovery.get("capabilities").map_or_else(empty, ToOwned::to_owned);
    if let Some(mut capabilities) = Fields::of(&capabilities) {
        let extensions = capabilities.get("extensions").map_or_else(empty, ToOwned::to_owned);
        if let Some(mut extensions) = Fields::of(&extensions) {
            extensions.set_if_absent(CLIENT_CREDENTIALS, empty());
            capabilities.set("extensions", extensions.to_raw());
        }
        discovery.set("capabilities", capabilities.to_raw());
    }
}

/// Marks a result as private to its caller, for caches
/// ([caching](https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/caching)).
pub(super) fn mark_private(result: &mut Fields<'_>) {
    result.set_if_absent("ttlMs", raw(&json!(0)));
    result.set("cacheScope", raw(&json!("private")));
}

/// Takes back that a result may be shown to others, where its reader does not expect that to be said at all.
pub(super) fn keep_private(result: &mut Fields<'_>) {
    if result.get("cacheScope").is_some() {
        result.set("cacheScope", raw(&json!("private")));
    }
}

/// Makes a handshake server's result one of a modern server's.
pub(super) fn complete(result: &mut Fields<'_>) {
    result.set_if_absent("resultType", raw(&json!("complete")));
}

/// Whether a result asks for input.
pub(super) fn asks_for_input(result: &Fields<'_>) -> bool {
    result.get("resultType").is_some_and(|kind| kind.get() == r#""input_required""#)
}
