//! `GET /api/v1/oauth/authorize`: there to be named. RFC 8414 section 2 asks for no authorization endpoint
//! where no grant uses one, but the MCP SDKs take no metadata without.

use std::sync::Arc;

use deputize_api::path;
use deputize_core::{Core, Error};
use deputize_service::{ErrorBody, Result, handlers, routes::Routes};

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(authorize(..)))
}

/// Nobody signs in here
///
/// Agents get their tokens at the token endpoint, and users bring those of their own issuer. Nothing is read
/// of the request, and nobody is redirected anywhere.
#[utoipa::path(
    get,
    path = path::AUTHORIZE,
    tag = "tokens",
    // Not 400: linters want an operation to have an answer that is no error.
    responses((status = "default", description = "The answer to every request, with 400: nobody signs in here.", body = ErrorBody)),
    security(()),
)]
async fn authorize() -> Result<()> {
    let why = "Nobody signs in here: agents get tokens at the token endpoint, by client_credentials or token exchange";
    Err(Error::invalid(why).into())
}
