//! `POST /api/v1/oauth/introspect` (RFC 7662): whether a token is good right now.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::{path, token::AssertionType};
use deputize_core::{
    Core, TokenError,
    tokens::{self, AppToken, OwnToken, VerifiedToken},
};
use deputize_service::{
    ErrorBody, Result,
    extract::{Context, Form, Json},
    handlers,
    routes::Routes,
};
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::client_auth::require_client_auth;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(introspect(..)))
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only its OpenAPI description is used")]
pub(crate) struct TokenToLookAt {
    /// An access token; to be revoked, also an app's refresh token.
    #[schema(min_length = 1)]
    token: String,
    /// Ignored: a token shows its kind.
    #[schema(nullable = false)]
    token_type_hint: Option<String>,
    /// Required, as is the secret; or both in the `Authorization` header (HTTP Basic); or an assertion. A public app sends
    /// only its id, and only to revoke.
    #[schema(nullable = false)]
    client_id: Option<String>,
    #[schema(nullable = false)]
    client_secret: Option<String>,
    /// Required with `client_assertion`.
    #[schema(nullable = false)]
    client_assertion_type: Option<AssertionType>,
    /// As at the token endpoint.
    #[schema(nullable = false)]
    client_assertion: Option<String>,
}

/// RFC 7662 section 2.2. A token that is not good, or another client's, is only said to be inactive.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct Introspection {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// An agent account's is a UUID. An app's that is longer than 255 bytes is `sha256:` and its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// In seconds since the Unix epoch, as is `iat`. No later than what the token rests on ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<Uuid>,
    /// A text for one resource, a list for several.
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<OneOrMany>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Uuid>,
    /// Who acts for `sub` (RFC 8693 section 4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Actor>,
}

/// RFC 7662 section 2.2, RFC 7519 section 4.1.3.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<Vec<String>> for OneOrMany {
    fn from(mut many: Vec<String>) -> Self {
        match (many.pop(), many.is_empty()) {
            (Some(one), true) => Self::One(one),
            (last, _) => Self::Many(many.into_iter().chain(last).collect()),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct Actor {
    sub: Uuid,
}

impl Introspection {
    fn of(core: &Core, token: OwnToken) -> Self {
        match token {
            OwnToken::Agent(token) => Self::of_agent(core, token),
            OwnToken::App(token) => Self::of_app(core, &token),
        }
    }

    fn of_app(core: &Core, token: &AppToken) -> Self {
        Self {
            active: true,
            scope: Some(token.scopes.to_string()),
            client_id: Some(token.app.to_string()),
            token_type: Some("Bearer"),
            exp: Some(token.expires_at),
            iat: Some(token.issued_at),
            sub: Some(token.user.0),
            aud: Some(OneOrMany::One(token.resource.name(&core.settings))),
            iss: Some(core.settings.issuer.clone()),
            jti: Some(token.jti),
            act: None,
        }
    }

    fn of_agent(core: &Core, token: VerifiedToken) -> Self {
        let user = token.on_behalf_of.map(|(user, _)| user.0);
        Self {
            active: true,
            scope: Some(token.scope),
            client_id: Some(token.agent.to_string()),
            token_type: Some("Bearer"),
            exp: Some(token.expires_at),
            iat: Some(token.issued_at),
            sub: Some(user.unwrap_or(token.agent.0)),
            aud: Some(token.audience.names(&core.settings).into()),
            iss: Some(core.settings.issuer.clone()),
            jti: Some(token.jti),
            act: user.map(|_| Actor { sub: token.agent.0 }),
        }
    }
}

/// Whether a token of the client's own is good right now
///
/// Live: a revoked delegation, secret, account or authorization makes the tokens that rest on it inactive at once. A
/// public app cannot prove that a token is its own, so it gets `invalid_client`.
#[utoipa::path(
    post,
    path = path::INTROSPECT,
    operation_id = "introspect_token",
    tag = "tokens",
    request_body(content = TokenToLookAt, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "What the token says, or only that it is not active.", body = Introspection),
        (status = 400, description = "`invalid_request`: a parameter is missing or repeated.", body = ErrorBody),
        (status = 401, description = "`invalid_client`: the client is not proven, or its account is disabled.", body = ErrorBody),
        (status = 403, description = "`unauthorized_client`: the account may not be used from this origin.", body = ErrorBody),
        (status = 413, description = "The body is too large.", body = ErrorBody),
        (status = 415, description = "The body is no form.", body = ErrorBody),
        (status = 503, description = "The store is unavailable.", body = ErrorBody),
    ),
    security((), ("basic" = [])),
)]
async fn introspect(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    headers: HeaderMap,
    form: Form,
) -> Result<Json<Introspection>> {
    let client = require_client_auth(&headers, &form)?;
    let missing = || TokenError::invalid_request("The parameter token is missing");
    let token = form.get("token").ok_or_else(missing)?;
    let token = tokens::introspect(&core, &request, client, token).await?;
    Ok(Json(token.map(|token| Introspection::of(&core, token)).unwrap_or_default()))
}
