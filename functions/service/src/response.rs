//! The one place that turns an error into an answer.

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
pub use deputize_api::error::ErrorBody;
use deputize_api::{
    error::{ConflictingThing, Dependents, code},
    reason::Reason,
};
use deputize_core::{
    Error, TokenError,
    error::{UpstreamFailure, chain},
    ids::PolicyId,
    policies::{Denial, DeniedFor},
};
use http::{
    HeaderValue, StatusCode,
    header::{ACCEPT_ENCODING, ALLOW, CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE},
};
use utoipa::IntoResponses;

/// In an answer's extensions: an MCP server or an authorization server caused the error. For metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpstreamsFault;

/// In an answer's extensions: a credential for this service is missing, is not good, or lacks a scope. So a client may
/// ask for another, and its challenge can say where.
#[derive(Clone, Copy, Debug)]
pub struct CredentialRefused;

/// An error on its way to the caller.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(transparent)]
    Core(Error),
    #[error(transparent)]
    Edge(#[from] EdgeError),
}

/// Seconds until a request that found no room may find some: a call's body is mostly gone after one.
const BUSY_FOR: &str = "1";

/// What is wrong with a request at the level of HTTP, before the domain is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    /// The body is larger than this endpoint accepts, in bytes.
    #[error("The body is larger than {0} bytes")]
    TooLarge(usize),
    /// There are more headers than this.
    #[error("The request has more than {0} headers")]
    TooManyHeaders(usize),
    /// The body did not arrive in this time.
    #[error("The body took longer than {0:?}; nothing was done")]
    TooSlow(Duration),
    /// This process has no room for another body now.
    #[error("The service is busy with the bodies of other requests; nothing was done, try again")]
    Busy,
    #[error("The body must be {0}")]
    UnsupportedMediaType(&'static str),
    #[error("The body must not be compressed: send it without a Content-Encoding")]
    Compressed,
    /// With the methods that it has (RFC 9110 section 10.2.1), where that is not for the router to say.
    #[error("This endpoint has no such method")]
    MethodNotAllowed(Option<&'static str>),
}

impl<E: Into<Error>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self::Core(error.into())
    }
}

impl EdgeError {
    fn classify(self) -> (StatusCode, &'static str) {
        match self {
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, code::REQUEST_TOO_LARGE),
            // RFC 9110 section 15.5.9.
            Self::TooSlow(_) => (StatusCode::REQUEST_TIMEOUT, code::TIMED_OUT),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, code::TEMPORARILY_UNAVAILABLE),
            // RFC 6585 section 5.
            Self::TooManyHeaders(_) => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, code::REQUEST_TOO_LARGE),
            Self::UnsupportedMediaType(_) | Self::Compressed => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, code::UNSUPPORTED_MEDIA_TYPE)
            }
            Self::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, code::METHOD_NOT_ALLOWED),
        }
    }
}

impl ApiError {
    /// Status and code.
    pub fn classify(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Core(error) => classify(error),
            Self::Edge(error) => error.classify(),
        }
    }

    /// What exactly is wrong, for programs.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Core(error) => error.reason(),
            Self::Edge(EdgeError::TooLarge(_)) => Reason::BodyTooLarge,
            Self::Edge(EdgeError::TooManyHeaders(_)) => Reason::HeadersTooMany,
            Self::Edge(EdgeError::TooSlow(_)) => Reason::BodyTooSlow,
            Self::Edge(EdgeError::Busy) => Reason::ServiceBusy,
            Self::Edge(EdgeError::UnsupportedMediaType(_) | EdgeError::Compressed) => {
                Reason::MediaTypeUnsupported
            }
            Self::Edge(EdgeError::MethodNotAllowed(_)) => Reason::MethodNotAllowed,
        }
    }

    /// Writes to the log what no client is told.
    pub fn log(&self) {
        match self {
            Self::Core(error) => log(error),
            Self::Edge(error) => tracing::debug!(%error, "refused"),
        }
    }
}

/// The errors that every endpoint may answer.
#[derive(Debug, IntoResponses)]
pub enum Errors {
    /// The request is malformed. The text names the field.
    #[response(status = 400)]
    BadRequest(ErrorBody),
    /// The credential is missing, or is not valid (any more).
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The caller may not do this.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The thing does not exist, or the caller may not know of it.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The request contradicts the present state.
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is of another type than the endpoint takes.
    #[response(status = 415)]
    UnsupportedMediaType(ErrorBody),
    /// The store is unavailable, or the process is busy. The text says whether anything may have been changed. `Retry-After` says when to try
    /// again.
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// The error of an operation that may be sent again with the same `Idempotency-Key`.
#[derive(Debug, IntoResponses)]
pub enum KeyReused {
    /// The `Idempotency-Key` was used for another request. Nothing was done.
    #[response(status = 422)]
    Reused(ErrorBody),
}

/// The error of an operation that can be held to a state of its subject, by `If-Match`.
#[derive(Debug, IntoResponses)]
pub enum Changed {
    /// The thing is not any more as `If-Match` has it. Nothing was changed.
    #[response(status = 412)]
    Stale(ErrorBody),
}

/// An error's status and code.
pub fn classify(error: &Error) -> (StatusCode, &'static str) {
    match error {
        Error::Invalid(_) => (StatusCode::BAD_REQUEST, code::INVALID_REQUEST),
        Error::Anonymous => (StatusCode::UNAUTHORIZED, code::UNAUTHORIZED),
        Error::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, code::INVALID_TOKEN),
        Error::Forbidden(_) | Error::PolicyDenied(_) => (StatusCode::FORBIDDEN, code::ACCESS_DENIED),
        Error::HeldBack => (StatusCode::FORBIDDEN, code::TOOL_HELD_BACK),
        Error::NotFound(_) => (StatusCode::NOT_FOUND, code::NOT_FOUND),
        Error::Conflict(_) => (StatusCode::CONFLICT, code::CONFLICT),
        Error::Stale => (StatusCode::PRECONDITION_FAILED, code::PRECONDITION_FAILED),
        Error::IdempotencyKeyReused => (StatusCode::UNPROCESSABLE_ENTITY, code::IDEMPOTENCY_KEY_REUSED),
        Error::NoCredentials => (StatusCode::UNAUTHORIZED, code::NO_CREDENTIALS),
        Error::SessionNotFound => (StatusCode::UNAUTHORIZED, code::SESSION_NOT_FOUND),
        Error::SessionExpired | Error::SessionInterrupted | Error::SessionOfOtherClient => {
            (StatusCode::UNAUTHORIZED, code::SESSION_EXPIRED)
        }
        Error::Upstream { kind: UpstreamFailure::Bad, .. } => (StatusCode::BAD_GATEWAY, code::UPSTREAM_ERROR),
        Error::Upstream { kind: UpstreamFailure::TimedOut, .. } => {
            (StatusCode::GATEWAY_TIMEOUT, code::UPSTREAM_TIMEOUT)
        }
        Error::Upstream { kind: UpstreamFailure::Refused, .. } => {
            (StatusCode::BAD_REQUEST, code::UPSTREAM_REFUSED)
        }
        Error::ScopeMissing { .. } | Error::InsufficientScope { .. } => {
            (StatusCode::FORBIDDEN, code::INSUFFICIENT_SCOPE)
        }
        Error::Unavailable { .. }
        | Error::Undecided { .. }
        | Error::Unrecorded { .. }
        | Error::ProviderUnavailable { .. }
        | Error::Upstream { kind: UpstreamFailure::NoRoom, .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, code::TEMPORARILY_UNAVAILABLE)
        }
        Error::NotBootstrapped => (StatusCode::SERVICE_UNAVAILABLE, code::NOT_BOOTSTRAPPED),
        Error::StreamEnded { cause, .. } => (classify(cause).0, code::STREAM_ENDED),
        Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, code::SERVER_ERROR),
        Error::Token(refusal) => {
            let status = match refusal {
                TokenError::InvalidClient | TokenError::InvalidAssertion(_) => StatusCode::UNAUTHORIZED,
                TokenError::NoDelegation
                | TokenError::DelegatorDeactivated
                | TokenError::OriginNotAllowed
                | TokenError::NoActiveOwner => StatusCode::FORBIDDEN,
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

/// The challenge of a 401 (RFC 9110 section 11.6.1, RFC 6750 section 3), or of a 403 for a scope of ours that the token
/// lacks (RFC 6750 section 3.1).
fn challenge(error: &Error, code: &str) -> HeaderValue {
    match error {
        Error::Token(_) => HeaderValue::from_static(r#"Basic realm="deputize""#),
        Error::Anonymous => HeaderValue::from_static(r#"Bearer realm="deputize""#),
        _ => {
            let scope = match error {
                Error::ScopeMissing { scope, .. } => format!(r#", scope="{scope}""#),
                _ => String::new(),
            };
            // Our own texts have no quotes and no control characters. If one had, the description would be left out.
            let full =
                format!(r#"Bearer realm="deputize", error="{code}", error_description="{error}"{scope}"#);
            HeaderValue::from_str(&full)
                .unwrap_or_else(|_| HeaderValue::from_static(r#"Bearer realm="deputize""#))
        }
    }
}

/// Writes to the log what no client is told.
pub fn log(error: &Error) {
    match error {
        Error::Internal(cause) => tracing::error!(cause = %chain(&**cause), "internal error"),
        Error::NotBootstrapped => tracing::error!(%error, "not bootstrapped"),
        Error::Unavailable { cause, .. }
        | Error::Undecided { cause, .. }
        | Error::ProviderUnavailable { cause, .. } => {
            tracing::warn!(cause = %chain(&**cause), "unavailable");
        }
        Error::Unrecorded { cause, .. } => tracing::warn!(cause = %chain(&**cause), "unavailable"),
        other => tracing::debug!(error = %chain(other), status = %classify(other).0, "refused"),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        match self {
            Self::Core(error) => answer(&error),
            Self::Edge(error) => {
                let (status, code) = error.classify();
                let safe_to_retry = matches!(error, EdgeError::Busy).then_some(true);
                let mut body = error_body(code, self.reason(), &error.to_string());
                body.safe_to_retry = safe_to_retry;
                let mut response = (status, Json(body)).into_response();
                match error {
                    EdgeError::Busy => {
                        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(BUSY_FOR));
                    }
                    // The rest of the body is not waited for (RFC 9110 section 15.5.9).
                    EdgeError::TooSlow(_) => {
                        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    EdgeError::MethodNotAllowed(Some(allowed)) => {
                        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
                    }
                    // RFC 9110 section 12.5.3.
                    EdgeError::Compressed => {
                        let plain = HeaderValue::from_static("identity");
                        response.headers_mut().insert(ACCEPT_ENCODING, plain);
                    }
                    _ => {}
                }
                response
            }
        }
    }
}

/// An error as the outcome of an entry of a batch.
pub(crate) fn error_of(error: &ApiError) -> (StatusCode, ErrorBody) {
    let (status, code) = error.classify();
    match error {
        ApiError::Core(error) => (status, body_of(error)),
        ApiError::Edge(edge) => (status, error_body(code, error.reason(), &edge.to_string())),
    }
}

/// The outcome of an entry of a batch for which there was no time.
pub(crate) fn not_begun() -> (StatusCode, ErrorBody) {
    let why = "There was no time left for this entry; nothing was done, so send it again";
    let mut body = error_body(code::TEMPORARILY_UNAVAILABLE, Reason::ServiceBusy, why);
    body.safe_to_retry = Some(true);
    (StatusCode::SERVICE_UNAVAILABLE, body)
}

/// An error of the edge itself.
pub fn plain_error(status: StatusCode, error: &'static str, reason: Reason, description: &str) -> Response {
    (status, Json(error_body(error, reason, description))).into_response()
}

fn error_body(error: &'static str, reason: Reason, description: &str) -> ErrorBody {
    let description = description.to_owned();
    ErrorBody {
        error: error.into(),
        error_description: description.clone(),
        detail: description,
        reason: Some(reason.as_str().into()),
        denied_for: None,
        policies: None,
        explanation: None,
        scope: None,
        conflict: None,
        dependents: None,
        safe_to_retry: None,
    }
}

fn body_of(error: &Error) -> ErrorBody {
    let (_, code) = classify(error);
    let description = error.to_string();
    let detail = match error {
        Error::Token(_) => format!("{code}: {description}"),
        _ => description.clone(),
    };
    let denial = match error {
        Error::PolicyDenied(denial) => Some(denial.clone()),
        _ => None,
    };
    let (denied_for, policies, explanation) = match denial {
        Some(Denial { denied_for, policies, reason }) => {
            let policies = policies.iter().map(PolicyId::to_string).collect();
            (Some(name(denied_for).into()), Some(policies), Some(reason))
        }
        None => (None, None, None),
    };
    let scope = match error {
        Error::InsufficientScope { scope, .. } if !scope.is_empty() => Some(scope.clone()),
        Error::ScopeMissing { scope, .. } => Some((*scope).to_owned()),
        _ => None,
    };
    let conflict =
        error.in_the_way().map(|thing| ConflictingThing { kind: thing.kind.into(), id: thing.id.clone() });
    let dependents = error.dependents().iter().map(|of_kind| Dependents {
        kind: of_kind.kind.into(),
        count: of_kind.count as u64,
        more: of_kind.more,
        first: of_kind.first.clone(),
    });
    let dependents: Vec<_> = dependents.collect();
    let safe_to_retry = match error {
        Error::Unavailable { .. } | Error::ProviderUnavailable { .. } => Some(true),
        Error::Undecided { repeatable, .. } => Some(*repeatable),
        Error::Unrecorded { .. } => Some(false),
        Error::Upstream { kind: UpstreamFailure::NoRoom, may_have_run, .. } => Some(!may_have_run),
        _ => None,
    };
    ErrorBody {
        error: code.into(),
        error_description: description,
        detail,
        reason: Some(error.reason().as_str().into()),
        denied_for,
        policies,
        explanation,
        scope,
        conflict,
        dependents: (!dependents.is_empty()).then_some(dependents),
        safe_to_retry,
    }
}

fn answer(error: &Error) -> Response {
    let (status, code) = classify(error);
    let body = body_of(error);
    let mut response = (status, Json(body)).into_response();
    let is_ours = matches!(error, Error::Upstream { kind: UpstreamFailure::NoRoom, .. });
    if !is_ours && matches!(error, Error::Upstream { .. } | Error::ProviderUnavailable { .. }) {
        response.extensions_mut().insert(UpstreamsFault);
    }
    if matches!(error, Error::Anonymous | Error::Unauthenticated(_) | Error::ScopeMissing { .. }) {
        response.extensions_mut().insert(CredentialRefused);
    }
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED || matches!(error, Error::ScopeMissing { .. }) {
        headers.insert(WWW_AUTHENTICATE, challenge(error, code));
    }
    if let Some(retry_after) = error.retry_after() {
        headers.insert(RETRY_AFTER, retry_after.as_secs().max(1).into());
    }
    response
}
