//! `POST /api/v1/oauth/token`: an agent account gets a token, as itself or on behalf of a user; an app gets the tokens
//! that its user allowed it.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use deputize_api::{
    path,
    token::{
        ACCESS_TOKEN, AUTHORIZATION_CODE, CLIENT_CREDENTIALS, REFRESH_TOKEN, TOKEN_EXCHANGE, TokenRequest,
        TokenResponse, USER_EMAIL, USER_ID, parameter,
    },
};
use deputize_core::{
    Core, Error, TokenError,
    audit::RequestContext,
    secret::{presented, shown_once},
    tokens::{
        self, ActorToken, AppGrant, AppTokenRequest, RequestedResource, TokenGrant, issue, issue_to_app,
        refuse, refuse_app,
    },
};
use deputize_service::{
    ApiError, ErrorBody, Result,
    extract::{Context, Form, Json},
    handlers,
    routes::Routes,
};
use http::{HeaderMap, header};

use crate::client_auth::client_auth;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(token(..))).route(path::TOKEN_ALIAS, post(token))
}

/// Get a token
///
/// For an agent: as itself (M2M), or with `actor_token` on behalf of a user who has delegated to it (OBO). For an app that
/// acts as its user: by an authorization code, then by refresh tokens.
#[utoipa::path(
    post,
    path = path::TOKEN,
    operation_id = "get_token",
    tag = "tokens",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token (RFC 6749 section 5.1).", body = TokenResponse),
        (status = 400, description = "`invalid_request`, `invalid_grant`, `invalid_scope`, `invalid_target` or `unsupported_grant_type`.", body = ErrorBody),
        (status = 401, description = "`invalid_client`: the client is not proven, or its account is disabled.", body = ErrorBody),
        (status = 403, description = "For agents. `invalid_grant`: no valid delegation, or the user is deactivated. `unauthorized_client`: the account may not be used from this origin.", body = ErrorBody),
        (status = 413, description = "The body is too large.", body = ErrorBody),
        (status = 415, description = "The body is no form.", body = ErrorBody),
        (status = 502, description = "The app's `jwks_uri` cannot be read.", body = ErrorBody),
        (status = 503, description = "The store, or the user's issuer, is unavailable.", body = ErrorBody),
        (status = 504, description = "The app's `jwks_uri` took too long.", body = ErrorBody),
    ),
    security((), ("basic" = [])),
)]
async fn token(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    headers: HeaderMap,
    form: Result<Form>,
) -> Result<Response> {
    let form = match form {
        Ok(form) => form,
        Err(ApiError::Core(Error::Token(refusal))) => {
            return Err(refuse(&core, &request, refusal).await.into());
        }
        Err(no_form) => return Err(no_form),
    };
    let response = match form.get(parameter::GRANT_TYPE) {
        Some(AUTHORIZATION_CODE | REFRESH_TOKEN) => for_app(&core, &request, &headers, &form).await?,
        _ => for_agent(&core, &request, &headers, &form).await?,
    };
    // RFC 6749 section 5.1.
    Ok(([(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")], Json(response)).into_response())
}

async fn for_agent(
    core: &Core,
    request: &RequestContext,
    headers: &HeaderMap,
    form: &Form,
) -> Result<TokenResponse> {
    let asked = grant(form).and_then(|grant| Ok((grant, client_auth(headers, form)?)));
    let (grant, client) = match asked {
        Ok(asked) => asked,
        Err(ApiError::Core(Error::Token(refusal))) => {
            return Err(refuse(core, request, refusal).await.into());
        }
        Err(no_token_request) => return Err(no_token_request),
    };
    let issued_token_type = matches!(grant, TokenGrant::TokenExchange { .. }).then_some(ACCESS_TOKEN);
    let (targets, scope) = (targets(form), form.get(parameter::SCOPE));
    let issued = issue(core, request, tokens::TokenRequest { client, grant, scope, targets }).await?;
    Ok(TokenResponse {
        access_token: shown_once(&issued.access_token).to_owned(),
        issued_token_type: issued_token_type.map(Into::into),
        token_type: "Bearer".into(),
        expires_in: issued.expires_in,
        scope: issued.scope.into(),
        refresh_token: None,
    })
}

async fn for_app(
    core: &Core,
    request: &RequestContext,
    headers: &HeaderMap,
    form: &Form,
) -> Result<TokenResponse> {
    let asked = app_grant(form).and_then(|grant| Ok((grant, client_auth(headers, form)?)));
    let (grant, client) = match asked {
        Ok(asked) => asked,
        Err(ApiError::Core(Error::Token(refusal))) => {
            return Err(refuse_app(core, request, refusal).await.into());
        }
        Err(no_token_request) => return Err(no_token_request),
    };
    let (targets, scope) = (targets(form), form.get(parameter::SCOPE));
    let issued = issue_to_app(core, request, AppTokenRequest { client, grant, scope, targets }).await?;
    Ok(TokenResponse {
        access_token: shown_once(&issued.access_token).to_owned(),
        issued_token_type: None,
        token_type: "Bearer".into(),
        expires_in: issued.expires_in,
        scope: issued.scope.to_string().into(),
        refresh_token: issued.refresh_token.as_ref().map(|token| shown_once(token).to_owned()),
    })
}

fn targets(form: &Form) -> Vec<RequestedResource<'_>> {
    let named = |parameter| form.all(parameter).map(move |name| RequestedResource { parameter, name });
    named(parameter::RESOURCE).chain(named(parameter::AUDIENCE)).collect()
}

/// The grant of an app's request.
fn app_grant(form: &Form) -> Result<AppGrant> {
    if required(form, parameter::GRANT_TYPE)? == REFRESH_TOKEN {
        return Ok(AppGrant::Refresh(presented(required(form, parameter::REFRESH_TOKEN)?)));
    }
    let code = presented(required(form, parameter::CODE)?);
    let verifier = required(form, parameter::CODE_VERIFIER)?;
    // RFC 7636 section 4.1.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(is_plain) {
        return Err(invalid(
            "code_verifier must have 43 to 128 characters of A-Z, a-z, 0-9, '-', '.', '_' and '~'",
        ));
    }
    let redirect_uri = form.get(parameter::REDIRECT_URI).map(str::to_owned);
    Ok(AppGrant::Code { code, redirect_uri, verifier: presented(verifier) })
}

/// The grant of a token request.
fn grant(form: &Form) -> Result<TokenGrant> {
    match required(form, parameter::GRANT_TYPE)? {
        CLIENT_CREDENTIALS => Ok(TokenGrant::ClientCredentials { actor: actor(form)? }),
        TOKEN_EXCHANGE => {
            let subject_token = required(form, parameter::SUBJECT_TOKEN)?;
            of_type(form, parameter::SUBJECT_TOKEN_TYPE, &[ACCESS_TOKEN])?;
            let actor_token = required(form, parameter::ACTOR_TOKEN)?;
            // Of the user only their own token, which proves that the user is present. With an id alone, anyone who
            // has got hold of an agent's token could act for all users who delegate to the agent.
            of_type(form, parameter::ACTOR_TOKEN_TYPE, &[ACCESS_TOKEN])?;
            if let Some(wanted) = form.get(parameter::REQUESTED_TOKEN_TYPE)
                && wanted != ACCESS_TOKEN
            {
                return Err(invalid(format!("requested_token_type must be {ACCESS_TOKEN}")));
            }
            Ok(TokenGrant::TokenExchange {
                subject_token: presented(subject_token),
                actor_token: presented(actor_token),
            })
        }
        _ => Err(TokenError::UnsupportedGrantType.into()),
    }
}

fn actor(form: &Form) -> Result<Option<ActorToken>> {
    let Some(token) = form.get(parameter::ACTOR_TOKEN) else {
        return match form.get(parameter::ACTOR_TOKEN_TYPE) {
            None => Ok(None),
            Some(_) => Err(invalid("The parameter actor_token is missing")),
        };
    };
    let kind = of_type(form, parameter::ACTOR_TOKEN_TYPE, &[USER_ID, USER_EMAIL, ACCESS_TOKEN])?;
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
    TokenError::invalid_request(why.into()).into()
}
