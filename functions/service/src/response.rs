//! The one place that turns an error into an answer.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
pub use deputize_api::error::ErrorBody;
use deputize_core::{
    Error, TokenError,
    error::UpstreamFailure,
    ids::PolicyId,
    policies::{Denial, DeniedFor},
};
use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE},
};
use utoipa::IntoResponses;

/// An error on its way to the caller.
#[derive(Debug)]
pub struct ApiError(pub Error);

impl<E: Into<Error>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// The errors that any endpoint may answer.
#[derive(Debug, IntoResponses)]
pub enum Errors {
    /// The request is malformed; the text names the field.
    #[response(status = 400)]
    BadRequest(#[to_schema] ErrorBody),
    /// No credential, or one that proves nothing (any more).
    #[response(status = 401)]
    Unauthorized(#[to_schema] ErrorBody),
    /// The caller may not do this.
    #[response(status = 403)]
    Forbidden(#[to_schema] ErrorBody),
    /// There is no such thing, or none that the caller may know of.
    #[response(status = 404)]
    NotFound(#[to_schema] ErrorBody),
    /// The request contradicts the present state.
    #[response(status = 409)]
    Conflict(#[to_schema] ErrorBody),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(#[to_schema] ErrorBody),
    /// The body is of another type than the endpoint takes.
    #[response(status = 415)]
    UnsupportedMediaType(#[to_schema] ErrorBody),
    /// The store is unavailable; the text says whether anything may have been changed. `Retry-After` says
    /// when to try again.
    #[response(status = 503)]
    Unavailable(#[to_schema] ErrorBody),
}

/// Status and code of an error.
pub fn classify(error: &Error) -> (StatusCode, &'static str) {
    match error {
        Error::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
        Error::Anonymous => (StatusCode::UNAUTHORIZED, "unauthorized"),
        Error::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "invalid_token"),
        Error::Forbidden(_) | Error::PolicyDenied(_) => (StatusCode::FORBIDDEN, "access_denied"),
        Error::HeldBack => (StatusCode::FORBIDDEN, "tool_held_back"),
        Error::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
        Error::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
        Error::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"),
        Error::UnsupportedMediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
        Error::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        Error::NoCredentials => (StatusCode::UNAUTHORIZED, "no_credentials"),
        Error::SessionNotFound => (StatusCode::UNAUTHORIZED, "session_not_found"),
        Error::SessionExpired | Error::SessionInterrupted => (StatusCode::UNAUTHORIZED, "session_expired"),
        Error::Upstream { kind: UpstreamFailure::Bad, .. } => (StatusCode::BAD_GATEWAY, "upstream_error"),
        Error::Upstream { kind: UpstreamFailure::TimedOut, .. } => {
            (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout")
        }
        Error::Upstream { kind: UpstreamFailure::Refused, .. } => {
            (StatusCode::BAD_REQUEST, "upstream_refused")
        }
        Error::InsufficientScope { .. } => (StatusCode::FORBIDDEN, "insufficient_scope"),
        Error::Unavailable { .. }
        | Error::Undecided { .. }
        | Error::Unrecorded { .. }
        | Error::ProviderUnavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
        Error::NotBootstrapped => (StatusCode::SERVICE_UNAVAILABLE, "not_bootstrapped"),
        Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
        Error::Token(refusal) => {
            let status = match refusal {
                TokenError::InvalidClient | TokenError::InvalidAssertion(_) => StatusCode::UNAUTHORIZED,
                TokenError::NoDelegation
                | TokenError::DelegatorDeactivated
                | TokenError::OriginNotAllowed => StatusCode::FORBIDDEN,
                _ => StatusCode::BAD_REQUEST,
            };
            (status, refusal.code())
        }
    }
}

fn name(denied_for: DeniedFor) -> &'static str {
    match denied_for {
        DeniedFor::Agent => "agent",
        DeniedFor::User => "user",
    }
}

/// The challenge of a 401 (RFC 9110 section 11.6.1, RFC 6750 section 3).
fn challenge(error: &Error, code: &str) -> HeaderValue {
    match error {
        Error::Token(_) => HeaderValue::from_static(r#"Basic realm="deputize""#),
        Error::Anonymous => HeaderValue::from_static(r#"Bearer realm="deputize""#),
        _ => {
            // Our own texts: no quotes or control characters in them, and if there are, no description.
            let full = format!(r#"Bearer realm="deputize", error="{code}", error_description="{error}""#);
            HeaderValue::from_str(&full)
                .unwrap_or_else(|_| HeaderValue::from_static(r#"Bearer realm="deputize""#))
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let (status, code) = classify(&error);
        match &error {
            Error::Internal(cause) => tracing::error!(%cause, "internal error"),
            Error::NotBootstrapped => tracing::error!(%error, "not bootstrapped"),
            Error::Unavailable { cause, .. }
            | Error::Undecided { cause, .. }
            | Error::Unrecorded { cause, .. }
            | Error::ProviderUnavailable { why: cause, .. } => {
                tracing::warn!(%cause, "unavailable");
            }
            other => tracing::debug!(error = %other, %status, "refused"),
        }
        let description = error.to_string();
        let detail = match &error {
            Error::Token(_) => format!("{code}: {description}"),
            _ => description.clone(),
        };
        let denial = match &error {
            Error::PolicyDenied(denial) => Some(denial.clone()),
            _ => None,
        };
        let (denied_for, policies, reason) = match denial {
            Some(Denial { denied_for, policies, reason }) => {
                let policies = policies.iter().map(PolicyId::to_string).collect();
                (Some(name(denied_for).into()), Some(policies), Some(reason))
            }
            None => (None, None, None),
        };
        let scope = match &error {
            Error::InsufficientScope { scope, .. } if !scope.is_empty() => Some(scope.clone()),
            _ => None,
        };
        let safe_to_retry = match &error {
            Error::Unavailable { .. } | Error::ProviderUnavailable { .. } => Some(true),
            Error::Undecided { .. } | Error::Unrecorded { .. } => Some(false),
            _ => None,
        };
        let body = ErrorBody {
            error: code.into(),
            error_description: description,
            detail,
            denied_for,
            policies,
            reason,
            scope,
            safe_to_retry,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, challenge(&error, code));
        }
        if let Error::MethodNotAllowed(Some(allowed)) = error {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        if let Error::Unavailable { retry_after, .. }
        | Error::Undecided { retry_after, .. }
        | Error::Unrecorded { retry_after, .. }
        | Error::ProviderUnavailable { retry_after, .. } = error
        {
            headers.insert(RETRY_AFTER, retry_after.as_secs().max(1).into());
        }
        response
    }
}
