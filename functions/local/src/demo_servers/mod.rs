//! Two small MCP servers of our own, so that a fresh clone has something to call: [`demo`], which every caller may use,
//! and [`demo_oauth`], which plays Slack and wants to know who is calling.
//!
//! Both are Streamable HTTP endpoints of either era and keep no state: every answer depends only on its request. Each
//! router answers on every path that it is mounted at.

mod access;
mod oauth;
mod open;
mod repos;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use rmcp::ServerHandler;
use rmcp::model::{CallToolResult, ContentBlock};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde::Serialize;

pub use self::access::{Access, READ, WRITE};
use self::oauth::OauthServer;
use self::open::OpenServer;

/// An MCP server with the tools `list_repos` and `delete_repo`. It does not really delete anything.
pub fn demo() -> Router {
    demo_at("localhost")
}

/// The same, also for the host name `host`. Requests to other hosts are refused (DNS rebinding).
pub fn demo_at(host: &str) -> Router {
    stateless(host, OpenServer::default)
}

/// An MCP server with the tools `list_repos`, `list_channels` and `post_message`. Its answers name the user
/// whose credentials were used.
///
/// `authorize` gives the user and the scopes of a bearer token. Without a good token the answer is 401. Its
/// challenge has the address of the metadata with which discovery starts (RFC 9728 section 5.1):
/// `/.well-known/oauth-protected-resource`, followed by the path at which this router is mounted. The caller
/// of this function must serve that document. Every message needs the scope [`READ`], except `post_message`,
/// which needs [`WRITE`]: without it, the answer is 403.
pub fn demo_oauth(authorize: impl Fn(&str) -> Option<Access> + Clone + Send + Sync + 'static) -> Router {
    demo_oauth_at("localhost", authorize)
}

/// The same, also for the host name `host`.
pub fn demo_oauth_at(
    host: &str,
    authorize: impl Fn(&str) -> Option<Access> + Clone + Send + Sync + 'static,
) -> Router {
    stateless(host, OauthServer::default)
        .layer(from_fn(move |request: Request, next: Next| access::gate(authorize.clone(), request, next)))
}

/// Serves a handler that is made again for every request.
fn stateless<S: ServerHandler>(host: &str, handler: fn() -> S) -> Router {
    let config = StreamableHttpServerConfig::default()
        .with_allowed_hosts(["localhost", "127.0.0.1", "::1", host])
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .enforce_origin_validation();
    let service =
        StreamableHttpService::new(move || Ok(handler()), Arc::new(NeverSessionManager::default()), config);
    Router::new().fallback_service(service)
}

/// A tool's answer: a sentence for users, and the same as data.
fn answer(sentence: String, data: &impl Serialize) -> CallToolResult {
    match serde_json::to_value(data) {
        Ok(data) => {
            let content = [sentence, data.to_string()].map(ContentBlock::text);
            let mut result = CallToolResult::success(content.to_vec());
            result.structured_content = Some(data);
            result
        }
        Err(error) => refusal(error.to_string()),
    }
}

/// A tool's refusal, with a text that helps a model to do better.
fn refusal(reason: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(reason)])
}
