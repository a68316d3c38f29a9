//! What exactly went wrong, for programs: the `reason` of every error, once for the server and for its clients.
//!
//! A reason is finer than a code of RFC 6749 and coarser than a text. It says nothing that the text does not say: what
//! is told before a client has proven itself is one reason, and so is what is not found, whatever it is. A word that is
//! here stays; clients take a word that they do not know for none.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[doc = $text:literal])+ $name:ident = $word:literal,)+) => {
        /// What exactly went wrong, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum Reason {
            $($(#[doc = $text])+ $name,)+
        }

        impl Reason {
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

reasons! {
    // At the OAuth endpoints.
    /// The client is unknown, its secret is wrong or revoked, or its account is disabled: check the credentials.
    ClientRefused = "client_refused",
    /// The client's assertion cannot be one for this service, or was used: the text says which claim to correct.
    AssertionRefused = "assertion_refused",
    /// The user has no active delegation to the agent: the user must delegate to it.
    DelegationMissing = "delegation_missing",
    /// `actor_token` is no UUID: send one.
    ActorNotUuid = "actor_not_uuid",
    /// `actor_token` is no email address: send one.
    ActorNotEmail = "actor_not_email",
    /// The user's JWT proves nobody: get a fresh one.
    ActorTokenRefused = "actor_token_refused",
    /// The agent's token to exchange is not good, or not this client's: get a fresh one.
    SubjectTokenRefused = "subject_token_refused",
    /// The authorization code is not good (any more), or not with this verifier: have the user allow the app anew.
    CodeRefused = "code_refused",
    /// The refresh token is not good any more: have the user allow the app anew.
    RefreshTokenRefused = "refresh_token_refused",
    /// What the user allowed the app is revoked, has expired, or is blocked: have the user allow it anew.
    AuthorizationEnded = "authorization_ended",
    /// There is no such grant type: send a supported one.
    GrantTypeUnsupported = "grant_type_unsupported",
    /// There is no such scope: leave it out.
    ScopeUnknown = "scope_unknown",
    /// There is no such resource or audience, or the exchanged token was not good there: take it from the metadata.
    TargetUnknown = "target_unknown",
    /// The token is another client's: use it as that client.
    OtherClientsToken = "other_clients_token",
    /// The page's origin may not use the agent account: add it to the account's and the deployment's origins.
    OriginNotForAccount = "origin_not_for_account",

    // Credentials.
    /// There is no credential: send one.
    CredentialMissing = "credential_missing",
    /// The token is malformed, or proves nothing here: get another.
    TokenRefused = "token_refused",
    /// The token has expired: get another.
    TokenExpired = "token_expired",
    /// The token is for another audience: request one for this server.
    TokenForOtherAudience = "token_for_other_audience",
    /// Something that the token depends on was taken back: get another, whose refusal says more.
    TokenRevoked = "token_revoked",
    /// The user's JWT is refused: get a fresh one, or correct the issuer's configuration.
    UserTokenRefused = "user_token_refused",
    /// The API key is not valid, or has expired: create another.
    ApiKeyRefused = "api_key_refused",
    /// The user is unknown here: an admin must create them.
    UserUnknown = "user_unknown",
    /// The user is deactivated: an admin must reactivate them.
    UserInactive = "user_inactive",
    /// The user's email address belongs to another identity: an admin must set the user's identities.
    IdentityConflict = "identity_conflict",

    // Permissions.
    /// No policy permits the agent the call, or one forbids it: review the policies.
    PolicyDeniedAgent = "policy_denied_agent",
    /// No policy permits the user the call, or one forbids it: review the policies.
    PolicyDeniedUser = "policy_denied_user",
    /// The delegation does not cover the server: the user must delegate anew with it.
    DelegationTooNarrow = "delegation_too_narrow",
    /// The endpoint needs a user: send a user's credential, not an agent's.
    UserRequired = "user_required",
    /// The caller's role is not enough: the text says which is; an admin can do it.
    AdminRequired = "admin_required",
    /// An app may not do this for its user: use a credential of the user's own.
    OwnCredentialRequired = "own_credential_required",
    /// The app's token or the API key lacks a scope of this service: have the user allow the app that scope, or use a key
    /// with it.
    InsufficientScope = "insufficient_scope",
    /// The API key is not for this server, or would give more than it has: use another key.
    ApiKeyTooNarrow = "api_key_too_narrow",
    /// The page's origin is not allowed: add it to the deployment's.
    OriginNotAllowed = "origin_not_allowed",
    /// An operator or an admin has disabled the agent account: ask one.
    AccountStopped = "account_stopped",
    /// None of the agent account's owners is active: an admin must give it another.
    OwnerMissing = "owner_missing",
    /// Only the account's owner and admins may share a grant with it: grant without sharing, or ask one of them.
    SharingReserved = "sharing_reserved",
    /// The caller is not any more who they were when the request began, and nothing was changed: authenticate again.
    CallerChanged = "caller_changed",
    /// The caller may not do this: the text says what is missing.
    NotPermitted = "not_permitted",
    /// The tool's definition is not the approved one: an admin must look at it and approve it.
    ToolHeldBack = "tool_held_back",
    /// There is no such thing, or none that the caller may know of: check the id.
    NotFound = "not_found",
    /// The address is not the service's own: use the one that its metadata says.
    WrongAddress = "wrong_address",
    /// Something in front of the service refused the request: ask who operates it.
    RequestBlocked = "request_blocked",

    // OAuth sessions at MCP servers.
    /// There is neither an own nor a shared grant: create one.
    NoCredentials = "no_credentials",
    /// The user has no live session at the server yet: connect first.
    NotConnected = "not_connected",
    /// The grant's session is gone: its owner must connect again.
    SessionNotFound = "session_not_found",
    /// The session has expired: its owner must connect again.
    SessionExpired = "session_expired",
    /// The session was lost in an interrupted refresh: its owner must connect again.
    SessionInterrupted = "session_interrupted",
    /// The session was made with another OAuth client: its owner must connect again, or an admin restore that client.
    SessionOfOtherClient = "session_of_other_client",
    /// The session lacks a scope: its owner must connect again with `scope`.
    SessionScopeMissing = "session_scope_missing",
    /// The authorization server cannot be asked now, and nothing was called: try again.
    ProviderUnavailable = "provider_unavailable",

    // Requests.
    /// The request is malformed, or asks for what cannot be: the text names the field.
    RequestInvalid = "request_invalid",
    /// A field or a query parameter is not known here, and nothing was done: the text names the nearest one.
    NameUnknown = "name_unknown",
    /// The arguments are too many, too deep, or can be read in two ways: the text says which.
    ArgumentsRefused = "arguments_refused",
    /// The policy does not parse or fit the schema: the text says where.
    PolicyInvalid = "policy_invalid",
    /// The request contradicts the present state: look at it first.
    StateConflict = "state_conflict",
    /// There is such a thing already: choose another name, or use the one that is there.
    AlreadyExists = "already_exists",
    /// Other things depend on what was to be deleted, and nothing was done: `dependents` lists them. Send `cascade=true` to delete
    /// it all the same.
    HasDependents = "has_dependents",
    /// The list is not complete since an update of the deployment: its operator must run `deputize reindex`.
    ListIncomplete = "list_incomplete",
    /// There are as many as there may be: remove one first.
    LimitReached = "limit_reached",
    /// The thing is not any more as it was read, and nothing was changed: read it again, and decide anew.
    Stale = "stale",
    /// The `Idempotency-Key` was used for another request, and nothing was done: use a new key for each request.
    IdempotencyKeyReused = "idempotency_key_reused",
    /// The body is too large: send less.
    BodyTooLarge = "body_too_large",
    /// The body took too long to arrive, and nothing was done: send it again.
    BodyTooSlow = "body_too_slow",
    /// The process has its hands full of other bodies, and nothing was done: try again.
    ServiceBusy = "service_busy",
    /// The request has too many headers: send fewer.
    HeadersTooMany = "headers_too_many",
    /// The body is of another type than the endpoint takes: the text names the right one.
    MediaTypeUnsupported = "media_type_unsupported",
    /// The endpoint has no such method: `Allow` lists those that it has.
    MethodNotAllowed = "method_not_allowed",
    /// There were too many requests: slow down.
    RateLimited = "rate_limited",
    /// The MCP session has ended, or never was: begin another.
    McpSessionGone = "mcp_session_gone",
    /// The protocol's version is not spoken here: choose one of `supported`.
    ProtocolVersionUnsupported = "protocol_version_unsupported",

    // Failures.
    /// The MCP server refused the tool's name or arguments: check them against the list of tools.
    ToolCallRefused = "tool_call_refused",
    /// The MCP server or its authorization server failed, and no tool has run: try again later.
    UpstreamFailed = "upstream_failed",
    /// The MCP server or its authorization server took too long, and no tool has run: try again later.
    UpstreamTimedOut = "upstream_timed_out",
    /// The MCP server failed, and the tool may have run: look before you repeat the call.
    ToolMayHaveRun = "tool_may_have_run",
    /// The store is unavailable, and nothing was changed: try again.
    StoreUnavailable = "store_unavailable",
    /// The store was lost during a change: look whether it was made before you repeat it.
    ChangeUndecided = "change_undecided",
    /// The tool has run, and its result is withheld for want of a record: look before you repeat the call.
    ToolCallUnrecorded = "tool_call_unrecorded",
    /// What was asked for may have been done, and could not be recorded: look before you repeat it.
    RequestUnrecorded = "request_unrecorded",
    /// What let the request in was taken back while its answer streamed: the text says what.
    StreamEnded = "stream_ended",
    /// The deployment was not bootstrapped: its operator must do that.
    NotBootstrapped = "not_bootstrapped",
    /// The request took longer than it may: look whether anything was changed.
    TimedOut = "timed_out",
    /// The answer is too large to be sent, and what was asked for has been done: ask for less.
    ResponseTooLarge = "response_too_large",
    /// A function could not be reached or broke off: look whether anything was changed.
    FunctionFailed = "function_failed",
    /// A defect: the service's log says more under the request id.
    InternalError = "internal_error",
}

impl Reason {
    /// The reason that a word names, if this version knows it.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_plain_word_that_leads_back_to_it() {
        for reason in Reason::ALL {
            let word = reason.as_str();
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{word}");
            assert_eq!(Reason::parse(word), Some(*reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), word);
        }
        assert_eq!(Reason::parse("tea"), None);
    }
}
