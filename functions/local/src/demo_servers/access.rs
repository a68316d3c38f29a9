//! Who may do what at [`demo_oauth`](super::demo_oauth). This is decided before a message reaches the MCP server. A
//! refusal is an HTTP status with a challenge. From the challenge a client learns where to get a token, and with which
//! scopes.

use axum::body::{Body, to_bytes};
use axum::extract::{OriginalUri, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// The scope that every message needs.
pub const READ: &str = "chat:read";
/// The scope that posting needs.
pub const WRITE: &str = "chat:write";

/// How many bytes of a message are read. The MCP server itself reads the same number.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// The user and the scopes of an access token.
#[derive(Debug, Clone)]
pub struct Access {
    pub user: String,
    pub scopes: Vec<String>,
}

impl Access {
    fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|has| has == scope)
    }
}

/// Passes a request on with its [`Access`] in its extensions, or refuses it.
pub(super) async fn gate(
    authorize: impl Fn(&str) -> Option<Access>,
    request: Request,
    next: Next,
) -> Response {
    let access = match bearer(request.headers()).map(authorize) {
        Some(Some(access)) => access,
        // RFC 6750 section 3.1: a request without a credential gets no error code.
        given => {
            let error = given.map(|_| "invalid_token");
            return challenge(&request, StatusCode::UNAUTHORIZED, error, READ);
        }
    };
    let (needed, mut request) = match needed_scope(request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    if !access.has(needed) {
        return challenge(&request, StatusCode::FORBIDDEN, Some("insufficient_scope"), needed);
    }
    request.extensions_mut().insert(access);
    next.run(request).await
}

/// The scope that a message needs, and the request with the message written again as it was read here. So if
/// a name occurs twice in it, the next reader does not see another tool.
async fn needed_scope(request: Request) -> Result<(&'static str, Request), Response> {
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_MESSAGE).await;
    let body = body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE.into_response())?;
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        // Not JSON, or empty: the MCP server answers that itself.
        return Ok((READ, Request::from_parts(parts, Body::from(body))));
    };
    let posts = message["method"] == "tools/call" && message["params"]["name"] == "post_message";
    parts.headers.remove(CONTENT_LENGTH);
    let request = Request::from_parts(parts, Body::from(message.to_string()));
    Ok((if posts { WRITE } else { READ }, request))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A refusal with the address at which discovery starts (RFC 9728 section 5.1), and the scope to ask for (RFC
/// 6750 section 3).
fn challenge(request: &Request, status: StatusCode, error: Option<&str>, scope: &str) -> Response {
    let path =
        request.extensions().get::<OriginalUri>().map_or_else(|| request.uri().path(), |uri| uri.path());
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let metadata = format!("http://{host}/.well-known/oauth-protected-resource{path}");
    // Parsed, so that no text in a Host header can end the quoted string.
    let metadata = metadata.parse::<Uri>().map(|uri| uri.to_string()).unwrap_or_default();
    let error = error.map(|error| format!(r#"error="{error}", "#)).unwrap_or_default();
    let challenge =
        HeaderValue::try_from(format!(r#"Bearer {error}scope="{scope}", resource_metadata="{metadata}""#));
    let challenge = challenge.unwrap_or(HeaderValue::from_static("Bearer"));
    (status, [(WWW_AUTHENTICATE, challenge)]).into_response()
}
