//! `POST /api/v1/oauth/revoke` (RFC 7009): a client gives up one of its tokens.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{Core, TokenError, tokens};
use deputize_service::{
    ErrorBody, Result,
    extract::{Context, Form},
    handlers,
    routes::Routes,
};
use http::{HeaderMap, StatusCode};

use crate::{client_auth::require_client_auth, introspect::TokenToLookAt};

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(revoke(..)))
}

/// Revoke a token
///
/// It is refused from the next call on, as is what it was exchanged for. An app's refresh token ends with all tokens that
/// came of the same authorization code. A token that is no good anyhow is no error (RFC 7009 section 2.2).
#[utoipa::path(
    post,
    path = path::REVOKE,
    operation_id = "revoke_token",
    tag = "tokens",
    request_body(content = TokenToLookAt, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token is good for nothing, or was not good before."),
        (status = 400, description = "`invalid_request`, or `invalid_grant`: another client's token.", body = ErrorBody),
        (status = 401, description = "`invalid_client`: the client is not proven, or its account is disabled.", body = ErrorBody),
        (status = 403, description = "`unauthorized_client`: the account may not be used from this origin.", body = ErrorBody),
        (status = 413, description = "The body is too large.", body = ErrorBody),
        (status = 415, description = "The body is no form.", body = ErrorBody),
        (status = 503, description = "The store is unavailable.", body = ErrorBody),
    ),
    security((), ("basic" = [])),
)]
async fn revoke(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    headers: HeaderMap,
    form: Form,
) -> Result<StatusCode> {
    let client = require_client_auth(&headers, &form)?;
    let missing = || TokenError::invalid_request("The parameter token is missing");
    tokens::revoke(&core, &request, client, form.get("token").ok_or_else(missing)?).await?;
    Ok(StatusCode::OK)
}
