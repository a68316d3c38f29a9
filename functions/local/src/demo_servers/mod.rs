//! Two small MCP servers of our own, so that a fresh clone has something to call: [`demo`], open to
//! whoever reaches it, and [`demo_oauth`], which plays Slack and wants to know who is calling.
//!
//! Both are Streamable HTTP endpoints of either era and keep no state: every answer follows from its
//! request. Each router answers on every path that it is mounted at.

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

/// An MCP server with the tools `list_repos` and `delete_repo`. Nothing is really deleted.
pub fn demo() -> Router {
    demo_at("localhost")
}

/// The same, which is also reached as `host`. Requests to other hosts are refused (DNS rebinding).
pub fn demo_at(host: &str) -> Router {
    stateless(host, OpenServer::default)
}

/// An MCP server with the tools `list_repos`, `list_channels` and `post_message`, whose answers say whose
/// credentials were used.
///
/// `authorize` says whose a bearer token is, and which scopes it has. Without a good one the answer is 401,
/// with a challenge that has the address of the metadata that starts discovery (RFC 9728 section 5.1):
/// `/.well-known/oauth-protected-resource` followed by the path that this router is mounted at, which is
/// for the caller to serve. Every message needs the scope [`READ`], but `post_message` needs [`WRITE`]: 403
/// without it.
pub fn demo_oauth(authorize: impl Fn(&str) -> Option<Access> + Clone + Send + Sync + 'static) -> Router {
    demo_oauth_at("localhost", authorize)
}

/// The same, which is also reached as `host`.
pub fn demo_oauth_at(
    host: &str,
    authorize: impl Fn(&str) -> Option<Access> + Clone + Send + Sync + 'static,
) -> Router {
    stateless(host, OauthServer::default)
        .layer(from_fn(move |request: Request, next: Next| access::gate(authorize.clone(), request, next)))
}

/// Serves a handler that is made anew for every request.
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

/// A tool's answer: a sentence for people, and the same as data.
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

/// A tool's "no", in words from which a model can do better.
fn refusal(reason: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(reason)])
}
