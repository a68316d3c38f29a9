//! What a 401 tells an MCP client: where it can find out how to get a token for this server (RFC 9728 section
//! 5.1), and with which scope (RFC 6750 section 3). So does the 403 for a scope that the token lacks.
//!
//! Only the refusal of a credential of ours says that. The 401 for a missing OAuth session at the MCP server does not:
//! clients would throw a good token away, sign in again, and meet the same 401.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use deputize_core::{
    Core,
    ids::ServerId,
    tokens::{Resource, SCOPE},
};
use deputize_service::{ApiError, extract::Path, response::CredentialRefused};
use http::{
    HeaderValue, StatusCode,
    header::{CONNECTION, WWW_AUTHENTICATE},
};
use serde::Deserialize;

/// The server that a path names. Other parts of the path are ignored.
#[derive(Deserialize)]
pub(crate) struct AtServer {
    server_id: ServerId,
}

/// Adds this to the challenge of every handler's answer that refuses a credential of ours.
pub(crate) async fn challenge(
    State(core): State<Arc<Core>>,
    at: Result<Path<AtServer>, ApiError>,
    request: Request,
    next: Next,
) -> Response {
    let slash = if request.uri().path().ends_with("/mcp/") { "/" } else { "" };
    let mut response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED {
        // The 401 may be answered before the body is read. Then the connection ends. A client that is not told so may
        // send its next request into the closing connection, and that request fails (RFC 9112 section 9.6).
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if response.extensions().get::<CredentialRefused>().is_none() {
        return response;
    }
    // Text that is not an id names no server, and has no metadata.
    if let (Ok(Path(AtServer { server_id })), Some(said)) = (at, response.headers().get(WWW_AUTHENTICATE))
        && let Some(full) = with_metadata(&core, server_id, slash, said)
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, full);
    }
    response
}

/// Another parameter may follow any `Bearer` challenge of ours: each has a realm. Neither our address nor a
/// server's id can hold a quote. The metadata must say the name that the client uses (RFC 9728 section 3.3), which may
/// end with a slash.
fn with_metadata(core: &Core, server: ServerId, slash: &str, said: &HeaderValue) -> Option<HeaderValue> {
    let said = said.to_str().ok().filter(|said| said.starts_with("Bearer realm="))?;
    let metadata = Resource::Server(server).metadata_url(&core.settings);
    // What refuses a token for its scope has named the scope already.
    let scope = if said.contains(", scope=") { String::new() } else { format!(r#", scope="{SCOPE}""#) };
    HeaderValue::from_str(&format!(r#"{said}, resource_metadata="{metadata}{slash}"{scope}"#)).ok()
}
