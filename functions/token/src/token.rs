//! `POST /api/v1/oauth/token`: an agent account gets a token, as itself or on behalf of a user.

use std::sync::Arc;

use axum::{extract::State, response::IntoResponse};
use deputize_api::{
    path,
    token::{
        ACCESS_TOKEN, CLIENT_CREDENTIALS, TOKEN_EXCHANGE, TokenRequest, TokenResponse, USER_EMAIL, USER_ID,
        parameter,
    },
};
use deputize_core::{
    Core, Error, TokenError,
    secret::{presented, shown_once},
    tokens::{self, ActorToken, RequestedResource, TokenGrant, issue, refuse},
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
    Routes::new().mount(handlers!(token(..)))
}

/// Get an agent token
///
/// As the agent itself (M2M), or with `actor_token` on behalf of a user who has delegated to it (OBO).
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
        (status = 403, description = "`invalid_grant`: no valid delegation, or the user is deactivated. `unauthorized_client`: the account may not be used from this origin.", body = ErrorBody),
        (status = 413, description = "The body is too large.", body = ErrorBody),
        (status = 415, description = "The body is no form.", body = ErrorBody),
        (status = 503, description = "The store, or the user's issuer, is unavailable.", body = ErrorBody),
    ),
    security((), ("basic" = [])),
)]
async fn token(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    headers: HeaderMap,
    form: Result<Form>,
) -> Result<impl IntoResponse> {
    let asked = form.and_then(|form| Ok((grant(&form)?, client_auth(&headers, &form)?, form)));
    let (grant, client, form) = match asked {
        Ok(asked) => asked,
        Err(ApiError::Core(Error::Token(refusal))) => {
            return Err(refuse(&core, &request, refusal).await.into());
        }
        Err(no_token_request) => return Err(no_token_request),
    };
    let issued_token_type = matches!(grant, TokenGrant::TokenExchange { .. }).then_some(ACCESS_TOKEN);
    let named = |parameter| form.all(parameter).map(move |name| RequestedResource { parameter, name });
    let targets = named(parameter::RESOURCE).chain(named(parameter::AUDIENCE)).collect();
    let scope = form.get(parameter::SCOPE);
    let issued = issue(&core, &request, tokens::TokenRequest { client, grant, scope, targets }).await?;
    let response = TokenResponse {
        access_token: shown_once(&issued.access_token).to_owned(),
        issued_token_type: issued_token_type.map(Into::into),
        token_type: "Bearer".into(),
        expires_in: issued.expires_in,
        scope: issued.scope.into(),
    };
    // RFC 6749 section 5.1.
    Ok(([(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")], Json(response)))
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
