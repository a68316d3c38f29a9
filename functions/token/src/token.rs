//! `POST /api/v1/oauth/token`: an agent account gets a token, as itself or on behalf of a user.

use std::sync::Arc;

use axum::{extract::State, response::IntoResponse};
use deputize_core::{
    Core, Error, TokenError,
    secret::{presented, shown_once},
    tokens::{self, ActorToken, Grant, issue, refuse},
};
use deputize_service::{
    ApiError, ErrorBody, Result,
    extract::{Context, Form, Json},
};
use http::{HeaderMap, header};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::client_auth::{AssertionType, client_auth};

const CLIENT_CREDENTIALS: &str = "client_credentials";
/// RFC 8693 section 2.1.
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// RFC 8693 section 3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const USER_ID: &str = "urn:runlayer:token-type:user-id";
const USER_EMAIL: &str = "urn:runlayer:token-type:user-email";

/// What to send, as a form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its OpenAPI description is used")]
pub(crate) struct TokenRequest {
    grant_type: GrantType,
    /// The agent account's client id; or in the `Authorization` header (HTTP Basic). May be left out beside a
    /// `client_assertion`.
    #[schema(nullable = false)]
    client_id: Option<Uuid>,
    #[schema(nullable = false)]
    client_secret: Option<String>,
    /// Required with `client_assertion`.
    #[schema(nullable = false)]
    client_assertion_type: Option<AssertionType>,
    /// In place of a secret: a JWT that one of the account's public keys verifies (RFC 7523 section 3). `iss` and
    /// `sub` are the client id, `aud` is the issuer or the token endpoint, `exp` is at most 5 minutes ahead, and
    /// `jti` is new in each.
    #[schema(nullable = false)]
    client_assertion: Option<String>,
    /// Where the token is to be good (RFC 8707): `{issuer}/api/v1/proxy/{server_id}/mcp` for one server; at all
    /// servers if left out.
    #[schema(nullable = false)]
    resource: Option<String>,
    /// `tools:call`, the only scope; may be left out.
    #[schema(nullable = false, example = "tools:call")]
    scope: Option<String>,
    /// The user to act for: a UUID, an email address, or the user's own access token. For a token exchange
    /// the latter.
    #[schema(nullable = false)]
    actor_token: Option<String>,
    /// Required with `actor_token`.
    #[schema(nullable = false)]
    actor_token_type: Option<ActorTokenType>,
    /// For a token exchange: the agent's own token.
    #[schema(nullable = false)]
    subject_token: Option<String>,
    /// For a token exchange.
    #[schema(nullable = false)]
    subject_token_type: Option<AccessTokenType>,
    /// For a token exchange; may be left out.
    #[schema(nullable = false)]
    requested_token_type: Option<AccessTokenType>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only its OpenAPI description is used")]
enum GrantType {
    #[schema(rename = "client_credentials")]
    ClientCredentials,
    /// RFC 8693.
    #[schema(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only its OpenAPI description is used")]
enum ActorTokenType {
    #[schema(rename = "urn:runlayer:token-type:user-id")]
    UserId,
    #[schema(rename = "urn:runlayer:token-type:user-email")]
    UserEmail,
    #[schema(rename = "urn:ietf:params:oauth:token-type:access_token")]
    AccessToken,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only its OpenAPI description is used")]
enum AccessTokenType {
    #[schema(rename = "urn:ietf:params:oauth:token-type:access_token")]
    AccessToken,
}

/// A token (RFC 6749 section 5.1).
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenResponse {
    access_token: String,
    /// For a token exchange (RFC 8693 section 2.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// In seconds.
    #[schema(example = 3600)]
    expires_in: u64,
    scope: &'static str,
}

/// Get an agent token
///
/// As the agent itself (M2M), or with `actor_token` on behalf of a user who has delegated to it (OBO).
#[utoipa::path(
    post,
    path = "/api/v1/oauth/token",
    operation_id = "get_token",
    tag = "tokens",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, body = TokenResponse),
        (status = 400, description = "invalid_request, invalid_grant, invalid_scope, invalid_target or unsupported_grant_type", body = ErrorBody),
        (status = 401, description = "invalid_client", body = ErrorBody),
        (status = 403, description = "invalid_grant: no valid delegation, or the user is deactivated", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 415, description = "The body is no form", body = ErrorBody),
        (status = 503, description = "The store, or the user's issuer, is unavailable", body = ErrorBody),
    ),
    security((), ("basic" = [])),
)]
pub(crate) async fn token(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    headers: HeaderMap,
    form: Result<Form>,
) -> Result<impl IntoResponse> {
    let asked = form.and_then(|form| Ok((grant(&form)?, client_auth(&headers, &form)?, form)));
    let (grant, client, form) = match asked {
        Ok(asked) => asked,
        Err(ApiError(Error::Token(refusal))) => return Err(refuse(&core, &request, refusal).await.into()),
        Err(no_token_request) => return Err(no_token_request),
    };
    let issued_token_type = matches!(grant, Grant::TokenExchange { .. }).then_some(ACCESS_TOKEN);
    let (scope, resource) = (form.get("scope"), form.get("resource"));
    let issued = issue(&core, &request, tokens::TokenRequest { client, grant, scope, resource }).await?;
    let response = TokenResponse {
        access_token: shown_once(&issued.access_token).to_owned(),
        issued_token_type,
        token_type: "Bearer",
        expires_in: issued.expires_in,
        scope: issued.scope,
    };
    // RFC 6749 section 5.1.
    Ok(([(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")], Json(response)))
}

/// What the request asks for a token with.
fn grant(form: &Form) -> Result<Grant> {
    match required(form, "grant_type")? {
        CLIENT_CREDENTIALS => Ok(Grant::ClientCredentials { actor: actor(form)? }),
        TOKEN_EXCHANGE => {
            let subject_token = required(form, "subject_token")?;
            of_type(form, "subject_token_type", &[ACCESS_TOKEN])?;
            let actor_token = required(form, "actor_token")?;
            // Only a user's own token: it shows that the user is there. A bare id would let whoever has got
            // hold of an agent's token act for all who delegate to the agent.
            of_type(form, "actor_token_type", &[ACCESS_TOKEN])?;
            if let Some(wanted) = form.get("requested_token_type")
                && wanted != ACCESS_TOKEN
            {
                return Err(invalid(format!("requested_token_type must be {ACCESS_TOKEN}")));
            }
            Ok(Grant::TokenExchange {
                subject_token: presented(subject_token),
                actor_token: presented(actor_token),
            })
        }
        _ => Err(TokenError::UnsupportedGrantType.into()),
    }
}

fn actor(form: &Form) -> Result<Option<ActorToken>> {
    let Some(token) = form.get("actor_token") else {
        return match form.get("actor_token_type") {
            None => Ok(None),
            Some(_) => Err(invalid("The parameter actor_token is missing")),
        };
    };
    let kind = of_type(form, "actor_token_type", &[USER_ID, USER_EMAIL, ACCESS_TOKEN])?;
    Ok(Some(match kind {
        USER_ID => ActorToken::UserId(token.to_owned()),
        USER_EMAIL => ActorToken::Email(token.to_owned()),
        _ => ActorToken::AccessToken(presented(token)),
    }))
}

fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str> {
    form.get(name).ok_or_else(|| invalid(format!("The parameter {name} is missing")))
}

fn of_type<'a>(form: &'a Form, name: &str, known: &[&str]) -> Result<&'a str> {
    let kind = required(form, name)?;
    if known.contains(&kind) {
        Ok(kind)
    } else {
        Err(invalid(format!("{name} must be {}", known.join(" or "))))
    }
}

fn invalid(why: impl Into<String>) -> deputize_service::ApiError {
    TokenError::InvalidRequest(why.into()).into()
}
