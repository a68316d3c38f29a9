//! MCP as it is written: servers of either era that say what a test has them say and remember what they heard,
//! and what clients of either era send.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, value::RawValue};
use tokio::net::TcpListener;

use crate::{TestApp, TestRequest, TestResponse};

/// Whether a server or a client keeps sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolEra {
    /// 2026-07-28: each request is complete by itself.
    Modern,
    /// 2025-11-25: a handshake, and then a session.
    Handshake,
}

/// One HTTP request that reached a server.
#[derive(Clone, Debug)]
pub struct Heard {
    pub http: Method,
    pub headers: HeaderMap,
    /// The body's own bytes.
    pub text: String,
}

impl Heard {
    pub fn message(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The JSON-RPC method, else the HTTP method.
    pub fn method(&self) -> String {
        text_of(&self.raw("method")).unwrap_or_else(|| self.http.to_string())
    }

    /// A member's own bytes.
    pub fn raw(&self, name: &str) -> String {
        member(&self.text, name)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// `{"jsonrpc":"2.0","id":…,"result":…}`
    pub fn result(&self, result: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, self.raw("id"))
    }

    /// `{"jsonrpc":"2.0","id":…,"error":…}`
    pub fn error(&self, error: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, self.raw("id"))
    }
}

/// The bytes of a member of a JSON object. Empty if it does not exist.
pub fn member(text: &str, name: &str) -> String {
    let fields: HashMap<String, Box<RawValue>> = serde_json::from_str(text).unwrap_or_default();
    fields.get(name).map(|value| value.get().to_owned()).unwrap_or_default()
}

fn text_of(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

/// An answer of one JSON text.
pub fn json(status: StatusCode, text: impl Into<String>) -> Response {
    (status, [("content-type", "application/json")], text.into()).into_response()
}

/// An answer of events, which ends.
pub fn events(text: impl Into<Body>) -> Response {
    ([("content-type", "text/event-stream")], text.into()).into_response()
}

type Says = Arc<dyn Fn(&Heard) -> Response + Send + Sync>;

struct Kept {
    era: ProtocolEra,
    heard: Vec<Heard>,
    says: HashMap<String, Says>,
    sessions: HashSet<String>,
    opened: usize,
}

/// A server on the loopback interface. Cheap to clone.
#[derive(Clone)]
pub struct ScriptedServer {
    address: String,
    kept: Arc<Mutex<Kept>>,
}

impl std::fmt::Debug for ScriptedServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedServer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The servers' description of themselves.
pub const CAPABILITIES: &str = r#"{"tools":{"listChanged":true},"com.example/odd":{ "a":1.0}}"#;
pub const SERVER_INFO: &str = r#"{"name":"scripted","version":"7.1","future":[ ]}"#;

impl ScriptedServer {
    pub async fn start(era: ProtocolEra) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (mut server, routes) = Self::behind(era);
        server.address = format!("http://{}/mcp", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        server
    }

    /// A server behind something else, which must mount its routes.
    pub fn behind(era: ProtocolEra) -> (Self, Router) {
        let kept = Kept { era, heard: Vec::new(), says: HashMap::new(), sessions: HashSet::new(), opened: 0 };
        let server = Self { address: String::new(), kept: Arc::new(Mutex::new(kept)) };
        let routes = Router::new().fallback(answer).with_state(server.clone());
        (server, routes)
    }

    pub fn url(&self) -> &str {
        &self.address
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    /// Sets the answer to a JSON-RPC method, or to an HTTP method (`GET`) if there is none. It takes
    /// precedence over everything else, also over sessions.
    pub fn on(&self, method: &str, says: impl Fn(&Heard) -> Response + Send + Sync + 'static) {
        self.kept().says.insert(method.to_owned(), Arc::new(says));
    }

    /// Answers a method with this result.
    pub fn answers(&self, method: &str, result: &'static str) {
        self.on(method, move |heard| json(StatusCode::OK, heard.result(result)));
    }

    /// Becomes a server of another era, as by an update.
    pub fn become_of(&self, era: ProtocolEra) {
        self.kept().era = era;
    }

    /// Ends all sessions.
    pub fn forget_sessions(&self) {
        self.kept().sessions.clear();
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.kept().sessions.len()
    }

    /// Every request that reached it.
    pub fn heard(&self) -> Vec<Heard> {
        self.kept().heard.clone()
    }

    /// The requests of one method that reached it.
    pub fn heard_of(&self, method: &str) -> Vec<Heard> {
        self.heard().into_iter().filter(|heard| heard.method() == method).collect()
    }

    /// The last request of a method that reached it.
    #[track_caller]
    pub fn last(&self, method: &str) -> Heard {
        self.heard_of(method).pop().unwrap_or_else(|| panic!("no {method} among {:?}", self.methods()))
    }

    /// The methods of all requests that reached it.
    pub fn methods(&self) -> Vec<String> {
        self.heard().iter().map(Heard::method).collect()
    }
}

async fn answer(
    State(server): State<ScriptedServer>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let heard = Heard { http: method, headers, text: String::from_utf8_lossy(&body).into_owned() };
    let says = {
        let mut kept = server.kept();
        kept.heard.push(heard.clone());
        kept.says.get(&heard.method()).cloned()
    };
    if let Some(says) = says {
        return says(&heard);
    }
    let mut kept = server.kept();
    match kept.era {
        ProtocolEra::Modern => modern_answer(&heard),
        ProtocolEra::Handshake => handshake_answer(&mut kept, &heard),
    }
}

/// The field that distinguishes the eras.
pub const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

fn modern_answer(heard: &Heard) -> Response {
    if heard.http != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if heard.raw("id").is_empty() {
        return StatusCode::ACCEPTED.into_response();
    }
    let params = heard.raw("params");
    let Some(version) = text_of(&member(&member(&params, "_meta"), VERSION_KEY)) else {
        let missing = heard.error(r#"{"code":-32602,"message":"no protocol version in _meta"}"#);
        return json(StatusCode::BAD_REQUEST, missing);
    };
    let named = match heard.method().as_str() {
        "tools/call" | "prompts/get" => text_of(&member(&params, "name")),
        "resources/read" => text_of(&member(&params, "uri")),
        _ => None,
    };
    let agree = heard.header("mcp-protocol-version") == Some(&version)
        && heard.header("mcp-method") == Some(&heard.method())
        && heard.header("mcp-name").map(decoded) == named;
    if !agree {
        let mismatch = heard.error(r#"{"code":-32020,"message":"header mismatch"}"#);
        return json(StatusCode::BAD_REQUEST, mismatch);
    }
    match heard.method().as_str() {
        "server/discover" => {
            let result = format!(
                r#"{{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{CAPABILITIES},"instructions":"Be kind","ttlMs":60000,"cacheScope":"public","_meta":{{"io.modelcontextprotocol/serverInfo":{SERVER_INFO}}}}}"#
            );
            json(StatusCode::OK, heard.result(&result))
        }
        "tools/list" => json(
            StatusCode::OK,
            heard.result(r#"{"resultType":"complete","tools":[{"name":"t","inputSchema":{}}],"ttlMs":60000,"cacheScope":"public"}"#),
        ),
        "tools/call" => json(StatusCode::OK, heard.result(r#"{"resultType":"complete","content":[ ]}"#)),
        _ => unknown(heard, StatusCode::NOT_FOUND),
    }
}

fn decoded(value: &str) -> String {
    match value.strip_prefix("=?base64?").and_then(|value| value.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap(),
        None => value.to_owned(),
    }
}

fn handshake_answer(kept: &mut Kept, heard: &Heard) -> Response {
    if heard.method() == "initialize" {
        kept.opened += 1;
        let id = format!("upstream-session-{}", kept.opened);
        kept.sessions.insert(id.clone());
        let result = format!(
            r#"{{"protocolVersion":{},"capabilities":{CAPABILITIES},"serverInfo":{SERVER_INFO},"instructions":"Be kind"}}"#,
            member(&heard.raw("params"), "protocolVersion")
        );
        let mut response = json(StatusCode::OK, heard.result(&result));
        response.headers_mut().insert("mcp-session-id", id.parse().unwrap());
        return response;
    }
    let id = heard.header("mcp-session-id").unwrap_or_default();
    // Like the reference servers.
    if id.is_empty() {
        let none = r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: Mcp-Session-Id header is required"},"id":null}"#;
        return json(StatusCode::BAD_REQUEST, none);
    }
    if !kept.sessions.contains(id) {
        let gone = r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}"#;
        return json(StatusCode::NOT_FOUND, gone);
    }
    if heard.http == Method::DELETE {
        kept.sessions.remove(id);
        return StatusCode::OK.into_response();
    }
    if heard.http == Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let asks_nothing = heard.raw("id").is_empty() || heard.raw("method").is_empty();
    match (heard.method().as_str(), asks_nothing) {
        (_, true) => StatusCode::ACCEPTED.into_response(),
        ("ping", _) => json(StatusCode::OK, heard.result("{}")),
        ("tools/list", _) => {
            json(StatusCode::OK, heard.result(r#"{"tools":[{"name":"t","inputSchema":{}}]}"#))
        }
        ("tools/call", _) => json(StatusCode::OK, heard.result(r#"{"content":[ ]}"#)),
        _ => unknown(heard, StatusCode::OK),
    }
}

fn unknown(heard: &Heard, status: StatusCode) -> Response {
    json(status, heard.error(r#"{"code":-32601,"message":"Method not found","data":{ "odd":1.0}}"#))
}

/// A modern client's statement about itself in each request.
pub const META: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"tester","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}"#;

/// The parameters of a modern client's request: `fields` and `_meta`, byte for byte.
pub fn modern_params(fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { "," };
    format!(r#"{{{fields}{comma}"_meta":{{{META}}}}}"#)
}

/// A request with the id `"c-1"`.
pub fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":"c-1","method":"{method}","params":{params}}}"#)
}

impl TestApp {
    /// A text posted to a server's MCP endpoint. Give it a credential.
    pub fn mcp(&self, server: &str, text: impl Into<String>) -> TestRequest {
        let ask = self.post(format!("/api/v1/proxy/{server}/mcp")).body("application/json", text.into());
        ask.header("accept", "application/json, text/event-stream")
    }

    /// A modern client's request with the parameters `fields` (`"name":"t"`) and `_meta`.
    pub fn modern(&self, server: &str, method: &str, fields: &str) -> TestRequest {
        let params = modern_params(fields);
        let ask = self.mcp(server, request(method, &params));
        let ask = ask.header("mcp-protocol-version", "2026-07-28").header("mcp-method", method);
        match text_of(&member(&params, "name")).or_else(|| text_of(&member(&params, "uri"))) {
            Some(name) => ask.header("mcp-name", &name),
            None => ask,
        }
    }

    /// A handshake client's request, with all its parameters.
    pub fn handshake(&self, server: &str, method: &str, params: &str) -> TestRequest {
        self.mcp(server, request(method, params)).header("mcp-protocol-version", "2025-11-25")
    }

    /// A handshake client's first request.
    pub fn initialize(&self, server: &str) -> TestRequest {
        let params = r#"{"protocolVersion":"2025-11-25","capabilities":{"sampling":{},"com.example/x":{}},"clientInfo":{"name":"tester","version":"1"}}"#;
        self.mcp(server, request("initialize", params))
    }
}

impl TestResponse {
    /// The session that a handshake client was given.
    #[track_caller]
    pub fn session(&self) -> String {
        self.header("mcp-session-id").unwrap_or_else(|| panic!("no session in {self}")).to_owned()
    }

    /// A member of the JSON-RPC message, as its own bytes.
    pub fn raw(&self, name: &str) -> String {
        member(&self.text, name)
    }

    /// HTTP status, JSON-RPC code, `data.error` and message on one line, for tables of refusals.
    pub fn rpc_refusal(&self) -> String {
        let message = self.json();
        let error = &message["error"];
        let kind = error["data"]["error"].as_str().map(|kind| format!(" {kind}")).unwrap_or_default();
        let text = error["message"].as_str().unwrap_or_default();
        format!("{} {}{kind}: {text}", self.status.as_u16(), error["code"])
    }
}
