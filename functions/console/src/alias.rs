//! `/authorize` at the origin, for hosted clients that read no metadata: the browser is sent on to the endpoint.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Redirect,
    routing::get,
};
use deputize_api::path;
use deputize_core::Core;
use deputize_service::routes::Routes;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().route(path::AUTHORIZE_ALIAS, get(authorize))
}

async fn authorize(State(core): State<Arc<Core>>, RawQuery(query): RawQuery) -> Redirect {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Redirect::temporary(&format!("{}{}{query}", core.settings.issuer, path::AUTHORIZE))
}
