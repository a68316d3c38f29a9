//! `/healthz`: whether the service and its store work.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{Core, Error, control::Control};
use deputize_service::{ErrorBody, Result, extract::Json, handlers, routes::Routes};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(healthz(..)))
}

#[derive(Debug, Serialize, ToSchema)]
struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the service works
///
/// Reads one item, the one that every call rests on.
#[utoipa::path(
    get,
    path = path::HEALTH,
    operation_id = "get_health",
    tag = "service",
    responses(
        (status = 200, description = "The service and its store work.", body = Health),
        (status = 503, body = ErrorBody, description = "The store is gone. `Retry-After` says when to ask again."),
    ),
    security(()),
)]
async fn healthz(State(core): State<Arc<Core>>) -> Result<Json<Health>> {
    // Whatever the reason is, this instance cannot serve.
    Control::read(&core).await.map_err(|error| match error {
        Error::NotBootstrapped | Error::Unavailable { .. } => error,
        // The cause is logged.
        Error::Internal(cause) => Error::unavailable(cause),
        other => Error::unavailable(other),
    })?;
    Ok(Json(Health { status: "ok" }))
}
