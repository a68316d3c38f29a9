//! Where the endpoints are. What is in braces is to be filled in, by [`fill`].

pub const TOKEN: &str = "/api/v1/oauth/token";

pub const AGENT_DELEGATIONS: &str = "/api/v1/agent-accounts/{agent_account_id}/delegations";
pub const MY_DELEGATIONS: &str = "/api/v1/delegations";
pub const DELEGATION: &str = "/api/v1/delegations/{delegation_id}";

pub const SESSION_GRANTS: &str = "/api/v1/agent-accounts/{agent_account_id}/session-grants";
pub const TOGGLE_SESSION_GRANT: &str = "/api/v1/agent-accounts/{agent_account_id}/session-grants/toggle";
pub const SESSION_GRANT: &str = "/api/v1/session-grants/{session_grant_id}";

pub const CONNECT: &str = "/api/v1/servers/{server_id}/connect";
pub const CONNECTION: &str = "/api/v1/servers/{server_id}/connection";

pub const TOOLS: &str = "/api/v1/proxy/{server_id}/tools";

/// The path with `id` in place of what is in braces. Whatever `id` holds, it stays one segment of the path
/// (RFC 3986 section 3.3). Our ids have no dots; a segment of dots alone means another place, even encoded, so
/// dots are encoded twice, and name nothing.
pub fn fill(template: &str, id: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let (before, rest) = template.split_once('{').unwrap_or((template, ""));
    let (_, after) = rest.split_once('}').unwrap_or_default();
    let mut path = String::with_capacity(template.len() + id.len());
    path.push_str(before);
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(if byte == b'.' { "%25" } else { "%" });
            path.push(char::from(DIGITS[usize::from(byte >> 4)]));
            path.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    path.push_str(after);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_lead_to_another_path() {
        assert_eq!(fill(TOOLS, "demo-oauth_2"), "/api/v1/proxy/demo-oauth_2/tools");
        assert_eq!(fill(TOOLS, "a/b?c#d"), "/api/v1/proxy/a%2Fb%3Fc%23d/tools");
        assert_eq!(fill(TOOLS, ".."), "/api/v1/proxy/%252E%252E/tools");
        assert_eq!(fill(DELEGATION, "é{}"), "/api/v1/delegations/%C3%A9%7B%7D");
    }
}
