//! What an upstream's failure means to the caller.

use deputize_core::{
    Core, Error,
    access::{Access, UpstreamCredentials},
    connections::Challenge,
    error::UpstreamFailure,
};

use crate::upstream::UpstreamError;

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
        UpstreamError::Forbidden { www_authenticate: Some(challenge) } if with_session => {
            let challenge = Challenge::parse(challenge);
            if let Some(scope) = challenge.insufficient_scope() {
                return access.insufficient_scope(core, scope);
            }
            UpstreamFailure::Bad
        }
        UpstreamError::Timeout { .. } => UpstreamFailure::TimedOut,
        UpstreamError::InvalidParams { .. } => UpstreamFailure::Refused,
        _ => UpstreamFailure::Bad,
    };
    let may_have_run = error.may_have_run();
    let hint = match &error {
        UpstreamError::Unauthorized { .. } if matches!(credentials, UpstreamCredentials::Header { .. }) => {
            "; an admin must give the header of its registration anew"
        }
        UpstreamError::Unauthorized { .. } => {
            "; it is registered as asking for none: register it with auth \"oauth\" if it asks for OAuth"
        }
        _ if may_have_run => "; the tool may have run, so repeating the call may do its work twice",
        _ => "",
    };
    let mut detail = error.to_string();
    // The upstream's own words end here. They are bounded, and one line.
    detail = detail.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
    if let Some(first) = detail.get(..1).map(str::to_uppercase) {
        detail.replace_range(..1, &first);
    }
    Error::Upstream { kind, detail: detail + hint, may_have_run, cause: Some(error.into()) }
}
