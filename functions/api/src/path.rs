//! Where the endpoints are: the one place that says so. What is in braces is to be filled in, by [`fill`].

pub const TOKEN: &str = "/api/v1/oauth/token";
pub const AUTHORIZE: &str = "/api/v1/oauth/authorize";
/// Dynamic registration of apps (RFC 7591).
pub const REGISTER: &str = "/api/v1/oauth/register";
/// Some hosted clients read no metadata, and take these paths of the origin: they mean the endpoints above.
pub const TOKEN_ALIAS: &str = "/token";
pub const AUTHORIZE_ALIAS: &str = "/authorize";
pub const REGISTER_ALIAS: &str = "/register";
pub const INTROSPECT: &str = "/api/v1/oauth/introspect";
pub const REVOKE: &str = "/api/v1/oauth/revoke";

/// What every document below it is everybody's.
pub const WELL_KNOWN: &str = "/.well-known/";
pub const ISSUER_METADATA: &str = "/.well-known/oauth-authorization-server";
pub const OPENID_METADATA: &str = "/.well-known/openid-configuration";
pub const JWKS: &str = "/.well-known/jwks.json";
/// Below it, the path of the resource.
pub const RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource";
pub const SERVER_METADATA: &str = "/.well-known/oauth-protected-resource/api/v1/proxy/{server_id}/mcp";
pub const PROXY_METADATA: &str = "/.well-known/oauth-protected-resource/api/v1/proxy";
pub const MANAGEMENT_METADATA: &str = "/.well-known/oauth-protected-resource/api/v1";

pub const AGENT_DELEGATIONS: &str = "/api/v1/agent-accounts/{agent_account_id}/delegations";
pub const MY_DELEGATIONS: &str = "/api/v1/delegations";
/// Many delegations at once.
pub const DELEGATION_BATCH: &str = "/api/v1/delegations:batch";
pub const DELEGATION: &str = "/api/v1/delegations/{delegation_id}";

pub const SESSION_GRANTS: &str = "/api/v1/agent-accounts/{agent_account_id}/session-grants";
pub const TOGGLE_SESSION_GRANT: &str = "/api/v1/agent-accounts/{agent_account_id}/session-grants/toggle";
pub const SESSION_GRANT: &str = "/api/v1/session-grants/{session_grant_id}";

pub const CONNECT: &str = "/api/v1/servers/{server_id}/connect";
pub const CONNECTION: &str = "/api/v1/servers/{server_id}/connection";
/// The page on which a person connects to a server. Beside the id, its query can name a `scope`.
pub const CONNECT_PAGE: &str = "/connect/{server_id}";
/// Where authorization servers send browsers back to.
pub const CALLBACK: &str = "/api/v1/oauth/callback";
/// This service as an OAuth client: its Client ID Metadata Document.
pub const CLIENT_METADATA: &str = "/api/v1/oauth/client-metadata.json";

/// The first page: who acts for the person.
pub const HOME: &str = "/";
/// Where its buttons go: the end of a delegation, that taken back, and the end of all.
pub const END_DELEGATION: &str = "/delegations/end";
pub const UNDO_END: &str = "/delegations/undo";
pub const END_ALL: &str = "/delegations/end-all";
/// The agents that one can delegate to, and what one of them may do.
pub const DELEGATE: &str = "/delegate";
pub const DELEGATE_TO: &str = "/delegate/{agent_account_id}";
/// Connections to servers, and whose are used there.
pub const MY_CONNECTIONS: &str = "/connections";
pub const MY_CONNECTION: &str = "/connections/{server_id}";
pub const DISCONNECT: &str = "/connections/{server_id}/disconnect";
pub const LEND: &str = "/connections/{server_id}/lend";
pub const TAKE_BACK: &str = "/connections/{server_id}/take-back";
/// Apps that act as the person, and the browsers in which they are signed in.
pub const MY_APPS: &str = "/apps";
pub const END_BROWSER: &str = "/apps/browsers";
/// API keys.
pub const MY_KEYS: &str = "/keys";
pub const DELETE_KEY: &str = "/keys/delete";
pub const RESTORE_KEY: &str = "/keys/restore";
/// What was done as the person or for them, and one event of it.
pub const ACTIVITY: &str = "/activity";
pub const ACTIVITY_EVENT: &str = "/activity/{event_id}";
/// Below it, everything about signing in.
pub const SIGN_IN: &str = "/sign-in";
/// Where an OpenID provider sends browsers back to.
pub const SIGN_IN_CALLBACK: &str = "/sign-in/callback/{provider}";
/// Where an OpenID provider says that a session has ended (OpenID Connect Back-Channel Logout).
pub const BACKCHANNEL_LOGOUT: &str = "/sign-in/logout/{provider}";
pub const SIGN_OUT: &str = "/sign-out";
/// The stylesheet of the pages, by its hash.
pub const STYLE: &str = "/assets/{name}";
pub const MY_BROWSER_SESSIONS: &str = "/api/v1/me/browser-sessions";
pub const MY_BROWSER_SESSION: &str = "/api/v1/me/browser-sessions/{browser_session_id}";

/// The management API, as a resource.
pub const MANAGEMENT: &str = "/api/v1";
/// The whole proxy, as a resource.
pub const PROXY: &str = "/api/v1/proxy";
pub const TOOLS: &str = "/api/v1/proxy/{server_id}/tools";
pub const APPROVED_TOOLS: &str = "/api/v1/proxy/{server_id}/approved-tools";
pub const MCP: &str = "/api/v1/proxy/{server_id}/mcp";
/// The same endpoint, for clients that end an address with a slash.
pub const MCP_WITH_SLASH: &str = "/api/v1/proxy/{server_id}/mcp/";

pub const ME: &str = "/api/v1/me";
pub const API_KEYS: &str = "/api/v1/api-keys";
pub const API_KEY: &str = "/api/v1/api-keys/{api_key_id}";

pub const USERS: &str = "/api/v1/users";
/// Many users at once.
pub const USER_BATCH: &str = "/api/v1/users:batch";
pub const USER: &str = "/api/v1/users/{user_id}";
/// A person, an agent, a server at a glance.
pub const USER_DELEGATIONS: &str = "/api/v1/users/{user_id}/delegations";
pub const USER_AGENTS: &str = "/api/v1/users/{user_id}/agents";
pub const USER_SESSION_GRANTS: &str = "/api/v1/users/{user_id}/session-grants";
pub const USER_CONNECTIONS: &str = "/api/v1/users/{user_id}/connections";
pub const USER_SESSIONS: &str = "/api/v1/users/{user_id}/sessions";
pub const SERVER_DELEGATIONS: &str = "/api/v1/servers/{server_id}/delegations";
pub const SERVER_SESSION_GRANTS: &str = "/api/v1/servers/{server_id}/session-grants";
pub const SERVER_CONNECTIONS: &str = "/api/v1/servers/{server_id}/connections";
pub const SERVER_POLICIES: &str = "/api/v1/servers/{server_id}/policies";
/// The agents that the caller can delegate to.
pub const AVAILABLE_AGENTS: &str = "/api/v1/available-agents";

/// The end of what a person had here, when they leave.
pub const OFFBOARD_USER: &str = "/api/v1/users/{user_id}/offboard";
pub const USER_API_KEYS: &str = "/api/v1/users/{user_id}/api-keys";
pub const USER_API_KEY: &str = "/api/v1/users/{user_id}/api-keys/{api_key_id}";

pub const AGENT_ACCOUNTS: &str = "/api/v1/agent-accounts";
pub const AGENT_ACCOUNT: &str = "/api/v1/agent-accounts/{agent_account_id}";
pub const AGENT_POLICIES: &str = "/api/v1/agent-accounts/{agent_account_id}/policies";
pub const CLIENT_SECRETS: &str = "/api/v1/agent-accounts/{agent_account_id}/secrets";
pub const CLIENT_SECRET: &str = "/api/v1/agent-accounts/{agent_account_id}/secrets/{secret_id}";
pub const CLIENT_KEYS: &str = "/api/v1/agent-accounts/{agent_account_id}/keys";
pub const CLIENT_KEY: &str = "/api/v1/agent-accounts/{agent_account_id}/keys/{key_id}";

/// What users allowed apps: the caller's own, and any user's.
pub const AUTHORIZATIONS: &str = "/api/v1/authorizations";
pub const AUTHORIZATION: &str = "/api/v1/authorizations/{authorization_id}";
pub const USER_AUTHORIZATIONS: &str = "/api/v1/users/{user_id}/authorizations";
pub const USER_AUTHORIZATION: &str = "/api/v1/users/{user_id}/authorizations/{authorization_id}";
/// Apps that admins register.
pub const APPS: &str = "/api/v1/apps";
pub const APP: &str = "/api/v1/apps/{client_id}";
pub const APP_SECRET: &str = "/api/v1/apps/{client_id}/secret";
/// Apps, and hosts of apps, that admins block.
pub const APP_BLOCKS: &str = "/api/v1/app-blocks";
pub const APP_BLOCK: &str = "/api/v1/app-blocks/{block_id}";

pub const SERVERS: &str = "/api/v1/servers";
pub const SERVER: &str = "/api/v1/servers/{server_id}";
pub const PROBE_SERVER: &str = "/api/v1/servers/probe";

pub const POLICIES: &str = "/api/v1/policies";
pub const POLICY: &str = "/api/v1/policies/{policy_id}";
pub const CHECK_POLICIES: &str = "/api/v1/policies/check";
pub const WHO_COULD: &str = "/api/v1/policies/who-could";

/// What was deleted and can be restored.
pub const DELETED_OF_KIND: &str = "/api/v1/deleted/{kind}";
pub const DELETED: &str = "/api/v1/deleted/{kind}/{id}";
pub const RESTORE_DELETED: &str = "/api/v1/deleted/{kind}/{id}/restore";

pub const AUDIT_EVENTS: &str = "/api/v1/audit-events";
pub const AUDIT_FEED: &str = "/api/v1/audit-events/feed";
pub const AUDIT_EXPORT: &str = "/api/v1/audit-events/export";
pub const AUDIT_EVENT: &str = "/api/v1/audit-events/{event_id}";

pub const SIGNING_KEYS: &str = "/api/v1/signing-keys";
pub const SIGNING_KEY: &str = "/api/v1/signing-keys/{kid}";

pub const HEALTH: &str = "/healthz";
pub const OPENAPI: &str = "/openapi.json";

/// The path with `id` in place of the braces. Any `id` stays one segment of the path (RFC 3986 section 3.3).
/// A segment of dots only would mean another place, even encoded. Our ids have no dots, so dots are encoded
/// twice, and then match nothing.
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
    fn a_resources_metadata_is_at_its_path_below_the_well_known_one() {
        assert_eq!(SERVER_METADATA, format!("{RESOURCE_METADATA}{MCP}"));
        assert_eq!(PROXY_METADATA, format!("{RESOURCE_METADATA}{PROXY}"));
        assert_eq!(MANAGEMENT_METADATA, format!("{RESOURCE_METADATA}{MANAGEMENT}"));
        for path in [ISSUER_METADATA, OPENID_METADATA, JWKS, RESOURCE_METADATA] {
            assert!(path.starts_with(WELL_KNOWN), "{path}");
        }
        for path in [TOOLS, APPROVED_TOOLS, MCP] {
            assert!(path.starts_with(PROXY), "{path}");
        }
    }

    #[test]
    fn an_id_cannot_lead_to_another_path() {
        assert_eq!(fill(TOOLS, "demo-oauth_2"), "/api/v1/proxy/demo-oauth_2/tools");
        assert_eq!(fill(TOOLS, "a/b?c#d"), "/api/v1/proxy/a%2Fb%3Fc%23d/tools");
        assert_eq!(fill(TOOLS, ".."), "/api/v1/proxy/%252E%252E/tools");
        assert_eq!(fill(DELEGATION, "é{}"), "/api/v1/delegations/%C3%A9%7B%7D");
    }
}
