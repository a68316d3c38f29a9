//! `POST /api/v1/oauth/register` (RFC 7591), and its alias `/register`: an app registers itself. Nothing is stored
//! ([`deputize_core::apps::registration`]).

use std::sync::Arc;

use axum::{
    extract::{Request as HttpRequest, State},
    response::{IntoResponse, Response},
    routing::post,
};
use deputize_api::{error::code, path, reason::Reason};
use deputize_core::{
    Core, Error,
    apps::registration::{RegistrationRefusal, register as registered},
    error::Told,
    secret::shown_once,
};
use deputize_service::{
    ErrorBody, Result,
    extract::{read_body, require_type},
    handlers,
    response::plain_error,
    routes::Routes,
};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(register(..))).route(path::REGISTER_ALIAS, post(register))
}

/// The longest metadata, in bytes.
const MAX_BODY: usize = 16 * 1024;

/// What was registered (RFC 7591 section 3.2.1). What is absent was not registered.
#[derive(Debug, Serialize, ToSchema)]
struct Registration {
    client_id: String,
    /// Seconds since the epoch.
    client_id_issued_at: i64,
    /// Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    /// 0: it does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_name: Option<String>,
    redirect_uris: Vec<String>,
    token_endpoint_auth_method: &'static str,
    grant_types: Vec<&'static str>,
    response_types: [&'static str; 1],
}

/// Register an app
///
/// Anyone can, so a registration proves nothing, and people are told so. Unknown metadata is left out, and the answer says
/// what was registered.
#[utoipa::path(
    post,
    path = path::REGISTER,
    operation_id = "register_client",
    tag = "apps",
    request_body(content = serde_json::Value, description = "Client metadata (RFC 7591 section 2)"),
    responses(
        (status = 201, body = Registration),
        (status = 400, description = "invalid_redirect_uri or invalid_client_metadata.", body = ErrorBody),
        (status = 403, description = "This deployment takes no registrations.", body = ErrorBody),
        (status = 413, description = "The body is too large.", body = ErrorBody),
        (status = 415, description = "The body is no JSON.", body = ErrorBody),
        (status = 503, description = "The store is unavailable.", body = ErrorBody),
    ),
    security(()),
)]
async fn register(State(core): State<Arc<Core>>, http: HttpRequest) -> Result<Response> {
    require_type(http.headers(), "application/json")?;
    let body = read_body(http, MAX_BODY).await?;
    let registered = match registered(&core, &body).await? {
        Ok(registered) => registered,
        Err(RegistrationRefusal::Closed) => {
            let why = "This deployment takes no registrations: its admin registers apps";
            return Err(Error::Forbidden(Told::of(Reason::NotPermitted, why)).into());
        }
        Err(refusal) => return Ok(refused(&refusal)),
    };
    let secret = registered.secret.as_ref().map(|secret| shown_once(secret).to_owned());
    let answer = Registration {
        client_id: registered.app.client_id,
        client_id_issued_at: core.clock.now().as_seconds(),
        client_secret_expires_at: secret.as_ref().map(|_| 0),
        client_secret: secret,
        client_name: registered.app.name,
        redirect_uris: registered.app.redirect_uris,
        token_endpoint_auth_method: registered.token_endpoint_auth_method,
        grant_types: registered.grant_types,
        response_types: ["code"],
    };
    Ok((StatusCode::CREATED, axum::Json(answer)).into_response())
}

fn refused(refusal: &RegistrationRefusal) -> Response {
    let (error, why) = match refusal {
        RegistrationRefusal::RedirectUri(why) => (code::INVALID_REDIRECT_URI, &**why),
        RegistrationRefusal::Metadata(why) => (code::INVALID_CLIENT_METADATA, &**why),
        RegistrationRefusal::Closed => (code::ACCESS_DENIED, ""),
    };
    plain_error(StatusCode::BAD_REQUEST, error, Reason::RequestInvalid, why)
}
