//! What to do about an error: the cookbook's troubleshooting table, and that of `docs/troubleshooting.md`.

use crate::reason::Reason;

/// The way out of an error, for whoever develops or runs the client. `reason` is the error body's. The status says what
/// it can of an answer without a reason that is known here: something in front of the service gives such answers.
pub fn hint(status: u16, reason: Option<&str>) -> Option<&'static str> {
    match reason.and_then(Reason::parse) {
        Some(reason) => reason.hint(),
        None => match status {
            404 => Reason::NotFound.hint(),
            413 => Reason::BodyTooLarge.hint(),
            431 => Reason::HeadersTooMany.hint(),
            429 => Reason::RateLimited.hint(),
            500 => Reason::InternalError.hint(),
            _ => None,
        },
    }
}

impl Reason {
    /// `None` where the text itself says what to do.
    #[expect(clippy::too_many_lines, reason = "a line for each reason")]
    pub const fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::ClientRefused => "Verify the credentials; check if they were rotated",
            Self::AssertionRefused => {
                "Check the private key's client id, audience and clock; the text says which claim is wrong"
            }
            Self::DelegationMissing => "The user must delegate to the agent account",
            Self::ActorNotUuid => "Pass a valid UUID string",
            Self::ActorNotEmail => "Pass an email address",
            Self::ActorTokenRefused => "Pass a fresh access token of the user's own",
            Self::SubjectTokenRefused => "Exchange a fresh token of the agent's own",
            Self::CodeRefused | Self::RefreshTokenRefused | Self::AuthorizationEnded => {
                "Have the user allow the app anew"
            }
            Self::TargetUnknown => "Take the resource from the server's metadata",
            Self::OtherClientsToken => "Use the token as the client that it was issued to",
            Self::OriginNotForAccount => {
                "Add the page's origin to the account's allowed_origins, and to the deployment's; or use the account on a server"
            }
            Self::CredentialMissing => "Send a credential",
            Self::TokenRefused | Self::TokenExpired | Self::TokenRevoked | Self::UserTokenRefused => {
                "Get another token; if that is refused too, its error says why"
            }
            Self::TokenForOtherAudience => "Request a token for this server",
            Self::ApiKeyRefused => "Create another API key",
            Self::UserUnknown => "An admin must create the user",
            Self::UserInactive => "Contact an admin to reactivate the user",
            Self::IdentityConflict => "An admin must set the user's identities",
            Self::PolicyDeniedAgent | Self::PolicyDeniedUser => {
                "Review the agent account's and the user's policies"
            }
            Self::DelegationTooNarrow => {
                "The user must delegate anew with this server among the delegation's servers"
            }
            Self::UserRequired => {
                "Use a user's credentials here: their own JWT or an API key, not an agent's"
            }
            Self::AdminRequired | Self::AccountStopped => "Ask an admin",
            Self::OwnerMissing => "An admin must give the agent account an owner who is active",
            Self::OwnCredentialRequired => "Sign in, or use an API key or JWT of the user's own",
            Self::InsufficientScope => {
                "Have the user allow the app the scope that is named, or use an API key that has it"
            }
            Self::ApiKeyTooNarrow => "Use another API key, or another credential of the user's own",
            Self::OriginNotAllowed => "Add the page's origin to DEPUTIZE_ALLOWED_ORIGINS",
            Self::SharingReserved => {
                "Create the grant without sharing it, or let the account's owner or an admin share theirs"
            }
            Self::CallerChanged => "Authenticate again; nothing was changed",
            Self::ToolHeldBack => "An admin must look at the tool's definition and approve it",
            Self::NotFound => "Check the id; what the caller may not know of is not found either",
            Self::WrongAddress => "Use the address that the service says it has",
            Self::RequestBlocked => "Ask who operates the service what its firewall refuses",
            Self::NoCredentials => "Create a session grant; the user must connect to the OAuth server first",
            Self::NotConnected => "Connect to the MCP server first",
            Self::SessionNotFound | Self::SessionExpired | Self::SessionInterrupted => {
                "The grantor must connect to the MCP server again"
            }
            Self::SessionOfOtherClient => {
                "The grantor must connect to the MCP server again, or an admin restore its oauth_client"
            }
            Self::SessionScopeMissing => {
                "The session's owner must connect again with the scope that is named"
            }
            Self::AlreadyExists => "Choose another name, or use the one that is there",
            Self::HasDependents => "Send cascade=true to delete it all the same",
            Self::ListIncomplete => "The service's operator must run `deputize reindex`",
            Self::LimitReached => "Remove one first",
            Self::Stale => "Read the thing again, and decide anew",
            Self::IdempotencyKeyReused => "Use a new Idempotency-Key for each request",
            Self::BodyTooLarge => "Send less",
            Self::BodyTooSlow => "Send the body again, faster or in smaller parts",
            Self::HeadersTooMany => "Send fewer headers",
            Self::RateLimited => "Slow down, and try again after retryAfter seconds",
            Self::McpSessionGone => "Begin another session",
            Self::ToolCallRefused => "Check the tool's name and its arguments against listTools",
            Self::UpstreamFailed | Self::UpstreamTimedOut => "The MCP server failed; try again later",
            Self::ToolMayHaveRun => "The tool may have run: look before you repeat the call",
            Self::ProviderUnavailable | Self::StoreUnavailable => "Try again after retryAfter seconds",
            Self::ServiceBusy => "Try again after retryAfter seconds; nothing was done",
            Self::ChangeUndecided => "Look whether the change was made before you repeat it",
            Self::ToolCallUnrecorded => "The tool has run: look at what it did before you repeat the call",
            Self::RequestUnrecorded | Self::TimedOut | Self::FunctionFailed => {
                "Look whether anything was changed before you repeat it"
            }
            Self::StreamEnded => {
                "The text says what was taken back; with a tool's call, look before you repeat it"
            }
            Self::NotBootstrapped => "The service's operator must run `deputize bootstrap`",
            Self::ResponseTooLarge => "Ask for less; if a tool was called, it has run",
            Self::InternalError => "A defect of the service: its log says more under the request id",
            Self::GrantTypeUnsupported
            | Self::ScopeUnknown
            | Self::NotPermitted
            | Self::RequestInvalid
            | Self::NameUnknown
            | Self::ArgumentsRefused
            | Self::PolicyInvalid
            | Self::StateConflict
            | Self::MediaTypeUnsupported
            | Self::MethodNotAllowed
            | Self::ProtocolVersionUnsupported => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in the cookbook: what a client sees, and the subject of the fix.
    #[test]
    fn each_row_of_the_troubleshooting_table_has_its_fix() {
        let rows = [
            (401, Reason::ClientRefused, "rotated"),
            (403, Reason::DelegationMissing, "must delegate"),
            (400, Reason::ActorNotUuid, "valid UUID"),
            (403, Reason::UserInactive, "reactivate"),
            (401, Reason::IdentityConflict, "identities"),
            (401, Reason::NoCredentials, "Create a session grant"),
            (401, Reason::SessionNotFound, "connect to the MCP server again"),
            (401, Reason::SessionExpired, "connect to the MCP server again"),
            (403, Reason::PolicyDeniedAgent, "policies"),
            (403, Reason::PolicyDeniedUser, "policies"),
            (403, Reason::OriginNotAllowed, "DEPUTIZE_ALLOWED_ORIGINS"),
            (403, Reason::OriginNotForAccount, "allowed_origins"),
        ];
        for (status, reason, fix) in rows {
            let hint = hint(status, Some(reason.as_str())).unwrap_or_default();
            assert!(hint.contains(fix), "{reason:?}: {hint}");
        }
    }

    #[test]
    fn an_error_that_nothing_is_known_of_has_no_hint() {
        assert_eq!(hint(418, Some("teapot")), None);
        assert_eq!(hint(418, None), None);
        assert!(hint(429, None).is_some());
    }

    /// Each reason has a hint, or is one of those whose text says what to do.
    #[test]
    fn a_reason_without_a_hint_is_one_whose_text_says_all() {
        let none: Vec<_> = Reason::ALL.iter().filter(|reason| reason.hint().is_none()).collect();
        let declared = [
            Reason::GrantTypeUnsupported,
            Reason::ScopeUnknown,
            Reason::NotPermitted,
            Reason::RequestInvalid,
            Reason::NameUnknown,
            Reason::ArgumentsRefused,
            Reason::PolicyInvalid,
            Reason::StateConflict,
            Reason::MediaTypeUnsupported,
            Reason::MethodNotAllowed,
            Reason::ProtocolVersionUnsupported,
        ];
        assert_eq!(none, declared.iter().collect::<Vec<_>>());
    }
}
