//! What an upstream's failure means to the caller.

use std::time::Duration;

use deputize_core::{
    Core, Error,
    access::{Access, UpstreamCredentials},
    connections::Challenge,
    error::{RetryLater, UpstreamFailure},
};

use crate::upstream::{Said, UpstreamError};

/// What it means to the caller that a call with these credentials failed.
pub(crate) fn failure(
    core: &Core,
    access: &Access,
    credentials: &UpstreamCredentials,
    error: UpstreamError,
) -> Error {
    let with_session = matches!(credentials, UpstreamCredentials::Session(_));
    let kind = match &error {
        // The server does not accept the token that we considered valid.
        UpstreamError::Unauthorized { .. } if with_session => return Error::SessionExpired,
        UpstreamError::Forbidden { www_authenticate: Some(challenge), .. } if with_session => {
            let challenge = Challenge::parse(challenge);
            if let Some(scope) = challenge.insufficient_scope() {
                return access.insufficient_scope(core, scope);
            }
            UpstreamFailure::Bad
        }
        UpstreamError::Timeout { .. } => UpstreamFailure::TimedOut,
        UpstreamError::NoRoom { .. } => UpstreamFailure::NoRoom,
        UpstreamError::InvalidParams { .. } => UpstreamFailure::Refused,
        _ => UpstreamFailure::Bad,
    };
    let may_have_run = error.may_have_run();
    let hint = match &error {
        UpstreamError::Unauthorized { .. } if matches!(credentials, UpstreamCredentials::Header { .. }) => {
            "; an admin must give the header of its registration anew"
        }
        UpstreamError::Unauthorized { www_authenticate: Some(challenge), .. }
            if Challenge::parse(challenge).resource_metadata.is_some() =>
        {
            "; it asks for OAuth, and is registered with auth \"none\": register it with auth \"oauth\""
        }
        UpstreamError::Unauthorized { .. } => {
            "; it is registered with auth \"none\": register it with auth \"oauth\" if it asks for OAuth, or with auth \"header\" if it asks for a key of its own"
        }
        UpstreamError::Redirected { to: Some(_), .. } => {
            "; if that is where it is now, register that address"
        }
        _ if may_have_run => "; the tool may have run, so repeating the call may do its work twice",
        _ => "",
    };
    let detail = told(&error);
    let retry_after = match &error {
        UpstreamError::NoRoom { .. } => Some(Duration::from_secs(1)),
        error => error.said().and_then(Said::retry_after),
    };
    let cause = match retry_after {
        Some(after) => RetryLater { after, cause: error.into() }.into(),
        None => error.into(),
    };
    Error::Upstream { kind, detail: detail + hint, may_have_run, cause: Some(cause) }
}

/// What a caller is told of an error: one line, and not more than that of another party's words.
pub(crate) fn told(error: &UpstreamError) -> String {
    let detail = error.to_string();
    let mut detail: String = detail.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
    if let Some(first) = detail.get(..1).map(str::to_uppercase) {
        detail.replace_range(..1, &first);
    }
    detail
}
