//! Everything that can go wrong, as one enum.
//!
//! Which to use: a constructor or variant is named for *what happened*, never for a status code. The one
//! place that turns an [`Error`] into an HTTP answer is `deputize-service`'s `response` module.

use std::time::Duration;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is malformed or asks for something that cannot be. The text names the field.
    #[error("{0}")]
    Invalid(String),
    /// No credential where one is needed.
    #[error("Authentication is required: send a bearer token or an API key")]
    Anonymous,
    /// A credential that proves nothing (any more). The text never quotes the credential.
    #[error("{0}")]
    Unauthenticated(String),
    /// A proven caller who may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing, or none that this caller may know of.
    #[error("No such {0}")]
    NotFound(&'static str),
    /// The request contradicts the present state.
    #[error("{0}")]
    Conflict(String),
    /// The OAuth token endpoint's refusals (RFC 6749 section 5.2, RFC 8693 section 2.2.2).
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A policy forbids the call, or none permits it.
    #[error("Policy denied")]
    PolicyDenied(crate::policies::Denial),
    /// A tool whose definition is not the one that an admin approved.
    #[error(
        "The tool's definition has changed since an admin approved it, or was never approved, so it is held back"
    )]
    HeldBack,
    /// No session grant gives the agent anybody's credentials for the server.
    #[error("No credentials available for this server")]
    NoCredentials,
    /// A grant stands, but its grantor's OAuth session is gone.
    #[error("OAuth session not found")]
    SessionNotFound,
    /// A grant stands, but its grantor's OAuth session has expired and cannot be refreshed.
    #[error("OAuth session expired")]
    SessionExpired,
    /// The same, since a refresh was interrupted: nobody has seen the tokens that it brought.
    #[error(
        "OAuth session expired: a refresh was interrupted after the authorization server had taken the refresh token, so its owner must connect to the server again"
    )]
    SessionInterrupted,
    /// A session can be refreshed, but not now: the authorization server cannot be asked.
    #[error(
        "The authorization server of this MCP server is unavailable, and the OAuth session needs it; nothing was called, try again"
    )]
    ProviderUnavailable { retry_after: Duration, why: String },
    /// The OAuth session that was used may not do this at the MCP server.
    #[error("{detail}")]
    InsufficientScope { scope: String, detail: String },
    /// The body is larger than this endpoint takes, in bytes.
    #[error("The body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("The body must be {0}")]
    UnsupportedMediaType(&'static str),
    /// With the methods that it has (RFC 9110 section 10.2.1), where that is not for the router to say.
    #[error("This endpoint has no such method")]
    MethodNotAllowed(Option<&'static str>),
    /// The MCP server behind the proxy failed. The text says how, and whether the tool may have run.
    #[error("{detail}")]
    Upstream { kind: UpstreamFailure, detail: String },
    /// The store throttles, times out or is gone. Nothing was changed; the request may be repeated.
    #[error("The service is temporarily unavailable; nothing was changed, try again")]
    Unavailable { retry_after: Duration, cause: String },
    /// The store was lost while it was making a change: all of it was made, or nothing.
    #[error(
        "The service is temporarily unavailable; whether the change was made is unknown, so look before you repeat it"
    )]
    Undecided { retry_after: Duration, cause: String },
    /// The table has neither signing keys nor control versions: its operator has yet to make them.
    #[error(
        "This deployment was not bootstrapped: its operator must run `deputize bootstrap --admin-email you@example.com`"
    )]
    NotBootstrapped,
    /// Something was done at an MCP server, but the audit trail could not be written, so what came of it is
    /// withheld.
    #[error("{}", .done.unrecorded())]
    Unrecorded { done: Done, retry_after: Duration, cause: String },
    /// A defect of ours or corrupt data. The cause is logged, never answered.
    #[error("Internal error")]
    Internal(String),
}

/// What was done at an MCP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    ToolCalled,
    RequestMade,
    MessageTaken,
    StreamOpened,
    SessionEnded,
    /// It failed, and how far it got is in what cannot be recorded.
    Attempted,
}

impl Done {
    fn unrecorded(self) -> &'static str {
        match self {
            Self::ToolCalled => {
                "The tool was called, but the audit trail could not be written, so its result is withheld"
            }
            Self::RequestMade => {
                "The request was carried out, but the audit trail could not be written, so its result is withheld"
            }
            Self::MessageTaken => "The message was taken, but the audit trail could not be written",
            Self::StreamOpened => {
                "The stream was opened, but the audit trail could not be written, so it is withheld"
            }
            Self::SessionEnded => "The session was ended, but the audit trail could not be written",
            Self::Attempted => {
                "The MCP server may have been reached, but the audit trail could not be written, so what came of it is withheld"
            }
        }
    }
}

/// How an MCP server behind the proxy failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamFailure {
    /// It answered something that is no answer, or could not be reached.
    Bad,
    /// It took too long.
    TimedOut,
    /// It refused the request: the tool is unknown, or its arguments are wrong.
    Refused,
}

/// The refusals of `POST /api/v1/oauth/token`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    #[error("Client authentication failed")]
    InvalidClient,
    /// A client's assertion that cannot be one for us, or has been used; the text gives the reason.
    #[error("client_assertion: {0}")]
    InvalidAssertion(String),
    #[error("No valid delegation")]
    NoDelegation,
    #[error("Delegator user is deactivated")]
    DelegatorDeactivated,
    #[error("actor_token must be a valid UUID")]
    ActorNotUuid,
    /// The actor's (or subject's) token proves nobody; the text gives the reason.
    #[error("{0}")]
    InvalidGrant(String),
    #[error("{0}")]
    InvalidRequest(String),
    #[error(
        "Unsupported grant_type; use client_credentials or urn:ietf:params:oauth:grant-type:token-exchange"
    )]
    UnsupportedGrantType,
    #[error("{0}")]
    InvalidScope(String),
    /// RFC 8707 section 2.
    #[error("{0}")]
    InvalidTarget(String),
    /// A proven client, in a web page that may not use it.
    #[error("{}", crate::origins::NOT_FOR_ACCOUNT)]
    OriginNotAllowed,
}

impl TokenError {
    /// The `error` code of RFC 6749 section 5.2 or RFC 8707 section 2.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidClient | Self::InvalidAssertion(_) => "invalid_client",
            Self::NoDelegation | Self::DelegatorDeactivated | Self::ActorNotUuid | Self::InvalidGrant(_) => {
                "invalid_grant"
            }
            Self::InvalidRequest(_) => "invalid_request",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope(_) => "invalid_scope",
            Self::InvalidTarget(_) => "invalid_target",
            // The nearest that is registered: the client is authenticated, and may not ask in this way. For
            // `access_denied` a resource owner must have refused (RFC 6749 section 4.1.2.1).
            Self::OriginNotAllowed => "unauthorized_client",
        }
    }
}

impl Error {
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::Invalid(detail.into())
    }

    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::Unauthenticated(detail.into())
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::Forbidden(detail.into())
    }

    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::Internal(cause.to_string())
    }

    /// Says of an unavailability that a change was under way.
    #[must_use]
    pub fn undecided(self) -> Self {
        match self {
            Self::Unavailable { retry_after, cause } => Self::Undecided { retry_after, cause },
            other => other,
        }
    }

    pub fn unavailable(cause: impl std::fmt::Display) -> Self {
        Self::Unavailable { retry_after: Duration::from_secs(1), cause: cause.to_string() }
    }
}
