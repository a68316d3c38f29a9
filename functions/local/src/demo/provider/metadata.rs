//! What a client finds out by itself: who issues tokens for the MCP server (RFC 9728), and how to get one (RFC 8414).

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};

use super::{Provider, scopes};
use crate::demo_servers::READ;

/// Serves both documents at the root and not below `/demo`: their path is between the host and the path of the thing
/// that they describe (RFC 8414 section 3.1, RFC 9728 section 3.1).
pub(super) fn router() -> Router<Provider> {
    Router::new()
        .route("/.well-known/oauth-authorization-server/demo/oauth", get(authorization_server))
        .route("/.well-known/oauth-protected-resource/demo/oauth-mcp", get(protected_resource))
}

/// RFC 8414 section 2. The `iss` parameter is from RFC 9207.
async fn authorization_server(State(provider): State<Provider>) -> Json<Value> {
    Json(provider.metadata())
}

impl Provider {
    /// The server's metadata document.
    pub(crate) fn metadata(&self) -> Value {
        const METHODS: [&str; 2] = ["none", "client_secret_basic"];
        let issuer = self.issuer();
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "registration_endpoint": format!("{issuer}/register"),
            "revocation_endpoint": format!("{issuer}/revoke"),
            "scopes_supported": scopes::ALL.map(|(scope, _)| scope),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": METHODS,
            "revocation_endpoint_auth_methods_supported": METHODS,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        })
    }
}

/// Only the scope to begin with. A client that wants to post learns the other scope from the refusal.
async fn protected_resource(State(provider): State<Provider>) -> Json<Value> {
    Json(json!({
        "resource": provider.resource(),
        "authorization_servers": [provider.issuer()],
        "scopes_supported": [READ],
        "bearer_methods_supported": ["header"],
        "resource_name": "Demo chat",
    }))
}
