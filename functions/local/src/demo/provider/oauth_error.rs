//! Errors of the endpoints that programs call (RFC 6749 section 5.2, RFC 7591 section 3.2.2).

use std::io;

use axum::{
    Json,
    http::{StatusCode, header::WWW_AUTHENTICATE},
    response::{IntoResponse, Response},
};
use serde_json::json;

#[derive(Debug)]
pub(super) struct OAuthError {
    error: &'static str,
    description: String,
}

impl OAuthError {
    pub(super) fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self { error, description: description.into() }
    }

    pub(super) fn request(description: impl Into<String>) -> Self {
        Self::new("invalid_request", description)
    }

    /// The same text for all of them, so that it does not reveal which part of a grant was wrong.
    pub(super) fn grant() -> Self {
        Self::new("invalid_grant", "the code or refresh token is not good, or not for this client")
    }

    pub(super) fn client() -> Self {
        Self::new("invalid_client", "client authentication failed")
    }
}

impl From<io::Error> for OAuthError {
    fn from(error: io::Error) -> Self {
        tracing::error!(%error, "the demo's authorization server");
        Self::new("server_error", "internal error")
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let status = match self.error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = Json(json!({ "error": self.error, "error_description": self.description }));
        if status == StatusCode::UNAUTHORIZED {
            return (status, [(WWW_AUTHENTICATE, r#"Basic realm="demo-oauth""#)], body).into_response();
        }
        (status, body).into_response()
    }
}
