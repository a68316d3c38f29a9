//! What to do about an error: the cookbook's troubleshooting table, and the README's.

use crate::error::code;

/// The way out of an error, for whoever develops or runs the client. `detail` is the error body's.
pub fn hint(status: u16, error: &str, detail: &str) -> Option<&'static str> {
    let says = |text: &str| detail.contains(text);
    Some(match error {
        code::INVALID_CLIENT if says("client_assertion") => {
            "Check the private key's client id, audience and clock; the text says which claim is wrong"
        }
        code::INVALID_CLIENT => "Verify the credentials; check if they were rotated",
        code::INVALID_GRANT if says("No valid delegation") => "The user must delegate to the agent account",
        code::INVALID_GRANT if says("must be a valid UUID") => "Pass a valid UUID string",
        code::INVALID_GRANT if says("must be an email address") => "Pass an email address",
        code::INVALID_GRANT if says("actor_token: ") => "Pass a fresh access token of the user's own",
        _ if says("Delegator user is deactivated") => "Contact an admin to reactivate the user",
        code::NO_CREDENTIALS => "Create a session grant; the user must connect to the OAuth server first",
        code::SESSION_NOT_FOUND | code::SESSION_EXPIRED => "The grantor must connect to the MCP server again",
        code::INSUFFICIENT_SCOPE => "The session's owner must connect again with the scope that is named",
        code::TOOL_HELD_BACK => "An admin must look at the tool's definition and approve it",
        code::ACCESS_DENIED if says("Policy denied") => "Review the agent account's and the user's policies",
        code::ACCESS_DENIED if says("does not cover this server") => {
            "The user must delegate anew with this server among the delegation's servers"
        }
        code::ACCESS_DENIED if says("needs a user") => {
            "Use a user's credentials here: their own JWT or an API key, not an agent's"
        }
        _ if says("may not be used from this origin") => {
            "Add the page's origin to the account's allowed_origins, and to the deployment's; or use the account on a server"
        }
        code::ACCESS_DENIED if says("This origin is not allowed") => {
            "Add the page's origin to DEPUTIZE_ALLOWED_ORIGINS"
        }
        code::UNAUTHORIZED => "Send a credential",
        code::INVALID_TOKEN if says("API key") => "Create another API key",
        code::INVALID_TOKEN => "Get another token; if that is refused too, its error says why",
        code::UPSTREAM_REFUSED => "Check the tool's name and its arguments against listTools",
        code::UPSTREAM_ERROR | code::UPSTREAM_TIMEOUT if says("may have run") => {
            "The tool may have run: look before you repeat the call"
        }
        code::UPSTREAM_ERROR | code::UPSTREAM_TIMEOUT => "The MCP server failed; try again later",
        code::TEMPORARILY_UNAVAILABLE if says("was called") => {
            "The tool has run: look at what it did before you repeat the call"
        }
        code::TEMPORARILY_UNAVAILABLE if says("whether the change") => {
            "Look whether the change was made before you repeat it"
        }
        code::NOT_BOOTSTRAPPED => "The service's operator must run `deputize bootstrap`",
        code::TIMED_OUT => "Look whether anything was changed before you repeat it",
        code::RESPONSE_TOO_LARGE => "Ask for less; if a tool was called, it has run",
        code::TEMPORARILY_UNAVAILABLE => "Try again after retryAfter seconds",
        _ => match status {
            404 => "Check the id; what the caller may not know of is not found either",
            413 => "Send less",
            429 => "Slow down, and try again after retryAfter seconds",
            500 => "A defect of the service: its log says more under the request id",
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cookbook's table: what a client sees, and what its fix is about.
    #[test]
    fn each_row_of_the_troubleshooting_table_has_its_fix() {
        let rows = [
            (401, "invalid_client", "invalid_client: Client authentication failed", "rotated"),
            (403, "invalid_grant", "invalid_grant: No valid delegation", "must delegate"),
            (400, "invalid_grant", "invalid_grant: actor_token must be a valid UUID", "valid UUID"),
            (403, "invalid_grant", "invalid_grant: Delegator user is deactivated", "reactivate"),
            (403, "access_denied", "Delegator user is deactivated", "reactivate"),
            (401, "no_credentials", "No credentials available for this server", "Create a session grant"),
            (401, "session_not_found", "OAuth session not found", "connect to the MCP server again"),
            (401, "session_expired", "OAuth session expired", "connect to the MCP server again"),
            (403, "access_denied", "Policy denied", "policies"),
            (403, "access_denied", "This origin is not allowed", "DEPUTIZE_ALLOWED_ORIGINS"),
            (
                403,
                "unauthorized_client",
                "unauthorized_client: The agent account may not be used from this origin: …",
                "allowed_origins",
            ),
        ];
        for (status, error, detail, fix) in rows {
            let hint = hint(status, error, detail).unwrap_or_default();
            assert!(hint.contains(fix), "{detail}: {hint}");
        }
    }

    #[test]
    fn an_error_that_nothing_is_known_of_has_no_hint() {
        assert_eq!(hint(418, "teapot", "I am a teapot"), None);
    }
}
