//! `/openapi.json`: the description of the whole API, generated from all functions' handlers. A test of the
//! local server's, which mounts them all, keeps the file up to date.

use std::sync::Arc;

use axum::{extract::State, response::IntoResponse};
use deputize_api::path;
use deputize_core::Core;
use deputize_service::{handlers, routes::Routes};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::Value;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(openapi(..)))
}

/// The description of this API
#[utoipa::path(
    get,
    path = path::OPENAPI,
    operation_id = "get_openapi",
    tag = "service",
    responses((status = 200, body = HashMap<String, Value>, description = "This document, in OpenAPI 3.1.")),
    security(()),
)]
async fn openapi(State(core): State<Arc<Core>>) -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "public, max-age=300")];
    (headers, at(include_str!("../openapi.json"), &core.settings.issuer))
}

/// The address of the server in the file, which knows of no deployment.
const ANYWHERE: &str = r#""url": "/""#;

/// The document of the deployment at this address. Generated clients begin there, whatever is in front of the service.
fn at(document: &str, address: &str) -> String {
    let here = format!(r#""url": {}"#, Value::from(address));
    document.replacen(ANYWHERE, &here, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_one_place_for_the_address_of_a_deployment() {
        let document = include_str!("../openapi.json");
        assert_eq!(document.matches(ANYWHERE).count(), 1);
        let served: Value = serde_json::from_str(&at(document, "https://example.com/a\"b")).unwrap();
        assert_eq!(served["servers"], serde_json::json!([{ "url": "https://example.com/a\"b" }]));
    }
}
