//! `/openapi.json`: the description of the whole API, generated from all functions' handlers. A test of the
//! local server's, which mounts them all, keeps the file up to date.

use std::sync::Arc;

use axum::response::IntoResponse;
use deputize_api::path;
use deputize_core::Core;
use deputize_service::{handlers, routes::Routes};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(openapi(..)))
}

/// The description of this API
#[utoipa::path(
    get,
    path = path::OPENAPI,
    operation_id = "get_openapi",
    tag = "service",
    responses((status = 200, body = Object, description = "OpenAPI 3.1.")),
)]
async fn openapi() -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "public, max-age=300")];
    (headers, include_str!("../openapi.json"))
}
