//! An MCP server on the loopback interface that remembers what reached it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use deputize_local::demo_servers;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A user's access token at the OAuth-protected server.
pub(crate) fn token_of(name: &str) -> String {
    format!("upstream-token-of-{name}")
}

/// One request that reached the server.
#[derive(Clone, Debug)]
pub struct Seen {
    pub headers: HeaderMap,
    pub body: Value,
}

/// The demo's two servers, or a server with a scripted answer.
#[derive(Clone, Debug)]
pub struct McpServer {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    rejects_tokens: Arc<AtomicBool>,
}

impl McpServer {
    /// The demo's servers, at [`Self::open_url`] and [`Self::oauth_url`].
    pub async fn start() -> Self {
        let rejects_tokens = Arc::new(AtomicBool::new(false));
        let rejects = Arc::clone(&rejects_tokens);
        let authorize = move |token: &str| {
            let name = token.strip_prefix("upstream-token-of-").filter(|_| !rejects.load(Ordering::SeqCst));
            let scopes = [demo_servers::READ, demo_servers::WRITE].map(str::to_owned).to_vec();
            name.map(|name| demo_servers::Access { user: name.to_owned(), scopes })
        };
        let routes = Router::new()
            .nest_service("/open", demo_servers::demo())
            .nest_service("/oauth", demo_servers::demo_oauth(authorize));
        Self::serve(routes, rejects_tokens).await
    }

    /// A server of 2026-07-28 that answers every `tools/call` with `answer`.
    pub async fn answering(answer: impl Fn(&Value) -> Response + Clone + Send + Sync + 'static) -> Self {
        let routes = Router::new().fallback(move |body: Bytes| {
            let message: Value = serde_json::from_slice(&body).unwrap_or_default();
            let result = match message["method"].as_str().unwrap_or_default() {
                "server/discover" => json!({ "supportedVersions": ["2026-07-28"] }),
                "tools/list" => json!({ "tools": [{ "name": "t", "inputSchema": {} }] }),
                _ => Value::Null,
            };
            let response = if result.is_null() { answer(&message) } else { result_of(&message, &result) };
            async move { response }
        });
        Self::serve(routes, Arc::default()).await
    }

    async fn serve(routes: Router, rejects_tokens: Arc<AtomicBool>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let routes = routes.layer(from_fn(move |request: Request, next: Next| {
            let log = Arc::clone(&log);
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let message = serde_json::from_slice(&body).unwrap_or_default();
                log.lock().unwrap().push(Seen { headers: parts.headers.clone(), body: message });
                next.run(Request::from_parts(parts, Body::from(body))).await
            }
        }));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, seen, rejects_tokens }
    }

    /// The address of the server that requires no credentials.
    pub fn open_url(&self) -> String {
        format!("{}/open", self.address)
    }

    /// The address of the server that requires a user's token.
    pub fn oauth_url(&self) -> String {
        format!("{}/oauth", self.address)
    }

    /// Sets whether it refuses every token.
    pub fn rejects_tokens(&self, rejects: bool) {
        self.rejects_tokens.store(rejects, Ordering::SeqCst);
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many tool calls have reached it.
    pub fn calls(&self) -> usize {
        self.seen().iter().filter(|seen| seen.body["method"] == "tools/call").count()
    }
}

/// A JSON-RPC result.
pub fn result_of(message: &Value, result: &Value) -> Response {
    let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
    ([("content-type", "application/json")], body.to_string()).into_response()
}

/// A JSON-RPC error.
pub fn error_of(message: &Value, status: StatusCode, code: i64, text: &str) -> Response {
    let body = json!({ "jsonrpc": "2.0", "id": message["id"], "error": { "code": code, "message": text } });
    (status, [("content-type", "application/json")], body.to_string()).into_response()
}
