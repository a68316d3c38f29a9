//! The table of providers: what each says of itself, wants and answers, with the pages that say so.

use serde_json::{Value, json};
use url::Url;

use super::{Answer, Fields, JSON};

/// How a provider behaves.
#[derive(Debug)]
pub(super) struct Habits {
    pub(super) name: &'static str,
    pub(super) sources: &'static [&'static str],
    /// The issuer, as the MCP server's metadata names it.
    pub(super) named: &'static str,
    /// What that metadata says besides.
    pub(super) resource_metadata: fn() -> Value,
    /// What the MCP server answers a request without a token; `None`: it lets such requests in.
    pub(super) challenge: Option<&'static str>,
    /// Where its own metadata is, and what it says.
    pub(super) metadata_at: &'static str,
    pub(super) metadata: fn() -> Value,
    /// Where there is no metadata.
    pub(super) token_endpoint: &'static str,
    /// What an admin must give.
    pub(super) oauth_client: fn() -> Option<Value>,
    pub(super) authenticates_by: &'static str,
    pub(super) refuses_authorization: fn(&Fields) -> Result<(), String>,
    pub(super) refuses_resource: fn(Option<&str>, &Url) -> Result<(), String>,
    /// The `iss` of its answers (RFC 9207).
    pub(super) iss: Option<&'static str>,
    /// Tokens for a code or a refresh token.
    pub(super) tokens: fn(&Fields) -> Answer,
    /// What it says of a refresh token that is no longer good.
    pub(super) dead: fn() -> Answer,
    /// How long its access tokens live, in seconds; `None`: they do not expire.
    pub(super) expires_in: Option<u64>,
}

/// A textbook provider.
const TEXTBOOK: Habits = Habits {
    name: "RFC 8414, RFC 7591, RFC 9207",
    sources: &["https://www.rfc-editor.org/rfc/rfc8414"],
    named: "https://as.example",
    resource_metadata: || json!({}),
    challenge: Some("Bearer"),
    metadata_at: "https://as.example/.well-known/oauth-authorization-server",
    metadata: || {
        json!({
            "issuer": "https://as.example",
            "authorization_endpoint": "https://as.example/authorize",
            "token_endpoint": "https://as.example/token",
            "registration_endpoint": "https://as.example/register",
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "authorization_response_iss_parameter_supported": true,
        })
    },
    token_endpoint: "",
    oauth_client: || None,
    authenticates_by: "client_secret_basic",
    refuses_authorization: |_| Ok(()),
    refuses_resource: |_, _| Ok(()),
    iss: Some("https://as.example"),
    tokens: |_| json_answer(200, &usual(&json!({}))),
    dead: || json_answer(400, &json!({ "error": "invalid_grant" })),
    expires_in: Some(3600),
};

fn json_answer(status: u16, body: &Value) -> Answer {
    (status, JSON, body.to_string())
}

/// Usual tokens, with some fields set and those that are `null` left out.
fn usual(changes: &Value) -> Value {
    let mut tokens = json!({
        "access_token": "upstream-token-of-bob",
        "token_type": "Bearer",
        "expires_in": 3600,
        "refresh_token": "refresh-token-of-bob",
    });
    for (name, value) in changes.as_object().into_iter().flatten() {
        tokens[name] = value.clone();
    }
    if let Some(tokens) = tokens.as_object_mut() {
        tokens.retain(|_, value| !value.is_null());
    }
    tokens
}

#[expect(clippy::unnecessary_wraps, reason = "as the table has it")]
fn client(issuer: &str, more: &Value) -> Option<Value> {
    let mut client = json!({ "issuer": issuer, "client_id": "by-hand", "client_secret": "s3cret+/=&" });
    for (name, value) in more.as_object().into_iter().flatten() {
        client[name] = value.clone();
    }
    Some(client)
}

/// Requires a parameter of the authorization request.
fn needs(query: &Fields, name: &str, value: &str) -> Result<(), String> {
    match query.get(name) {
        Some(given) if given.split(' ').any(|given| given == value) => Ok(()),
        given => Err(format!("{name} must have {value}, it is {given:?}")),
    }
}

fn must_not_have(query: &Fields, name: &str) -> Result<(), String> {
    query.get(name).map_or(Ok(()), |given| Err(format!("{name} must not be sent, it is {given}")))
}

/// Of `workers-oauth-provider`: exactly the MCP server's own name for itself, or nothing.
fn exactly_the_server(resource: Option<&str>, server: &Url) -> Result<(), String> {
    match resource {
        None => Ok(()),
        Some(resource) if resource == server.as_str() => Ok(()),
        Some(other) => Err(format!("The resource parameter must exactly match, it is {other}")),
    }
}

fn none_at_all(resource: Option<&str>, _: &Url) -> Result<(), String> {
    resource.map_or(Ok(()), |resource| Err(format!("AADSTS9010010: The resource parameter provided in the request doesn't match with the requested scopes: {resource}")))
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn all() -> Vec<Habits> {
    vec![
        TEXTBOOK,
        Habits {
            name: "GitHub, an OAuth app",
            sources: &[
                "https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps",
                "https://github.com/github/github-mcp-server/issues/2901",
                "https://github.com/github/github-mcp-server/issues/1804",
            ],
            named: "https://github.com/login/oauth",
            challenge: Some(
                r#"Bearer error="invalid_request", error_description="No access token was provided in this request""#,
            ),
            metadata_at: "https://github.com/.well-known/oauth-authorization-server/login/oauth",
            metadata: || {
                json!({
                    "issuer": "https://github.com/login/oauth",
                    "authorization_endpoint": "https://github.com/login/oauth/authorize",
                    "token_endpoint": "https://github.com/login/oauth/access_token",
                    "code_challenge_methods_supported": ["S256"],
                    "registration_endpoint": null,
                    "scopes_supported": null,
                    "token_endpoint_auth_methods_supported": null,
                })
            },
            oauth_client: || client("https://github.com/login/oauth", &json!({ "scope": "repo read:org" })),
            authenticates_by: "client_secret_post",
            iss: None,
            tokens: |_| {
                let body = "access_token=upstream-token-of-bob&scope=repo%2Cread%3Aorg&token_type=bearer";
                (200, "application/x-www-form-urlencoded; charset=utf-8", body.to_owned())
            },
            expires_in: None,
            ..TEXTBOOK
        },
        Habits {
            name: "GitHub, a GitHub App",
            sources: &[
                "https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens",
                "https://github.com/interlink-hq/interLink/pull/262",
            ],
            named: "https://github.com/login/oauth",
            metadata_at: "https://github.com/.well-known/oauth-authorization-server/login/oauth",
            metadata: || {
                json!({
                    "issuer": "https://github.com/login/oauth",
                    "authorization_endpoint": "https://github.com/login/oauth/authorize",
                    "token_endpoint": "https://github.com/login/oauth/access_token",
                    "code_challenge_methods_supported": ["S256"],
                })
            },
            oauth_client: || client("https://github.com/login/oauth", &json!({})),
            authenticates_by: "client_secret_post",
            iss: None,
            tokens: |_| {
                json_answer(
                    200,
                    &usual(&json!({
                        "token_type": "bearer", "scope": "", "expires_in": 28800, "refresh_token_expires_in": 15_811_200,
                    })),
                )
            },
            dead: || {
                json_answer(
                    200,
                    &json!({
                        "error": "bad_refresh_token",
                        "error_description": "The refresh token passed is incorrect or expired.",
                        "error_uri": "https://docs.github.com",
                    }),
                )
            },
            expires_in: Some(28800),
            ..TEXTBOOK
        },
        Habits {
            name: "Slack",
            sources: &[
                "https://docs.slack.dev/authentication/using-token-rotation",
                "https://github.com/slackapi/slack-skills-plugin/issues/7",
                "https://github.com/different-ai/openwork/pull/3569",
                "https://github.com/UsefulSoftwareCo/executor/pull/1643",
            ],
            named: "https://mcp.slack.com",
            metadata_at: "https://mcp.slack.com/.well-known/oauth-authorization-server",
            metadata: || {
                json!({
                    "issuer": "https://slack.com",
                    "authorization_endpoint": "https://slack.com/oauth/v2_user/authorize",
                    "token_endpoint": "https://slack.com/api/oauth.v2.user.access",
                    "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["client_secret_post"],
                })
            },
            oauth_client: || {
                client("https://mcp.slack.com", &json!({ "scope": "search:read.public chat:write" }))
            },
            authenticates_by: "client_secret_post",
            refuses_authorization: |query| needs(query, "scope", "chat:write"),
            iss: None,
            tokens: |form| {
                let tokens = usual(&json!({
                    "token_type": "user", "expires_in": 43200, "scope": "search:read.public,chat:write",
                }));
                if form["grant_type"] == "refresh_token" {
                    let mut answer = tokens;
                    answer["ok"] = true.into();
                    return json_answer(200, &answer);
                }
                json_answer(
                    200,
                    &json!({ "ok": true, "access_token": "", "scope": "", "authed_user": tokens }),
                )
            },
            dead: || json_answer(200, &json!({ "ok": false, "error": "invalid_refresh_token" })),
            expires_in: Some(43200),
            ..TEXTBOOK
        },
        Habits {
            name: "Google (Gmail, Calendar, Drive)",
            sources: &[
                "https://developers.google.com/identity/protocols/oauth2/web-server",
                "https://github.com/github/copilot-cli/issues/4606",
                "https://github.com/NousResearch/hermes-agent/issues/89412",
                "https://github.com/google-gemini/gemini-cli/issues/10937",
            ],
            named: "https://accounts.google.com/",
            resource_metadata: || json!({ "scopes_supported": ["https://mail.google.com/", "https://www.googleapis.com/auth/gmail.readonly"] }),
            challenge: None,
            metadata_at: "https://accounts.google.com/.well-known/openid-configuration",
            metadata: || {
                json!({
                    "issuer": "https://accounts.google.com",
                    "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
                    "token_endpoint": "https://oauth2.googleapis.com/token",
                    "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
                    "scopes_supported": ["openid", "email", "profile"],
                    "code_challenge_methods_supported": ["plain", "S256"],
                    "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
                })
            },
            oauth_client: || {
                client(
                    "https://accounts.google.com",
                    &json!({
                        "scope": "https://www.googleapis.com/auth/gmail.readonly",
                    }),
                )
            },
            refuses_authorization: |query| {
                needs(query, "access_type", "offline")?;
                needs(query, "prompt", "consent")?;
                needs(query, "scope", "https://www.googleapis.com/auth/gmail.readonly")
            },
            iss: None,
            tokens: |form| {
                // Only the first answer has a refresh token.
                let refreshed = form["grant_type"] == "refresh_token";
                let first = if refreshed { Value::Null } else { "refresh-token-of-bob".into() };
                json_answer(
                    200,
                    &usual(&json!({
                        "expires_in": 3599, "refresh_token": first,
                        "scope": "https://www.googleapis.com/auth/gmail.readonly",
                    })),
                )
            },
            dead: || {
                json_answer(
                    400,
                    &json!({
                        "error": "invalid_grant", "error_description": "Token has been expired or revoked.",
                    }),
                )
            },
            expires_in: Some(3599),
            ..TEXTBOOK
        },
        Habits {
            name: "Microsoft Entra ID, version 2",
            sources: &[
                "https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-auth-code-flow",
                "https://github.com/modelcontextprotocol/typescript-sdk/issues/832",
                "https://github.com/punkpeye/mcp-remote/issues/217",
                "https://learn.microsoft.com/en-us/answers/questions/1822191/",
            ],
            named: "https://login.microsoftonline.com/organizations/v2.0",
            metadata_at: "https://login.microsoftonline.com/contoso.onmicrosoft.com/v2.0/.well-known/openid-configuration",
            metadata: || {
                json!({
                    "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0",
                    "authorization_endpoint": "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/authorize",
                    "token_endpoint": "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token",
                    "scopes_supported": ["openid", "profile", "email", "offline_access"],
                    "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
                })
            },
            oauth_client: || {
                client(
                    "https://login.microsoftonline.com/contoso.onmicrosoft.com/v2.0",
                    &json!({
                        "scope": "api://their-api/.default offline_access",
                    }),
                )
            },
            refuses_authorization: |query| {
                must_not_have(query, "prompt")?;
                needs(query, "scope", "offline_access")
            },
            refuses_resource: none_at_all,
            iss: None,
            tokens: |form| {
                let scope = form.get("scope").map(String::as_str).unwrap_or_default();
                if form["grant_type"] == "refresh_token" && !scope.contains("api://their-api/access") {
                    return json_answer(
                        400,
                        &json!({
                            "error": "invalid_request",
                            "error_description": "AADSTS90023: scope parameter is not specified",
                        }),
                    );
                }
                json_answer(
                    200,
                    &usual(&json!({
                        "expires_in": 4700, "ext_expires_in": 4700, "scope": "api://their-api/access",
                    })),
                )
            },
            dead: || {
                json_answer(
                    400,
                    &json!({
                        "error": "invalid_grant",
                        "error_description": "AADSTS700082: The refresh token has expired due to inactivity.",
                        "error_codes": [700_082],
                    }),
                )
            },
            expires_in: Some(4700),
            ..TEXTBOOK
        },
        Habits {
            name: "Microsoft Entra ID, version 1",
            sources: &[
                "https://learn.microsoft.com/en-us/previous-versions/azure/active-directory/azuread-dev/v1-protocols-oauth-code",
                "https://github.com/LibreChat-AI/librechat.ai/issues/420",
            ],
            named: "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47",
            metadata_at: "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/.well-known/openid-configuration",
            metadata: || {
                json!({
                    "issuer": "https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/",
                    "authorization_endpoint": "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/oauth2/authorize",
                    "token_endpoint": "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/oauth2/token",
                })
            },
            oauth_client: || {
                client(
                    "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47",
                    &json!({
                        "resource": "api://their-api",
                    }),
                )
            },
            refuses_resource: |resource, _| match resource {
                Some("api://their-api") => Ok(()),
                other => Err(format!("AADSTS50001: the resource is {other:?}")),
            },
            iss: None,
            tokens: |_| {
                json_answer(
                    200,
                    &usual(&json!({
                        "expires_in": "5250", "ext_expires_in": "5250", "expires_on": "1768472640",
                        "not_before": "1768467390", "resource": "api://their-api",
                    })),
                )
            },
            dead: || {
                json_answer(
                    400,
                    &json!({
                        "error": "interaction_required",
                        "error_description": "AADSTS50076: you must use multi-factor authentication.\r\nTrace ID: 1",
                        "suberror": "basic_action",
                    }),
                )
            },
            expires_in: Some(5250),
            ..TEXTBOOK
        },
        Habits {
            name: "Atlassian",
            sources: &[
                "https://github.com/atlassian/atlassian-mcp-server/issues/205",
                "https://developer.atlassian.com/cloud/rovo-mcp/changelog/",
            ],
            named: "https://auth.atlassian.com/VCeDsk8ZHncYF1g234fKtc4lNipbBhu3",
            resource_metadata: || json!({ "scopes_supported": ["read:jira-work", "offline_access"] }),
            metadata_at: "https://auth.atlassian.com/.well-known/oauth-authorization-server/VCeDsk8ZHncYF1g234fKtc4lNipbBhu3",
            metadata: || {
                json!({
                    "issuer": "https://auth.atlassian.com",
                    "authorization_endpoint": "https://auth.atlassian.com/authorize",
                    "token_endpoint": "https://auth.atlassian.com/oauth/token",
                    "registration_endpoint": "https://auth.atlassian.com/VCeDsk8ZHncYF1g234fKtc4lNipbBhu3/dcr/register",
                    "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["none", "client_secret_post", "client_secret_basic", "private_key_jwt"],
                })
            },
            refuses_authorization: |query| needs(query, "scope", "offline_access"),
            iss: None,
            tokens: |_| json_answer(200, &usual(&json!({ "scope": "read:jira-work offline_access" }))),
            dead: || {
                json_answer(
                    403,
                    &json!({
                        "error": "unauthorized_client", "error_description": "refresh_token is invalid",
                    }),
                )
            },
            ..TEXTBOOK
        },
        Habits {
            name: "Notion",
            sources: &[
                "https://github.com/makenotion/notion-cookbook/blob/main/docs/mcp-client-integration.md",
                "https://github.com/cloudflare/workers-oauth-provider",
            ],
            named: "https://mcp.notion.com",
            challenge: Some(r#"Bearer realm="OAuth", error="invalid_token""#),
            metadata_at: "https://mcp.notion.com/.well-known/oauth-authorization-server",
            metadata: || {
                json!({
                    "issuer": "https://mcp.notion.com",
                    "authorization_endpoint": "https://mcp.notion.com/authorize",
                    "token_endpoint": "https://mcp.notion.com/token",
                    "registration_endpoint": "https://mcp.notion.com/register",
                    "revocation_endpoint": "https://mcp.notion.com/token",
                    "code_challenge_methods_supported": ["plain", "S256"],
                    "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
                })
            },
            refuses_resource: exactly_the_server,
            iss: Some("https://mcp.notion.com"),
            tokens: |_| json_answer(200, &usual(&json!({ "token_type": "bearer" }))),
            dead: || {
                json_answer(400, &json!({ "error": "invalid_grant", "error_description": "Grant not found" }))
            },
            ..TEXTBOOK
        },
        Habits {
            name: "Linear",
            sources: &["https://linear.app/docs/mcp", "https://github.com/cloudflare/workers-oauth-provider"],
            named: "https://mcp.linear.app",
            resource_metadata: || json!({ "scopes_supported": ["read", "write"] }),
            challenge: Some(r#"Bearer realm="OAuth", scope="read write""#),
            metadata_at: "https://mcp.linear.app/.well-known/oauth-authorization-server",
            metadata: || {
                json!({
                    "issuer": "https://mcp.linear.app",
                    "authorization_endpoint": "https://mcp.linear.app/authorize",
                    "token_endpoint": "https://mcp.linear.app/token",
                    "registration_endpoint": "https://mcp.linear.app/register",
                    "client_id_metadata_document_supported": true,
                    "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
                })
            },
            authenticates_by: "none",
            refuses_authorization: |query| {
                needs(query, "client_id", "https://deputize.test/api/v1/oauth/client-metadata.json")
            },
            refuses_resource: exactly_the_server,
            iss: None,
            tokens: |_| {
                json_answer(200, &usual(&json!({ "token_type": "bearer", "scope": ["read", "write"] })))
            },
            ..TEXTBOOK
        },
        Habits {
            name: "Sentry",
            sources: &[
                "https://github.com/getsentry/sentry-mcp",
                "https://github.com/getsentry/sentry-for-ai/issues/59",
            ],
            named: "https://mcp.sentry.dev",
            challenge: Some(
                r#"Bearer realm="Sentry MCP", error="invalid_token", error_description="Missing token""#,
            ),
            metadata_at: "https://mcp.sentry.dev/.well-known/oauth-authorization-server",
            metadata: || {
                json!({
                    "issuer": "https://mcp.sentry.dev",
                    "authorization_endpoint": "https://mcp.sentry.dev/oauth/authorize",
                    "token_endpoint": "https://mcp.sentry.dev/oauth/token",
                    "registration_endpoint": "https://mcp.sentry.dev/oauth/register",
                    "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
                    "authorization_response_iss_parameter_supported": true,
                })
            },
            refuses_resource: exactly_the_server,
            iss: Some("https://mcp.sentry.dev"),
            tokens: |_| json_answer(200, &usual(&json!({ "token_type": "bearer", "expires_in": 2_592_000 }))),
            dead: || {
                json_answer(
                    400,
                    &json!({ "error": "invalid_grant", "error_description": "Refresh token has expired" }),
                )
            },
            expires_in: Some(2_592_000),
            ..TEXTBOOK
        },
        Habits {
            name: "WorkOS AuthKit",
            sources: &[
                "https://workos.com/docs/authkit/mcp",
                "https://github.com/anthropics/claude-ai-mcp/issues/271",
            ],
            named: "https://team.authkit.app/",
            metadata_at: "https://team.authkit.app/.well-known/oauth-authorization-server",
            metadata: || {
                json!({
                    "issuer": "https://team.authkit.app",
                    "authorization_endpoint": "https://team.authkit.app/oauth2/authorize",
                    "token_endpoint": "https://team.authkit.app/oauth2/token",
                    "registration_endpoint": "https://team.authkit.app/oauth2/register",
                    "scopes_supported": ["email", "offline_access", "openid", "profile"],
                    "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["none", "client_secret_post", "client_secret_basic"],
                })
            },
            refuses_authorization: |query| needs(query, "scope", "offline_access"),
            refuses_resource: exactly_the_server,
            iss: None,
            tokens: |_| json_answer(200, &usual(&json!({ "expires_in": 300 }))),
            expires_in: Some(300),
            ..TEXTBOOK
        },
        Habits {
            name: "Okta",
            sources: &[
                "https://github.com/okta/okta-oidc-android/issues/190",
                "https://github.com/anomalyco/opencode/issues/28811",
            ],
            named: "https://team.okta.com/oauth2/default",
            metadata_at: "https://team.okta.com/oauth2/default/.well-known/oauth-authorization-server",
            metadata: || {
                json!({
                    "issuer": "https://team.okta.com/oauth2/default",
                    "authorization_endpoint": "https://team.okta.com/oauth2/default/v1/authorize",
                    "token_endpoint": "https://team.okta.com/oauth2/default/v1/token",
                    "registration_endpoint": "https://team.okta.com/oauth2/v1/clients",
                    "scopes_supported": ["openid", "profile", "offline_access"],
                    "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"],
                })
            },
            oauth_client: || {
                client("https://team.okta.com/oauth2/default", &json!({ "scope": "mcp.read offline_access" }))
            },
            refuses_authorization: |query| needs(query, "scope", "mcp.read"),
            iss: None,
            dead: || {
                json_answer(
                    400,
                    &json!({
                        "error": "invalid_grant", "error_description": "The refresh token is invalid or expired.",
                    }),
                )
            },
            ..TEXTBOOK
        },
        Habits {
            name: "Auth0",
            sources: &[
                "https://github.com/mcp-use/mcp-use/pull/1300",
                "https://github.com/UsefulSoftwareCo/executor/pull/689",
            ],
            named: "https://team.eu.auth0.com",
            resource_metadata: || json!({ "scopes_supported": ["read:notes"] }),
            metadata_at: "https://team.eu.auth0.com/.well-known/oauth-authorization-server",
            metadata: || {
                json!({
                    "issuer": "https://team.eu.auth0.com/",
                    "authorization_endpoint": "https://team.eu.auth0.com/authorize",
                    "token_endpoint": "https://team.eu.auth0.com/oauth/token",
                    "registration_endpoint": "https://team.eu.auth0.com/oidc/register",
                    "scopes_supported": ["openid", "profile", "offline_access"],
                    "code_challenge_methods_supported": ["S256", "plain"],
                    "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
                    "authorization_response_iss_parameter_supported": true,
                })
            },
            refuses_authorization: |query| needs(query, "scope", "offline_access"),
            iss: Some("https://team.eu.auth0.com/"),
            tokens: |_| {
                json_answer(
                    200,
                    &usual(&json!({ "expires_in": 86400, "scope": "read:notes offline_access" })),
                )
            },
            dead: || {
                json_answer(
                    403,
                    &json!({
                        "error": "invalid_grant", "error_description": "Unknown or invalid refresh token.",
                    }),
                )
            },
            expires_in: Some(86400),
            ..TEXTBOOK
        },
        Habits {
            name: "Amazon Cognito",
            sources: &[
                "https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-refresh-token.html",
                "https://github.com/anthropics/claude-code/issues/13275",
            ],
            named: "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf",
            metadata_at: "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf/.well-known/openid-configuration",
            metadata: || {
                json!({
                    "issuer": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf",
                    "authorization_endpoint": "https://team.auth.eu-west-1.amazoncognito.com/oauth2/authorize",
                    "token_endpoint": "https://team.auth.eu-west-1.amazoncognito.com/oauth2/token",
                    "scopes_supported": ["openid", "email", "phone", "profile"],
                    "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                })
            },
            oauth_client: || {
                client(
                    "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf",
                    &json!({
                        "scope": "openid mcp/read",
                    }),
                )
            },
            refuses_authorization: |query| {
                must_not_have(query, "prompt")?;
                needs(query, "scope", "mcp/read")
            },
            iss: None,
            tokens: |form| {
                let refreshed = form["grant_type"] == "refresh_token";
                let first = if refreshed { Value::Null } else { "refresh-token-of-bob".into() };
                json_answer(200, &usual(&json!({ "refresh_token": first })))
            },
            ..TEXTBOOK
        },
        Habits {
            name: "Keycloak",
            sources: &[
                "https://www.keycloak.org/securing-apps/mcp-authz-server",
                "https://www.keycloak.org/docs/latest/server_admin/",
            ],
            named: "https://sso.example/realms/team",
            resource_metadata: || json!({ "scopes_supported": ["mcp:tools"] }),
            metadata_at: "https://sso.example/realms/team/.well-known/openid-configuration",
            metadata: || {
                json!({
                    "issuer": "https://sso.example/realms/team",
                    "authorization_endpoint": "https://sso.example/realms/team/protocol/openid-connect/auth",
                    "token_endpoint": "https://sso.example/realms/team/protocol/openid-connect/token",
                    "registration_endpoint": "https://sso.example/realms/team/clients-registrations/openid-connect",
                    "scopes_supported": ["openid", "offline_access", "mcp:tools"],
                    "code_challenge_methods_supported": ["plain", "S256"],
                    "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic", "client_secret_post"],
                    "authorization_response_iss_parameter_supported": true,
                })
            },
            refuses_authorization: |query| needs(query, "scope", "mcp:tools"),
            iss: Some("https://sso.example/realms/team"),
            tokens: |_| {
                json_answer(
                    200,
                    &usual(&json!({
                        "expires_in": 300, "refresh_expires_in": 0, "not-before-policy": 0, "session_state": "s",
                        "scope": "mcp:tools offline_access",
                    })),
                )
            },
            dead: || {
                json_answer(
                    400,
                    &json!({ "error": "invalid_grant", "error_description": "Token is not active" }),
                )
            },
            expires_in: Some(300),
            ..TEXTBOOK
        },
        Habits {
            name: "a server of the revision 2025-03-26, which is its own authorization server",
            sources: &["https://modelcontextprotocol.io/specification/2025-03-26/basic/authorization"],
            named: "",
            metadata_at: "{origin}/.well-known/oauth-authorization-server",
            metadata: || {
                json!({
                    "issuer": "{origin}/",
                    "authorization_endpoint": "{origin}/authorize",
                    "token_endpoint": "{origin}/token",
                    "registration_endpoint": "{origin}/register",
                    "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["client_secret_post", "none"],
                })
            },
            authenticates_by: "client_secret_post",
            iss: None,
            ..TEXTBOOK
        },
        Habits {
            name: "no metadata at all (GitHub Enterprise Server, formerly)",
            sources: &[
                "https://docs.github.com/en/enterprise-server@3.14/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps",
            ],
            named: "https://github.corp.example/login/oauth",
            metadata_at: "",
            metadata: || json!({}),
            token_endpoint: "https://github.corp.example/login/oauth/access_token",
            oauth_client: || {
                client(
                    "https://github.corp.example/login/oauth",
                    &json!({
                        "authorization_endpoint": "https://github.corp.example/login/oauth/authorize",
                        "token_endpoint": "https://github.corp.example/login/oauth/access_token",
                        "pkce": "assume", "resource": null, "scope": "repo",
                        "authorization_parameters": { "allow_signup": "false" },
                    }),
                )
            },
            refuses_authorization: |query| needs(query, "allow_signup", "false"),
            iss: None,
            tokens: |_| json_answer(200, &usual(&json!({ "expires_in": null, "refresh_token": null }))),
            expires_in: None,
            ..TEXTBOOK
        },
    ]
}
