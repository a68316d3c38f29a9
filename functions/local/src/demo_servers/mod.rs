//! Two small MCP servers of our own, so that a fresh clone has something to call: [`demo`], open to
//! whoever reaches it, and [`demo_oauth`], which plays Slack and wants to know who is calling.
//!
//! Both are Streamable HTTP endpoints of either era and keep no state: every answer follows from its
//! request. Each router answers on every path that it is mounted at.

mod oauth;
mod open;
mod repos;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, Request};
use axum::http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use rmcp::ServerHandler;
use rmcp::model::{CallToolResult, ContentBlock};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde::Serialize;

use self::oauth::{ActingAs, OauthServer};
use self::open::OpenServer;

/// An MCP server with the tools `list_repos` and `delete_repo`. Nothing is really deleted.
pub fn demo() -> Router {
    stateless(OpenServer::default)
}

/// An MCP server with the tools `list_repos`, `list_channels` and `post_message`, whose answers say whose
/// credentials were used.
///
/// `authorize` turns a bearer token into the name of the user whose it is. Without one the answer is 401,
/// with the address of the metadata that starts discovery (RFC 9728 section 5.1):
/// `/.well-known/oauth-protected-resource` followed by the path that this router is mounted at, which is
/// for the caller to serve.
pub fn demo_oauth(authorize: impl Fn(&str) -> Option<String> + Clone + Send + Sync + 'static) -> Router {
    stateless(OauthServer::default).layer(from_fn(move |mut request: Request, next: Next| {
        let user = bearer(request.headers()).map(&authorize);
        async move {
            match user {
                Some(Some(user)) => {
                    request.extensions_mut().insert(ActingAs(user.into()));
                    next.run(request).await
                }
                Some(None) => unauthorized(&request, Some("invalid_token")),
                None => unauthorized(&request, None),
            }
        }
    }))
}

/// Serves a handler that is made anew for every request.
fn stateless<S: ServerHandler>(handler: fn() -> S) -> Router {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .enforce_origin_validation();
    let service =
        StreamableHttpService::new(move || Ok(handler()), Arc::new(NeverSessionManager::default()), config);
    Router::new().fallback_service(service)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(request: &Request, error: Option<&str>) -> Response {
    let path =
        request.extensions().get::<OriginalUri>().map_or_else(|| request.uri().path(), |uri| uri.path());
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let metadata = format!("http://{host}/.well-known/oauth-protected-resource{path}");
    // Parsed, so that nothing in a Host header can end the quoted string.
    let metadata = metadata.parse::<Uri>().map(|uri| uri.to_string()).unwrap_or_default();
    let error = error.map(|error| format!(r#"error="{error}", "#)).unwrap_or_default();
    let challenge = HeaderValue::try_from(format!(r#"Bearer {error}resource_metadata="{metadata}""#));
    let challenge = challenge.unwrap_or(HeaderValue::from_static("Bearer"));
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]).into_response()
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
