//! Everything that can go wrong, as one enum.
//!
//! Which to use: a constructor or variant is named for *what happened*, never for a status code. The one
//! place that turns an [`Error`] into an HTTP answer is `deputize-service`'s `response` module.
//!
//! An error's text is answered, so it is for the client. What caused the error is its `source`, which only the log
//! shows ([`chain`]).

use std::{borrow::Cow, error::Error as StdError, fmt, time::Duration};

use deputize_api::{error::code, reason::Reason};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an error was caused by. The log shows it, and no client is told.
pub type Cause = Box<dyn StdError + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is malformed or asks for something that cannot be. The text names the field.
    #[error(transparent)]
    Invalid(Told),
    /// No credential where one is needed.
    #[error("Authentication is required: send a bearer token or an API key")]
    Anonymous,
    /// A credential that proves nothing (any more). The text never quotes the credential.
    #[error(transparent)]
    Unauthenticated(Told),
    /// A proven caller who may not do this.
    #[error(transparent)]
    Forbidden(Told),
    /// There is no such thing, or none that this caller may know of.
    #[error("No such {0}")]
    NotFound(&'static str),
    /// The request contradicts the present state.
    #[error(transparent)]
    Conflict(Told),
    /// The thing is not any more as the client saw it (RFC 9110 section 13.1.1).
    #[error("The thing has changed since it was read, or is no more: read it again, and decide anew")]
    Stale,
    /// The key was another request's.
    #[error("This Idempotency-Key was used for another request: use a new key for each request")]
    IdempotencyKeyReused,
    /// The OAuth token endpoint's refusals (RFC 6749 section 5.2, RFC 8693 section 2.2.2).
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A policy forbids the call, or none permits it.
    #[error("Policy denied")]
    PolicyDenied(crate::denial::Denial),
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
    /// The same, since our client at the authorization server is another one now: a refresh token is good only
    /// with the client that it was given to, and that client's secret is not to be had any more.
    #[error(
        "OAuth session expired: it was made with another OAuth client than this server's is now, so its owner must connect to the server again, or an admin must put oauth_client right"
    )]
    SessionOfOtherClient,
    /// A session can be refreshed, but not now: the authorization server cannot be asked.
    #[error(
        "The authorization server of this MCP server is unavailable, and the OAuth session needs it; nothing was called, try again"
    )]
    ProviderUnavailable {
        retry_after: Duration,
        #[source]
        cause: Cause,
    },
    /// A token or API key of ours that lacks a scope (RFC 6750 section 3.1). Another one would help.
    #[error("The {} lacks the scope {scope}: {}", .holder.name(), .holder.way_out())]
    ScopeMissing { scope: &'static str, holder: ScopeHolder },
    /// The OAuth session that was used may not do this at the MCP server.
    #[error("{detail}")]
    InsufficientScope { scope: String, detail: String },
    /// The MCP server behind the proxy failed. The text says how, and whether the tool may have run.
    #[error("{detail}")]
    Upstream {
        kind: UpstreamFailure,
        detail: String,
        /// Whether a tool may have done its work.
        may_have_run: bool,
        #[source]
        cause: Option<Cause>,
    },
    /// The store throttles, times out or is gone. Nothing was changed; the request may be repeated.
    #[error("The service is temporarily unavailable; nothing was changed, try again")]
    Unavailable {
        retry_after: Duration,
        #[source]
        cause: Cause,
    },
    /// The store was lost while it was making a change: all of it was made, or nothing.
    #[error("The service is temporarily unavailable; whether the change was made is unknown, so {}", if *.repeatable {
        "send it again with the same Idempotency-Key"
    } else {
        "look before you repeat it"
    })]
    Undecided {
        retry_after: Duration,
        /// Whether the request has a key, by which it is carried out once however often it is sent.
        repeatable: bool,
        #[source]
        cause: Cause,
    },
    /// The table has neither signing keys nor control versions: its operator has yet to make them.
    #[error(
        "This deployment was not bootstrapped: its operator must run `deputize bootstrap --admin-email you@example.com`"
    )]
    NotBootstrapped,
    /// Something was done at an MCP server, but the audit trail could not be written, so what came of it is
    /// withheld.
    #[error("{}", .done.unrecorded())]
    Unrecorded {
        done: Done,
        retry_after: Duration,
        #[source]
        cause: Box<Error>,
    },
    /// An answer was still streaming when what had let its request in was taken back, or when that could not be told
    /// for too long. The text says why, and whether a tool may have run.
    #[error("The stream was ended: {why}")]
    StreamEnded {
        why: String,
        #[source]
        cause: Box<Error>,
    },
    /// A defect of ours or corrupt data. The cause is logged, never answered.
    #[error("Internal error")]
    Internal(#[source] Cause),
}

/// What a client is told of its request, and what that was caused by.
#[derive(Debug)]
pub struct Told {
    text: Cow<'static, str>,
    /// If it is a more exact one than that of the error's kind.
    reason: Option<Reason>,
    in_the_way: Option<InTheWay>,
    dependents: Vec<Dependents>,
    cause: Option<Cause>,
}

/// Things of one kind that depend on what is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependents {
    /// As a list of them is called.
    pub kind: &'static str,
    pub count: usize,
    /// Whether there are more than were counted.
    pub more: bool,
    /// The ids of the first of them.
    pub first: Vec<String>,
}

/// The thing that a request contradicts, if its caller may know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InTheWay {
    /// As an event of the trail calls it.
    pub kind: &'static str,
    pub id: String,
}

impl Told {
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), reason: None, in_the_way: None, dependents: Vec::new(), cause: None }
    }

    pub fn of(reason: Reason, text: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: Some(reason), ..Self::new(text) }
    }

    /// Names the thing that the request contradicts.
    #[must_use]
    pub(crate) fn by_thing(self, kind: &'static str, id: impl fmt::Display) -> Self {
        Self { in_the_way: Some(InTheWay { kind, id: id.to_string() }), ..self }
    }

    /// Lists what would be affected.
    #[must_use]
    pub(crate) fn on_which_depend(self, dependents: Vec<Dependents>) -> Self {
        Self { dependents, ..self }
    }

    #[must_use]
    pub fn because(self, cause: impl Into<Cause>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// The same of a field of this thing in the request.
    #[must_use]
    pub(crate) fn within(self, thing: &str) -> Self {
        Self { text: format!("{thing}.{}", self.text).into(), ..self }
    }

    /// In the words of what caused it.
    pub fn by(reason: Reason, cause: impl Into<Cause>) -> Self {
        let cause = cause.into();
        Self::of(reason, cause.to_string()).because(cause)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Told {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&**self.cause.as_ref()?)
    }
}

/// What we were at when something failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Failed {
    what: Cow<'static, str>,
    #[source]
    why: Cause,
}

/// A cause with a cause of its own.
pub fn because(what: impl Into<Cow<'static, str>>, why: impl Into<Cause>) -> Cause {
    Failed { what: what.into(), why: why.into() }.into()
}

/// What failed may work later: the server says when (`Retry-After`, RFC 9110 section 10.2.3).
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct RetryLater {
    pub after: Duration,
    #[source]
    pub cause: Cause,
}

/// An error with all its causes, for the log. A cause whose words are in the error's own is not said again.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = text + ": " + &words;
        }
        next = cause.source();
    }
    text
}

/// Which kind of credential has scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeHolder {
    /// An app's access token.
    AppToken,
    ApiKey,
}

impl ScopeHolder {
    fn name(self) -> &'static str {
        match self {
            Self::AppToken => "token",
            Self::ApiKey => "API key",
        }
    }

    fn way_out(self) -> &'static str {
        match self {
            Self::AppToken => "have the user allow the app that scope",
            Self::ApiKey => "use a key that has it",
        }
    }
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
    /// It answered, and this process has no room for the answer now.
    NoRoom,
}

/// The refusals of `POST /api/v1/oauth/token`.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("Client authentication failed")]
    InvalidClient,
    /// A client's assertion that cannot be one for us, or has been used; the text gives the reason.
    #[error("client_assertion: {0}")]
    InvalidAssertion(#[source] Cause),
    #[error("No valid delegation")]
    NoDelegation,
    #[error("Delegator user is deactivated")]
    DelegatorDeactivated,
    #[error("actor_token must be a valid UUID")]
    ActorNotUuid,
    #[error("actor_token must be an email address")]
    ActorNotEmail,
    /// The actor's (or subject's) token proves nobody; the text gives the reason.
    #[error(transparent)]
    InvalidGrant(Told),
    #[error(transparent)]
    InvalidRequest(Told),
    #[error(
        "Unsupported grant_type; use authorization_code, refresh_token, client_credentials or urn:ietf:params:oauth:grant-type:token-exchange"
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
    /// A proven client for whom nobody answers any more, in a deployment that stops such accounts.
    #[error("None of the agent account's owners is active; an admin must give it another")]
    NoActiveOwner,
}

impl TokenError {
    pub fn invalid_request(text: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidRequest(Told::new(text))
    }

    /// The `error` code of RFC 6749 section 5.2 or RFC 8707 section 2.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidClient | Self::InvalidAssertion(_) => code::INVALID_CLIENT,
            Self::NoDelegation
            | Self::DelegatorDeactivated
            | Self::ActorNotUuid
            | Self::ActorNotEmail
            | Self::InvalidGrant(_) => code::INVALID_GRANT,
            Self::InvalidRequest(_) => code::INVALID_REQUEST,
            Self::UnsupportedGrantType => code::UNSUPPORTED_GRANT_TYPE,
            Self::InvalidScope(_) => code::INVALID_SCOPE,
            Self::InvalidTarget(_) => code::INVALID_TARGET,
            // The nearest that is registered: the client is authenticated, and may not ask in this way. For
            // `access_denied` a resource owner must have refused (RFC 6749 section 4.1.2.1).
            Self::OriginNotAllowed | Self::NoActiveOwner => code::UNAUTHORIZED_CLIENT,
        }
    }

    pub fn reason(&self) -> Reason {
        match self {
            Self::InvalidClient => Reason::ClientRefused,
            Self::InvalidAssertion(_) => Reason::AssertionRefused,
            Self::NoDelegation => Reason::DelegationMissing,
            Self::DelegatorDeactivated => Reason::UserInactive,
            Self::ActorNotUuid => Reason::ActorNotUuid,
            Self::ActorNotEmail => Reason::ActorNotEmail,
            Self::InvalidGrant(told) => told.reason.unwrap_or(Reason::ActorTokenRefused),
            Self::InvalidRequest(told) => told.reason.unwrap_or(Reason::RequestInvalid),
            Self::UnsupportedGrantType => Reason::GrantTypeUnsupported,
            Self::InvalidScope(_) => Reason::ScopeUnknown,
            Self::InvalidTarget(_) => Reason::TargetUnknown,
            Self::OriginNotAllowed => Reason::OriginNotForAccount,
            Self::NoActiveOwner => Reason::OwnerMissing,
        }
    }
}

impl Error {
    /// What exactly happened, for programs. It says no more than the text does.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Invalid(told) => told.reason.unwrap_or(Reason::RequestInvalid),
            Self::Anonymous => Reason::CredentialMissing,
            Self::Unauthenticated(told) => told.reason.unwrap_or(Reason::TokenRefused),
            Self::Forbidden(told) => told.reason.unwrap_or(Reason::NotPermitted),
            Self::NotFound(_) => Reason::NotFound,
            Self::Conflict(told) => told.reason.unwrap_or(Reason::StateConflict),
            Self::Stale => Reason::Stale,
            Self::IdempotencyKeyReused => Reason::IdempotencyKeyReused,
            Self::Token(refusal) => refusal.reason(),
            Self::PolicyDenied(denial) => match denial.denied_for {
                crate::denial::DeniedFor::Agent => Reason::PolicyDeniedAgent,
                crate::denial::DeniedFor::User => Reason::PolicyDeniedUser,
            },
            Self::HeldBack => Reason::ToolHeldBack,
            Self::NoCredentials => Reason::NoCredentials,
            Self::SessionNotFound => Reason::SessionNotFound,
            Self::SessionExpired => Reason::SessionExpired,
            Self::SessionInterrupted => Reason::SessionInterrupted,
            Self::SessionOfOtherClient => Reason::SessionOfOtherClient,
            Self::ProviderUnavailable { .. } => Reason::ProviderUnavailable,
            Self::ScopeMissing { .. } => Reason::InsufficientScope,
            Self::InsufficientScope { .. } => Reason::SessionScopeMissing,
            Self::Upstream { may_have_run: true, .. } => Reason::ToolMayHaveRun,
            Self::Upstream { kind: UpstreamFailure::Bad, .. } => Reason::UpstreamFailed,
            Self::Upstream { kind: UpstreamFailure::TimedOut, .. } => Reason::UpstreamTimedOut,
            Self::Upstream { kind: UpstreamFailure::Refused, .. } => Reason::ToolCallRefused,
            Self::Upstream { kind: UpstreamFailure::NoRoom, .. } => Reason::ServiceBusy,
            Self::Unavailable { .. } => Reason::StoreUnavailable,
            Self::Undecided { .. } => Reason::ChangeUndecided,
            Self::NotBootstrapped => Reason::NotBootstrapped,
            Self::Unrecorded { done: Done::ToolCalled, .. } => Reason::ToolCallUnrecorded,
            Self::Unrecorded { .. } => Reason::RequestUnrecorded,
            Self::StreamEnded { .. } => Reason::StreamEnded,
            Self::Internal(_) => Reason::InternalError,
        }
    }

    /// Whether a user must connect to the MCP server, or connect anew. Another token of ours would not help.
    pub fn needs_connection(&self) -> bool {
        match self {
            Self::NoCredentials
            | Self::SessionNotFound
            | Self::SessionExpired
            | Self::SessionInterrupted
            | Self::SessionOfOtherClient
            | Self::InsufficientScope { .. } => true,
            Self::StreamEnded { cause, .. } => cause.needs_connection(),
            _ => false,
        }
    }

    /// The thing that the request contradicts.
    pub fn in_the_way(&self) -> Option<&InTheWay> {
        match self {
            Self::Conflict(told) => told.in_the_way.as_ref(),
            _ => None,
        }
    }

    /// What depends on the thing that was to be deleted.
    pub fn dependents(&self) -> &[Dependents] {
        match self {
            Self::Conflict(told) => &told.dependents,
            _ => &[],
        }
    }

    /// How long to wait before trying again, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. }
            | Self::Undecided { retry_after, .. }
            | Self::Unrecorded { retry_after, .. }
            | Self::ProviderUnavailable { retry_after, .. } => Some(*retry_after),
            Self::Upstream { cause: Some(cause), .. } => {
                cause.downcast_ref().map(|RetryLater { after, .. }| *after)
            }
            _ => None,
        }
    }

    pub fn invalid(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(Told::new(text))
    }

    pub fn unauthenticated(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Unauthenticated(Told::new(text))
    }

    /// Of a change whose caller was let in, and is not any more, or not as who they were.
    pub(crate) fn caller_changed() -> Self {
        Self::Forbidden(Told::of(
            Reason::CallerChanged,
            "Nothing was changed: while this was under way, you were deactivated, your role was changed, or your credential was revoked",
        ))
    }

    pub fn forbidden(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Forbidden(Told::new(text))
    }

    pub fn conflict(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Conflict(Told::new(text))
    }

    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }

    /// Says of an unavailability that a change was under way.
    #[must_use]
    pub fn undecided(self) -> Self {
        match self {
            Self::Unavailable { retry_after, cause } => {
                Self::Undecided { retry_after, repeatable: false, cause }
            }
            other => other,
        }
    }

    /// For the reason for which its request would be refused by now. `calling`: a tool may be at work.
    #[must_use]
    pub fn stream_ended(cause: Self, calling: bool) -> Self {
        let mut why = match &cause {
            Self::PolicyDenied(denial) => format!("{cause}: {}", denial.reason),
            Self::Unavailable { .. } | Self::Undecided { .. } | Self::NotBootstrapped => {
                "it could not be checked for too long whether it may go on".to_owned()
            }
            _ => cause.to_string(),
        };
        if calling {
            why.push_str("; the tool may have run, so repeating the call may do its work twice");
        }
        Self::StreamEnded { why, cause: Box::new(cause) }
    }

    pub fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable { retry_after: Duration::from_secs(1), cause: cause.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_shows_every_cause_once_and_the_client_is_told_none() {
        let lost = because("the store cannot be reached", because("no connection", "refused"));
        let error = Error::unavailable(lost);
        assert!(chain(&error).ends_with(": the store cannot be reached: no connection: refused"));
        assert!(!error.to_string().contains("store"));
        let told = Error::Invalid(Told::new("params: no such thing at line 1").because("no such thing"));
        assert_eq!(chain(&told), "params: no such thing at line 1");
    }
}
